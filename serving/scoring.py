"""The published copy score (`state.copy_score`) of a user, at a time and a place, and who brought it about.

An hour and a day are asked
for within the week after the user's last event: what lies further away is answered for the same minute of
that week, since nobody knows how much more will have faded by then.

Shape suffixes: N items of the catalogue, W memory entries, I items of the memory, K kernels, V parts.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from learners.distil import MEMORY
from learners.evidence import COLUMN, FLOOR, HOURS, PAST, SINCE_S, WEEKS
from learners.evidence_rows import NEAR
from serving.kernels import FAR_KM2, Asked, Bools, kernels, kilometres2, speaking
from serving.recalled import last_place
from state.copy_score import AMONG, LEADING, CopyScore
from state.examples import Doubles
from state.forgetting import WEEK_MIN
from state.keys import Int64s
from state.records import Entries, Record
from state.store import RunInfo

WEEK_MS = WEEK_MIN * 60_000
PARTS = ("retention", "hour", "week", "place", "before")
"""What a kernel asks of an event: how old it is; which hour, which day; where; after what."""
_PART_OF = {
    **dict.fromkeys(HOURS, "hour"),
    **dict.fromkeys((*WEEKS, "weekend"), "week"),
    **dict.fromkeys(("from_here", "from_here_hour", "same_place"), "place"),
    **dict.fromkeys(("after", "after_gap"), "before"),
}
_PART_K = np.array([PARTS.index(_PART_OF.get(name, "retention")) for name in MEMORY])
_FLOOR_K = np.array([float(FLOOR[COLUMN[name]]) for name in MEMORY])
_NEAR_FLOOR, _CROWD_FLOOR = float(FLOOR[COLUMN["near"]]), 1e-6


class Scored(NamedTuple):
    """Every item's score, by what it is the sum of."""

    score_N: Doubles
    crowd_N: Doubles
    """Of what everybody does."""
    near_N: Doubles
    interest_N: Doubles
    row_W: Int64s
    """The item of every entry that speaks; -1 for the others."""
    add_WV: Doubles
    """What each entry adds to its item's score, at least 0, by PARTS."""


