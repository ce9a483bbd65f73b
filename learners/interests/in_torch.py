"""The two-tower's update in torch: the same loss by autograd, one row-wise AdaGrad step a micro-batch.

For a batch of one event it is the compiled kernel's update; it is also what runs on a GPU. Only rows at hand
are looked at: those of the memories, the candidates, and their kinds.

Shape suffixes: as in `learners.interests.rows`; C candidates (1 x C where all rows share them); I rows at
hand, by which all is numbered here.
"""

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import cross_entropy

from learners.interests.candidates import sample
from learners.interests.composed import SHARE, Sum, Sums, WithKinds
from learners.interests.deep import Queries
from learners.interests.kinds import Kinds
from learners.interests.rows import StepSizes, Targets
from learners.interests.views import LONG, SHORT
from learners.slots import Made, Seen, Slots
from learners.tables import popularity_draws
from learners.tables.embedding import CHECKPOINT, EVERYONE, EmbeddingTable
from state.errors import InputError
from state.examples import Floats
from state.keys import Int64s


class _Hand(NamedTuple):
    """What of the table is at hand."""

    row_I: Int64s
    kind_IP: Tensor
    """Places of each row's kinds, then -1."""
    is_kind_I: Tensor


def learn(
    events: Targets,
    slots: popularity_draws.AliasSlots,
    table: EmbeddingTable,
    kinds: Kinds,
    rates: StepSizes,
    queries: Queries,
    newest: int,
    device: str,
) -> None:
    """One step on all events that have a target. Raises InputError where the device is not there."""
    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        raise InputError(
            f"twotower.device: expected a device that this machine has, got {device!r}; use 'cpu'"
        ) from error
    rows = np.flatnonzero(events.target_B >= 0)
    if not len(rows):
        return
    candidate_BC, off_BC, true_B = _candidates(events, rows, slots, kinds, len(table))
    hand, seen = _seen(events, rows, candidate_BC, off_BC, table, kinds, newest, device)
    model = Slots(WithKinds(table.slots), Sums(queries.query_IQ), Sum()).to(device)
    logit_BC, made = model(seen)
    target_B = torch.from_numpy(true_B).to(device)
    cross_entropy(logit_BC, target_B, reduction="sum").backward()  # type: ignore[no-untyped-call]
    with torch.no_grad():
        error_BC = torch.softmax(logit_BC, 1)
        error_BC[torch.arange(len(rows)), target_B] -= 1.0
        _step(table, hand, seen, _pulls(hand, seen, made, error_BC), rates)
        moved = model.interests.get_parameter("query_IQ").grad
        if moved is not None:
            gradient_IQ = moved.cpu().numpy()
            queries.square_IQ[:] += gradient_IQ**2
            queries.query_IQ[:] -= rates.query_lr * gradient_IQ / np.sqrt(queries.square_IQ)


def _candidates(
    events: Targets, rows: Int64s, slots: popularity_draws.AliasSlots, kinds: Kinds, size: int
) -> tuple[Int64s, Floats, Int64s]:
    """Candidates, what to take off their logits, and which of them is the true one (B,)."""
    recalled_BW, target_B, row_B = events.recalled.rows_BW[rows], events.target_B[rows], np.arange(len(rows))
    if events.draws:
        identity_B = events.identity_B[rows]
        drawn = sample(target_B, recalled_BW, identity_B, events.draws, slots, events.spare, size)
        return *drawn, np.zeros(len(rows), np.int64)
    off_BC = np.tile(np.where(kinds.is_kind_N[:size] > 0, np.inf, 0.0).astype(np.float32), (len(rows), 1))
    if events.spare:
        b, w = np.nonzero(recalled_BW >= 0)
        off_BC[b, recalled_BW[b, w]] = np.inf
        off_BC[row_B, target_B] = 0.0
    return np.arange(size)[None], off_BC, target_B


