"""What an event is learned from, and the step of a row of the table.

Shape suffixes: B events, W window entries, N table rows, K width, V views, C candidates, P kinds of an item,
T rows touched.
"""

from typing import NamedTuple

import numpy as np

from learners.interests.views import SHORT, Int32s, RecalledRows
from state.compiled import inlined, inner
from state.examples import Bytes, Floats
from state.keys import Int64s


class Targets(NamedTuple):
    """What is to be learned, and against what."""

    target_B: Int64s
    """Table row of the true item, -1 for nothing to learn."""
    identity_B: Int64s
    recalled: RecalledRows
    draws: int
    """Candidates drawn, their logits corrected by log(draws x q); 0 takes every item."""
    spare: bool
    """Whether the window's own items are no candidates."""


class StepSizes(NamedTuple):
    """What sizes the steps."""

    lr: np.float32
    bias_lr: np.float32
    query_lr: np.float32
    reg: np.float32
    kind: np.float32
    """A kind's rate, next to an item's: it moves with every item that has it."""


class InterestRows(NamedTuple):
    """The table's rows, of items and of their kinds, with their AdaGrad sums."""

    item_NK: Floats
    item_square_N: Floats
    bias_N1: Floats
    bias_square_N: Floats
    short_NK: Floats
    short_square_N: Floats
    long_NK: Floats
    long_square_N: Floats
    deep_NK: Floats
    deep_square_N: Floats
    stale_N: Bytes
    kind_NP: Int32s
    """Rows of each item's kinds, then -1."""
    is_kind_N: Bytes


class Touched(NamedTuple):
    """The rows that an event recalls, each once, with what it weighs in the views."""

    seen_N: Int32s
    place_N: Int32s
    row_T: Int64s
    short_T: Floats
    long_T: Floats


class Pulled(NamedTuple):
    """Room for what entries do to the deep vectors of such rows."""

    gradient_TK: Floats
    pull_T: Floats


class KindScores(NamedTuple):
    """The kinds of an event's candidates, each once."""

    seen_N: Int32s
    row_T: Int64s
    score_N: Floats
    error_N: Floats


@inlined
def add(vector_K: Floats, scale: np.float32, row_K: Floats) -> None:
    for k in range(vector_K.shape[0]):
        vector_K[k] += scale * row_K[k]


@inlined
def mean_square(vector_K: Floats) -> np.float32:
    total = np.float32(0.0)
    for k in range(vector_K.shape[0]):
        total += vector_K[k] * vector_K[k]
    return total / np.float32(vector_K.shape[0])


@inlined
def descend(
    weight_NK: Floats,
    square_N: Floats,
    n: int,
    scale: np.float32,
    vector_K: Floats,
    mean_square: np.float32,
    lr: np.float32,
    reg: np.float32,
) -> None:
    """AdaGrad's step of row n for the gradient scale x vector, and a pull to zero of reg x |scale|."""
    square_N[n] += scale * scale * mean_square
    rate = lr / np.sqrt(square_N[n])
    keep, move = max(np.float32(1.0) - rate * reg * abs(scale), np.float32(0.0)), rate * scale
    row_K = weight_NK[n]
    for k in range(row_K.shape[0]):
        row_K[k] = keep * row_K[k] - move * vector_K[k]


@inner
def touch(touched: Touched, many: int, b: int, z: int, short: np.float32, long: np.float32) -> int:
    """Add to what row z weighs in event b; how many rows are touched by then."""
    if touched.seen_N[z] != b:
        touched.seen_N[z] = b
        touched.place_N[z] = many
        touched.row_T[many] = z
        touched.short_T[many] = touched.long_T[many] = 0.0
        many += 1
    t = touched.place_N[z]
    touched.short_T[t] += short
    touched.long_T[t] += long
    return many


@inner
def recall(recalled: RecalledRows, b: int, kind_NP: Int32s, touched: Touched) -> int:
    """The rows of the window's entries and of their kinds; how many."""
    many = 0
    for w in range(recalled.length_B[b]):
        z = recalled.rows_BW[b, w]
        if z < 0:
            continue
        short, long = recalled.weight_VBW[SHORT, b, w], np.float32(0.0)
        for v in range(1, recalled.weight_VBW.shape[0]):
            long += recalled.weight_VBW[v, b, w]
        many = touch(touched, many, b, z, short, long)
        for p in range(kind_NP.shape[1]):
            if kind_NP[z, p] < 0:
                break
            many = touch(touched, many, b, kind_NP[z, p], short, long)
    return many


@inlined
def rate_of(rates: StepSizes, is_kind: int) -> np.float32:
    return rates.lr * rates.kind if is_kind else rates.lr
