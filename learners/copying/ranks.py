"""Where the true item stands when candidates come first and the rest of the catalogue behind them.

Shape suffixes: B rows, C candidates, R rows to rank, N catalogue rows.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from learners.copying.candidates.columns import Found
from learners.tables.true_ranks import MISSED
from state.compiled import compiled, inner
from state.examples import Floats
from state.keys import Int64s

Int32s = NDArray[np.int32]


@compiled
def true_places(start_B1: Int64s, item_C: Int64s, true_B: Int64s, true_R: Int64s) -> None:
    """The place of each row's true item among its candidates, or -1."""
    for b in range(true_B.shape[0]):
        true_R[b] = -1
        for c in range(start_B1[b], start_B1[b + 1]):
            if item_C[c] == true_B[b]:
                true_R[b] = c - start_B1[b]


@compiled
def spread(found: Found, logit_C: Floats, score_BN: Floats) -> None:
    """Write candidates' logits over what the catalogue's items score without."""
    for b in range(score_BN.shape[0]):
        for c in range(found.start_B1[b], found.start_B1[b + 1]):
            score_BN[b, found.item_C[c]] = logit_C[c]


@inner
def rank_found(
    start: int,
    end: int,
    item_C: Int64s,
    logit_C: Floats,
    behind_N: Floats,
    true: int,
    size: int,
    left_out: Int64s,
    mark_N: Int32s,
) -> int:
    """The rank of row `true` (known, not left out) among the catalogue: candidates by their logits, the rest
    behind them by popularity; ties go against us. `mark_N` is zero between calls."""
    for i in range(left_out.shape[0]):
        mark_N[left_out[i]] = 1
    place, candidates = -1, 0
    for c in range(start, end):
        if item_C[c] == true:
            place = c
        candidates += mark_N[item_C[c]] == 0 and item_C[c] < size
    better = 0
    if place >= 0:
        for c in range(start, end):
            n = item_C[c]
            better += logit_C[c] >= logit_C[place] and mark_N[n] == 0 and n < size
    else:
        for c in range(start, end):
            mark_N[item_C[c]] += 2
        weight = behind_N[true]
        for n in range(size):
            better += behind_N[n] >= weight and mark_N[n] == 0
        better += candidates
        for c in range(start, end):
            mark_N[item_C[c]] -= 2
    for i in range(left_out.shape[0]):
        mark_N[left_out[i]] = 0
    return int(max(better, 1))


class Wanted(NamedTuple):
    """Rows to rank: each one's place among the requested, or -1, and the request by those."""

    place_B: Int64s
    true_R: Int64s
    """Catalogue row of the true item, -1 where it has none."""
    size_R: Int64s
    left_start_R1: Int64s
    left_out: Int64s


class Scored(NamedTuple):
    """The candidates of all rows, with logits of those to rank."""

    start_B1: Int64s
    item_C: Int64s
    logit_C: Floats


@compiled
def rank_all(wanted: Wanted, scored: Scored, behind_N: Floats, mark_N: Int32s, rank_R: Int64s) -> None:
    """`rank_found` for rows with their places among the requested."""
    item_C, logit_C = scored.item_C, scored.logit_C
    for b in range(wanted.place_B.shape[0]):
        r, start, end = wanted.place_B[b], scored.start_B1[b], scored.start_B1[b + 1]
        if r < 0:
            continue
        rank_R[r] = MISSED
        true, size = wanted.true_R[r], wanted.size_R[r]
        if true >= 0:
            left_out = wanted.left_out[wanted.left_start_R1[r] : wanted.left_start_R1[r + 1]]
            rank_R[r] = rank_found(start, end, item_C, logit_C, behind_N, true, size, left_out, mark_N)
