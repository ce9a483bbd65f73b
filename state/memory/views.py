"""Which entries of a user's memory an example carries, and what it carries of each.

Each view ranks by retention x kernel; logarithms are compared, so that habits are still ranked where the
retention is too small for a float. Shape suffixes: B rows, W window, K kept by a view, M minutes
of two weeks.
"""

import math
from typing import NamedTuple

import numpy as np

from state.compiled import inner
from state.examples import HOUR, PLACE, RECENT, Bytes, Doubles, Floats, Shorts, Window
from state.forgetting import WEEK_MIN, minute_of_week, tz_min_of
from state.keys import NO_KEY, Int64s
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
from state.places import closeness


class Wanted(NamedTuple):
    """What a window is to hold."""

    width: int
    views: bool
    periodic: bool
    """Whether times have an hour and a weekday."""
    follow_place: bool
    """Whether a request is where the user was last, instead of at its event's own place."""
    follow_time: bool
    """Whether its local time is the one there, too."""
    horizon_ms: int
    """Entries older than this stay out."""
    log_2M: Doubles
    """Logarithms of the hour and the week kernel, by the difference in minutes plus a week's."""
    kernel_M2: Floats
    """The kernels themselves, side by side: they are looked up together."""


class Columns(NamedTuple):
    """The arrays of `state.examples.Window`, in its order."""

    length_B: Int64s
    item_BW: Int64s
    category_BW: Int64s
    cell_BW: Int64s
    age_s_BW: Floats
    retention_BW: Floats
    hour_BW: Floats
    week_BW: Floats
    place_BW: Floats
    label_BW: Floats
    views_BW: Bytes
    time_ms_BW: Int64s
    minute_BW: Shorts
    strength_s_BW: Floats
    own_strength_s_B: Floats
    own_minute_B: Shorts
    goes_B: Int64s


class Answers(NamedTuple):
    """What a step says of its rows."""

    columns: Columns
    rates_BR: Floats


def columns_of(window: Window) -> Columns:
    """A window's arrays as kernels take them."""
    return Columns(*(getattr(window, name) for name in Columns._fields))


class Scratch(NamedTuple):
    """Room to choose in; holds nothing between rows."""

    faded: Doubles
    """Logarithm of each entry's retention."""
    score: Doubles
    best_K: Doubles
    entry_K: Int64s
    bits: Bytes
    """Views that chose each entry."""
    chosen_W: Int64s
    sink: Int64s
    """Where `touch` leaves what nobody needs."""


def scratch(width: int, capacity: int) -> Scratch:
    """Room for windows of `width` from a memory of `capacity`."""
    return Scratch(
        np.empty(capacity),
        np.empty(capacity),
        np.empty(width),
        np.empty(width, np.int64),
        np.empty(capacity, np.uint8),
        np.empty(width, np.int64),
        np.zeros(1, np.int64),
    )


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
def newest(slabs: Slabs, user: int, width: int, since_ms: int, scratch: Scratch) -> int:
    """Choose the newest entries not older than `since_ms`, oldest first; returns how many."""
    times = entries(slabs, user, TIME)
    first = max(len(times) - width, 0)
    while first < len(times) and times[first] < since_ms:
        first += 1
    for w in range(len(times) - first):
        scratch.chosen_W[w] = first + w
        scratch.bits[first + w] = RECENT
    return len(times) - first


@inner
def united(slabs: Slabs, rows: Rows, b: int, wanted: Wanted, scratch: Scratch) -> int:
    """Choose the union of the views, oldest first; returns how many.

    Each of the V views that row b can feed keeps its best width // V, the newer of equals; the recent view
    (by retention alone) then takes the newest that are left until the window is full.
    """
    user, time_ms, place = rows.user_B[b], rows.time_ms_B[b], rows.here_B[b]
    times, lasts, pace_of = entries(slabs, user, TIME), entries(slabs, user, LAST), paces(slabs, user)
    length = len(times)
    faded, score, bits = scratch.faded[:length], scratch.score[:length], scratch.bits[:length]
    first = 0
    while first < length and times[first] < time_ms - wanted.horizon_ms:
        first += 1
    keep = wanted.width // (1 + (2 if wanted.periodic else 0) + (place != NO_KEY))
    for i in range(length):
        faded[i] = -max(time_ms - lasts[i], 0) * pace_of[i]
        bits[i] = 0
    taken = _best(faded, first, keep, RECENT, scratch)
    if wanted.periodic:
        minute_of, minute = minutes(slabs, user), minute_of_week(time_ms, rows.tz_min_B[b])
        for kernel in range(2):
            log_M = wanted.log_2M[kernel]
            for i in range(length):
                score[i] = faded[i] + log_M[minute - minute_of[i] + WEEK_MIN]
            taken += _best(score, first, keep, HOUR << kernel, scratch)
    if place != NO_KEY:
        places = entries(slabs, user, PLACES)
        for i in range(length):
            close = closeness(place, places[i])
            score[i] = faded[i] + math.log(close) if close > 0.0 else -np.inf
        taken += _best(score, first, keep, PLACE, scratch)
    i = length - 1
    while taken < wanted.width and i >= first:
        if bits[i] == 0:
            bits[i] = RECENT
            taken += 1
        i -= 1
    w = 0
    for i in range(first, length):
        if bits[i] != 0:
            scratch.chosen_W[w] = i
            w += 1
    return w


