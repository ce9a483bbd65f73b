"""What a network is made of. A system says which parts stand in its slots; `learners.training.network` does
the rest.

    Embedder -> [Retriever] -> Interests -> Head -> logits of candidates

A system is a subclass of `PairNetwork` (P(action), and rankings of few candidates) or of `CatalogueNetwork`
(rankings of the whole catalogue, vectors to publish) with a `build` that returns `Slots`. Parameters of its
parts move by gradient once the rows of a micro-batch have been scored (clock 1: the head's loss and every
part's `loss`); buffers move in `observe` (clock 2: after that step, without gradient). Both are saved by
their names: a part has no other state.

Shape suffixes: B rows, W entries of a window, C candidates of a row (1 x C where all rows share them), U
distinct items at hand, S codes of an item out of K each, L columns that tell of an item by Z numbers each, I
ids at hand, K ids in bags, F fields of a request, A numbers of an entry, X of a candidate, V of content, M
interests, D width of an entry, E of a candidate, G of a request.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import embedding

from learners.insight import BookUse
from learners.tables.embedding import Slot


class Seen(NamedTuple):
    """A micro-batch on the device, read in the same way for every system."""

    vector: Mapping[str, Tensor]
    """What the table has of the ids at hand, by slot: (I, width) each, leaves of the gradient."""
    own_U: Tensor
    """Where each distinct item's id is in `vector`."""
    side_K: Tensor
    """Ids of what is known of items besides; those of item u begin at `side_start_U[u]`."""
    side_start_U: Tensor
    content_UV: Tensor
    """Vectors that a side table has of items, side by side, of unit length each; V = 0 where it has none."""
    described_ULZ: Tensor
    """What a side table says of items, a column each (`learners.tables.content`); L = 0 unless the embedder
    is `Coded`."""
    entry_BW: Tensor
    """Which distinct item each entry of a window is, newest last."""
    real_BW: Tensor
    """1 where there is an entry, else 0."""
    number_BWA: Tensor
    """Of an entry: action known and yes, known and no, retention, log age; the kernels of hour, week and
    place where the log has them; then zeros."""
    target_BC: Tensor
    """Which distinct item each candidate is."""
    field_K: Tensor
    """Ids of the request's fields (user, hour, scene, ...); those of field f of row b begin at
    `field_start_N[b x F + f]`."""
    field_start_N: Tensor
    number_BCX: Tensor
    """Of a candidate, standardised: running rates, numbers of side tables, time; X = 0 in a
    `CatalogueNetwork`."""
    offset_BC: Tensor
    """What a logit starts from: the log odds of an action over everything known."""


@dataclass(frozen=True, slots=True)
class Made:
    """What the slots before made of it."""

    past_UD: Tensor
    """Every distinct item as one that is remembered."""
    item_UE: Tensor
    """Every distinct item as a candidate."""
    request_BG: Tensor
    """What is known of the request; G = 0 where nothing is."""
    notes: dict[str, Tensor] = field(default_factory=dict)
    """What a part leaves for its own clocks."""


class Part(nn.Module):
    """What stands in a slot."""

    rate: float = 1.0
    """Share of AdamW's rate at which its parameters move, but for those of parts within it."""

    def loss(self, made: Made) -> dict[str, Tensor]:
        """Named terms, weighted, that are added to the head's loss (a sum over rows)."""
        return {}

    def observe(self, made: Made) -> None:
        """Move buffers, after the rows were scored and learned."""


class Tokens(NamedTuple):
    """Codes of items."""

    code_US: Tensor
    soft_USK: Tensor
    """Shares of all codes: by them a gradient gets to whatever chose one (`quantizers.looked_up`)."""
    notes: dict[str, Tensor]
    """For the tokenizer's own terms."""


class Tokenizer(Part):
    """Codes of items, from what is known of them."""

    books: int
    """S."""
    codes: int
    """Of a book."""

    def forward(self, described_ULZ: Tensor) -> Tokens:
        raise NotImplementedError

    def fit(self, described_ULZ: Tensor, seed: int, version: int) -> list[BookUse]:
        """Clock 3, rare: fit the books to the items that are known; codes keep their meaning as far as they
        can."""
        raise NotImplementedError


