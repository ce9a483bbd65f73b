"""The two-tower's update in torch: the same loss by autograd, one row-wise AdaGrad step a micro-batch.

For a batch of one event it is the compiled kernel's update; it is also what runs on a GPU.
Shape suffixes: as in `learners.twotower_kernels`; C candidates, the true item first.
"""

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from learners.sampling import Sampler
from learners.table import CHECKPOINT, EVERYONE, EmbeddingTable
from learners.twotower_kernels import SHORT, Events, sample
from state.errors import InputError


def learn(
    events: Events,
    table: EmbeddingTable,
    sampler: Sampler,
    *,
    draws: int,
    spare: bool,
    lr: float,
    bias_lr: float,
    reg: float,
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
    rows_BW = events.rows_BW[rows]
    weight_VBW = events.weight_VBW[:, rows] * (rows_BW >= 0)
    past_BW = torch.from_numpy(np.maximum(rows_BW, 0)).to(device)
    short_BW = torch.from_numpy(weight_VBW[SHORT]).to(device)
    long_BW = torch.from_numpy(weight_VBW[SHORT + 1 :].sum(0)).to(device)
    target_B = torch.from_numpy(events.target_B[rows]).to(device)
    slots = {name: table.tensors(name, device) for name in table.slots}
    leaf = {name: weight.detach().clone().requires_grad_() for name, (weight, _) in slots.items()}

    user_BK = torch.einsum("bw,bwk->bk", short_BW, leaf["short"][past_BW])
    user_BK = user_BK + torch.einsum("bw,bwk->bk", long_BW, leaf["long"][past_BW])
    if draws:
        drawn_BC, off_BC = sample(
            *(events.target_B[rows], rows_BW, events.identity_B[rows]),
            draws,
            sampler.arrays,
            spare,
            len(table),
        )
        candidate_BC = torch.from_numpy(drawn_BC).to(device)
        logit_BC = torch.einsum("bk,bck->bc", user_BK, leaf["item"][candidate_BC])
        logit_BC = logit_BC + leaf["bias"][candidate_BC, 0] - torch.from_numpy(off_BC).to(device)
        true_B = torch.zeros_like(target_B)
    else:
        candidate_BC = torch.arange(len(table), device=device).expand(len(rows), -1)
        logit_BC = user_BK @ leaf["item"].T + leaf["bias"][:, 0]
        if spare:
            banned_BC = torch.zeros_like(logit_BC).scatter_add_(1, past_BW, short_BW + long_BW) > 0
            banned_BC.scatter_(1, target_B[:, None], False)
            logit_BC = logit_BC.masked_fill(banned_BC, -torch.inf)
        true_B = target_B
    cross_entropy(logit_BC, true_B, reduction="sum").backward()  # type: ignore[no-untyped-call]

    with torch.no_grad():
        error_BC = torch.softmax(logit_BC, 1)
        error_BC[torch.arange(len(rows)), true_B] -= 1.0
        pull = {
            "item": _summed(len(table), candidate_BC, error_BC.abs()),
            "bias": torch.zeros(len(table), device=device),
            "short": _summed(len(table), past_BW, short_BW),
            "long": _summed(len(table), past_BW, long_BW),
        }
        for name, (weight_ND, square_N) in slots.items():
            gradient_ND = leaf[name].grad
            assert gradient_ND is not None
            square_N += gradient_ND.square().mean(1)
            rate_N = (bias_lr if name == "bias" else lr) * square_N.rsqrt()
            weight_ND *= (1.0 - reg * rate_N * pull[name]).clamp(min=0.0)[:, None]
            weight_ND -= rate_N[:, None] * gradient_ND
            table.take_back(name, weight_ND, square_N)
        recalled_N = (pull["short"] + pull["long"]).cpu().numpy() > 0.0
        learned_N = pull["item"].cpu().numpy() > 0.0
    table.stale_N[: len(table)] |= np.where(recalled_N, CHECKPOINT, 0).astype(np.uint8)
    table.stale_N[: len(table)] |= np.where(learned_N, EVERYONE, 0).astype(np.uint8)


def _summed(size: int, rows_BC: Tensor, value_BC: Tensor) -> Tensor:
    """The sum of the values at each row."""
    return torch.zeros(size, device=value_BC.device).index_add_(0, rows_BC.flatten(), value_BC.flatten())
