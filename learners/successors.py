"""Item to item: what has tended to follow the items that this user had last.

    score(j) = sum over the user's last items z of fade^b count(z -> j) / (count(z) + prior)^power
               + popular x share of j in all events

b = 0 for the newest item; when j comes, count(z -> j) grows by fade^b. Counts fade with a half-life.
Shape suffixes: as in `learners.counting`; U users, L last items.
"""

from typing import ClassVar, cast

import numpy as np
from numpy.typing import NDArray

from learners.contract import Context, Settings
from learners.counting import Counting, Ranks, Rows, positive, put_rank
from learners.fading import DAY_MS, TOP, TOTAL, Faded, FadedArrays, fade_add
from learners.pairs import SIZE, START, PairArrays, Pairs, bump, gain
from state.compiled import compiled
from state.examples import Doubles, ExampleBatch, Floats
from state.keys import Int64s, KeyMap, add, find
from state.tree import Tree


class SuccessorsSettings(Settings, frozen=True, kw_only=True):
    """Defaults were chosen on the first half of MovieLens-100K."""

    last: int = 10
    """How many of the user's newest items lead to the next one."""
    fade: float = 0.9
    power: float = 0.3
    prior: float = 5.0
    popular: float = 0.1
    half_life_days: float = 90.0
    """Of counts and of popularity."""
    cap: int = 256
    """Successors kept of one item."""


class Successors(Counting):
    """Ranks by faded transition counts. With labels, every event leads on, and positives are led to."""

    name: ClassVar[str] = "successors"
    Config: ClassVar[type[Settings]] = SuccessorsSettings

    def __init__(self, config: Settings, context: Context) -> None:
        super().__init__(config, context)
        self.settings = s = cast(SuccessorsSettings, config)
        self.half_life_ms = s.half_life_days * DAY_MS
        self.users = KeyMap()
        self.last_UL: NDArray[np.int32] = np.zeros((0, s.last + 1), np.int32)
        """How many items the user has had, then the newest of them as a ring."""
        self.pairs = Pairs(s.cap)
        self.popular = Faded()

    def count(self, rows: Rows, queue: Rows, due_B: Int64s, ranks: Ranks) -> None:
        size, s = len(self.context.catalogue), self.settings
        popular = self.popular.reserve(size)
        self.users.reserve(len(queue.item_B))
        if len(self.users.keys) > len(self.last_UL):
            last_UL = np.zeros((len(self.users.keys), s.last + 1), np.int32)
            last_UL[: len(self.last_UL)] = self.last_UL
            self.last_UL = last_UL
        at = np.zeros(2, np.int64)
        while at[0] < len(due_B):
            _count(
                at,
                due_B,
                rows,
                queue,
                ranks,
                self.users.table,
                self.users.keys,
                self.users.count,
                self.last_UL,
                self.pairs.reserve(size, s.last),
                self.pairs.largest,
                popular,
                self.half_life_ms,
                s.fade,
                s.power,
                s.prior,
                s.popular,
            )

    def rank(self, batch: ExampleBatch) -> Floats:
        size, s = len(self.context.catalogue), self.settings
        score_BN = np.tile(s.popular * self.popular.share(size), (len(batch), 1))
        _add_followers(
            self.users.rows(batch.user_B),
            self._rows(batch),
            self.last_UL,
            self.pairs.reserve(size, 0),
            self.half_life_ms,
            s.fade,
            s.power,
            s.prior,
            score_BN,
        )
        return score_BN.astype(np.float32)

    def tree(self) -> Tree:
        return {
            "users": self.users.tree(),
            "last_UL": self.last_UL[: len(self.users)].copy(),
            "pairs": self.pairs.tree(),
            "popular": self.popular.tree(),
        }

    def load(self, tree: Tree) -> None:
        self.users.load(tree["users"])
        self.last_UL = np.array(tree["last_UL"])
        self.pairs.load(tree["pairs"])
        self.popular.load(tree["popular"])


