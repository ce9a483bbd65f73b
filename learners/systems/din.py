"""Deep Interest Network (Zhou et al., KDD 2018, arXiv:1706.06978), online: the field's baseline.

The paper's: the user's remembered events are weighed anew for every candidate by a small network (the
activation unit) and summed; a second network takes the sum, the candidate, the user and what else is known.

Ours: an entry carries its outcome, retention, age and kernel values into the activation unit and the sum; the
sum is divided by the square root of the entries; its product with the candidate is an input; PReLU stands for
Dice, whose batch statistics would make a row's score depend on its batch; running rates and side tables are
inputs; the logit starts from the running base rate; embeddings grow with the ids.

    ebbtide replay LOG --out runs/din --learner din

Shape suffixes: as in `learners.slots`.
"""

from typing import Any, ClassVar, cast

import torch
from torch import Tensor

from learners.blocks.attention import ActivationUnit
from learners.blocks.dense import Tower
from learners.contract import Settings
from learners.ranges import Some, Whole
from learners.slots import Head, Interests, Made, Seen, Slots
from learners.training.network_inputs import Sizes
from learners.training.pair_network import PairNetwork, PairSettings
from learners.usual_parts import IdVectors
from state.tree import Tree

_BEFORE_SLOTS = {
    "attention": "head.attention",
    **{"first": "head.top.layers.0", "second": "head.top.layers.1", "out": "head.top.out"},
    **{"bend_first": "head.top.bends.0", "bend_second": "head.top.bends.1"},
}
"""What checkpoints of 0.1 call the parts of the head."""


class DINSettings(PairSettings, frozen=True, kw_only=True):
    """Defaults were chosen on the first half of MovieLens-100K."""

    attention: Whole = 16
    """Hidden units of the activation unit; 0 takes the mean of the entries instead."""
    hidden: tuple[Some, Some] = (64, 32)
    """Of the network on top."""


class EntryInterests(Interests):
    """Every entry is an interest: what is remembered beside its numbers."""

    def forward(self, past_BWD: Tensor, seen: Seen, made: Made) -> tuple[Tensor, Tensor]:
        return torch.cat([past_BWD, seen.number_BWA], 2), seen.real_BW


class Attentive(Head):
    """The activation unit over the interests, and the network on top."""

    def __init__(self, sizes: Sizes, settings: DINSettings) -> None:
        super().__init__()
        item = 2 * settings.width
        entry = item + sizes.entry_numbers
        self.attention = ActivationUnit(entry, item, settings.attention) if settings.attention else None
        self.top = Tower(2 * item + entry + sizes.fields * settings.width + sizes.numbers, settings.hidden)

    def forward(
        self, interest_BMD: Tensor, weight_BM: Tensor, item_BCE: Tensor, seen: Seen, made: Made
    ) -> Tensor:
        rows, candidates, item = item_BCE.shape
        if self.attention is None:
            share_BM = weight_BM / (weight_BM.sum(1, keepdim=True) + 1.0)
            sum_BCD = (share_BM[..., None] * interest_BMD).sum(1, keepdim=True).expand(-1, candidates, -1)
        else:
            sum_BCD = self.attention(interest_BMD, weight_BM, item_BCE)
        request_BCG = made.request_BG[:, None].expand(-1, candidates, -1)
        joined = [item_BCE, sum_BCD, sum_BCD[..., :item] * item_BCE, request_BCG, seen.number_BCX]
        logit_N: Tensor = self.top(torch.cat(joined, 2).flatten(0, 1))
        return logit_N.reshape(rows, candidates)


class DIN(PairNetwork):
    """Raises InputError where the device is missing."""

    name: ClassVar[str] = "din"
    Config: ClassVar[type[Settings]] = DINSettings
    ablations: ClassVar[dict[str, dict[str, Any]]] = {"no attention": {"attention": 0}}

    def build(self, sizes: Sizes) -> Slots:
        settings = cast(DINSettings, self.settings)
        return Slots(
            IdVectors(settings.width, settings.sd, sizes.content),
            EntryInterests(),
            Attentive(sizes, settings),
        )

    def load(self, tree: Tree) -> None:
        model = {"buffers": {}} | tree["model"]
        for name in [name for name in model if name.partition(".")[0] in _BEFORE_SLOTS]:
            part, _, rest = name.partition(".")
            model[f"{_BEFORE_SLOTS[part]}.{rest}"] = model.pop(name)
        super().load(tree | {"model": model})
