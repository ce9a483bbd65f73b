"""Parts that more than one system has.

Shape suffixes: as in `learners.slots`; N bags.
"""

from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn.functional import embedding, embedding_bag, pad

from learners.blocks.quantizers import looked_up
from learners.blocks.routing import faded, mixed, spread, summed
from learners.slots import Embedder, Head, Made, Seen, Tokenizer, Tokens
from learners.tables.embedding import Slot


class IdVectors(Embedder):
    """One vector an id. An item is its own beside the mean of what is known of it (E = D = 2 x width),
    to which a map of its content is added; a request is the mean of each of its fields."""

    sides: ClassVar[bool] = True

    def __init__(self, width: int, sd: float, content: int = 0) -> None:
        super().__init__()
        self.slots = {"vector": Slot(width, sd)}
        self.content_VD = nn.Parameter(torch.zeros(content, width)) if content else None

    def forward(self, seen: Seen) -> Made:
        vector_ID, rows = seen.vector["vector"], len(seen.real_BW)
        own_UD, side_UD = embedding(seen.own_U, vector_ID), bagged(vector_ID, seen.side_K, seen.side_start_U)
        if self.content_VD is not None:
            side_UD = side_UD + seen.content_UV @ self.content_VD
        item_UE = torch.cat([own_UD, side_UD], 1)
        request_BG = bagged(vector_ID, seen.field_K, seen.field_start_N).reshape(rows, -1)
        return Made(item_UE, item_UE, request_BG)


class Towers(Embedder):
    """An item has vectors of its own in the sum of the newest entries, in what else is made of the past (side
    by side: D = 2 x width), and as a candidate, with a bias (E = width + 1)."""

    def __init__(self, width: int, sd: float) -> None:
        super().__init__()
        self.slots = {name: Slot(width, sd) for name in ("short", "long", "item")} | {"bias": Slot(1, 0.0)}

    def forward(self, seen: Seen) -> Made:
        short_UK, long_UK, item_UK, bias_U1 = (
            embedding(seen.own_U, seen.vector[name]) for name in self.slots
        )
        nothing_BG = seen.real_BW[:, :0]
        return Made(torch.cat([short_UK, long_UK], 1), torch.cat([item_UK, bias_U1], 1), nothing_BG)


class Coded(Embedder):
    """Vectors of `towers`, to which items add what their codes say: as ones that are remembered, and as
    candidates. Tables of codes move at the dense rate, far below that of ids: at a tenth of it they stay near
    0 for so long that codes hardly say anything."""

    sides: ClassVar[bool] = True

    def __init__(self, towers: Embedder, tokenizer: Tokenizer, past: int, item: int) -> None:
        super().__init__()
        self.slots, self.towers = towers.slots, towers
        self.tokenizer = tokenizer
        self.past_SKD = nn.Parameter(torch.zeros(tokenizer.books, tokenizer.codes, past))
        self.item_SKE = nn.Parameter(torch.zeros(tokenizer.books, tokenizer.codes, item))

    @property
    def codes(self) -> Tokenizer:
        return self.tokenizer

    def forward(self, seen: Seen) -> Made:
        made: Made = self.towers(seen)
        tokens: Tokens = self.tokenizer(seen.described_ULZ)
        told_U1 = seen.described_ULZ.flatten(1).any(1)[:, None]
        past_UD, item_UE = (
            made_UX + told_U1 * looked_up(table_SKX, tokens.code_US, tokens.soft_USK)
            for made_UX, table_SKX in ((made.past_UD, self.past_SKD), (made.item_UE, self.item_SKE))
        )
        return Made(past_UD, item_UE, made.request_BG, made.notes | tokens.notes)


class MixtureHead(Head):
    """p(item) = sum over interests of weight x softmax(interest . item + bias), up to a factor of the
    user."""

    def forward(
        self, interest_BMD: Tensor, weight_BM: Tensor, item_BCE: Tensor, seen: Seen, made: Made
    ) -> Tensor:
        return mixed(pad(interest_BMD, (0, 1), value=1.0), weight_BM, item_BCE)

    def queries(self, interest_BMD: Tensor, weight_BM: Tensor) -> Tensor:
        return weight_BM[..., None] * pad(interest_BMD, (0, 1), value=1.0)


class Highest(MixtureHead):
    """The highest score that one of the interests gives."""

    def forward(
        self, interest_BMD: Tensor, weight_BM: Tensor, item_BCE: Tensor, seen: Seen, made: Made
    ) -> Tensor:
        return (pad(interest_BMD, (0, 1), value=1.0) @ item_BCE.transpose(1, 2)).amax(1)


def short_and_long(past_BWD: Tensor, real_BW: Tensor, short: int, fade: float) -> Tensor:
    """What `Towers` remember of each row, in one vector (B, 1, D / 2): the newest entries by their short
    vectors, faded, and all by their long ones."""
    short_BWK, long_BWK = past_BWD.chunk(2, 2)
    newest_BW = faded(real_BW, short, fade)
    return summed(spread(newest_BW, 0.5), short_BWK) + summed(spread(real_BW, 1.0), long_BWK)


def bagged(vector_ID: Tensor, id_K: Tensor, start_N: Tensor) -> Tensor:
    """The mean of each bag (N, D), zeros of an empty one."""
    return embedding_bag(id_K, vector_ID, start_N, mode="mean")
