"""The mixture of experts' learning: one row's gradient and load.

Shape suffixes: as in `learners.mixing.layers`.
"""

import numpy as np

from learners.mixing.forward import forward
from learners.mixing.layers import BLOCK, ONE, ZERO, Bools, Evidence, Plan, Work, new_work, pull, softmax
from learners.mixing.update import Rates, State, observe, update
from state.compiled import assign, compiled, inner, inner_reordered
from state.examples import Doubles, Floats


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
                total = ZERO
                for c in range(size):
                    total += spare_C[c] * unit_C[c]
                for c in range(size):
                    unit_C[c] = out * spare_C[c] if unit_C[c] > ZERO else ZERO
                gradient.output_EH[e, h] += total
                pull(x_FC, plan.hidden_EL[e], plan.length_E[e], unit_C, size, gradient.hidden_EHL[e, h])
    for e in range(experts):
        if open_E[e]:
            gate_C, said_C = work.gate_EC[e], work.said_EC[e]
            total = ZERO
            for c in range(real):
                said_C[c] = gate_C[c] * (said_C[c] - mean_C[c])
            for c in range(real):
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
    work = new_work(evidence, state.weights)
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
        size = forward(evidence, r, start, stop, state, state.weights, plan, work)
        assign(row_C[start - first :], work.logit_C[: stop - start])
    softmax(row_C[: end - first], row_C[: end - first])
    row_C[evidence.true_R[r]] -= ONE
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
            size = forward(evidence, r, start, stop, state, state.weights, plan, work)
        work.error_C[:size] = ZERO
        assign(work.error_C, row_C[start - first : stop - first])
        if choices > 1:
            _route(open_E, stop - start, choices * share, work, state.routed_E)
        _backward(open_E, stop - start, size, rates.balance * share, state, plan, work)
