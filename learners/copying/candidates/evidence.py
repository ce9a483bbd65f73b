"""Evidence for a candidate: what the user's own memory, and everybody's behaviour, say for it right now.

Every past event speaks for its item with a product of kernels, which `state.evidence` specifies: retention at
several half-lives, hour of day, hour of week, what the user did just before, where that was, the same place.
Summed over the memory, as logarithms, these are the columns that the mixture of experts weighs; the crowd's
counts and the interests join them.

Shape suffixes: B rows, W window entries, C candidates, F columns, K kernels, N catalogue rows.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from learners.copying.counts.returns import NAMES
from state.compiled import compiled, inner
from state.evidence import STIM
from state.examples import Floats
from state.forgetting import WEEK_MIN, day_off, periodic
from state.keys import NO_KEY, Int64s, find
from state.memory.windows import Columns
from state.returns import LEAST

MEMORY = tuple(kernel.name for kernel in STIM.kernels)
"""Sums over the user's own events with the candidate: OWN, and their count."""
HOURS = {kernel.name: kernel.hour_h for kernel in STIM.kernels if kernel.part == "hour" and kernel.hour_h}
WEEKS = {kernel.name: kernel.week_h for kernel in STIM.kernels if kernel.part == "week" and kernel.week_h}
"""Widths in hours of the hour-of-day and the hour-of-week kernels."""
FAR_KM2 = STIM.far_km2

OWN = MEMORY[:-1]
"""Sums of kernel products over the user's own events with the candidate: hour-of-day kernels of a width each;
hour-of-week kernels and the same kind of day; events after the same item as now, and after a like gap; events
begun near where the user was last, and at a like hour; events at the request's place; the share of the user's
memory. None of them fades: the mask has chosen what speaks, and the curve of return tells how long ago."""
CROWD = (
    *("popular_3m", "popular_1h", "popular_1d", "popular_14d", "popular_365d", "slot", "slot_all", "age"),
    *("follow", "follow_soon", "after_last", "after_last_soon", "after_second"),
)
"""Shares of all events, by half-lives; events at this hour and kind of day, and a 24th of those at any; hours
since the first; chances to follow the last items, by long and by short counts, then after the last and the
second last item alone."""
PLACES = ("near", "density", "place_share")
"""Squared kilometres from where the user was last; the user's events around the candidate; its share of the
events at the request's place."""
BASE_SHARES = (0, 3)
"""Half-lives of popularity that the base counts, a tenth each."""
KIND = ("category", "category_hour")
"""Share of the user's events with the candidate's category, and at a like hour."""

LOGGED = (*OWN, "count", *CROWD, *PLACES, *KIND, *NAMES)
"""Columns that are logarithms, of what the row says plus the floor."""
FLOOR = np.array(
    [
        *(kernel.floor for kernel in STIM.kernels),
        *(*[STIM.least] * 5, 0.1, 0.1, 1.0, *[0.002] * 5),
        *(STIM.near_floor_km2, 0.02, 1e-5, 0.02, 0.02),
        *[LEAST] * len(NAMES),
    ],
    np.float32,
)

OTHER = ("stranger_place", "category_last", "interest")
"""Whether its place is unknown; whether the last event had its category; the multi-interest unit's score."""

COLUMNS = LOGGED + OTHER
COLUMN = {name: f for f, name in enumerate(COLUMNS)}


_PAUSE_S, _GAP, _NEAR_KM = STIM.pause_s, STIM.gap, STIM.near_km
_WEEKEND = COLUMN["weekend"]
_HOUR_15M, _HOUR_30M, _HOUR_1H, _HOUR_2H = (COLUMN[name] for name in HOURS)
_WEEK_30M, _WEEK_90M = (COLUMN[name] for name in WEEKS)
_AFTER, _AFTER_GAP, _SAME_PLACE = COLUMN["after"], COLUMN["after_gap"], COLUMN["same_place"]
_FROM_HERE, _FROM_HERE_HOUR = COLUMN["from_here"], COLUMN["from_here_hour"]
_LIKE_HOUR = list(HOURS).index("hour_1h")


class Tables(NamedTuple):
    """Kernels of the difference of local time, by minutes."""

    hour_M4: Floats
    week_M2: Floats


def tables() -> Tables:
    hour = [np.exp(periodic(width_h, 24))[:1440] for width_h in HOURS.values()]
    week = [np.exp(periodic(width_h, 168)) for width_h in WEEKS.values()]
    return Tables(np.array(hour, np.float32).T.copy(), np.array(week, np.float32).T.copy())


class Own(NamedTuple):
    """Sums over one row's memory; room is kept from row to row."""

    sum_CK: Floats
    """By own candidate, columns OWN."""
    item_C: Int64s
    """Catalogue row."""
    age_s_C: Floats
    """Of the newest event, and of the oldest."""
    oldest_s_C: Floats
    count_C: Floats
    since_C: Int64s
    """Entries of the window after the newest."""
    code_C: Int64s
    """Where it is on the curve of return (`returns.code_of`); for candidates alone."""
    row_W: Int64s
    """Catalogue row of each entry; -1 where it has none or speaks for nothing."""
    category_C: Int64s
    category_C3: Floats
    """By the user's categories: events, at a like hour, and whether the last."""
    slot_N: NDArray[np.int32]
    """Candidate of a catalogue row, plus one; 0 for none. All zero between rows."""


