"""Scores of given candidates, and the nearest items of a user's vector.

Shape suffixes: B rows, C candidates of all rows, N table rows, P kinds of an item, S items searched,
R rows to rank, K width, D = K + 1 (a user's vector has zeros up to a multiple of 4), T the nearest.
"""

import numpy as np

from learners.contract import RankRequest
from learners.interests.views import Int32s
from learners.tables.true_ranks import true_ranks
from state.compiled import compiled, reordered
from state.examples import Floats
from state.keys import Int64s, find


@compiled
def scores(vector_BD: Floats, item_DN: Floats, score_BN: Floats) -> None:
    """Inner products, each summed in the same order whatever the batch; D is a multiple of 4.

    `item_DN` may have more columns than there are scores to fill in.
    """
    size = score_BN.shape[1]
    for start in range(0, size, 1024):
        stop = min(start + 1024, size)
        for b in range(vector_BD.shape[0]):
            out_T = score_BN[b, start:stop]
            out_T[:] = 0.0
            for d in range(0, vector_BD.shape[1], 4):
                a_T, b_T = item_DN[d, start:stop], item_DN[d + 1, start:stop]
                c_T, d_T = item_DN[d + 2, start:stop], item_DN[d + 3, start:stop]
                x0, x1 = vector_BD[b, d], vector_BD[b, d + 1]
                x2, x3 = vector_BD[b, d + 2], vector_BD[b, d + 3]
                for t in range(out_T.shape[0]):
                    out_T[t] += (x0 * a_T[t] + x1 * b_T[t]) + (x2 * c_T[t] + x3 * d_T[t])


def scored(vector_BD: Floats, item_DN: Floats, size: int) -> Floats:
    """The first `size` of the scores of each row (B, `size`)."""
    score_BN = np.empty((len(vector_BD), size), np.float32)
    scores(vector_BD, item_DN, score_BN)
    return score_BN


def ranks(vector_RD: Floats, item_DN: Floats, size: int, request: RankRequest, chunk: int = 64) -> Int64s:
    """Ranks of the requested rows by these scores, some rows at a time."""
    ranks_R = np.empty(len(vector_RD), np.int64)
    for start in range(0, len(ranks_R), chunk):
        part = slice(start, min(start + chunk, len(ranks_R)))
        true_ranks(
            scored(vector_RD[part], item_DN, size),
            request.true_R[part],
            request.size_R[part],
            request.left_start_R1[start : part.stop + 1],
            request.left_out,
            ranks_R[part],
        )
    return ranks_R


@reordered
def logits(
    vector_BD: Floats,
    start_B1: Int64s,
    item_C: Int64s,
    keys_N: Int64s,
    table: Int64s,
    item_NK: Floats,
    bias_N1: Floats,
    kind_NP: Int32s,
    cold_bias: np.float32,
) -> Floats:
    """Inner products (C,): those of row b are `start_B1[b]` to `start_B1[b + 1]`.

    `item_C` indexes `keys_N`; an item that `table` does not know scores the cold bias.
    """
    logit_C = np.empty(item_C.shape[0], np.float32)
    width, kinds = item_NK.shape[1], kind_NP.shape[1] > 0
    told_N = np.full(bias_N1.shape[0] if kinds else 0, -1, np.int32)
    kind_N = np.empty(told_N.shape[0], np.float32)
    for b in range(start_B1.shape[0] - 1):
        vector_D = vector_BD[b]
        for c in range(start_B1[b], start_B1[b + 1]):
            row = find(table, keys_N[item_C[c]])
            if row < 0:
                logit_C[c] = cold_bias
                continue
            logit = bias_N1[row, 0]
            row_K = item_NK[row]
            for k in range(width):
                logit += row_K[k] * vector_D[k]
            for kind in kind_NP[row]:
                if kind < 0:
                    break
                if told_N[kind] != b:
                    told_N[kind] = b
                    score, kind_K = bias_N1[kind, 0], item_NK[kind]
                    for k in range(width):
                        score += kind_K[k] * vector_D[k]
                    kind_N[kind] = score
                logit += kind_N[kind]
            logit_C[c] = logit
    return logit_C


def apart(width: int, size: int) -> Floats:
    """Zeros (`width`, at least `size`), whose rows are an odd number of cache lines long: rows that lie a
    power of two apart push each other out of the cache when columns are written; 2,048 cost 30 times as
    much."""
    return np.zeros((width, 16 * (-(-size // 16) | 1)), np.float32)


def nearest(vector_BD: Floats, item_DS: Floats, size: int, count: int) -> Int64s:
    """Places among the first `size` items of the `count` best inner products of each row (B, count), best
    first.

    Ties go to the lower place; -1 where there are fewer than `count`.
    """
    score_BS = np.empty((len(vector_BD), size), np.float32)
    scores(vector_BD, item_DS, score_BS)
    place_BT = np.full((len(vector_BD), count), -1, np.int64)
    _best(score_BS, place_BT)
    return place_BT


@compiled
def _best(score_BS: Floats, place_BT: Int64s) -> None:
    """The places of the greatest scores, sorted by insertion: few get past the least of those kept."""
    count = place_BT.shape[1]
    if not count:
        return
    best_T = np.empty(count, np.float32)
    for b in range(score_BS.shape[0]):
        best_T[:] = -np.inf
        place_T = place_BT[b]
        for s in range(score_BS.shape[1]):
            score = score_BS[b, s]
            if score <= best_T[count - 1]:
                continue
            t = count - 1
            while t > 0 and score > best_T[t - 1]:
                best_T[t], place_T[t] = best_T[t - 1], place_T[t - 1]
                t -= 1
            best_T[t], place_T[t] = score, s
