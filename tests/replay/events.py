"""What the tests of the readers share: a small log as rows, and events read back as one batch."""

from collections.abc import Iterable, Sequence
from pathlib import Path

from replay.log import Log
from streams.schema import EventBatch, concat_events

START_S = 1_500_000_000


def write_csv(path: Path, header: str, rows: Iterable[str]) -> Path:
    """A text file of a header and rows."""
    path.write_text("\n".join([header, *rows]) + "\n")
    return path


def read(log: Log, size: int = 64, skip: int = 0) -> EventBatch:
    """All events of a log as one batch."""
    return concat_events(list(log.batches(size, skip)))


def same(a: EventBatch, b: EventBatch, but: Sequence[str] = ()) -> bool:
    """Whether two batches agree in every column to the last bit."""
    return all(
        getattr(a, name).tobytes() == getattr(b, name).tobytes()
        for name in EventBatch.__slots__
        if name not in but
    )
