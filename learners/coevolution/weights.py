"""What each item weighs within its cluster: its events, faded with 30 days.

An event weighs more the later it is, so an item's weight stays as it is until its next event, whatever comes
of others: what was published of it stays right. Only a cluster's sum has to follow.

Shape suffixes: N catalogue rows, C clusters, T events.
"""

from typing import NamedTuple

import numpy as np

from learners.tables.growing import grown
from state.arrays import Bools, Doubles, Floats, Int64s
from state.tree import Tree

HALF_LIFE_MS = 30 * 86_400_000.0
_AHEAD = 400.0
"""Half-lives after which the reference moves, and all weights are others."""
_LEAST = 2.0**-100


class Within(NamedTuple):
    item_N: Floats
    """Logarithm of each item's weight."""
    total_C: Doubles
    """Of each cluster's sum."""


class Weights:
    def __init__(self, clusters: int) -> None:
        self.clusters = clusters
        self.weight_N: Doubles = np.zeros(0)
        self.reference_ms: int | None = None
        self._changed_N: Bools = np.zeros(0, np.bool_)

    def add(self, row_T: Int64s, time_ms_T: Int64s, size: int) -> None:
        """Events of catalogue rows, of which there are `size`; -1 for one that has left."""
        self.weight_N, self._changed_N = grown(self.weight_N, size), grown(self._changed_N, size)
        time_ms_T, row_T = time_ms_T[row_T >= 0], row_T[row_T >= 0]
        if not len(row_T):
            return
        newest_ms = int(time_ms_T.max())
        if self.reference_ms is None:
            self.reference_ms = newest_ms
        ahead = (newest_ms - self.reference_ms) / HALF_LIFE_MS
        if ahead > _AHEAD:
            self.weight_N = (
                self.weight_N * 2.0**-ahead if ahead < 2 * _AHEAD else np.zeros_like(self.weight_N)
            )
            self.reference_ms, self._changed_N = newest_ms, np.ones_like(self._changed_N)
        exponent_T = (time_ms_T - self.reference_ms) / HALF_LIFE_MS
        np.add.at(self.weight_N, row_T, np.exp2(np.maximum(exponent_T, -2 * _AHEAD)))
        self._changed_N[row_T] = True

    def within(self, cluster_N: Int64s) -> Within:
        """Given each item's cluster."""
        self.weight_N = grown(self.weight_N, len(cluster_N))
        weight_N = np.maximum(self.weight_N[: len(cluster_N)], _LEAST)
        total_C = np.bincount(cluster_N, weight_N, self.clusters)
        return Within(np.log(weight_N).astype(np.float32), np.log(np.maximum(total_C, _LEAST)))

    def changed(self) -> Int64s:
        """Rows that weigh otherwise since the last call."""
        rows = np.flatnonzero(self._changed_N)
        self._changed_N[:] = False
        return rows

    def keep(self, kept_K: Int64s) -> None:
        """Of catalogue rows only these stay."""
        size = int(kept_K.max(initial=-1)) + 1
        self.weight_N = grown(self.weight_N, size)[kept_K]
        self._changed_N = grown(self._changed_N, size)[kept_K]

    def tree(self) -> Tree:
        used = int(self.weight_N.nonzero()[0].max(initial=-1)) + 1
        return {
            "weight_N": self.weight_N[:used].copy(),
            "changed_N": self._changed_N[:used].copy(),
            "reference_ms": -1 if self.reference_ms is None else self.reference_ms,
            "begun": self.reference_ms is not None,
        }

    def load(self, tree: Tree) -> None:
        self.weight_N, self._changed_N = np.array(tree["weight_N"]), np.array(tree["changed_N"])
        self.reference_ms = int(tree["reference_ms"]) if tree["begun"] else None
