"""Personas: how often each group accepts each cluster, shrunk from everybody to the code to the subcode.

    r_0 = (A + 2) / (E + 25)        r_m = (A_m + 15 r_(m-1)) / (E_m + 15)

A and E are faded accepts and exposures of a cluster, summed over the users who share the first m codes.
Counts are live and codes are read when they are asked for, so a new book costs nothing but another sum.

Shape suffixes: U users, C clusters, M levels, B rows, L = M + 1 rates.
"""

from typing import NamedTuple

import numpy as np

from state.arrays import Doubles, Int64s

_PRIOR_ACCEPTS, _PRIOR_EXPOSURES = 2.0, 25.0
_PULL = 15.0


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


def personas(accepts_UC: Doubles, exposures_UC: Doubles, code_UM: Int64s, sizes: tuple[int, ...]) -> Personas:
    """Of users in the order of their rows, so that sums do not depend on who came when."""
    rate_C = (accepts_UC.sum(0) + _PRIOR_ACCEPTS) / (exposures_UC.sum(0) + _PRIOR_EXPOSURES)
    above_GC, by_level = rate_C[None], []
    for level, size in enumerate(sizes):
        group_U, above_GC = groups(code_UM, sizes, level), np.repeat(above_GC, size, axis=0)
        accepts_GC, exposures_GC = np.zeros_like(above_GC), np.zeros_like(above_GC)
        np.add.at(accepts_GC, group_U, accepts_UC)
        np.add.at(exposures_GC, group_U, exposures_UC)
        above_GC = (accepts_GC + _PULL * above_GC) / (exposures_GC + _PULL)
        by_level.append(above_GC)
    return Personas(rate_C, tuple(by_level), sizes)