@compiled
def _follow(
    own_N: Doubles,
    touched: Int64s,
    last_L: NDArray[np.int32],
    pairs: PairArrays,
    time_ms: int,
    half_life_ms: float,
    fade: float,
    power: float,
    prior: float,
) -> int:
    """Add what follows the last items to `own_N`; how many rows it touched, listed in `touched`."""
    many, place, ring = 0, 1.0, last_L.shape[0] - 1
    now = 2.0 ** min((pairs.reference_ms[0] - time_ms) / half_life_ms, 0.0)
    for back in range(min(last_L[0], ring)):
        z = last_L[1 + (last_L[0] - 1 - back) % ring]
        scale = place * now / (pairs.total_N[z] * now + prior) ** power
        place *= fade
        start, size = pairs.home_N[z, START], pairs.home_N[z, SIZE]
        for i in range(start, start + size):
            n = pairs.item_S[i]
            weight = pairs.weight_S[i] * scale
            if n >= 0 and weight > 0.0:
                if own_N[n] == 0.0:
                    touched[many] = n
                    many += 1
                own_N[n] += weight
    return many


@compiled
def _add_followers(
    user_B: Int64s,
    rows: Rows,
    last_UL: NDArray[np.int32],
    pairs: PairArrays,
    half_life_ms: float,
    fade: float,
    power: float,
    prior: float,
    score_BN: Doubles,
) -> None:
    own_N = np.zeros(score_BN.shape[1])
    touched = np.empty(score_BN.shape[1], np.int64)
    for b in range(user_B.shape[0]):
        if user_B[b] >= 0:
            last_L, time_ms = last_UL[user_B[b]], rows.time_ms_B[b]
            many = _follow(own_N, touched, last_L, pairs, time_ms, half_life_ms, fade, power, prior)
            for i in range(many):
                score_BN[b, touched[i]] += own_N[touched[i]]
                own_N[touched[i]] = 0.0


@compiled
def _count(
    at: Int64s,
    due_B: Int64s,
    rows: Rows,
    queue: Rows,
    ranks: Ranks,
    table: Int64s,
    keys: Int64s,
    users: Int64s,
    last_UL: NDArray[np.int32],
    pairs: PairArrays,
    largest: int,
    popular: FadedArrays,
    half_life_ms: float,
    fade: float,
    power: float,
    prior: float,
    worth: float,
) -> None:
    """Go on from batch row `at[0]`, queue row `at[1]`; stop early if the pool of pairs is short of room."""
    ring = last_UL.shape[1] - 1
    own_N = np.zeros(popular.weight_N.shape[0])
    touched = np.empty(popular.weight_N.shape[0], np.int64)
    q = at[1]
    for b in range(at[0], due_B.shape[0]):
        while q < due_B[b]:
            if pairs.end[0] + ring * largest > pairs.item_S.shape[0]:
                at[0], at[1] = b, q
                return
            last_L, n = last_UL[add(table, keys, users, queue.user_B[q])], queue.item_B[q]
            if positive(queue.label_B[q]):
                amount = gain(pairs, half_life_ms, queue.time_ms_B[q])
                for back in range(min(last_L[0], ring)):
                    bump(pairs, largest, last_L[1 + (last_L[0] - 1 - back) % ring], n, amount)
                    amount *= fade
                fade_add(popular, half_life_ms, n, queue.time_ms_B[q], 1.0)
            last_L[1 + last_L[0] % ring] = n
            last_L[0] += 1
            q += 1
        if ranks.place_B[b] >= 0:
            many, u = 0, find(table, rows.user_B[b])
            if u >= 0:
                last_L, time_ms = last_UL[u], rows.time_ms_B[b]
                many = _follow(own_N, touched, last_L, pairs, time_ms, half_life_ms, fade, power, prior)
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
    at[0], at[1] = due_B.shape[0], q