def own(width: int, size: int) -> Own:
    """Room for windows of `width` and a catalogue of `size`."""

    def floats() -> Floats:
        return np.zeros(width, np.float32)

    def rows() -> Int64s:
        return np.zeros(width, np.int64)

    return Own(
        sum_CK=np.zeros((width, len(OWN)), np.float32),
        item_C=rows(),
        age_s_C=floats(),
        oldest_s_C=floats(),
        count_C=floats(),
        since_C=rows(),
        code_C=rows(),
        row_W=rows(),
        category_C=rows(),
        category_C3=np.zeros((width, 3), np.float32),
        slot_N=np.zeros(size, np.int32),
    )


@compiled
def kilometres2(km_N3: NDArray[np.float64], a: int, b: int) -> float:
    """Squared distance, as on a map; NaN where a place is not known."""
    east = (km_N3[a, 0] - km_N3[b, 0]) * 0.5 * (km_N3[a, 2] + km_N3[b, 2])
    north = km_N3[a, 1] - km_N3[b, 1]
    return float(east * east + north * north)


@compiled
def remember_own(
    past: Columns,
    b: int,
    minute: int,
    cell: int,
    item_table: Int64s,
    km_N3: NDArray[np.float64],
    tables: Tables,
    speaks: bool,
    own: Own,
) -> tuple[int, int, int]:
    """Fill `own` from row b's window; returns the candidates, the categories, and the last item's row.

    Unless it `speaks` a memory has no candidates. `slot_N` is left set for the own candidates: the caller
    clears it.
    """
    length = past.length_B[b]
    sum_CK, slot_N = own.sum_CK, own.slot_N
    last, last_age_s = -1, 0.0
    for w in range(length):
        own.row_W[w] = find(item_table, past.item_BW[b, w])
    if length > 0:
        last, last_age_s = own.row_W[length - 1], past.age_s_BW[b, length - 1]
    if not speaks:
        length = 0
    log_gap = np.log(last_age_s + _PAUSE_S)
    many = kinds = 0
    weekend = day_off(minute)
    for w in range(length):
        n = own.row_W[w]
        if n < 0 or past.label_BW[b, w] <= 0.5:
            continue
        age_s = past.age_s_BW[b, w]
        c = slot_N[n] - 1
        if c < 0:
            c = many
            many += 1
            slot_N[n] = c + 1
            own.item_C[c] = n
            own.count_C[c] = 0.0
            own.oldest_s_C[c] = age_s
            for k in range(sum_CK.shape[1]):
                sum_CK[c, k] = 0.0
        own.age_s_C[c] = age_s
        own.count_C[c] += 1.0
        own.since_C[c] = length - 1 - w
        apart = np.int64(age_s / 60.0) % WEEK_MIN
        day = apart % 1440
        s = sum_CK[c]
        hour = tables.hour_M4[day]
        s[_HOUR_15M] += hour[0]
        s[_HOUR_30M] += hour[1]
        s[_HOUR_1H] += hour[2]
        s[_HOUR_2H] += hour[3]
        week = tables.week_M2[apart]
        s[_WEEK_30M] += week[0]
        s[_WEEK_90M] += week[1]
        if day_off(int((minute - apart) % WEEK_MIN)) == weekend:
            s[_WEEKEND] += 1.0
        if past.before_BW[b, w] != NO_KEY and last >= 0:
            before = find(item_table, past.before_BW[b, w])
            if before >= 0:
                z = np.log(past.gap_s_BW[b, w] + np.float32(_PAUSE_S)) - log_gap
                like = np.exp(-_GAP * z * z)
                if before == last:
                    s[_AFTER] += 1.0
                    s[_AFTER_GAP] += like
                km2 = kilometres2(km_N3, before, last)
                if km2 < FAR_KM2:
                    close = np.exp(-np.sqrt(km2) / _NEAR_KM)
                    s[_FROM_HERE] += close * like
                    s[_FROM_HERE_HOUR] += close * like * hour[_LIKE_HOUR]
        if cell != NO_KEY and past.cell_BW[b, w] == cell:
            s[_SAME_PLACE] += 1.0
        key = past.category_BW[b, w]
        if key != NO_KEY:
            k = 0
            while k < kinds and own.category_C[k] != key:
                k += 1
            if k == kinds:
                kinds += 1
                own.category_C[k] = key
                own.category_C3[k, 0] = 0.0
                own.category_C3[k, 1] = 0.0
                own.category_C3[k, 2] = 0.0
            own.category_C3[k, 0] += 1.0
            own.category_C3[k, 1] += hour[_LIKE_HOUR]
            if w == length - 1:
                own.category_C3[k, 2] = 1.0
    if speaks:
        many = _total(past, b, many, item_table, own)
    return many, kinds, last


@inner
def _total(past: Columns, b: int, many: int, item_table: Int64s, own: Own) -> int:
    """What the whole memory says of items that were had more than once; returns the candidates."""
    for i in range(past.total_item_BI.shape[1]):
        if past.total_item_BI[b, i] == NO_KEY:
            break
        n = find(item_table, past.total_item_BI[b, i])
        if n < 0:
            continue
        c = own.slot_N[n] - 1
        if c < 0:
            c = many
            many += 1
            own.slot_N[n] = many
            own.item_C[c] = n
            own.sum_CK[c, :] = 0.0
        own.count_C[c] = past.total_count_BI[b, i]
        own.since_C[c] = np.int64(past.total_since_BI[b, i])
        own.age_s_C[c] = past.total_last_s_BI[b, i]
        own.oldest_s_C[c] = past.total_first_s_BI[b, i]
    return many
