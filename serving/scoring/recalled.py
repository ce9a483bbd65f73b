"""What a user's memory is worth at a time and a place: for asking "and on Friday evening, there?".

Shape suffixes: W memory entries, T items with totals, D width, K interests or kernels, N items. A memory is
an array of `state.store.records.MEMORY_ENTRY`.

The published interests are as of the user's last event. For another hour or place, the memory gives
c(t, place) = sum over k in {hour, week, place} of (sum_w R_w k_w x_w) / sqrt(sum_w R_w k_w + 1/2), with R the
retention as of the last event, k the kernel values at (t, place) and x the entries' item vectors without
their bias. The query vector moves by s (c(asked) - c(last event)); s makes the longer of the two as long
as the published hour, week and place interests together, or all interests where none of these is
published. Asked for the hour and place of the last event, nothing moves.
"""

import functools
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from state import weeks
from state.arrays import Bools, Doubles, Floats, Int64s
from state.cells import cells_of, closeness
from state.evidence import LONGEST_S, Kernel, Specification
from state.ids import NO_KEY
from state.store.contract import RunInfo
from state.store.copy_score import KM
from state.store.records import Entries, Record
from state.weeks import DAYS_OFF, WEEK_MIN, day_off, minute_of_week, tz_min_of

CONTEXT_INTERESTS = ("hour", "week", "place")
_DAY_S = 86_400.0


class RecalledMemory(NamedTuple):
    """A memory at a time and a place: of every entry its retention, and kernel values in [0, 1]."""

    memory: Entries
    cell: int
    """The place, or NO_KEY."""
    minute: int
    """Of the user's local week."""
    age_s_W: Doubles
    retention_W: Doubles
    hour_W: Doubles
    week_W: Doubles
    place_W: Doubles
    totals: "Aged"


class Aged(NamedTuple):
    """What the whole memory says of T items at a time; of those that the entries tell all of, nothing."""

    item_T: Int64s
    """Keys."""
    count_T: Doubles
    first_s_T: Doubles
    last_s_T: Doubles
    """Ages of the first and the last event."""
    since_T: Int64s
    faded_T: Doubles
    """Events faded by `state.evidence.LONGEST_S`."""


Explain = Callable[[RecalledMemory, Floats, Floats], Doubles]
"""(recalled, entries' item vectors (W, D), item vector (D,)) -> what each entry adds to the score (W,)."""


def recalled(record: Record, info: RunInfo, time_ms: int, cell: int) -> RecalledMemory:
    """What `record`'s memory is worth at a time (UTC) and a place; hours are the user's own clock's."""
    memory = record.memory
    since_s_W = np.maximum(time_ms - memory["last_ms"], 0) / 1000.0
    minute = minute_of_week(time_ms, utc_offset_min(memory))
    apart_W = (minute - memory["minute"]) % WEEK_MIN
    return RecalledMemory(
        memory,
        cell,
        minute,
        np.maximum(time_ms - memory["time_ms"], 0) / 1000.0,
        np.exp(-since_s_W / memory["strength_s"]),
        np.exp(_log_kernel(info.hour_width_h, 24)[apart_W]),
        np.exp(_log_kernel(info.week_width_h, 168)[apart_W]),
        np.array([closeness(cell, place) for place in memory["cell"].tolist()], np.float64),
        _aged(record, time_ms),
    )


def _aged(record: Record, time_ms: int) -> Aged:
    totals = record.totals
    later_s = max(time_ms - record.event_time_ms, 0) / 1000.0
    first_s_T, last_s_T = (np.maximum(time_ms - totals[name], 0) / 1000.0 for name in ("first_ms", "last_ms"))
    return Aged(
        totals["item"].astype(np.int64),
        totals["count"].astype(np.float64),
        first_s_T,
        last_s_T,
        totals["since"].astype(np.int64),
        totals["faded"] * np.exp2(-later_s / LONGEST_S),
    )


def evidence(recalled: RecalledMemory, vectors_WD: Floats, vector_D: Floats) -> Doubles:
    """R (1 + hour + week + place) / 4 times the likeness x_w . x of entry and item, biases aside."""
    weight_W = recalled.retention_W * (1.0 + recalled.hour_W + recalled.week_W + recalled.place_W) / 4.0
    return np.asarray(weight_W * (vectors_WD[:, :-1].astype(np.float64) @ vector_D[:-1]))


def speaking(memory: Entries, row_W: Int64s) -> Bools:
    """Which entries speak for their item: those that it is known of and that came out well."""
    return np.asarray((row_W >= 0) & ~(memory["label"] <= 0.5))


