"""In which order a trainer has learned: written before it learns, followed after it was killed.

Messages of several partitions come in an order that nobody can repeat. So each micro-batch is first a line of
the journal: how many examples are learned after it, and which messages it is, as [partition, offset of the
last one], one after another. A checkpoint after N examples begins the file `journal-N`; those of the
checkpoints that are still there are kept, so that one may also go on from the older of them. A line that says
why it could not be learned is passed over.
"""

import json
import math
import os
from pathlib import Path
from typing import NamedTuple

from ebbtide.live.arriving.cycle_requests import Request
from ebbtide.live.arriving.side_tables import ItemMessage

_PREFIX, _DIGITS = "journal-", 12


class Line(NamedTuple):
    """A micro-batch."""

    events: int
    """Examples done with, it included."""
    runs: list[tuple[int, int]]
    """Partition, and offset of the last message taken from it."""
    why: str | None = None
    """It was set aside."""
    told: list[ItemMessage] | None = None
    """What has become known of items, instead of examples."""
    asked: Request | None = None
    """What was asked of the trainer, likewise."""


class Journal:
    """Files in the directory of the checkpoints.

    What cannot be written (a full disk) is not learned any differently; only a trainer that is killed then
    goes on in another order. `broken` says so, until the next file begins.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.broken: str | None = None
        self._file = -1

    def follow(self, events: int) -> list[Line]:
        """What was learned after a checkpoint of `events` examples; more is written after that."""
        lines: list[Line] = []
        current = self._path(events)
        for path in self._files(events):
            if self._number(path) != (lines[-1].events if lines else events):
                path.unlink()  # what was learned before it could not be written
                continue
            of_file, size = _read(path)
            os.truncate(path, size)
            lines += of_file
            current = path
        self._open(current)
        return lines

    def begin(self, events: int) -> None:
        """A new file, as a checkpoint of `events` examples is made.

        One that is there holds what has become known of items since the one before, and the new one knows it.
        """
        self._open(self._path(events), os.O_TRUNC)

    def cut(self, events: int) -> None:
        """Take out what was learned after so many examples; more is written after that. Raises OSError."""
        current = self._path(events)
        for path in self._files(0):
            if self._number(path) > events:
                path.unlink()
            else:
                os.truncate(path, _read(path, events)[1])
                current = path
        self._open(current)

    def write(self, line: Line) -> None:
        if self.broken is None:
            fields = line if line.asked else line[:4] if line.told else line[:3] if line.why else line[:2]
            try:
                os.write(self._file, (json.dumps(fields) + "\n").encode())
            except OSError as error:
                self.broken = f"journal: {error.strerror}"

    def prune(self, events: int) -> None:
        """Remove what was learned before the oldest checkpoint, of `events` examples."""
        for path in self._files(0):
            if self._number(path) < events:
                path.unlink()

    def close(self) -> None:
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    def _open(self, path: Path, how: int = os.O_APPEND) -> None:
        self.close()
        try:
            self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | how, 0o644)
            self.broken = None
        except OSError as error:
            self._file, self.broken = -1, f"journal: {error.strerror}"

    def _files(self, events: int) -> list[Path]:
        files = sorted(self.directory.glob(f"{_PREFIX}*"))
        return [path for path in files if self._number(path) >= events]

    def _path(self, events: int) -> Path:
        return self.directory / f"{_PREFIX}{events:0{_DIGITS}d}"

    @staticmethod
    def _number(path: Path) -> int:
        return int(path.name.removeprefix(_PREFIX))


def _read(path: Path, most: float = math.inf) -> tuple[list[Line], int]:
    """The lines up to so many examples, and how many bytes they have.

    What was being written when the process died is no line.
    """
    lines, size = [], 0
    for raw in path.read_bytes().splitlines(keepends=True):
        try:
            events, runs, *more = json.loads(raw)
        except ValueError:
            break
        if not raw.endswith(b"\n") or events > most:
            break
        why, told, asked = [*more, None, None, None][:3]
        lines.append(
            Line(
                int(events),
                [(int(p), int(last)) for p, last in runs],
                why,
                None if told is None else [ItemMessage(*one) for one in told],
                None if asked is None else Request(*asked),
            )
        )
        size += len(raw)
    return lines, size
