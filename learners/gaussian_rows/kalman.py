"""Logistic regression on a few dense features, with a full covariance: an extended Kalman filter.

Weights are w ~ N(mean, P). A row with features x and an offset (a base model's log odds, weight one) has the
logit N(m, s), m = offset + x mean, s = x P x. Then, like `learners.gaussian_rows.kernels` with covariances,

    p = sigmoid(m / sqrt(1 + pi/8 s))
    d = 1 / (1 + lambda s),  lambda = q (1 - q),  q = sigmoid(m),  g = P x
    mean += g (y - p) d
    P    -= g g' lambda d,  then  P += forget I

Shape suffixes: B rows to score, Q rows to learn, F features.
"""

from typing import NamedTuple

import numpy as np

from learners.gaussian_rows.kernels import probability, sigmoid
from state.compiled import compiled, inner
from state.examples import Doubles
from state.keys import Int64s
from state.tree import Tree


class Belief(NamedTuple):
    """What is thought of the weights."""

    mean_F: Doubles
    covariance_FF: Doubles


class Kalman:
    """One weight a feature: `variance` in the beginning, `forget` more at each row."""

    def __init__(self, features: int, *, variance: float, forget: float) -> None:
        self.forget = forget
        self.belief = Belief(np.zeros(features), variance * np.eye(features))

    def step(
        self,
        made_BF: Doubles,
        offset_B: Doubles,
        due_B: Int64s,
        made_QF: Doubles,
        offset_Q: Doubles,
        label_Q: Doubles,
    ) -> Doubles:
        """P(action) of each row (B,), given after the rows of the queue below `due_B[b]` were learned.

        Rows of the queue that no row was due for are learned at the end; a NaN label teaches nothing.
        """
        p_B = np.empty(len(offset_B))
        _step(self.belief, self.forget, made_BF, offset_B, due_B, made_QF, offset_Q, label_Q, p_B)
        return p_B

    def peek(self, made_BF: Doubles, offset_B: Doubles) -> Doubles:
        """P(action) of each row as of now; changes nothing."""
        p_B = np.empty(len(offset_B))
        _peek(self.belief, made_BF, offset_B, p_B)
        return p_B

    def tree(self) -> Tree:
        return {name: value.copy() for name, value in self.belief._asdict().items()}

    def load(self, tree: Tree) -> None:
        self.belief = Belief(**{name: np.array(tree[name]) for name in Belief._fields})


@inner
def _moments(belief: Belief, x_F: Doubles, offset: float, gain_F: Doubles) -> tuple[float, float]:
    """Mean and variance of the logit; `gain_F` gets P x."""
    m, s = offset, 0.0
    for f in range(x_F.shape[0]):
        gain_F[f] = 0.0
        for g in range(x_F.shape[0]):
            gain_F[f] += belief.covariance_FF[f, g] * x_F[g]
        m += belief.mean_F[f] * x_F[f]
        s += gain_F[f] * x_F[f]
    return m, max(s, 0.0)


@inner
def learn_row(belief: Belief, forget: float, x_F: Doubles, offset: float, y: float, gain_F: Doubles) -> None:
    """Move the belief by a row with outcome y, unless that is NaN."""
    if np.isnan(y):
        return
    m, s = _moments(belief, x_F, offset, gain_F)
    q = sigmoid(m)
    curvature = q * (1.0 - q)
    d = 1.0 / (1.0 + curvature * s)
    pull = (y - probability(m, s)) * d
    for f in range(x_F.shape[0]):
        belief.mean_F[f] += gain_F[f] * pull
        shrink = gain_F[f] * curvature * d
        for g in range(x_F.shape[0]):
            belief.covariance_FF[f, g] -= shrink * gain_F[g]
        belief.covariance_FF[f, f] += forget


@compiled
def _step(
    belief: Belief,
    forget: float,
    made_BF: Doubles,
    offset_B: Doubles,
    due_B: Int64s,
    made_QF: Doubles,
    offset_Q: Doubles,
    label_Q: Doubles,
    p_B: Doubles,
) -> None:
    gain_F = np.empty(belief.mean_F.shape[0])
    learned = 0
    for b in range(offset_B.shape[0] + 1):
        due = due_B[b] if b < offset_B.shape[0] else label_Q.shape[0]
        while learned < due:
            learn_row(belief, forget, made_QF[learned], offset_Q[learned], label_Q[learned], gain_F)
            learned += 1
        if b < offset_B.shape[0]:
            p_B[b] = probability(*_moments(belief, made_BF[b], offset_B[b], gain_F))


@compiled
def _peek(belief: Belief, made_BF: Doubles, offset_B: Doubles, p_B: Doubles) -> None:
    gain_F = np.empty(belief.mean_F.shape[0])
    for b in range(offset_B.shape[0]):
        p_B[b] = probability(*_moments(belief, made_BF[b], offset_B[b], gain_F))
