"""Features of how a user's earlier answers in a row's category came out: practice, fading by a power law.

Memory of a skill fades as lag^-1/2, the lag counted in the user's own answers (Wickelgren, 1974, and Wixted
and Carpenter, 2007, have such a law of time; the lag in answers, and what is made of it, is ours). The power
is a sum of exponentials, so that a user's memory of a category is a few numbers: within 2% of it for lags up
to 3,000. With R and W the faded right and wrong answers a row sees ln(1 + R), ln(1 + W), and the share of R
with two ghosts; and what the slopes of its category say, which are learned beside those of all.

Shape suffixes: B rows, Q rows of the queue, U users, C categories, P pairs of both, J exponentials, 3 inputs.
"""

from typing import NamedTuple

import numpy as np

from learners.contract import Settings
from learners.gaussian_rows.kalman import Belief, learn_row
from learners.ranges import Amount
from learners.residuals.part import Known, ResidualPart, ResidualRows, moved
from learners.tables.growing import grown
from state.compiled import compiled, inner
from state.examples import Doubles
from state.keys import Int64s, KeyArrays, KeyMap, add, find
from state.tree import Tree

RATE_J: Doubles = 2.0 * 4.0 ** -np.arange(9.0)
WEIGHT_J: Doubles = np.log(4.0) * np.sqrt(RATE_J / np.pi) * [*[1.0] * (len(RATE_J) - 1), 2.0]
"""lag^-1/2 = integral over u of e^(u/2 - lag e^u) / sqrt(pi), by steps of ln 4, the last for all beyond."""
_INPUTS = 3


class Practice(Settings, frozen=True):
    """Settings of what was practised."""

    on: bool = True
    fades: bool = True
    """Whether an answer counts by the root of those since; else all count alike."""
    variance: Amount = 0.05
    """What a slope of a category begins with."""


class PracticePart(ResidualPart):
    """Three inputs and what the category's slopes make of them."""

    names = ("practice_right", "practice_wrong", "practice_share", "practice_category")

    def __init__(self, config: Practice) -> None:
        self.config = config
        self.rate_J, self.weight_J = (RATE_J, WEIGHT_J) if config.fades else (np.zeros(1), np.ones(1))
        self.categories, self.pairs = KeyMap(), KeyMap()
        self.mean_C3: Doubles = np.zeros((0, _INPUTS))
        self.covariance_C33: Doubles = np.zeros((0, _INPUTS, _INPUTS))
        self.answers_PJ2: Doubles = np.zeros((0, len(self.rate_J), 2))
        self.last_P: Int64s = np.zeros(0, np.int64)
        super().__init__(
            users={"answers_U": (np.int64, 0)},
            waiting={"category": (np.int64, 0), "input": (np.float64, _INPUTS)},
        )

    def step(self, rows: ResidualRows, known: Known, due_B: Int64s) -> Doubles:
        made_BF = np.zeros((len(rows.user_B), len(self.names)))
        place = self.waiting.extend(len(rows.user_B))
        self._reserve(len(known.user_Q))
        waiting = PracticeWaiting(self.waiting.columns["category"], self.waiting.columns["input"])
        _step(rows, known, due_B, self._practised(), waiting, self.waiting.head, place, made_BF)
        self.waiting.take(len(known.user_Q))
        return made_BF

    def peek(self, rows: ResidualRows) -> Doubles:
        made_BF = np.zeros((len(rows.user_B), len(self.names)))
        _peek(rows, self._practised(), made_BF)
        return made_BF

    def keep(self, users: Int64s, items: Int64s) -> None:
        """Forget pairs of users that leave, and categories without a pair."""
        moved_U = moved(users, self.size[0])
        super().keep(users, items)
        keys_P = self.pairs.keys[: len(self.pairs)]
        user_P, category_P = moved_U[keys_P >> 32], keys_P & 0xFFFFFFFF
        kept_P = np.flatnonzero(user_P >= 0)
        kept_C = np.unique(category_P[kept_P])
        moved_C = moved(kept_C, len(self.categories))
        self.categories = KeyMap(self.categories.keys[kept_C])
        self.mean_C3, self.covariance_C33 = self.mean_C3[kept_C], self.covariance_C33[kept_C]
        self.pairs = KeyMap((user_P[kept_P] << 32) | moved_C[category_P[kept_P]])
        self.answers_PJ2, self.last_P = self.answers_PJ2[kept_P], self.last_P[kept_P]

    def tree(self) -> Tree:
        categories, pairs = len(self.categories), len(self.pairs)
        return {
            **super().tree(),
            "categories": self.categories.tree(),
            "pairs": self.pairs.tree(),
            "mean_C3": self.mean_C3[:categories].copy(),
            "covariance_C33": self.covariance_C33[:categories].copy(),
            "answers_PJ2": self.answers_PJ2[:pairs].copy(),
            "last_P": self.last_P[:pairs].copy(),
        }

    def load(self, tree: Tree) -> None:
        super().load(tree)
        self.categories.load(tree["categories"])
        self.pairs.load(tree["pairs"])
        for name in ("mean_C3", "covariance_C33", "answers_PJ2", "last_P"):
            setattr(self, name, np.array(tree[name]))

    def _reserve(self, rows: int) -> None:
        self.categories.reserve(rows)
        self.pairs.reserve(rows)
        size, known = len(self.categories.keys), len(self.categories)
        if size > len(self.mean_C3):
            self.mean_C3 = grown(self.mean_C3[:known], size)
            self.covariance_C33 = grown(self.covariance_C33[:known], size)
            self.covariance_C33[known:] = self.config.variance * np.eye(_INPUTS)
        self.answers_PJ2 = grown(self.answers_PJ2, len(self.pairs.keys))
        self.last_P = grown(self.last_P, len(self.pairs.keys))

    def _practised(self) -> "Practised":
        return Practised(
            self.users["answers_U"],
            self.categories.arrays,
            self.mean_C3,
            self.covariance_C33,
            self.pairs.arrays,
            self.answers_PJ2,
            self.last_P,
            self.rate_J,
            self.weight_J,
        )


