"""The mask: which entries of a user's memory speak right now, by the forgetting curve and the periods.

STIM (arXiv:2508.02451) masks behaviours by forgetting and by their time of day and week. Our reconstruction:
an entry of age t, in hours, weighs (t + 0.1)^-1/2 x (0.05 + hour + week), with von Mises kernels of the hour
of day and of the week around the request. Its own age counts: by what is left of its item, which all entries
of an item share, a window would fill with one item. A power law tells better than an exponential curve which
events people come back to.

Shape suffixes: B rows, W window, N entries of a memory, M minutes of two weeks.
"""

from collections.abc import Iterable
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from state.compiled import assign, compiled, inner
from state.examples import BY_ENTRY, Doubles, ExampleBatch, Floats, Shorts
from state.forgetting import WEEK_MIN, minute_of_week, periodic
from state.keys import Int64s

_SOON_MS = 360_000.0
_ALWAYS = 0.05
_HOUR_WIDTH_H, _WEEK_WIDTH_H = 2.0, 1.5
"""Standard deviations of the kernels."""


class Selection(NamedTuple):
    """The newest entries of a memory, and of the others those that the mask lets through."""

    newest: int
    masked: int

    @property
    def width(self) -> int:
        return self.newest + self.masked


NEWEST = 16
"""Entries that are always there, unless otherwise said: what leads on is what was had last."""


def select(window: int, newest: int = NEWEST) -> Selection:
    """A window of so many entries, of which up to `newest` are just the newest."""
    kept = min(newest, window)
    return Selection(kept, window - kept)


def joint(selections: Iterable[Selection]) -> Selection:
    """The smallest selection of which `narrowed` makes each of these."""
    some = list(selections)
    return Selection(max(one.newest for one in some), max(one.masked for one in some))


class MaskRoom(NamedTuple):
    """Room to choose in; holds nothing between rows."""

    weight_N: Floats
    bits_N: NDArray[np.int32]
    """The same memory, as integers: positive floats are in the order of their bits."""
    chosen_W: Int64s


def room(width: int, entries: int) -> MaskRoom:
    """Room for windows of `width` from so many entries."""
    weight_N = np.zeros(entries, np.float32)
    return MaskRoom(weight_N, weight_N.view(np.int32), np.zeros(width, np.int64))


def squares(*, clock: bool) -> Doubles:
    """(0.05 + hour + week)^2 by the difference in minutes plus a week's; 1 where times have no hour."""
    if not clock:
        return np.ones(2 * WEEK_MIN)
    hour_M, week_M = np.tile([periodic(_HOUR_WIDTH_H, 24), periodic(_WEEK_WIDTH_H, 168)], 2)
    return np.asarray((_ALWAYS + np.exp(hour_M) + np.exp(week_M)) ** 2)


_CLOCK_M, _TIMELESS_M = squares(clock=True), squares(clock=False)


@inner
def choose(
    time_ms_N: Int64s,
    minute_N: NDArray[Any],
    first: int,
    time_ms: int,
    minute: int,
    selection: Selection,
    square_M: Doubles,
    room: MaskRoom,
) -> int:
    """Choose among entries from `first` on, which are in order of time; returns how many, the oldest first.

    Compared are squares of weights, rounded to single precision; of equals the newer is chosen.
    """
    length = len(time_ms_N)
    recent = max(length - selection.newest, first)
    if selection.masked == 0:
        first = recent
    if recent - first <= selection.masked:
        for w in range(length - first):
            room.chosen_W[w] = first + w
        return length - first
    weight_N, bits_N = room.weight_N, room.bits_N
    for i in range(first, recent):
        age_ms = max(time_ms - time_ms_N[i], 0) + _SOON_MS
        weight_N[i] = square_M[minute - minute_N[i] + WEEK_MIN] / age_ms
    bound = least(bits_N[first:recent], selection.masked)
    equals = selection.masked
    for i in range(first, recent):
        equals -= bits_N[i] > bound
    w = selection.masked
    for i in range(recent - 1, first - 1, -1):
        if bits_N[i] > bound or (bits_N[i] == bound and equals > 0):
            equals -= bits_N[i] == bound
            w -= 1
            room.chosen_W[w] = i
    for i in range(recent, length):
        room.chosen_W[selection.masked + i - recent] = i
    return selection.masked + length - recent


@inner
def least(bits_N: NDArray[np.int32], keep: int) -> int:
    """The least bound with at most `keep` numbers above it; or one with just so many."""
    low, high = -1, 0x7F800000
    while high - low > 1:
        middle = (low + high) // 2
        above = 0
        for i in range(len(bits_N)):
            above += bits_N[i] > middle
        if above > keep:
            low = middle
        else:
            high = middle
            if above == keep:
                break
    return high


def narrowed(batch: ExampleBatch, selection: Selection) -> ExampleBatch:
    """The batch with what a selection takes of each window; itself where they are no wider, or for no entry.

    Of a window that a selection of as many newest and as many masked entries, or more, has chosen it is what
    the memory itself would have given.
    """
    window = batch.window
    if window is None or not 0 < selection.width < window.item_BW.shape[1]:
        return batch
    at_BW = np.repeat(window.length_B[:, np.newaxis], selection.width, axis=1)
    length_B = np.empty(len(batch), np.int64)
    _narrow(
        MaskColumns(window.time_ms_BW, window.minute_BW, window.hour_BW, window.length_B),
        batch.time_ms_B,
        batch.tz_min_B,
        selection,
        (_CLOCK_M, _TIMELESS_M),
        room(selection.width, window.item_BW.shape[1]),
        at_BW,
        length_B,
    )
    columns = {name: np.take_along_axis(getattr(window, name), at_BW, axis=1) for name in BY_ENTRY}
    gone_B1 = (window.length_B - window.goes_B)[:, np.newaxis]
    real_BW = np.arange(selection.width) < length_B[:, np.newaxis]
    columns["goes_B"] = ((at_BW >= gone_B1) & real_BW).sum(1) * ((at_BW == gone_B1) & real_BW).any(1)
    return replace(batch, window=replace(window, length_B=length_B, **columns))


class MaskColumns(NamedTuple):
    """What the mask goes by, of windows."""

    time_ms_BW: Int64s
    minute_BW: Shorts
    hour_BW: Floats
    """Never 0 where times have an hour."""
    length_B: Int64s


@compiled
def _narrow(
    past: MaskColumns,
    time_ms_B: Int64s,
    tz_min_B: Int64s,
    selection: Selection,
    squares_2M: tuple[Doubles, Doubles],
    room: MaskRoom,
    at_BW: Int64s,
    length_B: Int64s,
) -> None:
    """Write which entries are chosen; an unused place goes on pointing at one that is none."""
    for b in range(len(length_B)):
        length = past.length_B[b]
        clock = length > 0 and past.hour_BW[b, 0] > 0.0
        length_B[b] = choose(
            past.time_ms_BW[b, :length],
            past.minute_BW[b, :length],
            0,
            time_ms_B[b],
            minute_of_week(time_ms_B[b], tz_min_B[b]),
            selection,
            squares_2M[0] if clock else squares_2M[1],
            room,
        )
        assign(at_BW[b], room.chosen_W[: length_B[b]])
