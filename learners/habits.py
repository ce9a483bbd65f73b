"""What this user does at this time of day: own past events, faded, times an hour-of-day kernel.

    score(j) = sum over own visits to j of 2^(-age / half-life) k(difference of hours)
               + popular x share of j in all events

with k = wide + (1 - wide) exp((cos a - 1) / s^2), a the difference and s = hour_sd as angles of a day.
Shape suffixes: as in `learners.counting`; M minutes of a day.
"""

from typing import ClassVar, cast

import numpy as np

from learners.contract import Context, Settings
from learners.counting import Counting, Ranks, Rows, positive, put_rank
from learners.fading import DAY_MS, TOP, TOTAL, Faded, FadedArrays, fade_add
from learners.visits import BLOCK, BLOCKS, FILLED, NEWEST, OLDEST, VisitArrays, Visits, append
from state.compiled import compiled
from state.examples import Doubles, ExampleBatch, Floats
from state.keys import Int64s, add, find
from state.tree import Tree

_MINUTES = 1440


class HabitsSettings(Settings, frozen=True, kw_only=True):
    """Defaults were chosen on the first half of Foursquare NYC, with an eye on Complete Journey's."""

    half_life_days: float = 45.0
    hour_sd: float = 1.0
    """Width of the kernel in hours of local time."""
    wide: float = 0.1
    """What a visit at the opposite hour is worth; 1 switches the kernel off."""
    popular: float = 10.0
    """Visits that all of popularity is worth."""
    popular_days: float = 14.0
    """Half-life of popularity."""
    cap: int = 2048
    """Visits kept of each user, the newest."""


class Habits(Counting):
    """Ranks by the user's own habits, then by popularity."""

    name: ClassVar[str] = "habits"
    Config: ClassVar[type[Settings]] = HabitsSettings

    def __init__(self, config: Settings, context: Context) -> None:
        super().__init__(config, context)
        self.settings = s = cast(HabitsSettings, config)
        self.visits = Visits(s.cap)
        self.popular = Faded()
        self.half_life_ms = s.half_life_days * DAY_MS
        self.kernel_M = hour_kernel(s.hour_sd, s.wide)

    def count(self, rows: Rows, queue: Rows, due_B: Int64s, ranks: Ranks) -> None:
        popular = self.popular.reserve(len(self.context.catalogue))
        visits = self.visits.reserve(len(queue.item_B))
        users, s = self.visits.users, self.settings
        _count(
            due_B,
            rows,
            queue,
            ranks,
            users.table,
            users.keys,
            users.count,
            visits,
            self.visits.most,
            popular,
            self.half_life_ms,
            s.popular_days * DAY_MS,
            s.popular,
            self.kernel_M,
        )

    def rank(self, batch: ExampleBatch) -> Floats:
        share_N = self.settings.popular * self.popular.share(len(self.context.catalogue))
        score_BN = np.tile(share_N, (len(batch), 1))
        user_B = self.visits.users.rows(batch.user_B)
        _add_own(user_B, self._rows(batch), self.visits.arrays, self.half_life_ms, self.kernel_M, score_BN)
        return score_BN.astype(np.float32)

    def tree(self) -> Tree:
        return {"visits": self.visits.tree(), "popular": self.popular.tree()}

    def load(self, tree: Tree) -> None:
        self.visits.load(tree["visits"])
        self.popular.load(tree["popular"])


def hour_kernel(sd_h: float, wide: float) -> Doubles:
    """The kernel at every difference of 0 .. 1439 minutes."""
    angle_M = np.arange(_MINUTES) * (2.0 * np.pi / _MINUTES)
    sd = sd_h * 2.0 * np.pi / 24.0
    return np.asarray(wide + (1.0 - wide) * np.exp((np.cos(angle_M) - 1.0) / sd**2))


@compiled
def minute_of_day(time_ms: int, tz_min: int) -> int:
    """Local minute of day, 0 .. 1439."""
    return (time_ms // 60_000 + tz_min) % 1440


@compiled
def _recall(
    own_N: Doubles,
    touched: Int64s,
    visits: VisitArrays,
    u: int,
    time_ms: int,
    minute: int,
    half_life_ms: float,
    kernel_M: Doubles,
) -> int:
    """Add the user's visits to `own_N`; how many rows it touched, listed in `touched`."""
    many = 0
    v, newest = visits.user_U[u, OLDEST], visits.user_U[u, NEWEST]
    for _ in range(visits.user_U[u, BLOCKS]):
        for e in range(visits.user_U[u, FILLED] if v == newest else BLOCK):
            n = visits.item_VE[v, e]
            age_ms = max(time_ms - visits.time_ms_VE[v, e], 0)
            hours = kernel_M[(minute - visits.minute_VE[v, e]) % 1440]
            weight = 2.0 ** (-age_ms / half_life_ms) * hours
            if own_N[n] == 0.0 and weight > 0.0:
                touched[many] = n
                many += 1
            own_N[n] += weight
        v = visits.next_V[v]
    return many


@compiled
def _add_own(
    user_B: Int64s,
    rows: Rows,
    visits: VisitArrays,
    half_life_ms: float,
    kernel_M: Doubles,
    score_BN: Doubles,
) -> None:
    own_N = np.zeros(score_BN.shape[1])
    touched = np.empty(score_BN.shape[1], np.int64)
    for b in range(user_B.shape[0]):
        if user_B[b] >= 0:
            time_ms = rows.time_ms_B[b]
            minute = minute_of_day(time_ms, rows.tz_min_B[b])
            many = _recall(own_N, touched, visits, user_B[b], time_ms, minute, half_life_ms, kernel_M)
            for i in range(many):
                score_BN[b, touched[i]] += own_N[touched[i]]
                own_N[touched[i]] = 0.0


@compiled
def _count(
    due_B: Int64s,
    rows: Rows,
    queue: Rows,
    ranks: Ranks,
    table: Int64s,
    keys: Int64s,
    users: Int64s,
    visits: VisitArrays,
    most: int,
    popular: FadedArrays,
    half_life_ms: float,
    popular_ms: float,
    worth: float,
    kernel_M: Doubles,
) -> None:
    q = 0
    own_N = np.zeros(popular.weight_N.shape[0])
    touched = np.empty(popular.weight_N.shape[0], np.int64)
    for b in range(due_B.shape[0]):
        while q < due_B[b]:
            if positive(queue.label_B[q]):
                u, n, time_ms = add(table, keys, users, queue.user_B[q]), queue.item_B[q], queue.time_ms_B[q]
                append(visits, most, u, n, time_ms, minute_of_day(time_ms, queue.tz_min_B[q]))
                fade_add(popular, popular_ms, n, time_ms, 1.0)
            q += 1
        if ranks.place_B[b] >= 0:
            many, u = 0, find(table, rows.user_B[b])
            if u >= 0:
                time_ms = rows.time_ms_B[b]
                minute = minute_of_day(time_ms, rows.tz_min_B[b])
                many = _recall(own_N, touched, visits, u, time_ms, minute, half_life_ms, kernel_M)
            scale = worth / popular.clock[TOTAL] if popular.clock[TOTAL] > 0.0 else 0.0
            put_rank(
                ranks,
                ranks.place_B[b],
                own_N,
                touched,
                many,
                popular.weight_N,
                scale,
                popular.clock[TOP],
            )