class Practised(NamedTuple):
    """What kernels see."""

    answers_U: Int64s
    """Known answers of each user."""
    categories: KeyArrays
    mean_C3: Doubles
    covariance_C33: Doubles
    """Slopes of each category."""
    pairs: KeyArrays
    """User's row << 32 | category's row."""
    answers_PJ2: Doubles
    """Right and wrong answers, faded by each rate until the newest."""
    last_P: Int64s
    """The user's number of answers with the newest one."""
    rate_J: Doubles
    weight_J: Doubles


class PracticeWaiting(NamedTuple):
    category_R: Int64s
    input_R3: Doubles


@inner
def _input(user: int, category: int, practised: Practised, input_3: Doubles) -> None:
    """Fill in what a row of the user sees; zeros where the category was not practised."""
    input_3[:] = 0.0
    p = find(practised.pairs.table, (user << 32) | category) if user >= 0 and category >= 0 else -1
    if p < 0:
        return
    lag = practised.answers_U[user] + 1 - practised.last_P[p]
    right, wrong = 0.0, 0.0
    for j in range(len(practised.rate_J)):
        left = practised.weight_J[j] * np.exp(-practised.rate_J[j] * lag)
        right += left * practised.answers_PJ2[p, j, 0]
        wrong += left * practised.answers_PJ2[p, j, 1]
    input_3[0] = np.log1p(right)
    input_3[1] = np.log1p(wrong)
    input_3[2] = (right + 1.0) / (right + wrong + 2.0) - 0.5


@inner
def _make(rows: ResidualRows, b: int, practised: Practised, made_F: Doubles) -> None:
    category = find(practised.categories.table, rows.category_B[b])
    _input(rows.user_B[b], category, practised, made_F[:3])
    if category >= 0:
        for k in range(3):
            made_F[3] += practised.mean_C3[category, k] * made_F[k]


@inner
def _learn(known: Known, q: int, key: int, input_3: Doubles, practised: Practised, gain_3: Doubles) -> None:
    """Move the category's slopes by a row as it was scored, then remember its answer."""
    label, user = known.label_Q[q], known.user_Q[q]
    if np.isnan(label):
        return
    category = add(practised.categories, key)
    slopes = Belief(practised.mean_C3[category], practised.covariance_C33[category])
    learn_row(slopes, 0.0, input_3, known.logit_Q[q], label, gain_3)
    if user < 0:
        return
    p = add(practised.pairs, (user << 32) | category)
    practised.answers_U[user] += 1
    past = practised.answers_U[user] - practised.last_P[p]
    for j in range(len(practised.rate_J)):
        left = np.exp(-practised.rate_J[j] * past)
        practised.answers_PJ2[p, j, 0] = practised.answers_PJ2[p, j, 0] * left + label
        practised.answers_PJ2[p, j, 1] = practised.answers_PJ2[p, j, 1] * left + 1.0 - label
    practised.last_P[p] = practised.answers_U[user]


@compiled
def _step(
    rows: ResidualRows,
    known: Known,
    due_B: Int64s,
    practised: Practised,
    waiting: PracticeWaiting,
    head: int,
    place: int,
    made_BF: Doubles,
) -> None:
    gain_3 = np.empty(3)
    learned = 0
    for b in range(rows.user_B.shape[0] + 1):
        due = due_B[b] if b < rows.user_B.shape[0] else known.user_Q.shape[0]
        while learned < due:
            r = head + learned
            _learn(known, learned, waiting.category_R[r], waiting.input_R3[r], practised, gain_3)
            learned += 1
        if b < rows.user_B.shape[0]:
            _make(rows, b, practised, made_BF[b])
            waiting.category_R[place + b] = rows.category_B[b]
            for k in range(3):
                waiting.input_R3[place + b, k] = made_BF[b, k]


@compiled
def _peek(rows: ResidualRows, practised: Practised, made_BF: Doubles) -> None:
    for b in range(rows.user_B.shape[0]):
        _make(rows, b, practised, made_BF[b])
