"""Rows that are understood, as columns by name."""

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from state.keys import Int64s

Columns = dict[str, NDArray[Any]]
"""Role (or `time_ms`, `tz_min`, `seq`) -> one value a row, all of one length."""


def join(parts: list[Columns]) -> Columns:
    """Rows one after another."""
    if len(parts) == 1:
        return parts[0]
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def take(columns: Columns, rows: Int64s | slice) -> Columns:
    """Some of the rows."""
    return {name: column[rows] for name, column in columns.items()}


def size_of(columns: Columns) -> int:
    """How many rows."""
    return len(columns["time_ms"])


def cut(chunks: Iterable[Columns], size: int) -> Iterator[Columns]:
    """The same rows in pieces of `size`; only the last may be shorter."""
    held: list[Columns] = []
    rows = 0
    for chunk in chunks:
        start, end = 0, size_of(chunk)
        while end - start >= size - rows:
            piece = take(chunk, slice(start, start + size - rows))
            yield join([*held, piece])
            start += size - rows
            held, rows = [], 0
        if start < end:
            held.append(take(chunk, slice(start, end)))
            rows += end - start
    if held:
        yield join(held)
