"""P(action) with its meaning learned anew: a logistic regression on its log odds, from some event on.

With l the learner's log odds, P = sigmoid(l + a + b l): Platt scaling (Platt 1999), its two weights learned
online by `learners.gaussian_rows.kalman`, event by event as labels become known. Both begin at 0, where P
stays what it was.

Shape suffixes: B rows, Q rows of the queue.
"""

import numpy as np

from learners.gaussian_rows.kalman import Kalman
from learners.tables.fifo import Fifo
from state.arrays import Doubles
from state.examples import Floats
from state.keys import Int64s
from state.tree import Tree

VARIANCE, FORGET = 0.2, 1e-6
"""What the weights begin with, and what they grow by at each label."""
_LEAST_P = 1e-9


class Recalibration:
    """Of one learner. Rows that waited when it began teach it nothing: what was said of them is gone."""

    def __init__(self, waiting: int = 0) -> None:
        self._kalman = Kalman(2, variance=VARIANCE, forget=FORGET)
        self._waiting = Fifo({"logit": (np.float64, 0)})
        self._push(np.full(waiting, np.nan))

    def begin(self) -> None:
        """Be as uncertain again as in the beginning; the weights stay."""
        self._kalman.belief.covariance_FF[:] = VARIANCE * np.eye(2)

    def step(self, p_B: Doubles, label_Q: Floats, due_B: Int64s) -> Doubles:
        """P(action) (B,) recalibrated, each after what is due before it; learns all of the queue."""
        p_B = np.clip(p_B.astype(np.float64), _LEAST_P, 1.0 - _LEAST_P)
        logit_B = np.log(p_B / (1.0 - p_B))
        self._push(logit_B)
        queue = slice(self._waiting.head, self._waiting.head + len(label_Q))
        logit_Q = self._waiting.columns["logit"][queue]
        label = np.where(np.isnan(logit_Q), np.nan, label_Q.astype(np.float64))
        made_BF, made_QF = (np.stack([np.ones(len(x)), x], 1) for x in (logit_B, logit_Q))
        said_B = self._kalman.step(made_BF, logit_B, due_B, made_QF, logit_Q, label)
        self._waiting.take(len(label_Q))
        return said_B

    def _push(self, logit_B: Doubles) -> None:
        place = self._waiting.extend(len(logit_B))
        self._waiting.columns["logit"][place : self._waiting.tail] = logit_B

    def tree(self) -> Tree:
        return {"kalman": self._kalman.tree(), "waiting": self._waiting.tree()}

    def load(self, tree: Tree) -> None:
        self._kalman.load(tree["kalman"])
        self._waiting.load(tree["waiting"])
