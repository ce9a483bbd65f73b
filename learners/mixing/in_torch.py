"""The mixture of experts in torch: the same logits on padded tensors, the gradient by autograd.

The steps (Adam, normalisation, loads) are the kernels' own, on the host. Shape suffixes: as in
`learners.mixing.layers`; B rows at hand, C the most candidates of any of them.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from learners.mixing.layers import Bools, Evidence, Plan
from learners.mixing.update import CLIP, Moments, Rates, State, Weights, observe, update
from state.errors import InputError
from state.examples import Floats
from state.keys import Int64s

CHUNK = 256
"""Most rows that are padded together."""


class Padded(NamedTuple):
    """Some rows as tensors; lanes past a row's end are not `real`."""

    x_BCF: Tensor
    base_BC: Tensor
    context_BX: Tensor
    open_BE: Tensor
    real_BC: Tensor
    true_B: Tensor


def score(
    evidence: Evidence,
    asked_R: Bools,
    state: State,
    plan: Plan,
    device: str,
    logit_C: Floats,
    gate_RE: Floats,
) -> None:
    """Fill in the logits of the asked rows' candidates, and the mean gate of each, weighted by its
    probabilities."""
    _require(device)
    for rows_B in _chunks(np.flatnonzero(asked_R)):
        padded = _pad(evidence, rows_B, state, device)
        logit_BC, gate_BCE = _forward(padded, _tensors(state.mean, device), plan)
        lane_C = np.arange(logit_BC.shape[1])
        place_BC = evidence.start_R1[rows_B, np.newaxis] + lane_C
        real_BC = lane_C < np.diff(evidence.start_R1)[rows_B, np.newaxis]
        logit_C[place_BC[real_BC]] = logit_BC[padded.real_BC].cpu().numpy()
        p_BC = torch.nan_to_num(torch.softmax(logit_BC, 1))
        gate_RE[rows_B] = torch.einsum("bc,bce->be", p_BC, gate_BCE).cpu().numpy()


def learn(evidence: Evidence, state: State, plan: Plan, rates: Rates, device: str) -> None:
    """Learn the rows in order, up to a mini-batch at a time."""
    _require(device)
    learned_B = np.flatnonzero(evidence.true_R >= 0)
    while len(learned_B):
        room = int(rates.batch - state.counts[0])
        rows, learned_B = learned_B[:room], learned_B[room:]
        _add_gradient(_pad(evidence, rows, state, device), state, plan, rates.balance)
        for r in rows.tolist():
            candidates = slice(evidence.start_R1[r], evidence.start_R1[r + 1])
            observe(evidence.evidence_CF[candidates], evidence.context_RX[r : r + 1], state, rates)
        if state.counts[0] == rates.batch:
            update(state, rates)


def _add_gradient(padded: Padded, state: State, plan: Plan, balance: float) -> None:
    """Add the rows' gradients and loads to those of the mini-batch."""
    device = padded.base_BC.device
    weights = [weight.requires_grad_() for weight in _tensors(state.weights, device)]
    logit_BC, gate_BCE = _forward(padded, weights, plan)
    mean_BE = gate_BCE.sum(1) / padded.real_BC.sum(1, keepdim=True)
    load_E = torch.tensor(state.load_E, dtype=torch.float32, device=device)
    loss = torch.nn.functional.cross_entropy(logit_BC, padded.true_B, reduction="sum")
    loss = loss + balance * (mean_BE * load_E).sum()
    gradients = torch.autograd.grad(loss, weights, allow_unused=True)
    for total, gradient in zip(state.gradient, gradients, strict=True):
        if gradient is not None:
            total += gradient.cpu().numpy()

    choices_B = padded.open_BE.sum(1)
    choice_B = choices_B > 1
    best_BC = gate_BCE.argmax(2)
    routed_BCE = torch.nn.functional.one_hot(best_BC, len(load_E)) * padded.real_BC[..., None]
    share_BE = routed_BCE.sum(1) / padded.real_BC.sum(1, keepdim=True) * choices_B[:, None]
    state.routed_E[:] += share_BE[choice_B].sum(0).double().cpu().numpy()
    state.chosen_E[:] += padded.open_BE[choice_B].sum(0).cpu().numpy()


def _forward(padded: Padded, weights: list[Tensor], plan: Plan) -> tuple[Tensor, Tensor]:
    """Logits (B, C), -inf past a row's end, and gates (B, C, E), 0 there."""
    x_BCF, open_B1E = padded.x_BCF, padded.open_BE[:, None]
    linear, gate_context, gate_item, hidden, output = weights
    logit_BC = padded.base_BC + x_BCF[..., plan.linear_L] @ linear
    gate_BCE = x_BCF[..., plan.gate_L] @ gate_item.T + (padded.context_BX @ gate_context.T)[:, None]
    gate_BCE = gate_BCE.masked_fill(~open_B1E, -torch.inf)
    gate_BCE = gate_BCE.masked_fill(~open_B1E.any(2, keepdim=True), 0.0).softmax(2)
    gate_BCE = gate_BCE * (open_B1E & padded.real_BC[..., None])
    unit_BCEH = torch.einsum("bcel,ehl->bceh", x_BCF[..., plan.hidden_EL], hidden).relu()
    logit_BC = logit_BC + (gate_BCE * (unit_BCEH * output).sum(3)).sum(2)
    return logit_BC.masked_fill(~padded.real_BC, -torch.inf), gate_BCE


def _pad(evidence: Evidence, rows_B: Int64s, state: State, device: str) -> Padded:
    start_B, stop_B = evidence.start_R1[rows_B], evidence.start_R1[rows_B + 1]
    lane_C = np.arange(max((stop_B - start_B).max(), 1))
    real_BC = lane_C < (stop_B - start_B)[:, None]
    place_C = (start_B[:, None] + lane_C)[real_BC]
    normal_CF = _normal(evidence.evidence_CF[place_C], state.features)
    x_BCF = np.zeros((*real_BC.shape, normal_CF.shape[1] + 2), np.float32)
    x_BCF[real_BC, :-2] = normal_CF
    x_BCF[..., -2] = 1.0
    base_BC = np.zeros(real_BC.shape, np.float32)
    base_BC[real_BC] = evidence.base_C[place_C]
    columns = (
        *(x_BCF, base_BC, _normal(evidence.context_RX[rows_B], state.context)),
        *(evidence.open_RE[rows_B], real_BC, evidence.true_R[rows_B]),
    )
    return Padded(*(torch.from_numpy(column).to(device) for column in columns))


def _normal(values_CN: Floats, moments: Moments) -> Floats:
    normal_CN: Floats = np.clip((values_CN - moments.mean_N) * moments.scale_N, -CLIP, CLIP)
    return normal_CN


def _tensors(weights: Weights, device: str | torch.device) -> list[Tensor]:
    """Copies on the device."""
    return [torch.from_numpy(weight.copy()).to(device) for weight in weights]


def _chunks(rows_R: Int64s) -> Iterator[Int64s]:
    for start in range(0, len(rows_R), CHUNK):
        yield rows_R[start : start + CHUNK]


def _require(device: str) -> None:
    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        raise InputError(
            f"mixture.device: expected a device that this machine has, got {device!r}; use 'cpu'"
        ) from error