class Copy:
    """A run's copy score on a catalogue of N items, whose rows `row_of` gives by key."""

    def __init__(self, copy: CopyScore, row_of: Callable[[int], int | None], size: int) -> None:
        self.weights = copy
        self._row_of = row_of
        terms = copy.terms()
        self._prior_N = np.full(size, terms.prior_N.min(initial=0.0))
        self._crowd_N = np.zeros(size)
        self._place_N2 = np.full((size, 2), np.nan)
        self._found_N = np.zeros(size, np.uint8)
        rows = [row_of(key) for key in terms.key_N.tolist()]
        known = np.array([row is not None for row in rows], np.bool_)
        rows_N = np.array([row for row in rows if row is not None], np.int64)
        self._prior_N[rows_N] = terms.prior_N[known]
        self._crowd_N[rows_N] = terms.crowd_N[known]
        self._place_N2[rows_N] = terms.place_N2[known]
        self._found_N[rows_N] = terms.found_N[known]
        self._memory_K = np.array([copy.memory[name] for name in MEMORY])

    def score(
        self,
        record: Record,
        interest_N: Doubles,
        at_ms: int | None = None,
        cell: int | None = None,
        point: tuple[float, float] | None = None,
    ) -> Scored:
        """Scores at a time (UTC) and at a place: its cell, and its latitude and longitude.

        `interest_N` is what the published interests say of every item. What is not asked for is as it was at
        the user's last event.
        """
        memory = record.memory
        ahead_ms = 0 if at_ms is None else (at_ms - record.event_time_ms) % WEEK_MS
        now_ms = record.event_time_ms + ahead_ms
        key_W = memory["item"].tolist()
        row_W = np.array([-1 if (row := self._row_of(key)) is None else row for key in key_W], np.int64)
        here = self._here(row_W, point)
        speaks_W = speaking(memory, row_W)
        asked = Asked(now_ms, last_place(memory) if cell is None else cell, here)
        kernel_WK = kernels(memory, row_W, self._place_N2, asked, fades=self.weights.fades)
        add_WV, past_N = self._copied(memory, row_W, speaks_W, kernel_WK, now_ms)
        km2_N = kilometres2(self._place_N2, here)
        near_N = self.weights.near * np.log(_NEAR_FLOOR + np.where(np.isnan(km2_N), FAR_KM2, km2_N))
        crowd_N = self._prior_N + self.weights.base * np.log(_CROWD_FLOOR + self._crowd_N)
        liked_N = self.weights.interest * interest_N
        score_N = crowd_N + near_N + liked_N + past_N
        own_W = row_W[speaks_W]
        np.add.at(score_N, own_W, add_WV[speaks_W].sum(1))
        behind_N = ~self._candidates(own_W, interest_N, km2_N)
        least = score_N[~behind_N].min(initial=0.0) - 1.0
        score_N[behind_N] = least + (crowd_N - crowd_N.max(initial=-np.inf))[behind_N]
        return Scored(score_N, crowd_N, near_N, liked_N, np.where(speaks_W, row_W, -1), add_WV)

    def _candidates(self, own_W: Int64s, interest_N: Doubles, km2_N: Doubles) -> Bools:
        """Items that are ranked by their score."""
        candidate_N = (self._found_N & LEADING) > 0
        among = np.flatnonzero(self._found_N & AMONG)
        candidate_N[among[_largest(interest_N[among], self.weights.brought)]] = True
        placed = np.flatnonzero(~np.isnan(km2_N))
        worth_N = self._crowd_N[placed] / (km2_N[placed] + 0.01) ** 0.75
        candidate_N[placed[_largest(worth_N, NEAR)]] = True
        candidate_N[own_W] = self.weights.repeats
        return candidate_N

    def _here(self, row_W: Int64s, point: tuple[float, float] | None) -> Doubles:
        """Longitude and latitude: the point's, else those of the last item."""
        if point is not None:
            return np.array(point[::-1])
        return self._place_N2[row_W[-1]] if len(row_W) and row_W[-1] >= 0 else np.full(2, np.nan)

    def _copied(
        self, memory: Entries, row_W: Int64s, speaks_W: Bools, kernel_WK: Doubles, now_ms: int
    ) -> tuple[Doubles, Doubles]:
        """What entries add (W, V), and what the time since the newest one says of each item (N,)."""
        add_WV, past_N = np.zeros((len(memory), len(PARTS))), np.zeros(len(self._prior_N))
        spoken_W = np.flatnonzero(speaks_W)
        if not len(spoken_W):
            return add_WV, past_N
        item_I, of_W = np.unique(row_W[spoken_W], return_inverse=True)
        kernel_WK = kernel_WK[spoken_W]
        sum_IK = np.zeros((len(item_I), len(MEMORY)))
        np.add.at(sum_IK, of_W, kernel_WK)
        worth_IK = self._memory_K * np.log1p(sum_IK / _FLOOR_K) / np.maximum(sum_IK, 1e-30)
        hour, long = MEMORY.index("hour_2h"), MEMORY.index("own_64d")
        own_IK = np.zeros_like(sum_IK)
        own_IK[:, hour], own_IK[:, long] = 0.5 * sum_IK[:, hour], 0.1 * sum_IK[:, long]
        total, own_I = 1e-6 + sum_IK[:, long].sum(), own_IK.sum(1)
        gain_I = np.log1p(own_I / (1.0 + total) / (_CROWD_FLOOR + self._crowd_N[item_I]))
        base_I = self.weights.base * gain_I / np.maximum(own_I, 1e-30)
        worth_IK[:, hour] += 0.5 * base_I
        worth_IK[:, long] += 0.1 * base_I
        adds_WK = kernel_WK * worth_IK[of_W]
        for v in range(len(PARTS)):
            add_WV[spoken_W, v] = adds_WK[:, v == _PART_K].sum(1)
        past_N[item_I] = self._past(row_W, memory["time_ms"][spoken_W], of_W, item_I, now_ms)
        return add_WV, past_N

    def _past(self, row_W: Int64s, time_ms_W: Int64s, of_W: Int64s, item_I: Int64s, now_ms: int) -> Doubles:
        newest_s_I, oldest_s_I, count_I = (
            np.full(len(item_I), np.inf),
            np.zeros(len(item_I)),
            np.bincount(of_W),
        )
        age_s_W = np.maximum(now_ms - time_ms_W, 0) / 1000.0
        np.minimum.at(newest_s_I, of_W, age_s_W)
        np.maximum.at(oldest_s_I, of_W, age_s_W)
        usual_s_I = (oldest_s_I - newest_s_I) / np.maximum(count_I - 1, 1)
        overdue_I = np.clip(np.log((newest_s_I + 60.0) / (usual_s_I + 60.0)), -4.0, 3.0)
        columns = {
            "newest": item_I == row_W[-1],
            "today": newest_s_I < 57_600.0,
            "interval": np.where(count_I > 1, overdue_I, 0.0),
            **{name: newest_s_I < bound_s for name, bound_s in SINCE_S.items()},
            "own": np.ones(len(item_I)),
        }
        assert set(columns) == {*PAST, "own"}
        return sum(
            (self.weights.past[name] * column for name, column in columns.items()), np.zeros(len(item_I))
        )


def followed(info: RunInfo | None) -> list[str]:
    """What a report says of the score that `recommend` goes by."""
    if info is None or not info.interests:
        return []
    if info.copy is None:
        return [f"recommend goes by the inner product of {info.learner}'s published interests and items"]
    copy = info.copy
    worth = (
        f"top-10 overlap {copy.overlap:.2f}, R² {copy.r2:.2f}, over {copy.requests} requests that it was not "
        "fitted to"
    )
    if copy.agrees:
        return [f"recommend follows {info.learner}'s ranking by a published sum of few terms: {worth}"]
    return [
        "recommend goes by the published interests alone: a sum of few terms does not follow "
        f"{info.learner}'s ranking here ({worth})"
    ]


def _largest(value_N: Doubles, count: int) -> Int64s:
    return np.argsort(-value_N, kind="stable")[:count]
