"""The mixture of experts' logits and gates.

Shape suffixes: as in `learners.mixing.layers`.
"""

import numpy as np

from learners.mixing.layers import BLOCK, LANES, ONE, ZERO, Bools, Evidence, Plan, Work, dense, new_work
from learners.mixing.update import CLIP, Moments, State, Weights
from state.compiled import assign, compiled, inner_reordered
from state.examples import Floats


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
                gate_C[c] = ZERO
            continue
        bias = ZERO
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
        total_C[c] = ZERO
    for e in range(experts):
        gate_C = gate_EC[e]
        for c in range(size):
            total_C[c] += gate_C[c]
    if first >= 0:
        for c in range(size):
            total_C[c] = ONE / total_C[c]
    for e in range(experts):
        if open_E[e]:
            gate_C = gate_EC[e]
            for c in range(size):
                gate_C[c] *= total_C[c]


@inner_reordered
def forward(
    evidence: Evidence, r: int, start: int, stop: int, state: State, weights: Weights, plan: Plan, work: Work
) -> int:
    """Fill `work` for candidates start .. stop - 1 of row r; the lanes in use."""
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
                    unit_C[c] = max(unit_C[c], ZERO)
                    said_C[c] += out * unit_C[c]
            for c in range(size):
                logit_C[c] += gate_C[c] * said_C[c]
    return size


@compiled
def score(
    evidence: Evidence, asked_R: Bools, state: State, plan: Plan, logit_C: Floats, gate_RE: Floats
) -> None:
    """Fill in the logits of the asked rows' candidates, and the mean gate of each, weighted by the softmax of
    its logits; `gate_RE` holds zeros on entry."""
    work = new_work(evidence, state.weights)
    for r in range(evidence.true_R.shape[0]):
        if not asked_R[r]:
            continue
        top, total = -np.float32(np.inf), ZERO
        for start in range(evidence.start_R1[r], evidence.start_R1[r + 1], BLOCK):
            stop = min(start + BLOCK, evidence.start_R1[r + 1])
            forward(evidence, r, start, stop, state, state.mean, plan, work)
            assign(logit_C[start:], work.logit_C[: stop - start])
            top, total = _weigh_gates(stop - start, work, top, total, gate_RE[r])
        if total > ZERO:
            for e in range(gate_RE.shape[1]):
                gate_RE[r, e] /= total


@inner_reordered
def _weigh_gates(
    real: int, work: Work, top: np.float32, total: np.float32, gate_E: Floats
) -> tuple[np.float32, np.float32]:
    """Add a block's gates, each times exp(logit - top), and their weights; the top of all blocks so far."""
    logit_C, odds_C = work.logit_C, work.spare_C
    greatest = top
    for c in range(real):
        greatest = max(greatest, logit_C[c])
    fade = np.exp(top - greatest)
    total *= fade
    for c in range(real):
        odds_C[c] = np.exp(logit_C[c] - greatest)
    for c in range(real):
        total += odds_C[c]
    for e in range(gate_E.shape[0]):
        mean, gate_C = gate_E[e] * fade, work.gate_EC[e]
        for c in range(real):
            mean += odds_C[c] * gate_C[c]
        gate_E[e] = mean
    return greatest, total
