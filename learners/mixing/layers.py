"""What the mixture of experts is given, room for one block of it, and its layers.

Shape suffixes: R rows, C candidates, F features, X context numbers, E experts, H hidden units of an expert,
L inputs of a layer, O its outputs.

A row's candidates lie along the vector unit: its features are turned over into `x_FC`, normalised, with a
row of ones (a layer's bias) and a row of zeros below them. A layer names the rows that it reads; it reads
four at a time, and fills up with the row of zeros. Rows of more than `BLOCK` candidates go block by block.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from learners.mixing.update import Weights
from state.compiled import inner, inner_reordered
from state.examples import Floats
from state.keys import Int64s

Bools = NDArray[np.bool_]

BLOCK = 496
LANES = 16
ZERO, ONE = np.float32(0.0), np.float32(1.0)


class Evidence(NamedTuple):
    """R rows of candidates; those of row r are `start_R1[r] : start_R1[r + 1]` of C."""

    start_R1: Int64s
    evidence_CF: Floats
    """Finite, of moderate size: counts come as logarithms."""
    base_C: Floats
    """A logit from elsewhere, which enters with weight one."""
    context_RX: Floats
    """What the gate sees of the row: queries by time and place, and how much evidence each view holds."""
    open_RE: Bools
    """Whether the expert has evidence on this row; the gate of another is exactly 0."""
    true_R: Int64s
    """The true candidate's place in its row; -1 where there is nothing to learn."""


class Plan(NamedTuple):
    """Which rows of `x_FC` each layer reads, filled up to a multiple of four."""

    linear_L: Int64s
    gate_L: Int64s
    hidden_EL: Int64s
    length_E: Int64s
    """How many of `hidden_EL` are in use."""


class Work(NamedTuple):
    """Room for one block."""

    x_FC: Floats
    logit_C: Floats
    error_C: Floats
    context_X: Floats
    gate_EC: Floats
    said_EC: Floats
    """What each expert says of each candidate."""
    unit_EHC: Floats
    spare_C: Floats


@inner
def new_work(evidence: Evidence, weights: Weights) -> Work:
    most = 0
    for r in range(evidence.true_R.shape[0]):
        most = max(most, evidence.start_R1[r + 1] - evidence.start_R1[r])
    width = (min(most, BLOCK) + LANES - 1) // LANES * LANES
    if width // LANES % 2 == 0:
        width += LANES
    experts, units = weights.output_EH.shape
    features = evidence.evidence_CF.shape[1]
    x_FC = np.zeros((features + 2, width), np.float32)
    x_FC[features] = 1.0
    return Work(
        x_FC,
        np.zeros(width, np.float32),
        np.zeros(width, np.float32),
        np.zeros(evidence.context_RX.shape[1], np.float32),
        np.zeros((experts, width), np.float32),
        np.zeros((experts, width), np.float32),
        np.zeros((experts, units, width), np.float32),
        np.zeros(width, np.float32),
    )


@inner_reordered
def dense(x_FC: Floats, rows_L: Int64s, length: int, weight_L: Floats, size: int, out_C: Floats) -> None:
    """out += weight . x[rows], candidate by candidate."""
    for i in range(0, length, 4):
        w0, w1, w2, w3 = weight_L[i], weight_L[i + 1], weight_L[i + 2], weight_L[i + 3]
        a_C, b_C = x_FC[rows_L[i]], x_FC[rows_L[i + 1]]
        c_C, d_C = x_FC[rows_L[i + 2]], x_FC[rows_L[i + 3]]
        for c in range(size):
            out_C[c] += w0 * a_C[c] + w1 * b_C[c] + w2 * c_C[c] + w3 * d_C[c]


@inner_reordered
def pull(x_FC: Floats, rows_L: Int64s, length: int, error_C: Floats, size: int, gradient_L: Floats) -> None:
    """gradient += x[rows] . error, summed over the candidates."""
    for i in range(0, length, 4):
        a_C, b_C = x_FC[rows_L[i]], x_FC[rows_L[i + 1]]
        c_C, d_C = x_FC[rows_L[i + 2]], x_FC[rows_L[i + 3]]
        s0, s1, s2, s3 = ZERO, ZERO, ZERO, ZERO
        for c in range(size):
            s0 += error_C[c] * a_C[c]
            s1 += error_C[c] * b_C[c]
            s2 += error_C[c] * c_C[c]
            s3 += error_C[c] * d_C[c]
        gradient_L[i] += s0
        gradient_L[i + 1] += s1
        gradient_L[i + 2] += s2
        gradient_L[i + 3] += s3


@inner_reordered
def softmax(logit_C: Floats, p_C: Floats) -> None:
    """p = exp(logit) / sum of exp(logit), for at least one candidate."""
    top = logit_C[0]
    for c in range(len(logit_C)):
        top = max(top, logit_C[c])
    for c in range(len(logit_C)):
        p_C[c] = np.exp(logit_C[c] - top)
    total = ZERO
    for c in range(len(logit_C)):
        total += p_C[c]
    scale = ONE / total
    for c in range(len(logit_C)):
        p_C[c] *= scale
