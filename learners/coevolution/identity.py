"""DSIE, dual-stable interest exploration: which cluster a user turns to next, by group identity, the whole
history and the last accepts.

    log P(c) = log P(first time) + log softmax over what the user never had      or
               log P(return)     + log softmax over what the user has had

Two heads, since one that is learned on both learns the returns and forgets the first times. Either goes by

    b_c + w . features + u . e_c        u = short + long
    + w_group . shares + group . g_c

short: the last accepts, weighed by their ages; long: the logarithms of all counts; group: the codes of the
group identity. Features: everybody's share, and of returns the user's own counts and recency; `shares` are
the group's (`personas.Shares`). The second line learns what the first leaves, which is learned without it:
so group identity takes nothing from the rest, and what it adds is what it is worth. CoEA (arXiv:2508.00450)
names the long branch of group identity beside the short one of the individual, processed in parallel; the
equations, the dense long branch, the two heads and what is learned of what are ours.

Shape suffixes: B rows, C clusters, M clusters of a user, R recent accepts, F features, D width.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import embedding, logsigmoid

from learners.coevolution.compact import load_weights, weights_tree
from learners.coevolution.entries import NEVER, Past
from learners.coevolution.history import days_since, recent_of
from learners.coevolution.inputs import BUCKET_DAYS
from learners.coevolution.personas import Shares, groups
from state.arrays import Doubles, Floats, Int64s
from state.tree import Tree

_OWN = 6
"""Features of a cluster that the user has had."""
_USER = 5
"""Of a user: what first times go by."""
_SD = 0.1
_CLOSED = -1e9
_ACCUMULATED = 0.1


class Told(NamedTuple):
    """What is known of rows."""

    past: Past
    code_BM: Int64s
    """Levels of the group identity."""
    shares: Shares
    clusters: int
    """How many there are by now."""


class Branches(NamedTuple):
    """Which of them are on."""

    short: bool = True
    long: bool = True


class Identity(nn.Module):
    def __init__(self, clusters: int, sizes: Sequence[int], width: int, branches: Branches) -> None:
        super().__init__()
        self.clusters, self.sizes, self.branches = clusters, tuple(sizes), branches
        self.recent = nn.Parameter(torch.randn(clusters + 1, width) * _SD)
        self.age = nn.Parameter(torch.zeros(len(BUCKET_DAYS) + 1))
        self.long = nn.Parameter(torch.randn(clusters + 1, width) * _SD)
        self.group = nn.ParameterList(nn.Parameter(torch.randn(size, width) * _SD) for size in sizes)
        self.first, self.again = (
            nn.Parameter(torch.zeros(clusters, width)),
            nn.Parameter(torch.zeros(clusters + 1, width)),
        )
        self.first_bias, self.again_bias = (
            nn.Parameter(torch.zeros(clusters)),
            nn.Parameter(torch.zeros(clusters + 1)),
        )
        self.first_share, self.again_share = (nn.Parameter(torch.tensor(share)) for share in (1.0, 0.0))
        self.first_group, self.again_group = (nn.Parameter(torch.zeros(len(sizes))) for _ in range(2))
        self.first_by_group, self.again_by_group = (
            nn.Parameter(torch.zeros(clusters, width)),
            nn.Parameter(torch.zeros(clusters + 1, width)),
        )
        self.own = nn.Parameter(_ones(_OWN, 1.0))
        self.turn = nn.Parameter(torch.zeros(_USER))

    def forward(self, told: Told) -> "list[_Heads]":
        """Without group identity; and with it, where there is one."""
        past, there = told.past, torch.arange(self.clusters) < told.clusters
        cluster_BM = torch.from_numpy(np.where(past.cluster_BM < 0, self.clusters, past.cluster_BM))
        had_BM = torch.from_numpy((past.cluster_BM >= 0) & (past.accept_ms_BM > NEVER))
        count_BM4 = torch.from_numpy(np.log1p(past.count_BMK[:, :, :4]))
        had_BC = torch.zeros(len(cluster_BM), self.clusters + 1, dtype=torch.bool)
        had_BC.scatter_(1, cluster_BM, had_BM)
        met = _Met(cluster_BM, had_BM, had_BC[:, : self.clusters], there)

        user_BD = self._user(told, cluster_BM, count_BM4 * had_BM[..., None])
        own_BMF = torch.cat(
            [count_BM4, torch.from_numpy(_recency(past)), torch.ones((*cluster_BM.shape, 1))], 2
        )
        share_C = torch.from_numpy(told.shares.everybody_C.astype(np.float32))
        share_BM = torch.cat([share_C, torch.zeros(1)])[cluster_BM]
        first_BC = share_C * self.first_share + self.first_bias + user_BD @ self.first.T
        again_BM = own_BMF @ self.own + share_BM * self.again_share + self.again_bias[cluster_BM]
        again_BM = again_BM + (embedding(cluster_BM, self.again) @ user_BD[..., None])[..., 0]
        turn_B1 = (_of_user(count_BM4, had_BM, past) @ self.turn)[:, None]
        without = _Heads(met, first_BC, again_BM, turn_B1)
        if not len(self.group):
            return [without]
        group_BD, share_BCL = self._group(told)
        share_BML = torch.cat([share_BCL, torch.zeros(len(share_BCL), 1, len(self.group))], 1).gather(
            1, cluster_BM[..., None].expand(-1, -1, len(self.group))
        )
        first_BC = first_BC.detach() + share_BCL @ self.first_group + group_BD @ self.first_by_group.T
        again_BM = again_BM.detach() + share_BML @ self.again_group
        again_BM = again_BM + (embedding(cluster_BM, self.again_by_group) @ group_BD[..., None])[..., 0]
        return [without, _Heads(met, first_BC, again_BM, turn_B1.detach())]

    def _user(self, told: Told, cluster_BM: Tensor, count_BM4: Tensor) -> Tensor:
        """u (B, D)."""
        past = told.past
        recent_BR, bucket_BR = (torch.from_numpy(column) for column in recent_of(past, self.clusters))
        there_BR = recent_BR < self.clusters
        user_BD = torch.zeros(len(cluster_BM), self.recent.shape[1])
        if self.branches.short:
            weight_BR = torch.softmax(self.age[bucket_BR].masked_fill(~there_BR, _CLOSED), 1) * there_BR
            user_BD = user_BD + (weight_BR[..., None] * embedding(recent_BR, self.recent)).sum(1)
        if self.branches.long:
            weight_BM = count_BM4[:, :, 2]
            user_BD = user_BD + (weight_BM[..., None] * embedding(cluster_BM, self.long)).sum(1)
        return user_BD

    def _group(self, told: Told) -> tuple[Tensor, Tensor]:
        """The group's vector (B, D), and the logarithms of its shares (B, C, levels)."""
        codes = zip(self.group, torch.from_numpy(told.code_BM).T, strict=True)
        group_BD = torch.stack([table_KD[code_B] for table_KD, code_B in codes]).sum(0)
        shares = [
            table_GC[groups(told.code_BM, self.sizes, level)]
            for level, table_GC in enumerate(told.shares.by_level)
        ]
        return group_BD, torch.from_numpy(np.stack(shares, 2).astype(np.float32))


