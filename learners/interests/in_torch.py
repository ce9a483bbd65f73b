"""The two-tower's update in torch: the same loss by autograd, one row-wise AdaGrad step a micro-batch.

For a batch of one event it is the compiled kernel's update; it is also what runs on a GPU.
Shape suffixes: as in `learners.interests.kernels`; C candidates, the true item first.
"""

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from learners.interests.candidates import sample
from learners.interests.deep import FAINT, Queries
from learners.interests.kernels import Events, Rates
from learners.interests.kinds import Kinds
from learners.interests.views import LONG, SHORT
from learners.tables.embedding import CHECKPOINT, EVERYONE, EmbeddingTable
from learners.tables.popularity_draws import Slots
from state.errors import InputError


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
    size = len(table)
    rows_BW = events.recalled.rows_BW[rows]
    real_BW = torch.from_numpy(rows_BW >= 0).to(device)
    weight_VBW = torch.from_numpy(events.recalled.weight_VBW[:, rows]).to(device) * real_BW
    short_BW, long_BW = weight_VBW[SHORT], weight_VBW[SHORT + 1 :].sum(0)
    past_BW = torch.from_numpy(np.maximum(rows_BW, 0)).to(device)
    target_B = torch.from_numpy(events.target_B[rows]).to(device)
    kind_NP = torch.from_numpy(kinds.kind_NP[:size].astype(np.int64)).to(device)
    is_kind_N = torch.from_numpy(kinds.is_kind_N[:size]).to(device) > 0
    held = {name: table.tensors(name, device) for name in table.slots}
    leaf = {name: weight.detach().clone().requires_grad_() for name, (weight, _) in held.items()}
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
    if events.draws:
        drawn_BC, off_BC = sample(
            *(events.target_B[rows], rows_BW, events.identity_B[rows]),
            events.draws,
            slots,
            events.spare,
            size,
        )
        candidate_BC = torch.from_numpy(drawn_BC).to(device)
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
        for name, (weight_ND, square_N) in held.items():
            gradient_ND = leaf[name].grad
            assert gradient_ND is not None
            square_N += gradient_ND.square().mean(1)
            lr = float(rates.bias_lr if name == "bias" else rates.lr)
            rate_N = torch.where(is_kind_N, lr * float(rates.kind), lr) * square_N.rsqrt()
            weight_ND *= (1.0 - float(rates.reg) * rate_N * pull[name]).clamp(min=0.0)[:, None]
            weight_ND -= rate_N[:, None] * gradient_ND
            table.take_back(name, weight_ND, square_N)
        if query_IQ.grad is not None:
            gradient_IQ = query_IQ.grad.cpu().numpy()
            queries.square_IQ[:] += gradient_IQ**2
            queries.query_IQ[:] -= rates.query_lr * gradient_IQ / np.sqrt(queries.square_IQ)
        recalled_N = (pull["short"] + pull["long"]).cpu().numpy() > 0.0
        learned_N = pull["item"].cpu().numpy() > 0.0
    table.stale_N[:size] |= np.where(recalled_N, CHECKPOINT, 0).astype(np.uint8)
    table.stale_N[:size] |= np.where(learned_N, EVERYONE, 0).astype(np.uint8)


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
