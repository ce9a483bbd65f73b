"""Item to item: what has tended to follow the items that this user had last.

    score(j) = sum over the user's last items z of fade^b count(z -> j) / (count(z) + prior)^power
               + popular x share of j in all events

b = 0 for the newest item; when j comes, count(z -> j) grows by fade^b. Counts fade with a half-life. On
some logs habits of months lead on, on others the last minutes': there is a variant for each
(`learners.counting.best_variant`). Shape suffixes: as in `learners.counting.floor`; V variants, U users, L
last items.
"""

from typing import Annotated, ClassVar, NamedTuple, cast

import msgspec
import numpy as np
from numpy.typing import NDArray

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
from learners.ranges import Amount, Positive, Share, Some
from learners.tables.expiry import Forgotten, renumber_rings, without
from learners.tables.faded import Faded, FadedArrays, fade_add, worth
from learners.tables.followers import LEAST, START, USED, PairArrays, Pairs, bump, gain
from state.compiled import compiled, inner
from state.errors import InputError
from state.examples import Doubles, ExampleBatch, Floats
from state.keys import Int64s, KeyArrays, KeyMap, add, find
from state.tree import Tree


class Succession(Settings, frozen=True, kw_only=True):
    half_life_days: Positive = 90.0
    """Of counts."""
    fade: Share = 0.9
    power: Amount = 0.3
    prior: Amount = 5.0
    popular: Amount = 0.1
    """What all of popularity is worth."""
    popular_days: Positive = 90.0
    """Half-life of popularity."""


class SuccessorsSettings(Settings, frozen=True, kw_only=True):
    """Defaults were chosen on the first halves of MovieLens-100K and of Globo's news clicks."""

    variants: Annotated[tuple[Succession, ...], msgspec.Meta(min_length=1)] = (
        Succession(),
        Succession(half_life_days=0.02, fade=0.3, power=1.0, popular=0.6, popular_days=1 / 720),
    )
    """The first speaks until another has ranked better."""
    last: Some = 7
    """How many of the user's newest items lead to the next one."""
    cap: Some = 256
    """Successors kept of one item."""


class UserArrays(NamedTuple):
    """Users inside a kernel, and the newest items of each as a ring."""

    ids: KeyArrays
    last_UL: NDArray[np.int32]


class VariantRules(NamedTuple):
    """What kernels take of the variants."""

    fade_V: Doubles
    power_V: Doubles
    prior_V: Doubles
    popular_V: Doubles


class Successors(Counting):
    """Ranks by faded transition counts. With labels, every event leads on, and positives are led to."""

    name: ClassVar[str] = "successors"
    Config: ClassVar[type[Settings]] = SuccessorsSettings

    def __init__(self, config: Settings, context: Context) -> None:
        self.settings = s = cast(SuccessorsSettings, config)
        if s.last < 1 or s.cap < 1:
            raise InputError(
                f"learners.successors: expected last and cap of at least 1, got {s.last} and {s.cap}"
            )
        super().__init__(config, context, len(s.variants))
        self.users = KeyMap()
        self.last_UL: NDArray[np.int32] = np.zeros((0, s.last + 1), np.int32)
        """How many items the user has had, then the newest of them as a ring."""
        self.pairs = Pairs([v.half_life_days for v in s.variants], s.cap)
        self.popular = Faded([v.popular_days for v in s.variants])
        self.rule = VariantRules(
            np.array([v.fade for v in s.variants]),
            np.array([v.power for v in s.variants]),
            np.array([v.prior for v in s.variants]),
            np.array([v.popular for v in s.variants]),
        )

    def count(self, step: Due, ranks: RankColumns, leader: LeaderArrays) -> None:
        size, s = len(self.context.catalogue), self.settings
        popular = self.popular.reserve(size)
        self.users.reserve(len(step.queue.item_B))
        if len(self.users.keys) > len(self.last_UL):
            last_UL = np.zeros((len(self.users.keys), s.last + 1), np.int32)
            last_UL[: len(self.last_UL)] = self.last_UL
            self.last_UL = last_UL
        at = np.zeros(2, np.int64)
        while at[0] < len(step.due_B):
            users = UserArrays(self.users.arrays, self.last_UL)
            pairs = self.pairs.reserve(size, s.last)
            _count(at, step, ranks, leader, users, pairs, self.pairs.largest, popular, self.rule)

    def rank(self, batch: ExampleBatch) -> Floats:
        v, size = self.leader.speaker, len(self.context.catalogue)
        score_BN = np.tile(self.rule.popular_V[v] * self.popular.share(v, size), (len(batch), 1))
        user_B = self.users.rows(batch.user_B)
        pairs = self.pairs.reserve(size, 0)
        _add_followers(user_B, self._rows(batch), self.last_UL, pairs, v, self.rule, score_BN)
        return np.asarray(np.minimum(score_BN, np.finfo(np.float32).max), np.float32)

    def forget(self, forgotten: Forgotten) -> None:
        self.users, kept_U = without(self.users, forgotten.user_U)
        self.last_UL = self.last_UL[kept_U]
        renumber_rings(self.last_UL, forgotten.moved_N)
        self.pairs.keep(forgotten.kept_K, forgotten.moved_N)
        self.popular.keep(forgotten.kept_K)

    def tree(self) -> Tree:
        return {
            "leader": self.leader.tree(),
            "users": self.users.tree(),
            "last_UL": self.last_UL[: len(self.users)].copy(),
            "pairs": self.pairs.tree(),
            "popular": self.popular.tree(),
        }

    def load(self, tree: Tree) -> None:
        self.leader.load(tree["leader"])
        self.users.load(tree["users"])
        self.last_UL = np.array(tree["last_UL"])
        self.pairs.load(tree["pairs"])
        self.popular.load(tree["popular"])


