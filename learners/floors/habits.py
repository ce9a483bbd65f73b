"""What this user does at this time of day: own past events, faded, times an hour-of-day kernel.

    score(j) = sum over own visits to j of 2^(-age / half-life) k(difference of hours)
               + popular x share of j in all events

with k = wide + (1 - wide) exp((cos a - 1) / s^2), a the difference and s = hour_sd as angles of a day.
Some habits keep hours and some do not: there is a variant for each (`learners.counting.best_variant`).
Shape suffixes: as in `learners.counting.floor`; V variants, M minutes of a day.
"""

from typing import Annotated, ClassVar, NamedTuple, cast

import msgspec
import numpy as np

from learners.contract import Context, Settings
from learners.counting.best_variant import SPEAKER, LeaderArrays, settle, trial
from learners.counting.floor import (
    Counting,
    Due,
    FloorColumns,
    RankColumns,
    Sparse,
    answer,
    positive,
)
from learners.ranges import Amount, Positive, Some
from learners.tables.expiry import Forgotten
from learners.tables.faded import DAY_MS, Faded, FadedArrays, fade_add, worth
from learners.tables.visits import BLOCK, BLOCKS, FILLED, NEWEST, OLDEST, VisitArrays, Visits, append
from state.compiled import compiled, inner
from state.examples import Doubles, ExampleBatch, Floats
from state.keys import Int64s, KeyArrays, add, find
from state.tree import Tree

_MINUTES = 1440


class Habit(Settings, frozen=True, kw_only=True):
    half_life_days: Positive = 45.0
    hour_sd: Positive = 1.0
    """Width of the kernel in hours of local time."""
    wide: Amount = 0.1
    """What a visit at the opposite hour is worth; 1 switches the kernel off."""
    popular: Amount = 10.0
    """Visits that all of popularity is worth."""
    popular_days: Positive = 14.0
    """Half-life of popularity."""


class HabitsSettings(Settings, frozen=True, kw_only=True):
    """Defaults were chosen on the first halves of Foursquare NYC and of Complete Journey."""

    variants: Annotated[tuple[Habit, ...], msgspec.Meta(min_length=1)] = (
        Habit(),
        Habit(half_life_days=60.0, wide=1.0, popular=50.0),
    )
    """The first speaks until another has ranked better."""
    cap: Some = 2048
    """Visits kept of each user, the newest."""


class HabitArrays(NamedTuple):
    """What kernels take of the variants."""

    half_life_ms_V: Doubles
    popular_V: Doubles
    kernel_VM: Doubles


class Habits(Counting):
    """Ranks by the user's own habits, then by popularity."""

    name: ClassVar[str] = "habits"
    Config: ClassVar[type[Settings]] = HabitsSettings

    def __init__(self, config: Settings, context: Context) -> None:
        settings = cast(HabitsSettings, config)
        variants = settings.variants
        super().__init__(config, context, len(variants))
        self.visits = Visits(settings.cap)
        self.popular = Faded([v.popular_days for v in variants])
        self.habits = HabitArrays(
            np.array([v.half_life_days * DAY_MS for v in variants]),
            np.array([v.popular for v in variants]),
            np.array([hour_kernel(v.hour_sd, v.wide) for v in variants]),
        )

    def count(self, step: Due, ranks: RankColumns, leader: LeaderArrays) -> None:
        popular = self.popular.reserve(len(self.context.catalogue))
        visits = self.visits.reserve(len(step.queue.item_B))
        users, most = self.visits.users.arrays, self.visits.most
        _count(step, ranks, leader, users, visits, most, popular, self.habits)

    def rank(self, batch: ExampleBatch) -> Floats:
        v, size = self.leader.speaker, len(self.context.catalogue)
        score_BN = np.tile(self.habits.popular_V[v] * self.popular.share(v, size), (len(batch), 1))
        user_B = self.visits.users.rows(batch.user_B)
        _add_own(user_B, self._rows(batch), self.visits.arrays, v, self.habits, score_BN)
        return score_BN.astype(np.float32)

    def forget(self, forgotten: Forgotten) -> None:
        self.visits.forget(forgotten)
        self.popular.keep(forgotten.kept_K)

    def tree(self) -> Tree:
        return {"leader": self.leader.tree(), "visits": self.visits.tree(), "popular": self.popular.tree()}

    def load(self, tree: Tree) -> None:
        self.leader.load(tree["leader"])
        self.visits.load(tree["visits"])
        self.popular.load(tree["popular"])


