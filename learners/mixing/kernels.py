"""The mixture of experts' inner loops: logits, one row's gradient, normalisation, Adam.

Shape suffixes: R rows, C candidates, F features, X context numbers, E experts, H hidden units of an expert,
L inputs of a layer, O its outputs.

A row's candidates lie along the vector unit: its features are turned over into `x_FC`, normalised, with a
row of ones (a layer's bias) and a row of zeros below them. A layer names the rows that it reads; it reads
four at a time, and fills up with the row of zeros. Rows of more than `BLOCK` candidates go block by block.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from learners.mixing.update import CLIP, Moments, Rates, State, Weights, observe, update
from state.compiled import assign, compiled, inner, inner_reordered
from state.examples import Doubles, Floats
from state.keys import Int64s

Bools = NDArray[np.bool_]

BLOCK = 496
LANES = 16
_ZERO, _ONE = np.float32(0.0), np.float32(1.0)


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
def _work(evidence: Evidence, weights: Weights) -> Work:
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
        s0, s1, s2, s3 = _ZERO, _ZERO, _ZERO, _ZERO
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
def _normalise(evidence_CF: Floats, moments: Moments, size: int, x_FC: Floats) -> None:
    """Turn a block over; lanes past its end are 0."""
    features = evidence_CF.shape[1]
    for c in range(evidence_CF.shape[0]):
        for f in range(features):
            z = (evidence_CF[c, f] - moments.mean_N[f]) * moments.scale_N[f]
            x_FC[f, c] = min(max(z, -CLIP), CLIP)
    for c in range(evidence_CF.shape[0], size):
        for f in range(features):
            x_FC[f, c] = 0.0


@inner_reordered
def _gate(open_E: Bools, weights: Weights, plan: Plan, size: int, work: Work) -> None:
    """Softmax over the open experts; exactly 0 for the others, exactly 1 for one alone."""
    gate_EC, total_C = work.gate_EC, work.spare_C
    first = -1
    experts = gate_EC.shape[0]
    for e in range(experts):
        gate_C = gate_EC[e]
        if not open_E[e]:
            for c in range(size):
                gate_C[c] = _ZERO
            continue
        bias = _ZERO
        for x in range(work.context_X.shape[0]):
            bias += weights.gate_context_EX[e, x] * work.context_X[x]
        for c in range(size):
            gate_C[c] = bias
        dense(work.x_FC, plan.gate_L, len(plan.gate_L), weights.gate_item_EL[e], size, gate_C)
        if first < 0:
            first = e
            for c in range(size):
                total_C[c] = gate_C[c]
        else:
            for c in range(size):
                total_C[c] = max(total_C[c], gate_C[c])
    for e in range(experts):
        if open_E[e]:
            gate_C = gate_EC[e]
            for c in range(size):
                gate_C[c] = np.exp(gate_C[c] - total_C[c])
    for c in range(size):
        total_C[c] = _ZERO
    for e in range(experts):
        gate_C = gate_EC[e]
        for c in range(size):
            total_C[c] += gate_C[c]
    if first >= 0:
        for c in range(size):
            total_C[c] = _ONE / total_C[c]
    for e in range(experts):
        if open_E[e]:
            gate_C = gate_EC[e]
            for c in range(size):
                gate_C[c] *= total_C[c]


@inner_reordered
def _forward(evidence: Evidence, r: int, start: int, stop: int, state: State, plan: Plan, work: Work) -> int:
    """Fill `work` for candidates start .. stop - 1 of row r; the lanes in use."""
    weights = state.weights
    size = (stop - start + LANES - 1) // LANES * LANES
    _normalise(evidence.evidence_CF[start:stop], state.features, size, work.x_FC)
    logit_C = work.logit_C
    logit_C[:size] = 0.0
    for c in range(stop - start):
        logit_C[c] = evidence.base_C[start + c]
    dense(work.x_FC, plan.linear_L, len(plan.linear_L), weights.linear_L, size, logit_C)
    for x in range(work.context_X.shape[0]):
        z = (evidence.context_RX[r, x] - state.context.mean_N[x]) * state.context.scale_N[x]
        work.context_X[x] = min(max(z, -CLIP), CLIP)
    open_E = evidence.open_RE[r]
    _gate(open_E, weights, plan, size, work)
    experts, units = weights.output_EH.shape
    for e in range(experts):
        if open_E[e]:
            said_C, gate_C = work.said_EC[e], work.gate_EC[e]
            said_C[:size] = 0.0
            for h in range(units):
                unit_C, out = work.unit_EHC[e, h], weights.output_EH[e, h]
                unit_C[:size] = 0.0
                dense(work.x_FC, plan.hidden_EL[e], plan.length_E[e], weights.hidden_EHL[e, h], size, unit_C)
                for c in range(size):
                    unit_C[c] = max(unit_C[c], _ZERO)
                    said_C[c] += out * unit_C[c]
            for c in range(size):
                logit_C[c] += gate_C[c] * said_C[c]
    return size


@compiled
def score(evidence: Evidence, state: State, plan: Plan, logit_C: Floats) -> None:
    """Fill in every candidate's logit."""
    work = _work(evidence, state.weights)
    for r in range(evidence.true_R.shape[0]):
        for start in range(evidence.start_R1[r], evidence.start_R1[r + 1], BLOCK):
            stop = min(start + BLOCK, evidence.start_R1[r + 1])
            _forward(evidence, r, start, stop, state, plan, work)
            assign(logit_C[start:], work.logit_C[: stop - start])


