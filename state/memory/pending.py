"""Events on their way into the memory, and those that wait until they are known.

Shape suffixes: B rows, P waiting events.
"""

from typing import NamedTuple

import numpy as np

from state.arrays import Floats
from state.compiled import inner
from state.keys import Int64s
from state.memory.slabs import FIELDS


class Rows(NamedTuple):
    """What the memory takes of B events, in order; `clock_ms_B` and `known_ms_B` never fall."""

    user_B: Int64s
    """The user's row; where it is not there, or may not be by then, for `step` to write."""
    item_B: Int64s
    category_B: Int64s
    place_B: Int64s
    time_ms_B: Int64s
    clock_ms_B: Int64s
    known_ms_B: Int64s
    label_B: Floats
    minute_B: Int64s
    here_B: Int64s
    """Where the request is: `place_B` itself, or for `step` to write, where the user was last."""
    tz_min_B: Int64s
    """Minutes that the request's local time is ahead of UTC; `step` may write over them, too."""


class Event(NamedTuple):
    """One of them."""

    item: int
    category: int
    place: int
    time_ms: int
    known_ms: int
    label: float
    minute: int


@inner
def event_of(rows: Rows, b: int) -> Event:
    """Row b."""
    return Event(
        rows.item_B[b],
        rows.category_B[b],
        rows.place_B[b],
        rows.time_ms_B[b],
        rows.known_ms_B[b],
        rows.label_B[b],
        rows.minute_B[b],
    )


W_USER, W_ITEM, W_CATEGORY, W_PLACE, W_TIME, W_KNOWN, W_MINUTE = range(7)
"""Columns of events that wait."""


class Pending(NamedTuple):
    """Events that are not known yet, in order: a queue with room at its end."""

    words_P8: Int64s
    """User, item, category, place, time, known, minute of week; the label's bits."""
    labels_P: Floats
    span: Int64s
    """First waiting, first free."""


@inner
def wait(pending: Pending, rows: Rows, b: int) -> None:
    """Put row b at the end of the queue."""
    p = pending.span[1]
    words = pending.words_P8
    words[p, W_USER] = rows.user_B[b]
    words[p, W_ITEM] = rows.item_B[b]
    words[p, W_CATEGORY] = rows.category_B[b]
    words[p, W_PLACE] = rows.place_B[b]
    words[p, W_TIME] = rows.time_ms_B[b]
    words[p, W_KNOWN] = rows.known_ms_B[b]
    words[p, W_MINUTE] = rows.minute_B[b]
    pending.labels_P[p] = rows.label_B[b]
    pending.span[1] = p + 1


@inner
def due(pending: Pending, clock_ms: int) -> bool:
    """Whether the first waiting event is known at `clock_ms`."""
    return bool(pending.span[0] < pending.span[1] and pending.words_P8[pending.span[0], W_KNOWN] <= clock_ms)


def room_to_wait(size: int) -> Pending:
    """An empty queue."""
    return Pending(np.zeros((size, FIELDS), np.int64), np.zeros(size, np.float32), np.zeros(2, np.int64))


def moved_up(pending: Pending, extra: int) -> Pending:
    """The same queue with room for `extra` more."""
    first, end = pending.span
    if end + extra <= len(pending.labels_P):
        return pending
    waiting = int(end - first)
    moved = room_to_wait(max(2 * (waiting + extra), 1024))
    moved.words_P8[:waiting] = pending.words_P8[first:end]
    moved.labels_P[:waiting] = pending.labels_P[first:end]
    moved.span[1] = waiting
    return moved
