"""Dead letters: rows that are no events, written down with the reason, and counted."""

import json
from collections import Counter
from pathlib import Path
from typing import Self, TextIO

from replay.reading.chunks import BadRow

FILE_NAME = "dead_letters.jsonl"


class DeadLetters:
    """Counts by reason and, once it has a folder, a file of the rows themselves."""

    def __init__(self, folder: Path | None = None) -> None:
        self.counts: Counter[str] = Counter()
        self._path = None if folder is None else folder / FILE_NAME
        self._file: TextIO | None = None

    def __enter__(self) -> Self:
        if self._path is not None:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._file = self._path.open("w", encoding="utf-8")
        return self

    def __exit__(self, *_: object) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None

    def __len__(self) -> int:
        return sum(self.counts.values())

    def add(self, file: Path, bad: list[BadRow]) -> None:
        """Take the bad rows of a file."""
        self.counts.update(row.reason for row in bad)
        for row in bad:
            self.write(str(file), row)

    def write(self, where: str, row: BadRow) -> None:
        """Write one down without counting it; `where` it is from."""
        if self._file is not None:
            letter = {"reason": row.reason, "detail": row.detail, "file": where, "row_number": row.number}
            self._file.write(json.dumps(letter | {"row": row.row}, default=str) + "\n")

    def in_words(self) -> str:
        """The counts in words, most frequent first."""
        return ", ".join(f"{count:,} x {reason}" for reason, count in self.counts.most_common())
