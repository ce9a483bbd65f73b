"""Item-to-item: what has tended to follow the items that this user had last.

Shape suffixes: B rows, Q queue, U users, L last items, N catalogue rows, S slots of the pool, R ranked rows.

    score(j) = sum over the user's last items z of fade^(place of z) count(z -> j) / (count(z) + prior)
               + popular x share of j
"""

from typing import ClassVar, cast

import numpy as np
from numpy.typing import NDArray

from learners.contract import Context, RankRequest, Settings
from learners.counting import Counting
from learners.fading import Faded, fade_add
from learners.pairs import Pairs, bump, rebased
from learners.ranking import sparse_rank
from state.compiled import compiled
from state.examples import Doubles, ExampleBatch, Floats
from state.keys import Int64s, KeyMap, add, find
from state.tree import Tree

DAY_MS = 86_400_000.0


class SuccessorsSettings(Settings):
    last: int = 10
    """How many of the user's newest items lead to the next one."""
    fade: float = 0.9
    """What each item counts against the one after it."""
    power: float = 0.3
    prior: float = 5.0
    popular: float = 0.1
    half_life_days: float = 30.0
    """Of counts and popularity."""
    cap: int = 256
    """Successors kept of one item."""


class Successors(Counting):
    """Ranks by faded transition counts. On a log with labels every event leads on, positives are led to."""

    name: ClassVar[str] = "successors"
    Config: ClassVar[type[Settings]] = SuccessorsSettings

    def __init__(self, config: Settings, context: Context) -> None:
        super().__init__(config, context)
        self.settings = cast(SuccessorsSettings, config)
        self.users = KeyMap()
        self.last_UL = np.zeros((0, self.settings.last + 1), np.int32)
        """Number of items so far, then the newest `last` of them as a ring."""
        self.pairs = Pairs(self.settings.cap)
        self.popular = Faded()

    def count(
        self,
        batch: ExampleBatch,
        queue: ExampleBatch,
        due_B: Int64s,
        place_B: Int64s,
        request: RankRequest,
        ranks_R: Int64s,
    ) -> None:
        catalogue, s, pairs = self.context.catalogue, self.settings, self.pairs
        self.popular.reserve(len(catalogue))
        self.users.reserve(len(queue))
        if len(self.users.keys) > len(self.last_UL):
            last_UL = np.zeros((len(self.users.keys), s.last + 1), np.int32)
            last_UL[: len(self.last_UL)] = self.last_UL
            self.last_UL = last_UL
        at = np.zeros(2, np.int64)
        row_Q = catalogue.items.rows(queue.item_B)
        while at[0] < len(due_B):
            pairs.reserve(len(catalogue), s.last)
            _count(
                *(at, due_B, row_Q, queue.user_B, queue.time_ms_B, queue.label_B),
                *(batch.user_B, batch.time_ms_B),
                *(self.users.table, self.users.keys, self.users.count, self.last_UL),
                *(pairs.home_N, pairs.total_N, pairs.item_S, pairs.weight_S, pairs.clock, pairs.end),
                *(pairs.largest, self.popular.weight_N, self.popular.clock),
                *(s.half_life_days * DAY_MS, s.fade, s.power, s.prior, s.popular, place_B, request.true_R),
                *(request.size_R, request.left_start_R1, request.left_out, ranks_R),
            )

    def rank(self, batch: ExampleBatch) -> Floats:
        s, pairs = self.settings, self.pairs
        share_N = self.popular.share(len(self.context.catalogue))
        score_BN = np.tile(s.popular * share_N, (len(batch), 1))
        _scores(
            *(self.users.rows(batch.user_B), batch.time_ms_B, self.last_UL),
            *(pairs.home_N, pairs.total_N, pairs.item_S, pairs.weight_S, pairs.clock),
            *(s.half_life_days * DAY_MS, s.fade, s.power, s.prior, score_BN),
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
    u: int,
    time_ms: int,
    last_UL: NDArray[np.int32],
    home_N: Int64s,
    total_N: Doubles,
    item_S: NDArray[np.int32],
    weight_S: Doubles,
    clock: Doubles,
    half_life_ms: float,
    fade: float,
    power: float,
    prior: float,
) -> int:
    """Add what follows the user's last items to `own_N`; how many rows it touched, in `touched`."""
    many = 0
    ring = last_UL.shape[1] - 1
    now = 2.0 ** min((clock[0] - time_ms) / half_life_ms, 0.0)
    place = 1.0
    for back in range(min(last_UL[u, 0], ring)):
        z = last_UL[u, 1 + (last_UL[u, 0] - 1 - back) % ring]
        scale = place * now / (total_N[z] * now + prior) ** power
        place *= fade
        for i in range(home_N[z, 0], home_N[z, 0] + home_N[z, 1]):
            n = item_S[i]
            weight = weight_S[i] * scale
            if n >= 0 and weight > 0.0:
                if own_N[n] == 0.0:
                    touched[many] = n
                    many += 1
                own_N[n] += weight
    return many


