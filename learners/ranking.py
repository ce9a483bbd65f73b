"""Where the true item stands among the whole catalogue."""

import numpy as np

from state.compiled import compiled
from state.examples import Floats
from state.keys import Int64s


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

    Ties go against us; an item that is unknown (-1) or scored -inf ranks behind every candidate.
    `left_start_R1` indexes `left_out`, the catalogue rows that are no candidates.
    """
    for r in range(true_R.shape[0]):
        true, size = true_R[r], size_R[r]
        left = left_start_R1[r + 1] - left_start_R1[r]
        if true < 0 or scores_RN[r, true] == -np.inf:
            ranks_R[r] = size - left + (1 if true < 0 else 0)
            continue
        score = scores_RN[r, true]
        better = 0
        for n in range(size):
            better += scores_RN[r, n] >= score
        for i in range(left_start_R1[r], left_start_R1[r + 1]):
            better -= scores_RN[r, left_out[i]] >= score
        ranks_R[r] = max(better, 1)
