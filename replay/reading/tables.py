"""Columnar files: Parquet, Arrow IPC (file or stream), and tables in memory."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from replay.reading.arrow import Column, pc
from replay.reading.canonical import canonical
from replay.reading.chunks import Chunk, twice
from state.errors import InputError

CHUNK_ROWS = 1 << 16
_MAGIC = b"ARROW1"
_UNREADABLE = (pa.ArrowException, OSError, UnicodeDecodeError)
"""What Arrow raises on a damaged file: names of columns may be no text, buffers may be torn."""


class ParquetFile:
    """A Parquet file, read a row group's pages at a time."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            with pq.ParquetFile(path) as file:
                self.columns = list(file.schema_arrow.names)
                self.rows: int | None = file.metadata.num_rows
                self.doubt = twice(self.columns)
        except _UNREADABLE as error:
            raise _damaged(path, "Parquet", error) from error

    def chunks(self, columns: Sequence[str]) -> Iterator[Chunk]:
        try:
            with pq.ParquetFile(self.path, pre_buffer=False) as file:
                yield from _numbered(
                    file.iter_batches(CHUNK_ROWS, columns=list(columns), use_threads=False), columns
                )
        except _UNREADABLE as error:
            raise _damaged(self.path, "Parquet", error) from error


class ArrowFile:
    """An Arrow IPC file or stream."""

    rows: int | None = None

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            with path.open("rb") as file:
                self._stream = file.read(len(_MAGIC)) != _MAGIC
            with pa.OSFile(str(path), "rb") as source:
                opened = pa.ipc.open_stream(source) if self._stream else pa.ipc.open_file(source)
                self.columns = list(opened.schema.names)
                self.doubt = twice(self.columns)
        except _UNREADABLE as error:
            raise _damaged(path, "Arrow IPC", error) from error

    def chunks(self, columns: Sequence[str]) -> Iterator[Chunk]:
        try:
            with pa.OSFile(str(self.path), "rb") as source:
                batches: Iterator[pa.RecordBatch]
                if self._stream:
                    batches = iter(pa.ipc.open_stream(source))
                else:
                    file = pa.ipc.open_file(source)
                    batches = (file.get_batch(i) for i in range(file.num_record_batches))
                yield from _numbered(_cut(batches), columns)
        except _UNREADABLE as error:
            raise _damaged(self.path, "Arrow IPC", error) from error


class MemoryFile:
    """A table in memory under the name of a file."""

    def __init__(self, name: str, table: pa.Table) -> None:
        self.path = Path(name)
        self.columns = list(table.column_names)
        self.doubt = twice(self.columns)
        self.rows: int | None = table.num_rows
        self._table = table

    def chunks(self, columns: Sequence[str]) -> Iterator[Chunk]:
        yield from _numbered(iter(self._table.to_batches(CHUNK_ROWS)), columns)


def _numbered(batches: Iterator[pa.RecordBatch], columns: Sequence[str]) -> Iterator[Chunk]:
    number = 1
    for batch in batches:
        read = {name: canonical(batch.column(name)) for name in columns}
        yield Chunk.of(read, np.arange(number, number + batch.num_rows))
        number += batch.num_rows


def _cut(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    for batch in batches:
        for column in batch.columns:
            _check(column)
        for start in range(0, batch.num_rows, CHUNK_ROWS):
            yield batch.slice(start, CHUNK_ROWS)


def _check(column: Column) -> None:
    """Raises ArrowInvalid where a buffer does not fit the others; whether text is text is asked later."""
    if pa.types.is_string(column.type):
        column = pc.cast(column, pa.binary())
    elif pa.types.is_large_string(column.type):
        column = pc.cast(column, pa.large_binary())
    column.validate(full=True)


def _damaged(path: Path, kind: str, error: Exception) -> InputError:
    reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
    return InputError(f"{path}: no readable {kind} file ({reason}); fetch or write it again")
