"""The compact network under both models: a few thousand weights, milliseconds on a CPU.

    logit = start + MLP(features) + (W x) . e_c + b_c        x = gate(g_1[code_1] + g_2[code_2] + ..., h)

`start` is the user's own rate, shrunk to the persona's, with weight one: so it says something sensible before
anything is learned. h is one attention over the last accepts with the spans of their ages. CoEA
(arXiv:2508.00450) joins group identity and recent interest in language models; this form is ours.

Shape suffixes: B rows, C clusters, F features, D width, M levels, R recent accepts.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import embedding

from learners.blocks.dense import Dense, drawn
from learners.coevolution.inputs import BUCKET_DAYS, RATES, Inputs
from state.tree import Tree

WIDTH, HIDDEN = 16, 24
_FIRST_SD = 0.1


class Compact(nn.Module):
    def __init__(self, clusters: int, sizes: Sequence[int]) -> None:
        super().__init__()
        self.recent = nn.Parameter(torch.randn(clusters + 1, WIDTH) * _FIRST_SD)
        self.age = nn.Parameter(torch.zeros(len(BUCKET_DAYS) + 1, WIDTH))
        self.weigh = drawn(WIDTH, WIDTH)
        self.group = nn.ParameterList(nn.Parameter(torch.randn(size, WIDTH) * _FIRST_SD) for size in sizes)
        self.gate = Dense(2 * WIDTH, WIDTH)
        self.turn = drawn(WIDTH, WIDTH, WIDTH)
        self.cluster = nn.Parameter(torch.zeros(clusters, WIDTH))
        self.bias = nn.Parameter(torch.zeros(clusters))
        self.hidden = Dense(RATES + len(sizes) + 1, HIDDEN)
        self.out = nn.Parameter(torch.zeros(HIDDEN))

    def forward(self, inputs: Mapping[str, Tensor]) -> Tensor:
        """Logits (B, C)."""
        hidden_BCH = torch.relu(self.hidden(inputs["feature_BCF"]))
        return (
            inputs["start_BC"]
            + hidden_BCH @ self.out
            + (self._user(inputs) @ self.turn) @ self.cluster.T
            + self.bias
        )

    def _user(self, inputs: Mapping[str, Tensor]) -> Tensor:
        """x (B, D)."""
        recent_BR = inputs["recent_BR"]
        entry_BRD = embedding(recent_BR, self.recent) + embedding(inputs["bucket_BR"], self.age)
        real_BR = recent_BR < len(self.cluster)
        weight_BR = (entry_BRD @ self.weigh).masked_fill(~real_BR, torch.finfo(torch.float32).min)
        weight_BR = torch.softmax(weight_BR, 1) * real_BR
        short_BD = (weight_BR[..., None] * entry_BRD).sum(1)
        if not len(self.group):
            return short_BD
        codes = zip(self.group, inputs["code_BM"].T, strict=True)
        group_BD = torch.stack([embedding(code_B, table_KD) for table_KD, code_B in codes]).sum(0)
        open_BD = torch.sigmoid(self.gate(torch.cat([group_BD, short_BD], 1)))
        return open_BD * group_BD + (1.0 - open_BD) * short_BD


def tensors(inputs: Inputs) -> dict[str, Tensor]:
    return {"start_BC": torch.from_numpy(inputs.start_BC)} | {
        name: torch.from_numpy(np.ascontiguousarray(column)) for name, column in inputs._asdict().items()
    }


def seeded(clusters: int, sizes: Sequence[int], seed: int) -> Compact:
    """With its first weights; the same seed, the same weights."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return Compact(clusters, sizes)


def weights_tree(module: nn.Module) -> Tree:
    return {name: value.detach().numpy().copy() for name, value in module.state_dict().items()}


def load_weights(module: nn.Module, tree: Mapping[str, Any]) -> None:
    module.load_state_dict({name: torch.from_numpy(np.array(value)) for name, value in tree.items()})
