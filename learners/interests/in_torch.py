"""The two-tower's update in torch: the same loss by autograd, one row-wise AdaGrad step a micro-batch.

For a batch of one event it is the compiled kernel's update; it is also what runs on a GPU. Only rows at hand
are looked at: those of the memories, the candidates, and their kinds.

Shape suffixes: as in `learners.interests.rows`; C candidates, the true item first; I rows at hand, by
which all is numbered here.
"""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import cross_entropy

from learners.interests.candidates import sample
from learners.interests.deep import FAINT, Queries
from learners.interests.kinds import Kinds
from learners.interests.rows import Events, Rates
from learners.interests.views import LONG, SHORT
from learners.tables.embedding import CHECKPOINT, EVERYONE, EmbeddingTable
from learners.tables.popularity_draws import Slots
from state.errors import InputError
from state.keys import Int64s


def learn(
    events: Events,
    slots: Slots,
    table: EmbeddingTable,
    kinds: Kinds,
    rates: Rates,
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
    recalled_BW, wanted_B = events.recalled.rows_BW[rows], events.target_B[rows]
    off_BC = None
    if events.draws:
        identity_B = events.identity_B[rows]
        drawn_BC, off_BC = sample(
            wanted_B, recalled_BW, identity_B, events.draws, slots, events.spare, len(table)
        )
        at_hand_N = _at_hand(len(table), kinds, recalled_BW, drawn_BC)
    else:
        at_hand_N = np.ones(len(table), np.bool_)
    row_I, place_N = np.flatnonzero(at_hand_N), np.cumsum(at_hand_N) - 1
    size = len(row_I)

    def placed(row: Int64s) -> Tensor:
        return torch.from_numpy(place_N[row]).to(device)

    real_BW = torch.from_numpy(recalled_BW >= 0).to(device)
    weight_VBW = torch.from_numpy(events.recalled.weight_VBW[:, rows]).to(device) * real_BW
    short_BW, long_BW = weight_VBW[SHORT], weight_VBW[SHORT + 1 :].sum(0)
    past_BW = placed(np.maximum(recalled_BW, row_I[0]))
    target_B = placed(wanted_B)
    kind_IP = kinds.kind_NP[row_I].astype(np.int64)
    kind_NP = torch.from_numpy(np.where(kind_IP < 0, -1, place_N[kind_IP])).to(device)
    is_kind_N = torch.from_numpy(kinds.is_kind_N[row_I]).to(device) > 0
    leaf = {name: torch.from_numpy(table.weight[name][row_I]).to(device) for name in table.slots}
    for weight_ND in leaf.values():
        weight_ND.requires_grad_()
    whole = {name: _with_kinds(weight, kind_NP) for name, weight in leaf.items()}
    query_IQ = torch.from_numpy(queries.query_IQ).to(device).clone().requires_grad_()

    shallow_BK = torch.einsum("bw,bwk->bk", short_BW, whole["short"][past_BW])
    user_BK = shallow_BK + torch.einsum("bw,bwk->bk", long_BW, whole["long"][past_BW])
    share_BW = torch.zeros_like(short_BW)
    if len(query_IQ):
        length_B = torch.from_numpy(events.recalled.length_B[rows]).to(device)
        place_W = torch.arange(past_BW.shape[1], device=device)
        read_BW = real_BW & (place_W >= length_B[:, None] - newest) & (place_W < length_B[:, None])
        share_BIW, deep_BK = _attend(query_IQ, shallow_BK, whole["deep"][past_BW], weight_VBW[LONG], read_BW)
        share_BW, user_BK = share_BIW.detach().sum(1), user_BK + deep_BK
    if off_BC is not None:
        candidate_BC = placed(drawn_BC)
        logit_BC = torch.einsum("bk,bck->bc", user_BK, whole["item"][candidate_BC])
        logit_BC = logit_BC + whole["bias"][candidate_BC, 0] - torch.from_numpy(off_BC).to(device)
        true_B = torch.zeros_like(target_B)
    else:
        candidate_BC = torch.arange(size, device=device).expand(len(rows), -1)
        logit_BC = user_BK @ whole["item"].T + whole["bias"][:, 0]
        banned_BC = is_kind_N.expand(len(rows), -1)
        if events.spare:
            recalled_BC = torch.zeros_like(logit_BC).scatter_add_(1, past_BW, real_BW.float()) > 0
            recalled_BC.scatter_(1, target_B[:, None], False)
            banned_BC = banned_BC | recalled_BC
        logit_BC = logit_BC.masked_fill(banned_BC, -torch.inf)
        true_B = target_B
    cross_entropy(logit_BC, true_B, reduction="sum").backward()  # type: ignore[no-untyped-call]

    with torch.no_grad():
        error_BC = torch.softmax(logit_BC, 1)
        error_BC[torch.arange(len(rows)), true_B] -= 1.0
        pull = {
            "item": _pull(size, kind_NP, candidate_BC, error_BC),
            "bias": torch.zeros(size, device=device),
            "short": _pull(size, kind_NP, past_BW, short_BW),
            "long": _pull(size, kind_NP, past_BW, long_BW),
            "deep": _pull(size, kind_NP, past_BW, share_BW),
        }
        for name, weight_ND in leaf.items():
            gradient_ND = weight_ND.grad
            assert gradient_ND is not None
            square_N = torch.from_numpy(table.square[name][row_I]).to(device) + gradient_ND.square().mean(1)
            lr = float(rates.bias_lr if name == "bias" else rates.lr)
            rate_N = torch.where(is_kind_N, lr * float(rates.kind), lr) * square_N.rsqrt()
            weight_ND *= (1.0 - float(rates.reg) * rate_N * pull[name]).clamp(min=0.0)[:, None]
            weight_ND -= rate_N[:, None] * gradient_ND
            table.weight[name][row_I] = weight_ND.cpu().numpy()
            table.square[name][row_I] = square_N.cpu().numpy()
        if query_IQ.grad is not None:
            gradient_IQ = query_IQ.grad.cpu().numpy()
            queries.square_IQ[:] += gradient_IQ**2
            queries.query_IQ[:] -= rates.query_lr * gradient_IQ / np.sqrt(queries.square_IQ)
        recalled_N = (pull["short"] + pull["long"]).cpu().numpy() > 0.0
        learned_N = pull["item"].cpu().numpy() > 0.0
    table.stale_N[row_I] |= np.where(recalled_N, CHECKPOINT, 0).astype(np.uint8)
    table.stale_N[row_I] |= np.where(learned_N, EVERYONE, 0).astype(np.uint8)


def _at_hand(size: int, kinds: Kinds, *rows: Int64s) -> NDArray[np.bool_]:
    """Which of the table's rows are among `rows`, where -1 is none, or kinds of those."""
    at_hand_N = np.zeros(size + 1, np.bool_)
    for row in rows:
        at_hand_N[row] = True
    at_hand_N[kinds.kind_NP[:size][at_hand_N[:size]]] = True
    return at_hand_N[:size]


def _attend(
    query_IQ: Tensor, shallow_BK: Tensor, hidden_BWK: Tensor, retention_BW: Tensor, read_BW: Tensor
) -> tuple[Tensor, Tensor]:
    """Attention (B, I, W) over the entries to be read, and the sum of the deep interests (B, K)."""
    width = shallow_BK.shape[1]
    query_BIK = query_IQ[:, :width] + query_IQ[:, width : 2 * width] * shallow_BK[:, None]
    logit_BIW = torch.einsum("bik,bwk->biw", query_BIK, hidden_BWK) / width**0.5
    logit_BIW = logit_BIW + query_IQ[:, 2 * width, None] * retention_BW.clamp(min=float(FAINT)).log()[:, None]
    some_B = read_BW.any(1)  # a row without entries attends to nothing: its softmax must not see only -inf
    masked_BIW = logit_BIW.masked_fill((~read_BW & some_B[:, None])[:, None], -torch.inf)
    share_BIW = torch.softmax(masked_BIW, 2) * some_B[:, None, None]
    return share_BIW, torch.einsum("i,biw,bwk->bk", query_IQ[:, 2 * width + 1], share_BIW, hidden_BWK)


def _with_kinds(weight_ND: Tensor, kind_NP: Tensor) -> Tensor:
    """Every row's vector with those of its kinds added."""
    for kind_N in kind_NP.T:
        rows = torch.nonzero(kind_N >= 0)[:, 0]
        weight_ND = weight_ND.index_add(0, rows, weight_ND[kind_N[rows]])
    return weight_ND


def _pull(size: int, kind_NP: Tensor, rows_BC: Tensor, value_BC: Tensor) -> Tensor:
    """Sum over events of the size of what an event adds up to at each row, and at its kinds."""
    pull_N = torch.zeros(size, device=value_BC.device)
    pull_N.index_add_(0, rows_BC.flatten(), value_BC.abs().flatten())
    kind_BCP = kind_NP[rows_BC]
    b, c, p = torch.nonzero(kind_BCP >= 0, as_tuple=True)
    place_M, which_E = torch.unique(b * size + kind_BCP[b, c, p], return_inverse=True)
    sum_M = torch.zeros(len(place_M), device=value_BC.device).index_add_(0, which_E, value_BC[b, c])
    return pull_N.index_add_(0, place_M % size, sum_M.abs())