def kernels(
    recalled: RecalledMemory,
    specification: Specification,
    row_W: Int64s,
    before_W: Int64s,
    place_N2: Doubles,
    here: Doubles,
    *,
    fades: bool = True,
) -> Doubles:
    """Kernels (W, K) of all entries as specified; zeros for an entry that does not speak.

    `row_W` is each entry's item as a row of `place_N2` (longitude, latitude), or -1, and `before_W` that of
    what came just before it; `here` is from where distances count, NaN for nowhere. Hours that lie between
    two events are those that have passed.
    """
    memory, age_s_W, speaks_W = recalled.memory, recalled.age_s_W, speaking(recalled.memory, row_W)
    apart_W = (age_s_W // 60).astype(np.int64) % WEEK_MIN
    off_W = np.isin((recalled.minute - apart_W) % WEEK_MIN // 1440, DAYS_OFF)
    after_W, gap_W, close_W = _before(specification, recalled, row_W, before_W, place_N2, here)
    factors = {
        "after": after_W,
        "near": close_W,
        "gap": gap_W,
        "day_off": off_W == day_off(recalled.minute),
        "here": (memory["cell"] == recalled.cell) & (recalled.cell != NO_KEY),
        "curve": recalled.retention_W if fades else np.ones(len(memory)),
    }

    def of(kernel: Kernel) -> Doubles:
        value_W = np.ones(len(memory))
        for name, factor_W in factors.items():
            if getattr(kernel, name):
                value_W = value_W * factor_W
        for width_h, period_h in ((kernel.hour_h, 24), (kernel.week_h, 168)):
            if width_h is not None:
                value_W = value_W * np.exp(_log_kernel(width_h, period_h)[apart_W])
        if kernel.soon_s is not None:
            value_W = value_W * np.where(age_s_W < _DAY_S, np.exp2(-age_s_W / kernel.soon_s), 0.0)
        if kernel.half_life_s is not None and fades:
            value_W = value_W * np.exp2(-age_s_W / kernel.half_life_s)
        return value_W / (specification.least + value_W[speaks_W].sum()) if kernel.share else value_W

    return np.column_stack([of(kernel) for kernel in specification.kernels]) * speaks_W[:, np.newaxis]


class PlacedItems:
    """Where items are, ready to be asked how far each is from somewhere."""

    def __init__(self, place_N2: Doubles) -> None:
        """`place_N2`: longitude and latitude, WGS 84 degrees; NaN where nowhere."""
        self.place_N2 = place_N2
        self._east_N, self._north_N = (np.ascontiguousarray(place_N2[:, axis]) * KM[axis] for axis in (0, 1))
        half_N = np.radians(place_N2[:, 1] / 2.0)
        self._cos_N, self._sin_N = np.cos(half_N), np.sin(half_N)

    def kilometres2(self, here: Doubles, rows: Int64s | slice | None = None) -> Doubles:
        """Squared distances (N,) as on a map, or of some; NaN where one of the two is not known."""
        half, at = np.radians(here[1] / 2.0), slice(None) if rows is None else rows
        east_N = self._east_N[at] - here[0] * KM[0]
        east_N *= self._cos_N[at] * np.cos(half) - self._sin_N[at] * np.sin(half)
        north_N = self._north_N[at] - here[1] * KM[1]
        return np.asarray(east_N * east_N + north_N * north_N)


def _before(
    specification: Specification,
    recalled: RecalledMemory,
    row_W: Int64s,
    before_W: Int64s,
    place_N2: Doubles,
    here: Doubles,
) -> tuple[Doubles, Doubles, Doubles]:
    """Of what came just before each entry: whether it is the last item; how alike the gap; how near here."""
    same_W, gap_W, close_W = (np.zeros(len(row_W)) for _ in range(3))
    if not len(row_W) or row_W[-1] < 0:
        return same_W, gap_W, close_W
    pause_s, there_W = specification.pause_s, recalled.memory["before"] != NO_KEY
    same_W[:] = before_W == row_W[-1]
    log_gap_W = np.log(recalled.memory["gap_s"].astype(np.float64) + pause_s)
    apart_W = log_gap_W - np.log(recalled.age_s_W[-1] + pause_s)
    gap_W[there_W] = np.exp(-specification.gap * apart_W[there_W] ** 2)
    km2_W = np.where(before_W >= 0, PlacedItems(place_N2[before_W]).kilometres2(here), np.nan)
    near_W = km2_W < specification.far_km2
    close_W[near_W] = np.exp(-np.sqrt(km2_W[near_W]) / specification.near_km)
    return same_W, gap_W, close_W


@functools.cache
def _log_kernel(width_h: float, period_h: int) -> Doubles:
    return weeks.periodic(width_h, period_h)


def utc_offset_min(memory: Entries) -> int:
    """Minutes that the user's local time is ahead of UTC, by the newest entry; 0 without one."""
    if not len(memory):
        return 0
    return tz_min_of(int(memory["minute"][-1]), int(memory["time_ms"][-1]))


def cell_at(lat: float, lon: float) -> int:
    """The place at WGS 84 degrees."""
    return int(cells_of(np.array([lat]), np.array([lon]), np.array([NO_KEY]))[0])


def last_place(memory: Entries) -> int:
    """Where the newest entry that has a place was, or NO_KEY."""
    placed_W = np.flatnonzero(memory["cell"] != NO_KEY)
    return int(memory["cell"][placed_W[-1]]) if len(placed_W) else NO_KEY


def shift(
    record: Record, info: RunInfo, vectors_WD: Floats, then: RecalledMemory, now: RecalledMemory
) -> Doubles:
    """How far (D,) the query vector moves from the context of the last event to the one asked for."""
    now = now._replace(retention_W=then.retention_W)
    before_D, after_D = _drawn(then, vectors_WD), _drawn(now, vectors_WD)
    longest = max(np.linalg.norm(before_D), np.linalg.norm(after_D))
    if longest == 0.0:
        return np.zeros(vectors_WD.shape[1])
    named = [k for k, name in enumerate(info.interests) if name in CONTEXT_INTERESTS]
    reach = np.linalg.norm(record.vectors_KD[named, :-1].sum(axis=0)) if named else 0.0
    if reach == 0.0:
        reach = np.linalg.norm(record.vectors_KD[:, :-1].sum(axis=0))
    return np.asarray(reach / longest * (after_D - before_D))


def _drawn(recalled: RecalledMemory, vectors_WD: Floats) -> Doubles:
    total_D = np.zeros(vectors_WD.shape[1])
    for kernel_W in (recalled.hour_W, recalled.week_W, recalled.place_W):
        weight_W = recalled.retention_W * kernel_W
        total_D += weight_W @ vectors_WD / np.sqrt(weight_W.sum() + 0.5)
    total_D[-1] = 0.0
    return total_D
