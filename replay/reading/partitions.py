"""Columns that stand in the path of a file, as Hive and Spark write it: `action=buy/part-0.parquet`."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from urllib.parse import unquote

import pyarrow as pa

from replay.reading.arrow import Column
from replay.reading.chunks import Chunk, RowsFile

MISSING = "__HIVE_DEFAULT_PARTITION__"


def partition_columns(inside: Path) -> dict[str, str | None]:
    """Column -> value out of the folders of a path, None where it is missing.

    >>> partition_columns(Path("dt=2024-01-01/shop=caf%C3%A9/part-0.csv"))
    {'dt': '2024-01-01', 'shop': 'café'}
    """
    pairs = (folder.split("=", 1) for folder in inside.parts[:-1] if "=" in folder[1:])
    return {unquote(name): None if value == MISSING else unquote(value) for name, value in pairs}


class PartitionFile:
    """A file of rows with columns of its path beside its own, which go before them."""

    def __init__(self, file: RowsFile, partition: dict[str, str | None]) -> None:
        self.path, self.rows, self.doubt = file.path, file.rows, file.doubt
        self._file = file
        self._partition = {name: value for name, value in partition.items() if name not in file.columns}
        self.columns = [*file.columns, *self._partition]

    def chunks(self, columns: Sequence[str]) -> Iterator[Chunk]:
        """All rows in order, with the chosen columns."""
        own = [name for name in columns if name not in self._partition]
        for chunk in self._file.chunks(own or self._file.columns[:1]):
            added: dict[str, Column] = {
                name: pa.array([self._partition[name]] * len(chunk), pa.string())
                for name in columns
                if name in self._partition
            }
            yield replace(chunk, columns={name: chunk.columns[name] for name in own} | added)
