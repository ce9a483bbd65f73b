"""Where the true item stands among the whole catalogue."""

import numpy as np

from state.compiled import compiled, inner
from state.examples import Doubles, Floats
from state.keys import Int64s

MISSED = 2**31 - 1
"""The rank of an item that nothing was known of: a miss, however small the catalogue was."""


@compiled
def true_ranks(
    scores_RN: Floats,
    true_R: Int64s,
    size_R: Int64s,
    left_start_R1: Int64s,
    left_out: Int64s,
    ranks_R: Int64s,
) -> None:
    """Fill `ranks_R` with 1 + the number of candidates that score at least as much as the true item.

    Ties go against us; an item scored -inf ranks last, and one that is unknown (-1) is MISSED.
    `left_start_R1` indexes `left_out`, the catalogue rows that are no candidates.
    """
    for r in range(true_R.shape[0]):
        true, size = true_R[r], size_R[r]
        left = left_start_R1[r + 1] - left_start_R1[r]
        if true < 0:
            ranks_R[r] = MISSED
            continue
        if scores_RN[r, true] == -np.inf:
            ranks_R[r] = size - left
            continue
        score = scores_RN[r, true]
        better = 0
        for n in range(size):
            better += scores_RN[r, n] >= score
        for i in range(left_start_R1[r], left_start_R1[r + 1]):
            better -= scores_RN[r, left_out[i]] >= score
        ranks_R[r] = max(better, 1)


@inner
def sparse_rank(
    own_N: Doubles,
    touched: Int64s,
    many: int,
    base_N: Doubles,
    scale: float,
    top: float,
    true: int,
    size: int,
    left_out: Int64s,
) -> int:
    """The rank of row `true` by own + scale x base, by the rules of `true_ranks`, exactly.

    `own_N` is zero but for `touched[:many]`; no base exceeds `top`. Where the true item beats every base
    and few rows are touched, only those are looked at.
    """
    if true < 0:
        return MISSED
    score = own_N[true] + scale * base_N[true]
    better = 0
    if 4 * many < size and score > scale * top:
        for i in range(many):
            n = touched[i]
            better += n < size and own_N[n] + scale * base_N[n] >= score
    else:
        own_S, base_S = own_N[:size], base_N[:size]
        for n in range(size):
            better += own_S[n] + scale * base_S[n] >= score
    for i in range(left_out.shape[0]):
        n = left_out[i]
        better -= own_N[n] + scale * base_N[n] >= score
    return int(max(better, 1))