def _seen(
    events: Targets,
    rows: Int64s,
    candidate_BC: Int64s,
    off_BC: Floats,
    table: EmbeddingTable,
    kinds: Kinds,
    newest: int,
    device: str,
) -> tuple[_Hand, Seen]:
    recalled_BW, length_B1 = events.recalled.rows_BW[rows], events.recalled.length_B[rows][:, None]
    at_hand_N = _at_hand(len(table), kinds, recalled_BW, candidate_BC)
    row_I, place_N = np.flatnonzero(at_hand_N), np.cumsum(at_hand_N) - 1
    real_BW, back_BW = recalled_BW >= 0, length_B1 - np.arange(recalled_BW.shape[1])
    weight_VBW = events.recalled.weight_VBW[:, rows] * real_BW
    read_BW = real_BW & (back_BW > 0) & (back_BW <= newest)
    weights = (weight_VBW[SHORT], weight_VBW[SHORT + 1 :].sum(0), weight_VBW[LONG], read_BW)
    kind_IP = kinds.kind_NP[row_I].astype(np.int64)
    kind_IP = np.where(kind_IP < 0, -1, place_N[kind_IP])
    none, many = np.zeros(0, np.int64), (kind_IP >= 0).sum(1)
    arrays = {
        "own_U": np.arange(len(row_I)),
        "side_K": kind_IP[kind_IP >= 0],
        "side_start_U": np.cumsum(many) - many,
        "content_UV": np.zeros((len(row_I), 0), np.float32),
        "described_ULZ": np.zeros((len(row_I), 0, 0), np.float32),
        "entry_BW": place_N[np.maximum(recalled_BW, row_I[0])],
        "real_BW": real_BW.astype(np.float32),
        "number_BWA": np.stack(weights, 2).astype(np.float32),
        "target_BC": place_N[candidate_BC],
        "field_K": none,
        "field_start_N": none,
        "number_BCX": np.zeros((*off_BC.shape, 0), np.float32),
        "offset_BC": -off_BC,
    }
    vector = {name: torch.from_numpy(table.weight[name][row_I]).to(device) for name in table.slots}
    for leaf_IK in vector.values():
        leaf_IK.requires_grad_()
    placed = {name: torch.from_numpy(array).to(device) for name, array in arrays.items()}
    is_kind_I = torch.from_numpy(kinds.is_kind_N[row_I]).to(device) > 0
    return _Hand(row_I, torch.from_numpy(kind_IP).to(device), is_kind_I), Seen(vector=vector, **placed)


def _pulls(hand: _Hand, seen: Seen, made: Made, error_BC: Tensor) -> dict[str, Tensor]:
    """What an event adds up to at each row at hand, by slot, summed over events."""
    short_BW, long_BW, _, _ = seen.number_BWA.unbind(2)
    share_BW = made.notes.get(SHARE, torch.zeros_like(short_BW))
    return {
        "item": _pull(hand, seen.target_BC.expand_as(error_BC), error_BC),
        "bias": torch.zeros(len(hand.row_I), device=error_BC.device),
        "short": _pull(hand, seen.entry_BW, short_BW),
        "long": _pull(hand, seen.entry_BW, long_BW),
        "deep": _pull(hand, seen.entry_BW, share_BW),
    }


def _step(table: EmbeddingTable, hand: _Hand, seen: Seen, pull: dict[str, Tensor], rates: StepSizes) -> None:
    """AdaGrad's, and the pull to zero."""
    for name, weight_IK in seen.vector.items():
        gradient_IK = weight_IK.grad
        assert gradient_IK is not None
        square_I = torch.from_numpy(table.square[name][hand.row_I]).to(weight_IK.device)
        square_I += gradient_IK.square().mean(1)
        lr = float(rates.bias_lr if name == "bias" else rates.lr)
        rate_I = torch.where(hand.is_kind_I, lr * float(rates.kind), lr) * square_I.rsqrt()
        weight_IK *= (1.0 - float(rates.reg) * rate_I * pull[name]).clamp(min=0.0)[:, None]
        weight_IK -= rate_I[:, None] * gradient_IK
        table.weight[name][hand.row_I] = weight_IK.cpu().numpy()
        table.square[name][hand.row_I] = square_I.cpu().numpy()
    recalled_I = (pull["short"] + pull["long"]).cpu().numpy() > 0.0
    learned_I = pull["item"].cpu().numpy() > 0.0
    table.stale_N[hand.row_I] |= np.where(recalled_I, CHECKPOINT, 0).astype(np.uint8)
    table.stale_N[hand.row_I] |= np.where(learned_I, EVERYONE, 0).astype(np.uint8)


def _at_hand(size: int, kinds: Kinds, *rows: Int64s) -> NDArray[np.bool_]:
    """Which of the table's rows are among `rows`, where -1 is none, or kinds of those."""
    at_hand_N = np.zeros(size + 1, np.bool_)
    for row in rows:
        at_hand_N[row] = True
    at_hand_N[kinds.kind_NP[:size][at_hand_N[:size]]] = True
    return at_hand_N[:size]


def _pull(hand: _Hand, rows_BC: Tensor, value_BC: Tensor) -> Tensor:
    """Sum over events of the size of what an event adds up to at each row, and at its kinds."""
    size = len(hand.row_I)
    pull_I = torch.zeros(size, device=value_BC.device)
    pull_I.index_add_(0, rows_BC.flatten(), value_BC.abs().flatten())
    kind_BCP = hand.kind_IP[rows_BC]
    b, c, p = torch.nonzero(kind_BCP >= 0, as_tuple=True)
    place_M, which_E = torch.unique(b * size + kind_BCP[b, c, p], return_inverse=True)
    sum_M = torch.zeros(len(place_M), device=value_BC.device).index_add_(0, which_E, value_BC[b, c])
    return pull_I.index_add_(0, place_M % size, sum_M.abs())