@inner_reordered
def softmax(logit_C: Floats, p_C: Floats) -> None:
    """p = exp(logit) / sum of exp(logit), for at least one candidate."""
    top = logit_C[0]
    for c in range(len(logit_C)):
        top = max(top, logit_C[c])
    for c in range(len(logit_C)):
        p_C[c] = np.exp(logit_C[c] - top)
    total = _ZERO
    for c in range(len(logit_C)):
        total += p_C[c]
    scale = _ONE / total
    for c in range(len(logit_C)):
        p_C[c] *= scale


@compiled
def mean_gates(evidence: Evidence, state: State, plan: Plan, logit_C: Floats, gate_RE: Floats) -> None:
    """Fill in the mean gate of each row, weighted by the softmax of `logit_C`; zeros on entry."""
    work = _work(evidence, state.weights)
    for r in range(evidence.true_R.shape[0]):
        first, end = evidence.start_R1[r], evidence.start_R1[r + 1]
        p_C = np.empty(end - first, np.float32)
        if end > first:
            softmax(logit_C[first:end], p_C)
        for start in range(first, end, BLOCK):
            stop = min(start + BLOCK, end)
            _forward(evidence, r, start, stop, state, plan, work)
            for e in range(gate_RE.shape[1]):
                for c in range(stop - start):
                    gate_RE[r, e] += p_C[start - first + c] * work.gate_EC[e, c]


