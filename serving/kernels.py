"""The kernels of a published memory, an entry at a time: `learners.evidence.remember_own` in plain numpy.

Shape suffixes: W memory entries, K kernels, N items.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from learners.distil import MEMORY
from learners.evidence import HOURS, WEEKS
from serving.recalled import utc_offset_min
from state.copy_score import KM
from state.examples import Doubles
from state.forgetting import DAYS_OFF, WEEK_MIN, day_off, minute_of_week, periodic
from state.keys import NO_KEY, Int64s
from state.records import Entries

Bools = NDArray[np.bool_]

FAR_KM2 = 9.0
"""Squared kilometres beyond which a place is not near, and where one counts whose place is not known."""
_DAY_S = 86_400.0
_LOG_M = {name: periodic(width_h, 24) for name, width_h in HOURS.items()}
_LOG_M |= {name: periodic(width_h, 168) for name, width_h in WEEKS.items()}


class Asked(NamedTuple):
    """When and where."""

    now_ms: int
    cell: int
    """The request's place, or NO_KEY."""
    here: Doubles
    """Longitude and latitude from which distances count; NaN for nowhere."""


def speaking(memory: Entries, row_W: Int64s) -> Bools:
    """Which entries speak for their item: those that it is known of and that came out well."""
    return np.asarray((row_W >= 0) & ~(memory["label"] <= 0.5))


def kernels(
    memory: Entries, row_W: Int64s, place_N2: Doubles, asked: Asked, *, fades: bool = True
) -> Doubles:
    """Kernels (W, K) of all entries, in the order of MEMORY; zeros for an entry that does not speak.

    `row_W` is each entry's item as a row of `place_N2` (longitude, latitude), or -1.
    """
    speaks_W = speaking(memory, row_W)
    age_s_W = np.maximum(asked.now_ms - memory["time_ms"], 0) / 1000.0
    since_s_W = np.maximum(asked.now_ms - memory["last_ms"], 0) / 1000.0
    minute = minute_of_week(asked.now_ms, utc_offset_min(memory))
    apart_W = (age_s_W // 60).astype(np.int64) % WEEK_MIN
    then_W = (minute - apart_W) % WEEK_MIN
    after_W, gap_W, close_W = _before(row_W, age_s_W, place_N2, asked.here)
    r1_W, r4_W, r16_W, r32_W, r64_W = (
        np.exp2(-age_s_W / (days * _DAY_S) * fades) for days in (1.0, 4.0, 16.0, 32.0, 64.0)
    )
    hour = {name: np.exp(_LOG_M[name][apart_W]) * (r32_W if h > 0.25 else r64_W) for name, h in HOURS.items()}
    columns = {
        **{"own_1d": r1_W, "own_4d": r4_W, "own_16d": r16_W, "own_64d": r64_W},
        "own_2h": np.where(age_s_W < _DAY_S, np.exp2(-age_s_W / 7200.0), 0.0),
        "curve": np.exp(-since_s_W / memory["strength_s"] * fades),
        **hour,
        **{name: np.exp(_LOG_M[name][apart_W]) * r64_W for name in WEEKS},
        "weekend": np.where(np.isin(then_W // 1440, DAYS_OFF) == day_off(minute), r32_W, 0.0),
        "after": after_W * r64_W,
        "after_gap": after_W * gap_W * r64_W,
        "from_here": close_W * gap_W * r64_W,
        "from_here_hour": close_W * gap_W * np.exp(_LOG_M["hour_1h"][apart_W]) * r64_W,
        "same_place": ((memory["cell"] == asked.cell) & (asked.cell != NO_KEY)) * r64_W,
        "share": r64_W / (1e-6 + r64_W[speaks_W].sum()),
        "count": np.ones(len(memory)),
    }
    return np.column_stack([columns[name] for name in MEMORY]) * speaks_W[:, np.newaxis]


def kilometres2(place_N2: Doubles, here: Doubles) -> Doubles:
    """Squared distances (N,) of places from one of them, as on a map; NaN where one is not known."""
    middle_N = np.radians((place_N2[:, 1] + here[1]) / 2.0)
    east_N, north_N = ((place_N2 - here) * KM).T
    return np.asarray((east_N * np.cos(middle_N)) ** 2 + north_N**2)


def _before(
    row_W: Int64s, age_s_W: Doubles, place_N2: Doubles, here: Doubles
) -> tuple[Doubles, Doubles, Doubles]:
    """Of what came just before each entry: whether it is the last item; how alike the gap; how near here."""
    same_W, gap_W, close_W = (np.zeros(len(row_W)) for _ in range(3))
    if not len(row_W) or row_W[-1] < 0:
        return same_W, gap_W, close_W
    before_W = row_W[:-1]
    same_W[1:] = before_W == row_W[-1]
    apart_W = np.log(age_s_W[:-1] - age_s_W[1:] + 60.0) - np.log(age_s_W[-1] + 60.0)
    gap_W[1:] = np.exp(-2.0 * apart_W**2)
    km2_W = np.where(before_W >= 0, kilometres2(place_N2[before_W], here), np.nan)
    near_W = km2_W < FAR_KM2
    close_W[1:][near_W] = np.exp(-np.sqrt(km2_W[near_W]) / 0.4)
    return same_W, gap_W, close_W
