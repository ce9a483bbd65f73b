"""An asymmetric SVD of residuals, learned online: a user is what is left of the items of the past.

With the latest `room` items j of a user, their residuals e_j where those are known (else 0), and an item i,

    s = sum_j (e_j p_j + o_j) / sqrt(n + 5)        z = q_i s

and P(action) = sigmoid(base log odds + z). p_j says what it means how item j came out, o_j what it means that
the user was shown it. One gradient step a row on the log loss, row-wise AdaGrad. The past is that of the
moment when the row was scored; the factors are those of the moment when it is learned.

After Paterek (KDD Cup 2007, NSVD) and Koren (KDD 2008, Asymmetric-SVD); that a base model's residuals stand
for ratings and that all is learned online is ours.

Shape suffixes: B rows, Q rows of the queue, P waiting rows, I items, H room, K width.
"""

from typing import NamedTuple

import numpy as np

from learners.contract import Settings
from learners.gaussian_rows.kernels import sigmoid
from learners.ranges import Amount, Positive, Some
from learners.residuals.part import Known, ResidualPart, ResidualRows, moved, renumbered
from learners.tables.embedding import draw_normal
from learners.tables.rings import Rings, Rows32, columns, length, put, rings, settle
from state.compiled import compiled, inlined, inner
from state.examples import Doubles, Floats
from state.keys import Int64s

_PRIOR = 5.0


class Asymmetric(Settings, frozen=True):
    """Settings of the asymmetric SVD."""

    on: bool = True
    width: Some = 16
    room: Some = 100
    """Past items of a user."""
    exposure: bool = True
    """Whether an item counts as soon as it was shown, and its residual when that is known; otherwise an item
    counts when its outcome is known."""
    sd: Amount = 0.03
    """Of what q and p begin with; o begins with 0."""
    rate: Amount = 0.1
    rate_shown: Amount = 0.03
    """Learning rate of o."""
    accumulator: Positive = 0.01
    """What the AdaGrad sums begin with: early steps are those of plain gradient descent."""


class AsymmetricPart(ResidualPart):
    """One feature: z."""

    names = ("asymmetric",)

    def __init__(self, config: Asymmetric, seed: int) -> None:
        self.config, self.seed = config, seed
        width = config.width
        super().__init__(
            users=columns(config.room),
            items={
                **{"q_IK": (np.float32, width), "p_IK": (np.float32, width), "o_IK": (np.float32, width)},
                "square_I3": (np.float32, 3),
            },
            waiting={
                "other_PH": (np.int32, config.room),
                "residual_PH": (np.float32, config.room),
                "many_P": (np.int64, 0),
                "number_P": (np.int64, 0),
            },
        )
        self.rates = AsymmetricSteps(config.rate, config.rate_shown, config.exposure)

    def admit(self, user_keys_U: Int64s, item_keys_I: Int64s) -> None:
        known = self.size[1]
        super().admit(user_keys_U, item_keys_I)
        new = slice(known, len(item_keys_I))
        for salt, name in ((0, "q_IK"), (1, "p_IK")):
            self.items["square_I3"][new] = self.config.accumulator
            draw_normal(item_keys_I[new], 2 * self.seed + salt, 0.0, self.config.sd, self.items[name][new])

    def step(self, rows: ResidualRows, known: Known, due_B: Int64s) -> Doubles:
        made_BF = np.zeros((len(rows.user_B), 1))
        place = self.waiting.extend(len(rows.user_B))
        head, past = self.waiting.head, Snapshots(**self.waiting.columns)
        users, factors = rings(self.users), Factors(**self.items)
        _step(rows, known, due_B, users, factors, past, (head, place), self.rates, made_BF)
        self.waiting.take(len(known.user_Q))
        return made_BF

    def peek(self, rows: ResidualRows) -> Doubles:
        made_BF = np.zeros((len(rows.user_B), 1))
        _peek(rows, rings(self.users), Factors(**self.items), self._scratch(), made_BF)
        return made_BF

    def keep(self, users: Int64s, items: Int64s) -> None:
        moved_I = moved(items, self.size[1])
        super().keep(users, items)
        self.users["other_NH"] = renumbered(self.users["other_NH"], moved_I).astype(np.int32)
        waiting = slice(self.waiting.head, self.waiting.tail)
        other_PH = self.waiting.columns["other_PH"]
        other_PH[waiting] = renumbered(other_PH[waiting], moved_I)

    def _scratch(self) -> "Snapshots":
        row = {name: np.zeros_like(column[:1]) for name, column in self.waiting.columns.items()}
        return Snapshots(**row)


class AsymmetricSteps(NamedTuple):
    """What a step of learning goes by."""

    rate: float
    rate_shown: float
    exposure: bool
    """Whether an event counts as soon as it was shown."""


class Factors(NamedTuple):
    """What the items are."""

    q_IK: Floats
    p_IK: Floats
    o_IK: Floats
    square_I3: Floats
    """Sums of the mean squares of the gradients of q, p and o."""


class Snapshots(NamedTuple):
    """The pasts of waiting rows, as they were when the rows were scored."""

    other_PH: Rows32
    residual_PH: Floats
    many_P: Int64s
    number_P: Int64s
    """The row's own number among the user's events, -1 where it is not among them."""


