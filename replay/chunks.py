"""What every file format is read as: chunks of rows, each row with its number in the file.

Shape suffix: B rows.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from replay.arrow import Column
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
    """B rows that could be parsed, and those around them that could not."""

    columns: dict[str, Column]
    number_B: Int64s
    bad: list[BadRow] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.number_B)


class RowsFile(Protocol):
    """A file of rows."""

    path: Path
    columns: list[str]
    rows: int | None
    """How many, where the format says so."""

    def chunks(self, columns: Sequence[str]) -> Iterator[Chunk]:
        """All rows in order, with the chosen columns."""
        ...