@inner_reordered
def _backward(open_E: Bools, real: int, size: int, lean: float, state: State, plan: Plan, work: Work) -> None:
    """Add the gradient of a block of `real` candidates; `error_C` is the logits', 0 past the end.

    `lean` is what load balance asks of a gate, for an expert with an even load.
    """
    weights, gradient = state.weights, state.gradient
    x_FC, error_C, spare_C, mean_C = work.x_FC, work.error_C, work.spare_C, work.logit_C
    pull(x_FC, plan.linear_L, len(plan.linear_L), error_C, size, gradient.linear_L)
    experts, units = weights.output_EH.shape
    mean_C[:size] = 0.0
    for e in range(experts):
        if open_E[e]:
            gate_C, said_C = work.gate_EC[e], work.said_EC[e]
            load = np.float32(lean * state.load_E[e])
            for c in range(size):
                spare_C[c] = error_C[c] * gate_C[c]
                said_C[c] = error_C[c] * said_C[c] + load
                mean_C[c] += gate_C[c] * said_C[c]
            for h in range(units):
                unit_C, out = work.unit_EHC[e, h], weights.output_EH[e, h]
                total = _ZERO
                for c in range(size):
                    total += spare_C[c] * unit_C[c]
                    unit_C[c] = out * spare_C[c] if unit_C[c] > _ZERO else _ZERO
                gradient.output_EH[e, h] += total
                pull(x_FC, plan.hidden_EL[e], plan.length_E[e], unit_C, size, gradient.hidden_EHL[e, h])
    for e in range(experts):
        if open_E[e]:
            gate_C, said_C = work.gate_EC[e], work.said_EC[e]
            total = _ZERO
            for c in range(real):
                said_C[c] = gate_C[c] * (said_C[c] - mean_C[c])
                total += said_C[c]
            said_C[real:size] = 0.0
            pull(x_FC, plan.gate_L, len(plan.gate_L), said_C, size, gradient.gate_item_EL[e])
            for x in range(work.context_X.shape[0]):
                gradient.gate_context_EX[e, x] += total * work.context_X[x]


@inner
def _route(open_E: Bools, real: int, share: float, work: Work, routed_E: Doubles) -> None:
    """Count to whom each candidate gates most, as `share` of a row."""
    for c in range(real):
        best = -1
        for e in range(len(open_E)):
            if open_E[e] and (best < 0 or work.gate_EC[e, c] > work.gate_EC[best, c]):
                best = e
        routed_E[best] += share


@compiled
def learn(evidence: Evidence, state: State, plan: Plan, rates: Rates) -> None:
    """Learn the rows in order; every `rates.batch` learned rows, counted over the stream, are an update."""
    work = _work(evidence, state.weights)
    most = 0
    for r in range(len(evidence.true_R)):
        most = max(most, evidence.start_R1[r + 1] - evidence.start_R1[r])
    row_C = np.empty(most, np.float32)
    for r in range(len(evidence.true_R)):
        if evidence.true_R[r] >= 0:
            _learn_row(evidence, r, row_C, state, plan, rates, work)
            candidates = slice(evidence.start_R1[r], evidence.start_R1[r + 1])
            observe(evidence.evidence_CF[candidates], evidence.context_RX[r : r + 1], state, rates)
            if state.counts[0] == rates.batch:
                update(state, rates)


@inner
def _learn_row(
    evidence: Evidence, r: int, row_C: Floats, state: State, plan: Plan, rates: Rates, work: Work
) -> None:
    """Add row r's gradient and load; a row of several blocks goes forward twice."""
    first, end = evidence.start_R1[r], evidence.start_R1[r + 1]
    size = 0
    for start in range(first, end, BLOCK):
        stop = min(start + BLOCK, end)
        size = _forward(evidence, r, start, stop, state, plan, work)
        assign(row_C[start - first :], work.logit_C[: stop - start])
    softmax(row_C[: end - first], row_C[: end - first])
    row_C[evidence.true_R[r]] -= _ONE
    open_E = evidence.open_RE[r]
    choices = 0
    for e in range(len(open_E)):
        choices += open_E[e]
    if choices > 1:
        for e in range(len(open_E)):
            state.chosen_E[e] += open_E[e]
    share = 1.0 / (end - first)
    for start in range(first, end, BLOCK):
        stop = min(start + BLOCK, end)
        if end - first > BLOCK:
            size = _forward(evidence, r, start, stop, state, plan, work)
        work.error_C[:size] = _ZERO
        assign(work.error_C, row_C[start - first : stop - first])
        if choices > 1:
            _route(open_E, stop - start, choices * share, work, state.routed_E)
        _backward(open_E, stop - start, size, rates.balance * share, state, plan, work)