class _Met(NamedTuple):
    """What users have had, of which clusters."""

    cluster_BM: Tensor
    had_BM: Tensor
    had_BC: Tensor
    there_C: Tensor


class _Heads(NamedTuple):
    """Logits of first times, of returns, and of that it is a first time."""

    met: _Met
    first_BC: Tensor
    again_BM: Tensor
    turn_B1: Tensor

    def log_p(self) -> Tensor:
        """log P (B, C); about -1e9 of clusters that there are not."""
        cluster_BM, had_BM, had_BC, there_C = self.met
        closed_BC = had_BC | ~there_C
        first_BC = torch.log_softmax(self.first_BC.masked_fill(closed_BC, _CLOSED), 1)
        again_BM = torch.log_softmax(self.again_BM.masked_fill(~had_BM, _CLOSED), 1)
        none_B1, all_B1 = ~had_BM.any(1, keepdim=True), closed_BC.all(1, keepdim=True)
        first_B1 = logsigmoid(self.turn_B1).masked_fill(none_B1, 0.0)
        again_B1 = logsigmoid(-self.turn_B1).masked_fill(all_B1, 0.0)
        again_BC = torch.full((len(had_BC), had_BC.shape[1] + 1), _CLOSED)
        again_BC = again_BC.scatter(1, cluster_BM, torch.where(had_BM, again_BM, _CLOSED))
        return torch.where(had_BC, again_BC[:, :-1] + again_B1, first_BC + first_B1)