class Embedder(Part):
    """Vectors of ids, from the table that the host keeps."""

    slots: Mapping[str, Slot]
    """What every id has in the table."""
    sides: ClassVar[bool] = False
    """Whether it reads what is known of items besides their ids."""

    @property
    def codes(self) -> Tokenizer | None:
        """What items get codes from, if they do."""
        return None

    def forward(self, seen: Seen) -> Made:
        raise NotImplementedError


class Retriever(Part):
    """Which entries a candidate is to be seen with, where windows are long."""

    def forward(self, seen: Seen, made: Made) -> Tensor:
        """Their places in the window (B, C, kept), in the order of time."""
        raise NotImplementedError


class Interests(Part):
    """A user's interests, made of what is remembered."""

    names: tuple[str, ...] = ()
    """What each of those that are published is."""

    def forward(self, past_BWD: Tensor, seen: Seen, made: Made) -> tuple[Tensor, Tensor]:
        """Interests (B, M, D) and their weights (B, M)."""
        raise NotImplementedError


class Head(Part):
    """Logits of candidates."""

    def forward(
        self, interest_BMD: Tensor, weight_BM: Tensor, item_BCE: Tensor, seen: Seen, made: Made
    ) -> Tensor:
        """Logits (B, C)."""
        raise NotImplementedError

    def queries(self, interest_BMD: Tensor, weight_BM: Tensor) -> Tensor:
        """What is published of a user (B, M, E): an item's score is its product with their sum. Of use in a
        `CatalogueNetwork` alone."""
        raise NotImplementedError


class Slots(nn.Module):
    """A system."""

    def __init__(
        self, embed: Embedder, interests: Interests, head: Head, retrieve: Retriever | None = None
    ) -> None:
        super().__init__()
        self.embed, self.interests, self.head, self.retrieve = embed, interests, head, retrieve

    @property
    def parts(self) -> tuple[Part, ...]:
        return tuple(module for module in self.modules() if isinstance(module, Part))

    def forward(self, seen: Seen) -> tuple[Tensor, Made]:
        """Logits (B, C), and what was made on the way."""
        made, shape = self.embed(seen), (len(seen.real_BW), seen.target_BC.shape[1])
        if self.retrieve is not None:
            seen, made = _looking_at(self.retrieve(seen, made), seen, made)
        interest_BMD, weight_BM = self.interests(embedding(seen.entry_BW, made.past_UD), seen, made)
        item_BCE = embedding(seen.target_BC, made.item_UE)
        logit_BC: Tensor = self.head(interest_BMD, weight_BM, item_BCE, seen, made) + seen.offset_BC
        return logit_BC.reshape(shape), made

    def queries(self, seen: Seen) -> Tensor:
        """What is published of every row's user (B, M, E)."""
        made = self.embed(seen)
        interest_BMD, weight_BM = self.interests(embedding(seen.entry_BW, made.past_UD), seen, made)
        query_BME: Tensor = self.head.queries(interest_BMD, weight_BM)
        return query_BME


def _looking_at(place_BCS: Tensor, seen: Seen, made: Made) -> tuple[Seen, Made]:
    """Every candidate as a row of its own, whose window is the entries at these places."""
    rows, candidates, _ = place_BCS.shape
    row_B11 = torch.arange(rows, device=place_BCS.device)[:, None, None]
    narrow = seen._replace(
        **{
            name: getattr(seen, name)[row_B11, place_BCS].flatten(0, 1)
            for name in ("entry_BW", "real_BW", "number_BWA")
        },
        **{
            name: getattr(seen, name).flatten(0, 1)[:, None]
            for name in ("target_BC", "number_BCX", "offset_BC")
        },
    )
    return narrow, replace(made, request_BG=made.request_BG.repeat_interleave(candidates, 0))
