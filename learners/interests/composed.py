"""The two-tower as a composition of slots (`learners.slots`), in torch.

Shape suffixes: as in `learners.slots`; every row at hand is a distinct item of its own, K is its width, Q as
in `learners.interests.deep`.
"""

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn.functional import embedding_bag, pad

from learners.blocks.routing import summed
from learners.interests.deep import FAINT
from learners.slots import Embedder, Head, Interests, Made, Seen
from learners.tables.embedding import Slot
from state.examples import Floats

SHARE = "share"
"""Note: how much of each entry the deep interests take (B, W)."""
_PAST, _CANDIDATE = ("short", "long", "deep"), ("item", "bias")


class WithKinds(Embedder):
    """Every item's vectors with those of its kinds added: in the short sum, in the long ones and as what is
    attended to (side by side), and as a candidate, with a bias."""

    def __init__(self, slots: Mapping[str, Slot]) -> None:
        super().__init__()
        self.slots = slots

    def forward(self, seen: Seen) -> Made:
        whole = {
            name: own_UK + embedding_bag(seen.side_K, own_UK, seen.side_start_U, mode="sum")
            for name, own_UK in seen.vector.items()
        }
        past_UD, item_UE = (
            torch.cat([whole[name] for name in names if name in whole], 1) for names in (_PAST, _CANDIDATE)
        )
        return Made(past_UD, item_UE, seen.real_BW[:, :0])


class Sums(Interests):
    """A sum of what is recalled lately, one of all that is recalled, and what each query finds.

    Numbers of an entry: its weight in the first, in the second, its retention, whether it is attended to.
    """

    def __init__(self, query_IQ: Floats) -> None:
        super().__init__()
        self.query_IQ = nn.Parameter(torch.from_numpy(query_IQ.copy()))

    def forward(self, past_BWD: Tensor, seen: Seen, made: Made) -> tuple[Tensor, Tensor]:
        parts = 3 if len(self.query_IQ) else 2
        short_BWK, long_BWK, *hidden = past_BWD.chunk(parts, 2)
        short_BW1, long_BW1, retention_BW1, read_BW1 = seen.number_BWA.chunk(4, 2)
        interest_BMK = torch.cat([summed(short_BW1, short_BWK), summed(long_BW1, long_BWK)], 1)
        for hidden_BWK in hidden:
            share_BWI = self._shares(interest_BMK[:, :1], hidden_BWK, retention_BW1, read_BW1)
            made.notes[SHARE] = share_BWI.detach().sum(2)
            deep_BIK = self.query_IQ[:, -1:] * summed(share_BWI, hidden_BWK)
            interest_BMK = torch.cat([interest_BMK, deep_BIK], 1)
        return interest_BMK, torch.ones_like(interest_BMK[..., 0])

    def _shares(
        self, shallow_B1K: Tensor, hidden_BWK: Tensor, retention_BW1: Tensor, read_BW1: Tensor
    ) -> Tensor:
        """Attention of each query (B, W, I); none where nothing is to be read."""
        width = hidden_BWK.shape[2]
        query_BIK = self.query_IQ[:, :width] + self.query_IQ[:, width : 2 * width] * shallow_B1K
        logit_BWI = hidden_BWK @ query_BIK.transpose(1, 2) / width**0.5
        logit_BWI = logit_BWI + self.query_IQ[:, 2 * width] * retention_BW1.clamp(min=float(FAINT)).log()
        some_B11 = read_BW1.amax(1, keepdim=True)  # else a softmax would see nothing but -inf
        masked_BWI = logit_BWI.masked_fill((read_BW1 == 0) & (some_B11 > 0), -torch.inf)
        return torch.softmax(masked_BWI, 1) * some_B11


class Sum(Head):
    """The inner product with the sum of the interests, plus the item's bias."""

    def forward(
        self, interest_BMD: Tensor, weight_BM: Tensor, item_BCE: Tensor, seen: Seen, made: Made
    ) -> Tensor:
        user_BE = pad(interest_BMD.sum(1), (0, 1), value=1.0)
        if len(item_BCE) == 1:
            return user_BE @ item_BCE[0].T
        return torch.einsum("be,bce->bc", user_BE, item_BCE)
