"""What an example carries of a user's memory: of every chosen entry, and of its own event.

Shape suffixes: B rows, W window, M minutes of two weeks.
"""

import math
from typing import NamedTuple

import numpy as np

from state.compiled import inner, inserted
from state.examples import Doubles, Floats
from state.forgetting import WEEK_MIN, minute_of_week, tz_min_of
from state.keys import NO_KEY, Int64s
from state.memory.mask import MaskRoom, Selection, choose
from state.memory.pending import Rows
from state.memory.recall import Curve, leaving
from state.memory.slabs import (
    CATEGORY,
    ITEM,
    KNOWN,
    LAST,
    LENGTH,
    TIME,
    Slabs,
    entries,
    labels,
    minutes,
    paces,
)
from state.memory.slabs import PLACE as PLACES
from state.memory.windows import Columns, Written
from state.places import closeness


class WindowSpec(NamedTuple):
    """What a window is to hold."""

    selection: Selection
    periodic: bool
    """Whether times have an hour and a weekday."""
    follow_place: bool
    """Whether a request is where the user was last, instead of at its event's own place."""
    follow_time: bool
    """Whether its local time is the one there, too."""
    horizon_ms: int
    """Entries older than this stay out."""
    square_M: Doubles
    """Of the mask (`state.memory.mask.squares`)."""
    kernel_M2: Floats
    """The hour and the week kernel by the same, side by side: they are looked up together."""


class StepOutputs(NamedTuple):
    """What a step says of its rows."""

    windows: Written
    rates_BR: Floats


@inner
def followed(slabs: Slabs, rows: Rows, b: int, time_too: bool) -> None:
    """Put request b where the user's newest entry that has a place was; without any it stays where it is."""
    user = rows.user_B[b]
    places = entries(slabs, user, PLACES)
    for i in range(len(places) - 1, -1, -1):
        if places[i] != NO_KEY:
            rows.here_B[b] = places[i]
            if time_too:
                rows.tz_min_B[b] = tz_min_of(minutes(slabs, user)[i], entries(slabs, user, TIME)[i])
            return


@inserted
def selected(slabs: Slabs, rows: Rows, b: int, wanted: WindowSpec, room: MaskRoom) -> int:
    """Choose the entries of row b's window, oldest first; returns how many."""
    user, time_ms = rows.user_B[b], rows.time_ms_B[b]
    times, first = entries(slabs, user, TIME), 0
    while first < len(times) and times[first] < time_ms - wanted.horizon_ms:
        first += 1
    minute = minute_of_week(time_ms, rows.tz_min_B[b])
    return choose(
        times, minutes(slabs, user), first, time_ms, minute, wanted.selection, wanted.square_M, room
    )


@inserted
def copied(
    slabs: Slabs, rows: Rows, b: int, wanted: WindowSpec, room: MaskRoom, length: int, out: Written
) -> None:
    """Write row b's window: the `length` chosen entries, and that the others are none.

    Where there are others, their numbers are 0 already. Lists go without ages, which times tell.
    """
    user, time_ms = rows.user_B[b], rows.time_ms_B[b]
    chosen, columns = room.chosen_W[:length], out.columns
    columns.length_B[b] = length
    first = out.edge_B1[b]
    if out.as_lists:
        out.edge_B1[b + 1] = first + length
    else:
        ages(entries(slabs, user, TIME), chosen, time_ms, columns.age_s_BW[first : first + length])
    end = out.edge_B1[b + 1]
    gathered(entries(slabs, user, ITEM), chosen, columns.item_BW[first:end])
    gathered(entries(slabs, user, CATEGORY), chosen, columns.category_BW[first:end])
    lasts, pace_of, retention_W = entries(slabs, user, LAST), paces(slabs, user), columns.retention_BW[first:]
    for w in range(length):
        i = chosen[w]
        retention_W[w] = np.exp(np.float32(-max(time_ms - lasts[i], 0) * pace_of[i]))
    times, time_ms_W = entries(slabs, user, TIME), columns.time_ms_BW[first:]
    strength_s_W = columns.strength_s_BW[first:]
    items, before_W, gap_s_W = (
        entries(slabs, user, ITEM),
        columns.before_BW[first:end],
        columns.gap_s_BW[first:],
    )
    for w in range(length):
        i = chosen[w]
        time_ms_W[w] = times[i]
        strength_s_W[w] = 0.001 / pace_of[i]
        before_W[w] = items[i - 1] if i > 0 else NO_KEY
        gap_s_W[w] = (times[i] - times[i - 1]) / 1000.0 if i > 0 else 0.0
    for w in range(length, len(before_W)):
        before_W[w] = NO_KEY
    knowns, label_of, label_W = entries(slabs, user, KNOWN), labels(slabs, user), columns.label_BW[first:]
    for w in range(length):
        i = chosen[w]
        label_W[w] = label_of[i] if knowns[i] <= rows.clock_ms_B[b] else np.float32(np.nan)
    hour_W, week_W = columns.hour_BW[first:], columns.week_BW[first:]
    minute_of, minute = minutes(slabs, user), minute_of_week(time_ms, rows.tz_min_B[b]) + WEEK_MIN
    minute_W = columns.minute_BW[first:]
    for w in range(length):
        minute_W[w] = minute_of[chosen[w]]
    for w in range(length):
        apart = minute - minute_of[chosen[w]]
        hour_W[w] = wanted.kernel_M2[apart, 0] if wanted.periodic else 0.0
        week_W[w] = wanted.kernel_M2[apart, 1] if wanted.periodic else 0.0
    place, place_W, cell_W = rows.here_B[b], columns.place_BW[first:], columns.cell_BW[first:end]
    gathered(entries(slabs, user, PLACES), chosen, cell_W)
    for w in range(length):
        place_W[w] = closeness(place, cell_W[w]) if place != NO_KEY else 0.0


@inserted
def told(
    slabs: Slabs, curve: Curve, rows: Rows, b: int, pace: float, room: MaskRoom, columns: Columns
) -> None:
    """Write what becomes of the memory when row b, whose window has just been chosen, is remembered.

    `pace` is what its item's entries have then.
    """
    user = rows.user_B[b]
    columns.own_strength_s_B[b], columns.goes_B[b], columns.own_minute_B[b] = 0.0, 0, rows.minute_B[b]
    if math.isnan(rows.label_B[b]) and rows.known_ms_B[b] > rows.clock_ms_B[b]:
        return
    goes, length = leaving(slabs, curve, user, rows.time_ms_B[b]), slabs.users[user, LENGTH]
    if goes < length:
        columns.own_strength_s_B[b] = 0.001 / pace
        if goes == 0 and room.chosen_W[0] == 0:
            columns.goes_B[b] = columns.length_B[b]


@inner
def gathered(keys: Int64s, chosen: Int64s, key_W: Int64s) -> None:
    """The chosen entries' keys, then NO_KEY."""
    for w in range(len(chosen)):
        key_W[w] = keys[chosen[w]]
    for w in range(len(chosen), len(key_W)):
        key_W[w] = NO_KEY


@inner
def ages(times: Int64s, chosen: Int64s, time_ms: int, age_s_W: Floats) -> None:
    """Seconds since the chosen entries."""
    for w in range(len(chosen)):
        age_s_W[w] = max(time_ms - times[chosen[w]], 0) / 1000.0