@inner
def _best(score: Doubles, first: int, keep: int, bit: int, scratch: Scratch) -> int:
    """Give `bit` to the `keep` best scores from `first` on; returns how many had no bit before.

    Scores are at most 0, and -inf is no candidate. A few counts without a branch narrow down where the last
    one kept lies; only what lies there is ranked one by one.
    """
    best_K, entry_K, bits = scratch.best_K, scratch.entry_K, scratch.bits
    low, high = _narrowed(score[first:], keep)
    fresh, above = 0, 0
    for i in range(first, len(score)):
        if score[i] > high:
            fresh += bits[i] == 0
            bits[i] |= bit
            above += 1
    keep -= above
    kept, least = 0, low if keep > 0 else np.inf
    for i in range(len(score) - 1, first - 1, -1):
        if score[i] > least and score[i] <= high:
            k = min(kept, keep - 1)
            kept = min(kept + 1, keep)
            while k > 0 and best_K[k - 1] < score[i]:
                best_K[k] = best_K[k - 1]
                entry_K[k] = entry_K[k - 1]
                k -= 1
            best_K[k] = score[i]
            entry_K[k] = i
            if kept == keep:
                least = best_K[keep - 1]
    for k in range(kept):
        fresh += bits[entry_K[k]] == 0
        bits[entry_K[k]] |= bit
    return fresh


@inner
def _narrowed(score: Doubles, keep: int) -> tuple[float, float]:
    """(low, high) with at most `keep` scores above high, and more than that above low unless it is -inf."""
    low, high = -1.0, 0.0
    while _above(score, low) <= keep:
        high = low
        low *= 4.0
        if low < -1e6:
            return -np.inf, high
    for _ in range(10):
        middle = 0.5 * (low + high)
        count = _above(score, middle)
        if count > keep:
            low = middle
        else:
            high = middle
            if count == keep:
                break
    return low, high


@inner
def _above(score: Doubles, bound: float) -> int:
    count = 0
    for i in range(len(score)):
        count += score[i] > bound
    return count


@inner
def copied(
    slabs: Slabs, rows: Rows, b: int, wanted: Wanted, scratch: Scratch, length: int, out: Columns
) -> None:
    """Write row b's window, which is all zeros: the `length` chosen entries, and that the others are none."""
    user, time_ms = rows.user_B[b], rows.time_ms_B[b]
    chosen = scratch.chosen_W[:length]
    out.length_B[b] = length
    gathered(entries(slabs, user, ITEM), chosen, out.item_BW[b])
    gathered(entries(slabs, user, CATEGORY), chosen, out.category_BW[b])
    ages(entries(slabs, user, TIME), chosen, time_ms, out.age_s_BW[b])
    lasts, pace_of, retention_W = entries(slabs, user, LAST), paces(slabs, user), out.retention_BW[b]
    for w in range(length):
        i = chosen[w]
        retention_W[w] = np.exp(np.float32(-max(time_ms - lasts[i], 0) * pace_of[i]))
    times, time_ms_W, strength_s_W = entries(slabs, user, TIME), out.time_ms_BW[b], out.strength_s_BW[b]
    for w in range(length):
        i = chosen[w]
        time_ms_W[w] = times[i]
        strength_s_W[w] = 0.001 / pace_of[i]
    knowns, label_of, label_W = entries(slabs, user, KNOWN), labels(slabs, user), out.label_BW[b]
    bits_W = out.views_BW[b]
    for w in range(length):
        i = chosen[w]
        label_W[w] = label_of[i] if knowns[i] <= rows.clock_ms_B[b] else np.float32(np.nan)
        bits_W[w] = scratch.bits[i]
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
def told(slabs: Slabs, curve: Curve, rows: Rows, b: int, out: Columns) -> None:
    """Write what becomes of the memory when row b is remembered."""
    user, item, time_ms = rows.user_B[b], rows.item_B[b], rows.time_ms_B[b]
    out.own_strength_s_B[b], out.goes_B[b], out.own_minute_B[b] = 0.0, 0, rows.minute_B[b]
    if math.isnan(rows.label_B[b]) and rows.known_ms_B[b] > rows.clock_ms_B[b]:
        return
    goes, length = leaving(slabs, curve, user, time_ms), slabs.users[user, LENGTH]
    if goes < length:
        out.own_strength_s_B[b] = 0.001 / met(slabs, curve, user, item, time_ms)[1]
        out.goes_B[b] = length - goes if goes >= 0 else 0


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