@inner
def remember(user: int, rings: Rings, past: Snapshots, p: int) -> None:
    """Write the past of a user as waiting row p."""
    many = length(rings, user) if user >= 0 else 0
    past.many_P[p] = many
    for h in range(many):
        residual = rings.residual_NH[user, h]
        past.other_PH[p, h] = rings.other_NH[user, h]
        past.residual_PH[p, h] = 0.0 if np.isnan(residual) else residual
    past.other_PH[p, many:] = -1
    past.residual_PH[p, many:] = 0.0


@inner
def summed(past: Snapshots, p: int, factors: Factors, s_K: Floats) -> float:
    """The user vector of waiting row p into `s_K`; what its terms were divided by."""
    norm = np.float32(np.sqrt(past.many_P[p] + _PRIOR))
    s_K[:] = 0.0
    for h in range(past.many_P[p]):
        j, e = past.other_PH[p, h], past.residual_PH[p, h]
        if j >= 0:
            p_K, o_K = factors.p_IK[j], factors.o_IK[j]
            for k in range(s_K.shape[0]):
                s_K[k] += e * p_K[k] + o_K[k]
    for k in range(s_K.shape[0]):
        s_K[k] /= norm
    return float(norm)


@inner
def product(item: int, factors: Factors, s_K: Floats) -> float:
    """z of an item for a user vector."""
    z = np.float32(0.0)
    q_K = factors.q_IK[item]
    for k in range(s_K.shape[0]):
        z += q_K[k] * s_K[k]
    return float(z)


@inlined
def pace(push: np.float32, size: np.float32, square_3: Floats, c: int, rate: float) -> np.float32:
    """How far along a vector of mean square `size` AdaGrad goes for the gradient `push` times it."""
    square_3[c] += push * push * size
    return np.float32(np.float32(rate) * push / np.sqrt(square_3[c]))


@compiled
def learn_row(
    item: int,
    logit: float,
    label: float,
    past: Snapshots,
    p: int,
    factors: Factors,
    rates: AsymmetricSteps,
    s_K: Floats,
    q_K: Floats,
) -> None:
    """One step on waiting row p; `s_K` and `q_K` are room to work in."""
    if item < 0 or np.isnan(label) or past.many_P[p] == 0:
        return
    width = np.float32(s_K.shape[0])
    norm = summed(past, p, factors, s_K)
    push = np.float32(label - sigmoid(logit + product(item, factors, s_K)))
    size_s, size_q = np.float32(0.0), np.float32(0.0)
    for k in range(s_K.shape[0]):
        q_K[k] = factors.q_IK[item, k]
        size_s += s_K[k] * s_K[k] / width
        size_q += q_K[k] * q_K[k] / width
    step = pace(push, size_s, factors.square_I3[item], 0, rates.rate)
    for k in range(s_K.shape[0]):
        factors.q_IK[item, k] += step * s_K[k]
    push /= np.float32(norm)
    for h in range(past.many_P[p]):
        j, e = past.other_PH[p, h], past.residual_PH[p, h]
        if j >= 0:
            step_p = pace(np.float32(push * e), size_q, factors.square_I3[j], 1, rates.rate)
            step_o = pace(push, size_q, factors.square_I3[j], 2, rates.rate_shown)
            p_K, o_K = factors.p_IK[j], factors.o_IK[j]
            for k in range(q_K.shape[0]):
                p_K[k] += step_p * q_K[k]
                o_K[k] += step_o * q_K[k]


@compiled
def _step(
    rows: ResidualRows,
    known: Known,
    due_B: Int64s,
    rings: Rings,
    factors: Factors,
    past: Snapshots,
    at: tuple[int, int],
    rates: AsymmetricSteps,
    made_BF: Doubles,
) -> None:
    """`at`: the first waiting row, and the first new one."""
    head, place = at
    s_K, q_K = np.empty_like(factors.q_IK[0]), np.empty_like(factors.q_IK[0])
    learned = 0
    for b in range(rows.user_B.shape[0] + 1):
        due = due_B[b] if b < rows.user_B.shape[0] else known.user_Q.shape[0]
        while learned < due:
            q, p = learned, head + learned
            user, item = known.user_Q[q], known.item_Q[q]
            learn_row(item, known.logit_Q[q], known.label_Q[q], past, p, factors, rates, s_K, q_K)
            if user >= 0 and not np.isnan(known.residual_Q[q]):
                if rates.exposure:
                    settle(rings, user, past.number_P[p], known.residual_Q[q])
                else:
                    put(rings, user, item, known.residual_Q[q])
            learned += 1
        if b < rows.user_B.shape[0]:
            user, item, p = rows.user_B[b], rows.item_B[b], place + b
            remember(user, rings, past, p)
            summed(past, p, factors, s_K)
            made_BF[b, 0] = product(item, factors, s_K)
            past.number_P[p] = put(rings, user, item, np.nan) if rates.exposure else -1


@compiled
def _peek(rows: ResidualRows, rings: Rings, factors: Factors, past: Snapshots, made_BF: Doubles) -> None:
    s_K = np.empty(factors.q_IK.shape[1], np.float32)
    for b in range(rows.user_B.shape[0]):
        if rows.item_B[b] >= 0:
            remember(rows.user_B[b], rings, past, 0)
            summed(past, 0, factors, s_K)
            made_BF[b, 0] = product(rows.item_B[b], factors, s_K)
