"""Shares of a column's values: how surprising is what comes, by what was usual?

Values are hashed into BUCKETS. An event's surprise is -ln of the share that its value had among the events
before, older ones faded; in a stream that stays as it is its mean stays, too, and a change of shares raises
or lowers it. What has become usual surprises no more. Population stability index (PSI) and Jensen-Shannon
(JS) divergence compare the newest shares with the usual ones, as evidence.
"""

import numpy as np

from state.arrays import Doubles, Int64s
from state.compiled import compiled, inner
from state.ids import NO_KEY
from state.keys import mix
from state.tree import Tree

BUCKETS = 64
_USUAL, _NEWEST = 1.0 / 20_000.0, 1.0 / 500.0
"""What a value loses of its weight with every later one, in the usual and in the newest shares."""
_LEAST = 1_000.0
"""Values before anything is said."""
_PRIOR = 0.5
_EVERY = 64
"""Values between two comparisons of shares."""


class BucketShares:
    """Usual and newest shares of the buckets of some columns."""

    def __init__(self, columns: int) -> None:
        self._weight_X2H: Doubles = np.zeros((columns, 2, BUCKETS))
        self._seen_X: Int64s = np.zeros(columns, np.int64)
        self._apart_X2: Doubles = np.full((columns, 2), np.nan)
        """PSI and Jensen-Shannon divergence, the newest."""

    def step(self, key_BX: Int64s) -> tuple[Doubles, Doubles]:
        """Surprise (B, X) in nats, NaN without a value or with too few before; PSI, JS (B, X, 2) by then."""
        return _surprise(key_BX, self._weight_X2H, self._seen_X, self._apart_X2)

    def tree(self) -> Tree:
        return {
            "weight_X2H": self._weight_X2H.copy(),
            "seen_X": self._seen_X.copy(),
            "apart_X2": self._apart_X2.copy(),
        }

    def load(self, tree: Tree) -> None:
        self._weight_X2H, self._seen_X = np.array(tree["weight_X2H"]), np.array(tree["seen_X"])
        self._apart_X2 = np.array(tree["apart_X2"])


@compiled
def _surprise(
    key_BX: Int64s, weight_X2H: Doubles, seen_X: Int64s, apart_X2: Doubles
) -> tuple[Doubles, Doubles]:
    rows, columns = key_BX.shape
    surprise_BX = np.full((rows, columns), np.nan)
    apart_BX2 = np.empty((rows, columns, 2))
    for b in range(rows):
        for x in range(columns):
            key = key_BX[b, x]
            if key != NO_KEY:
                h = mix(key) & (BUCKETS - 1)
                usual_H, newest_H = weight_X2H[x, 0], weight_X2H[x, 1]
                if seen_X[x] >= _LEAST:
                    share = (usual_H[h] + _PRIOR) / (usual_H.sum() + _PRIOR * BUCKETS)
                    surprise_BX[b, x] = -np.log(share)
                    if seen_X[x] % _EVERY == 0:
                        apart_X2[x, 0], apart_X2[x, 1] = _apart(usual_H, newest_H)
                usual_H *= 1.0 - _USUAL
                newest_H *= 1.0 - _NEWEST
                usual_H[h] += 1.0
                newest_H[h] += 1.0
                seen_X[x] += 1
            apart_BX2[b, x] = apart_X2[x]
    return surprise_BX, apart_BX2


@inner
def _apart(usual_H: Doubles, newest_H: Doubles) -> tuple[float, float]:
    """Population stability index and Jensen-Shannon divergence in nats."""
    p_H = (usual_H + _PRIOR) / (usual_H.sum() + _PRIOR * BUCKETS)
    q_H = (newest_H + _PRIOR) / (newest_H.sum() + _PRIOR * BUCKETS)
    m_H = (p_H + q_H) / 2
    psi = ((q_H - p_H) * np.log(q_H / p_H)).sum()
    js = (p_H * np.log(p_H / m_H)).sum() / 2 + (q_H * np.log(q_H / m_H)).sum() / 2
    return psi, js
