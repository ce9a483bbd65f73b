"""Columns that are made of others: a person who is known by several fields, and by no id."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from replay.reading.arrow import Column, pc
from replay.reading.canonical import as_text
from replay.reading.chunks import Chunk, RowsFile

_BETWEEN = " "


class JoinedFile:
    """A file of rows with columns beside its own that hold the text of several of them, one after another."""

    def __init__(self, file: RowsFile, joined: Mapping[str, Sequence[str]]) -> None:
        self.path, self.rows, self.doubt = file.path, file.rows, file.doubt
        self._file, self._joined = file, joined
        self.columns = [*file.columns, *joined]

    def chunks(self, columns: Sequence[str]) -> Iterator[Chunk]:
        """All rows in order, with the chosen columns."""
        own = [name for name in columns if name not in self._joined]
        parts = [part for name in columns if name in self._joined for part in self._joined[name]]
        for chunk in self._file.chunks(list(dict.fromkeys([*own, *parts]))):
            added: dict[str, Column] = {
                name: pc.binary_join_element_wise(
                    *(as_text(chunk.columns[part]) for part in self._joined[name]),
                    _BETWEEN,
                    null_handling="replace",
                )
                for name in columns
                if name in self._joined
            }
            yield replace(chunk, columns={name: chunk.columns[name] for name in own} | added)
