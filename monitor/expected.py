"""Before labels arrive: the log loss that scores let expect, if they are as well calibrated as they were.

A score p is taken for the chance q that events with such scores had lately, among those whose labels are
known by now; -(q ln p + (1 - q) ln (1 - p)) is then what the event's log loss will be on average. Estimates
of this kind are known as confidence-based. A change of what a score means it cannot see before labels tell.
"""

import numpy as np

from state.arrays import Doubles, Int64s
from state.compiled import compiled, inner
from state.tree import Tree

BINS, _REACH = 32, 6.0
"""Of the score's log odds, equally wide from -REACH to REACH."""
_FADE = 1.0 / 10_000.0
"""Of a label's weight, with every label that comes after it."""
_LEAST = 1_000.0
"""Weight of labels before anything is said."""
_PRIOR = 100.0
"""Labels' worth of trust in p itself, in every bin."""
LEAST_P = 1e-6


class Calibration:
    """Labels by score, older ones faded."""

    def __init__(self) -> None:
        self._sum_2D: Doubles = np.zeros((2, BINS))
        """Weight, and weight of positives."""

    def step(self, p_B: Doubles, p_Q: Doubles, label_Q: Doubles, due_B: Int64s) -> Doubles:
        """Expected log loss (B,) of scores `p_B`, NaN without a score or with too few labels.

        `p_Q`, `label_Q`: of events that become known, in order, the first `due_B[b]` of them before row b.
        """
        return _expected(p_B, p_Q, label_Q, due_B, self._sum_2D)

    def tree(self) -> Tree:
        return {"sum_2D": self._sum_2D.copy()}

    def load(self, tree: Tree) -> None:
        self._sum_2D = np.array(tree["sum_2D"])


@compiled
def _expected(p_B: Doubles, p_Q: Doubles, label_Q: Doubles, due_B: Int64s, sum_2D: Doubles) -> Doubles:
    expected_B = np.full(len(p_B), np.nan)
    learned = 0
    for b in range(len(p_B)):
        _learn(p_Q[learned : due_B[b]], label_Q[learned : due_B[b]], sum_2D)
        learned = due_B[b]
        if np.isnan(p_B[b]) or sum_2D[0].sum() < _LEAST:
            continue
        p = min(max(p_B[b], LEAST_P), 1.0 - LEAST_P)
        d = _bin(p)
        chance = (sum_2D[1, d] + _PRIOR * p) / (sum_2D[0, d] + _PRIOR)
        expected_B[b] = -(chance * np.log(p) + (1.0 - chance) * np.log1p(-p))
    _learn(p_Q[learned:], label_Q[learned:], sum_2D)
    return expected_B


@inner
def _learn(p_Q: Doubles, label_Q: Doubles, sum_2D: Doubles) -> None:
    for q in range(len(p_Q)):
        if not np.isnan(p_Q[q]) and not np.isnan(label_Q[q]):
            d = _bin(p_Q[q])
            sum_2D *= 1.0 - _FADE
            sum_2D[0, d] += 1.0
            sum_2D[1, d] += label_Q[q]


@inner
def _bin(p: float) -> int:
    p = min(max(p, LEAST_P), 1.0 - LEAST_P)
    place = (np.log(p) - np.log1p(-p) + _REACH) * (BINS / (2.0 * _REACH))
    return int(min(max(place, 0.0), BINS - 1.0))