class Online:
    """Learned as events come, by AdaGrad."""

    def __init__(
        self, clusters: int, sizes: Sequence[int], *, width: int, lr: float, branches: Branches, seed: int
    ) -> None:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.net = Identity(clusters, sizes, width, branches)
        self.adagrad = torch.optim.Adagrad(self.net.parameters(), lr, initial_accumulator_value=_ACCUMULATED)

    def log_p(self, told: Told) -> Doubles:
        """log P of each cluster to be the next (B, C)."""
        with torch.no_grad():
            found_BC: Doubles = self.net(told)[-1].log_p().double().numpy()
        return found_BC

    def learn(self, told: Told, cluster_B: Int64s) -> None:
        """One step on what was turned to."""
        chosen_B1 = torch.from_numpy(cluster_B)[:, None]
        log_B = torch.cat([heads.log_p().gather(1, chosen_B1)[:, 0] for heads in self.net(told)])
        self.adagrad.zero_grad()
        # A cluster that came within these rows had no chance yet.
        (-log_B.clamp(min=-30.0)).sum().backward()  # type: ignore[no-untyped-call]
        self.adagrad.step()

    def tree(self) -> Tree:
        sums = {
            name: self.adagrad.state[weight]["sum"].numpy().copy()
            for name, weight in self.net.named_parameters()
        }
        return {"weights": weights_tree(self.net), "sums": sums}

    def load(self, tree: Tree) -> None:
        load_weights(self.net, _of_today(tree["weights"]))
        sums = _of_today(tree["sums"])
        for name, weight in self.net.named_parameters():
            self.adagrad.state[weight]["sum"].copy_(torch.from_numpy(np.array(sums[name])))


def _of_today(saved: Tree) -> Tree:
    """An older checkpoint has one weight for everybody's share and the group's, and one table for both."""
    if "first_group" in saved:
        return saved
    today = dict(saved)
    for head in ("first", "again"):
        share = saved[f"{head}_share"]
        today |= {f"{head}_share": share[0], f"{head}_group": share[1:], f"{head}_by_group": saved[head]}
    return today


def _recency(past: Past) -> Floats:
    return np.log1p(days_since(past)).astype(np.float32)[:, :, None]


def _of_user(count_BM4: Tensor, had_BM: Tensor, past: Past) -> Tensor:
    """What first times go by (B, 5): how many clusters, how much of late and ever, since when, one."""
    days_B = torch.from_numpy(days_since(past).min(1).astype(np.float32))
    total_B4 = torch.log1p((torch.expm1(count_BM4) * had_BM[..., None]).sum(1))
    return torch.stack(
        [
            torch.log1p(had_BM.sum(1).float()),
            total_B4[:, 0],
            total_B4[:, 3],
            torch.log1p(days_B),
            torch.ones(len(days_B)),
        ],
        1,
    )


def _ones(size: int, value: float) -> Tensor:
    """What features weigh to begin with: the first of them so much."""
    weights = torch.zeros(size)
    weights[0] = value
    return weights
