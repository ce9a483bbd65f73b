"""What an example carries of a user's memory: of every chosen entry, and of its own event.

Shape suffixes: B rows, W window, M minutes of two weeks.
"""

import math
from typing import NamedTuple

import numpy as np

from state.compiled import inner
from state.examples import Doubles, Floats
from state.forgetting import WEEK_MIN, minute_of_week, tz_min_of
from state.keys import NO_KEY, Int64s
from state.memory.mask import MaskRoom, Selection, choose
from state.memory.pending import Rows
from state.memory.recall import Curve, leaving, met
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
from state.memory.windows import Columns
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

    columns: Columns
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


@inner
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


@inner
def copied(
    slabs: Slabs, rows: Rows, b: int, wanted: WindowSpec, room: MaskRoom, length: int, out: Columns
) -> None:
    """Write row b's window, which is all zeros: the `length` chosen entries, and that the others are none."""
    user, time_ms = rows.user_B[b], rows.time_ms_B[b]
    chosen = room.chosen_W[:length]
    out.length_B[b] = length
    gathered(entries(slabs, user, ITEM), chosen, out.item_BW[b])
    gathered(entries(slabs, user, CATEGORY), chosen, out.category_BW[b])
    ages(entries(slabs, user, TIME), chosen, time_ms, out.age_s_BW[b])
    lasts, pace_of, retention_W = entries(slabs, user, LAST), paces(slabs, user), out.retention_BW[b]
    for w in range(length):
        i = chosen[w]
        retention_W[w] = np.exp(np.float32(-max(time_ms - lasts[i], 0) * pace_of[i]))
    times, time_ms_W, strength_s_W = entries(slabs, user, TIME), out.time_ms_BW[b], out.strength_s_BW[b]
    items, before_W, gap_s_W = entries(slabs, user, ITEM), out.before_BW[b], out.gap_s_BW[b]
    for w in range(len(before_W)):
        before_W[w] = NO_KEY
    for w in range(length):
        i = chosen[w]
        time_ms_W[w] = times[i]
        strength_s_W[w] = 0.001 / pace_of[i]
        if i > 0:
            before_W[w] = items[i - 1]
            gap_s_W[w] = (times[i] - times[i - 1]) / 1000.0
    knowns, label_of, label_W = entries(slabs, user, KNOWN), labels(slabs, user), out.label_BW[b]
    for w in range(length):
        i = chosen[w]
        label_W[w] = label_of[i] if knowns[i] <= rows.clock_ms_B[b] else np.float32(np.nan)
    hour_W, week_W = out.hour_BW[b], out.week_BW[b]
    periodic = length if wanted.periodic else 0
    minute_of, minute = minutes(slabs, user), minute_of_week(time_ms, rows.tz_min_B[b]) + WEEK_MIN
    minute_W = out.minute_BW[b]
    for w in range(length):
        minute_W[w] = minute_of[chosen[w]]
    for w in range(periodic):
        apart = minute - minute_of[chosen[w]]
        hour_W[w] = wanted.kernel_M2[apart, 0]
        week_W[w] = wanted.kernel_M2[apart, 1]
    place, place_W, cell_W = rows.here_B[b], out.place_BW[b], out.cell_BW[b]
    places = entries(slabs, user, PLACES)
    gathered(places, chosen, cell_W)
    placed = length if place != NO_KEY else 0
    for w in range(placed):
        place_W[w] = closeness(place, cell_W[w])


@inner
def told(slabs: Slabs, curve: Curve, rows: Rows, b: int, room: MaskRoom, out: Columns) -> None:
    """Write what becomes of the memory when row b, whose window has just been chosen, is remembered."""
    user, item, time_ms = rows.user_B[b], rows.item_B[b], rows.time_ms_B[b]
    out.own_strength_s_B[b], out.goes_B[b], out.own_minute_B[b] = 0.0, 0, rows.minute_B[b]
    if math.isnan(rows.label_B[b]) and rows.known_ms_B[b] > rows.clock_ms_B[b]:
        return
    goes, length = leaving(slabs, curve, user, time_ms), slabs.users[user, LENGTH]
    if goes < length:
        out.own_strength_s_B[b] = 0.001 / met(slabs, curve, user, item, time_ms)[1]
        if goes == 0 and room.chosen_W[0] == 0:
            out.goes_B[b] = out.length_B[b]


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
