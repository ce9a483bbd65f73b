"""Personas: how often each group accepts each cluster, shrunk from everybody to the code to the subcode.

    r_0 = (A + 2) / (E + 25)        r_m = (A_m + 15 r_(m-1)) / (E_m + 15)

A and E are faded accepts and exposures of a cluster, summed over the users who share the first m codes.
Counts are live and codes are read when they are asked for, so a new book costs nothing but another sum.

Shape suffixes: E entries (a user and a cluster), C clusters, M levels, B rows, L = M + 1 rates.
"""

from typing import NamedTuple

import numpy as np

from state.arrays import Doubles, Int64s

_PRIOR_ACCEPTS, _PRIOR_EXPOSURES = 2.0, 25.0
_PULL = 15.0
_EVEN, _PULL_SHARE = 0.5, 20.0


class Personas(NamedTuple):
    """Rates of all groups at a time."""

    everybody_C: Doubles
    by_level: tuple[Doubles, ...]
    """(groups, C) for each level; a group is the first m codes, as `groups` numbers them."""
    sizes: tuple[int, ...]

    def of(self, code_BM: Int64s) -> Doubles:
        """The rates of each row's groups (B, C, L), everybody's first."""
        rate_BCL = np.empty((len(code_BM), len(self.everybody_C), len(self.sizes) + 1))
        rate_BCL[..., 0] = self.everybody_C
        for level, rate_GC in enumerate(self.by_level):
            rate_BCL[..., level + 1] = rate_GC[groups(code_BM, self.sizes, level)]
        return rate_BCL


def groups(code_BM: Int64s, sizes: tuple[int, ...], level: int) -> Int64s:
    """One number for the first `level` + 1 codes."""
    group_B = np.zeros(len(code_BM), np.int64)
    for m in range(level + 1):
        group_B = group_B * sizes[m] + code_BM[:, m]
    return group_B


def personas(
    accepts_E: Doubles,
    exposures_E: Doubles,
    code_EM: Int64s,
    cluster_E: Int64s,
    sizes: tuple[int, ...],
    clusters: int,
) -> Personas:
    """Of entries of users and clusters in the order in which they came, each with its user's codes."""

    def summed(amount_E: Doubles, group_E: Int64s, groups: int) -> Doubles:
        cell_E = group_E * clusters + cluster_E
        counted = np.bincount(cell_E, amount_E, groups * clusters).astype(np.float64)
        return counted.reshape(groups, clusters)

    everybody_E = np.zeros_like(cluster_E)
    accepts_C, exposures_C = (summed(one_E, everybody_E, 1)[0] for one_E in (accepts_E, exposures_E))
    rate_C = (accepts_C + _PRIOR_ACCEPTS) / (exposures_C + _PRIOR_EXPOSURES)
    above_GC, by_level = rate_C[None], []
    for level, size in enumerate(sizes):
        group_E, above_GC = groups(code_EM, sizes, level), np.repeat(above_GC, size, axis=0)
        many = len(above_GC)
        accepts_GC, exposures_GC = (summed(one_E, group_E, many) for one_E in (accepts_E, exposures_E))
        above_GC = (accepts_GC + _PULL * above_GC) / (exposures_GC + _PULL)
        by_level.append(above_GC)
    return Personas(rate_C, tuple(by_level), sizes)


class Shares(NamedTuple):
    """Which share of a group's accepts each cluster has, shrunk likewise, where nothing is known of what was
    only shown. Logarithms: of everybody's share, then of each level's to the level above."""

    everybody_C: Doubles
    by_level: tuple[Doubles, ...]


def shares(
    accepts_E: Doubles, code_EM: Int64s, cluster_E: Int64s, sizes: tuple[int, ...], clusters: int
) -> Shares:
    """As `personas`, of accepts alone."""
    total_C = np.bincount(cluster_E, accepts_E, clusters) + _EVEN
    share_C = total_C / total_C.sum()
    above_GC, by_level = share_C[None], []
    for level, size in enumerate(sizes):
        group_E, above_GC = groups(code_EM, sizes, level), np.repeat(above_GC, size, axis=0)
        cell_E, many = group_E * clusters + cluster_E, len(above_GC)
        counted_GC = np.bincount(cell_E, accepts_E, many * clusters).reshape(many, clusters)
        pull = _PULL_SHARE
        own_GC = (counted_GC + pull * above_GC) / (counted_GC.sum(1, keepdims=True) + pull)
        by_level.append(np.log(own_GC / above_GC))
        above_GC = own_GC
    return Shares(np.log(share_C), tuple(by_level))