@compiled
def _scores(
    user_B: Int64s,
    time_ms_B: Int64s,
    last_UL: NDArray[np.int32],
    home_N: Int64s,
    total_N: Doubles,
    item_S: NDArray[np.int32],
    weight_S: Doubles,
    clock: Doubles,
    half_life_ms: float,
    fade: float,
    power: float,
    prior: float,
    score_BN: Doubles,
) -> None:
    """Add what follows to `score_BN`, which holds the popularity."""
    own_N = np.zeros(score_BN.shape[1])
    touched = np.empty(score_BN.shape[1], np.int64)
    for b in range(user_B.shape[0]):
        if user_B[b] >= 0:
            many = _follow(
                own_N,
                touched,
                user_B[b],
                time_ms_B[b],
                last_UL,
                home_N,
                total_N,
                item_S,
                weight_S,
                clock,
                half_life_ms,
                fade,
                power,
                prior,
            )
            for i in range(many):
                score_BN[b, touched[i]] += own_N[touched[i]]
                own_N[touched[i]] = 0.0


@compiled
def _count(
    at: Int64s,
    due_B: Int64s,
    row_Q: Int64s,
    user_Q: Int64s,
    time_ms_Q: Int64s,
    label_Q: Floats,
    user_B: Int64s,
    time_ms_B: Int64s,
    table: Int64s,
    keys: Int64s,
    users: Int64s,
    last_UL: NDArray[np.int32],
    home_N: Int64s,
    total_N: Doubles,
    item_S: NDArray[np.int32],
    weight_S: Doubles,
    clock: Doubles,
    end: Int64s,
    largest: int,
    popular_N: Doubles,
    popular_clock: Doubles,
    half_life_ms: float,
    fade: float,
    power: float,
    prior: float,
    popular: float,
    place_B: Int64s,
    true_R: Int64s,
    size_R: Int64s,
    left_start_R1: Int64s,
    left_out: Int64s,
    ranks_R: Int64s,
) -> None:
    """Go on from batch row `at[0]`, queue row `at[1]`; stop early if the pool of pairs is short of room."""
    ring = last_UL.shape[1] - 1
    own_N = np.zeros(popular_N.shape[0])
    touched = np.empty(popular_N.shape[0], np.int64)
    q = at[1]
    for b in range(at[0], due_B.shape[0]):
        while q < due_B[b]:
            if end[0] + ring * largest > item_S.shape[0]:
                at[0], at[1] = b, q
                return
            u = add(table, keys, users, user_Q[q])
            seen = last_UL[u, 0]
            if not label_Q[q] <= 0.5:
                gain = rebased(weight_S, total_N, clock, half_life_ms, time_ms_Q[q])
                for back in range(min(seen, ring)):
                    z = last_UL[u, 1 + (seen - 1 - back) % ring]
                    amount = gain * fade**back
                    bump(home_N, item_S, weight_S, end, largest, z, row_Q[q], amount)
                    total_N[z] += amount
                fade_add(popular_N, popular_clock, half_life_ms, row_Q[q], time_ms_Q[q], 1.0)
            last_UL[u, 1 + seen % ring] = row_Q[q]
            last_UL[u, 0] = seen + 1
            q += 1
        r = place_B[b]
        if r >= 0:
            many = 0
            u = find(table, user_B[b])
            if u >= 0:
                many = _follow(
                    own_N,
                    touched,
                    u,
                    time_ms_B[b],
                    last_UL,
                    home_N,
                    total_N,
                    item_S,
                    weight_S,
                    clock,
                    half_life_ms,
                    fade,
                    power,
                    prior,
                )
            scale = popular / popular_clock[1] if popular_clock[1] > 0.0 else 0.0
            left = left_out[left_start_R1[r] : left_start_R1[r + 1]]
            ranks_R[r] = sparse_rank(
                own_N, touched, many, popular_N, scale, popular_clock[2], true_R[r], size_R[r], left
            )
            for i in range(many):
                own_N[touched[i]] = 0.0
    at[0], at[1] = due_B.shape[0], q