@inner
def _follow(
    own: Sparse, last_L: NDArray[np.int32], pairs: PairArrays, time_ms: int, v: int, rule: VariantRules
) -> int:
    """Add what follows the last items to the scores; how many rows it touched."""
    many, place, ring = 0, 1.0, last_L.shape[0] - 1
    now = 2.0 ** min((pairs.reference_ms_V[v] - time_ms) / pairs.half_life_ms_V[v], 0.0)
    total_N, weight_S = pairs.total_VN[v], pairs.weight_VS[v]
    for back in range(min(last_L[0], ring)):
        z = last_L[1 + (last_L[0] - 1 - back) % ring]
        scale = place * now / max(total_N[z] * now + rule.prior_V[v], LEAST) ** rule.power_V[v]
        place *= rule.fade_V[v]
        start = pairs.home_N[z, START]
        for i in range(start, start + pairs.home_N[z, USED]):
            n, weight = pairs.item_S[i], weight_S[i] * scale
            own.touched_T[many] = n
            many += int(own.score_N[n] == 0.0) & int(weight > 0.0)
            own.score_N[n] += weight
    return many


@compiled
def _add_followers(
    user_B: Int64s,
    rows: FloorColumns,
    last_UL: NDArray[np.int32],
    pairs: PairArrays,
    v: int,
    rule: VariantRules,
    score_BN: Doubles,
) -> None:
    size = score_BN.shape[1]
    own = Sparse(np.zeros(size), np.empty(size + 1, np.int64))
    for b in range(user_B.shape[0]):
        if user_B[b] >= 0:
            many = _follow(own, last_UL[user_B[b]], pairs, rows.time_ms_B[b], v, rule)
            for i in range(many):
                score_BN[b, own.touched_T[i]] += own.score_N[own.touched_T[i]]
                own.score_N[own.touched_T[i]] = 0.0


@compiled
def _count(
    at: Int64s,
    step: Due,
    ranks: RankColumns,
    leader: LeaderArrays,
    users: UserArrays,
    pairs: PairArrays,
    largest: int,
    popular: FadedArrays,
    rule: VariantRules,
) -> None:
    """Go on from batch row `at[0]`, queue row `at[1]`; stop early if the pool of pairs is short of room."""
    rows, queue, due_B = step
    ring, variants = users.last_UL.shape[1] - 1, rule.fade_V.shape[0]
    size = popular.weight_VN.shape[1]
    own = Sparse(np.zeros(size), np.empty(size + 1, np.int64))
    amount_V = np.empty(variants)
    q = at[1]
    for b in range(at[0], due_B.shape[0]):
        while q < due_B[b]:
            if pairs.end[0] + ring * largest > pairs.item_S.shape[0]:
                at[0], at[1] = b, q
                return
            u, n = find(users.ids.table, queue.user_B[q]), queue.item_B[q]
            if u < 0:
                u = add(users.ids, queue.user_B[q])
            last_L = users.last_UL[u]
            counted = positive(queue.label_B[q])
            if counted:
                for v in range(variants):
                    amount_V[v] = gain(pairs, v, queue.time_ms_B[q])
                for back in range(min(last_L[0], ring)):
                    bump(pairs, largest, last_L[1 + (last_L[0] - 1 - back) % ring], n, amount_V)
                    for v in range(variants):
                        amount_V[v] *= rule.fade_V[v]
                fade_add(popular, n, queue.time_ms_B[q])
            last_L[1 + last_L[0] % ring] = n
            last_L[0] += 1
            settle(leader, counted)
            q += 1
        r = ranks.place_B[b]
        if r >= 0:
            u, place = find(users.ids.table, rows.user_B[b]), trial(leader, b, ranks.true_R[r])
            for v in range(variants):
                if place >= 0 or v == leader.at[SPEAKER]:
                    many = 0
                    if u >= 0:
                        many = _follow(own, users.last_UL[u], pairs, rows.time_ms_B[b], v, rule)
                    scale = worth(popular, v, rule.popular_V[v])
                    answer(ranks, leader, r, place, v, own, many, popular, scale)
    at[0], at[1] = due_B.shape[0], q