def hour_kernel(sd_h: float, wide: float) -> Doubles:
    """The kernel at every difference of 0 .. 1439 minutes."""
    angle_M = np.arange(_MINUTES) * (2.0 * np.pi / _MINUTES)
    sd = sd_h * 2.0 * np.pi / 24.0
    return np.asarray(wide + (1.0 - wide) * np.exp((np.cos(angle_M) - 1.0) / sd**2))


@inner
def minute_of_day(time_ms: int, tz_min: int) -> int:
    """Local minute of day, 0 .. 1439."""
    return (time_ms // 60_000 + tz_min) % 1440


@inner
def _recall(
    own: Sparse, visits: VisitArrays, u: int, time_ms: int, tz_min: int, v: int, habits: HabitArrays
) -> int:
    """Add the user's visits to the scores; how many rows it touched."""
    many, minute = 0, minute_of_day(time_ms, tz_min)
    kernel_M, half_life_ms = habits.kernel_VM[v], habits.half_life_ms_V[v]
    block, newest = visits.user_U[u, OLDEST], visits.user_U[u, NEWEST]
    for _ in range(visits.user_U[u, BLOCKS]):
        for e in range(visits.user_U[u, FILLED] if block == newest else BLOCK):
            n = visits.item_VE[block, e]
            age_ms = max(time_ms - visits.time_ms_VE[block, e], 0)
            hours = kernel_M[(minute - visits.minute_VE[block, e]) % 1440]
            weight = 2.0 ** (-age_ms / half_life_ms) * hours
            if own.score_N[n] == 0.0 and weight > 0.0:
                own.touched_T[many] = n
                many += 1
            own.score_N[n] += weight
        block = visits.next_V[block]
    return many


@compiled
def _add_own(
    user_B: Int64s, rows: FloorColumns, visits: VisitArrays, v: int, habits: HabitArrays, score_BN: Doubles
) -> None:
    size = score_BN.shape[1]
    own = Sparse(np.zeros(size), np.empty(size, np.int64))
    for b in range(user_B.shape[0]):
        if user_B[b] >= 0:
            many = _recall(own, visits, user_B[b], rows.time_ms_B[b], rows.tz_min_B[b], v, habits)
            for i in range(many):
                score_BN[b, own.touched_T[i]] += own.score_N[own.touched_T[i]]
                own.score_N[own.touched_T[i]] = 0.0


@compiled
def _count(
    step: Due,
    ranks: RankColumns,
    leader: LeaderArrays,
    users: KeyArrays,
    visits: VisitArrays,
    most: int,
    popular: FadedArrays,
    habits: HabitArrays,
) -> None:
    rows, queue, due_B = step
    q, size = 0, popular.weight_VN.shape[1]
    own = Sparse(np.zeros(size), np.empty(size, np.int64))
    for b in range(due_B.shape[0]):
        while q < due_B[b]:
            counted = positive(queue.label_B[q])
            if counted:
                u, n, time_ms = find(users.table, queue.user_B[q]), queue.item_B[q], queue.time_ms_B[q]
                if u < 0:
                    u = add(users, queue.user_B[q])
                append(visits, most, u, n, time_ms, minute_of_day(time_ms, queue.tz_min_B[q]))
                fade_add(popular, n, time_ms)
            settle(leader, counted)
            q += 1
        r = ranks.place_B[b]
        if r >= 0:
            u, place = find(users.table, rows.user_B[b]), trial(leader, b, ranks.true_R[r])
            time_ms, tz_min = rows.time_ms_B[b], rows.tz_min_B[b]
            for v in range(habits.popular_V.shape[0]):
                if place >= 0 or v == leader.at[SPEAKER]:
                    many = 0
                    if u >= 0:
                        many = _recall(own, visits, u, time_ms, tz_min, v, habits)
                    scale = worth(popular, v, habits.popular_V[v])
                    answer(ranks, leader, r, place, v, own, many, popular, scale)
