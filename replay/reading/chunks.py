"""What every file format is read as: chunks of rows, each row with its number in the file.

Shape suffix: B rows.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, Self

from replay.reading.arrow import Column
from replay.reading.canonical import Bools, Read, one_value
from state.keys import Int64s


@dataclass(frozen=True, slots=True)
class BadRow:
    """A row that is no event, and why."""

    number: int
    """Of the row in its file, from 1; in a text file, of its line."""
    reason: str
    row: Any
    """Its text, or its cells by column."""
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Chunk:
    """B rows that could be parsed, and those around them that could not.

    Columns are of the few types of `replay.reading.canonical`.
    """

    columns: dict[str, Column]
    number_B: Int64s
    bad: list[BadRow] = field(default_factory=list)
    unreadable: dict[str, Bools] = field(default_factory=dict)
    """Of columns that have any: which cells are neither text nor number, and so only shown as text."""
    decimal_comma: bool = False
    """Whether `3,5` in a text is one number."""

    @classmethod
    def of(cls, read: dict[str, Read], number_B: Int64s, bad: list[BadRow] | None = None) -> Self:
        """A chunk of columns that went through `canonical`."""
        return cls(
            {name: column for name, (column, _) in read.items()},
            number_B,
            bad or [],
            {name: bad_B for name, (_, bad_B) in read.items() if bad_B is not None},
        )

    def __len__(self) -> int:
        return len(self.number_B)

    def cells(self, name: str) -> Read:
        """A column with one value a cell, and which cells hold none that can be read."""
        column, several_B = one_value(self.columns[name])
        unreadable_B = self.unreadable.get(name)
        if several_B is None or unreadable_B is None:
            return column, unreadable_B if several_B is None else several_B
        return column, several_B | unreadable_B


def twice(columns: Sequence[str]) -> str:
    """That a column's name stands there twice, in a sentence; empty if none does."""
    name_twice = next((name for i, name in enumerate(columns) if name in columns[:i]), None)
    return "" if name_twice is None else f"column {name_twice!r} stands there twice; rename one"


class RowsFile(Protocol):
    """A file of rows."""

    path: Path
    columns: list[str]
    rows: int | None
    """How many, where the format says so."""

    @property
    def doubt(self) -> str:
        """What stands against its being a table, in a sentence; empty if nothing does."""
        ...

    def chunks(self, columns: Sequence[str]) -> Iterator[Chunk]:
        """All rows in order, with the chosen columns."""
        ...
