"""Attention over the past for a candidate.

Shape suffixes: B rows, W entries, C candidates of a row, V width of a candidate, D >= V of an entry, H hidden
units.
"""

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from learners.blocks.dense import Dense, drawn
from learners.blocks.routing import shares


class ActivationUnit(nn.Module):
    """DIN's unit (arXiv:1706.06978): weights of entries for a candidate, not normalised, and the sum they
    make.

    The paper's first layer takes (entry, candidate, their product); being linear, it is one matrix an entry,
    made for each candidate, and one product does for all entries. The first V numbers of an entry are what a
    candidate has, too. The sum is divided by the square root of the entries (ours).
    """

    def __init__(self, entry: int, candidate: int, hidden: int) -> None:
        super().__init__()
        self.entry = drawn(entry, entry, hidden)
        self.product = drawn(candidate, candidate, hidden)
        self.candidate = Dense(candidate, hidden)
        self.bend = nn.PReLU(hidden)
        self.out = Dense(hidden, 1)

    def forward(self, entry_BWD: Tensor, real_BW: Tensor, candidate_BCV: Tensor) -> Tensor:
        """The sum of the entries for each candidate (B, C, D)."""
        (rows, entries, width), candidates, hidden = (
            entry_BWD.shape,
            candidate_BCV.shape[1],
            self.entry.shape[1],
        )
        product_BCVH = candidate_BCV[..., None] * self.product
        matrix_BCDH = self.entry + pad(product_BCVH, (0, 0, 0, width - candidate_BCV.shape[2]))
        matrix_BDM = matrix_BCDH.transpose(1, 2).reshape(rows, width, candidates * hidden)
        own_BM = self.candidate(candidate_BCV).reshape(rows, 1, candidates * hidden)
        hidden_NH = (torch.bmm(entry_BWD, matrix_BDM) + own_BM).reshape(-1, hidden)
        weight_BWC = self.out(self.bend(hidden_NH)).reshape(rows, entries, candidates)
        weight_BWC = weight_BWC * (real_BW * torch.rsqrt(real_BW.sum(1, keepdim=True) + 1.0))[..., None]
        return torch.bmm(weight_BWC.transpose(1, 2), entry_BWD)


class AdditiveAttention(nn.Module):
    """Shares of the entries, softmax(tanh(entry A) b), for so many readers: (B, W, readers)."""

    def __init__(self, width: int, readers: int = 1) -> None:
        super().__init__()
        self.hidden, self.out = drawn(width, width, width), drawn(width, width, readers)

    def forward(self, entry_BWD: Tensor, real_BW: Tensor) -> Tensor:
        return shares(torch.tanh(entry_BWD @ self.hidden) @ self.out, real_BW)
