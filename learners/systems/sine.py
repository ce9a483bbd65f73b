"""SINE, Sparse-Interest Network (Tan et al., WSDM 2021, arXiv:2102.09267), online: what comes next, by
several interests.

The paper's: a pool of prototypes of which every user has a few, chosen by an attentive summary of what is
remembered; every entry is assigned to these by its cosine and weighed by its place; the next intent, read
from the entries' prototypes, says how much each interest counts.

Ours: interests are queries of a mixture, p(item) = sum over m of weight_m softmax(query_m . item), where the
paper sums them up to one; a short and a long faded sum of what is remembered (`learners.interests`, the
two-tower) stand under every query; assignment is by the cosine / .2, not / .07, and interests are scaled by
sqrt(entries x interests); one pass, the softmax is over the whole catalogue.

    ebbtide replay LOG --label none --out runs/sine --learner sine

Shape suffixes: as in `learners.slots`.
"""

from typing import Any, ClassVar, cast

import torch
from torch import Tensor, nn
from torch.nn.functional import cosine_similarity, layer_norm

from learners.blocks.attention import AdditiveAttention
from learners.blocks.dense import drawn
from learners.blocks.routing import assigned, places_back, summed
from learners.contract import Needs, Settings
from learners.ranges import Some
from learners.slots import Interests, Made, Seen, Slots
from learners.training.catalogue_network import CatalogueNetwork, SumsSettings
from learners.training.network_inputs import Sizes
from learners.usual_parts import Highest, MixtureHead, Towers, short_and_long


class SINESettings(SumsSettings, frozen=True, kw_only=True):
    """Defaults were chosen on the first quarter of MovieLens-100K."""

    interests: Some = 4
    """Prototypes a user has."""
    prototypes: Some = 50
    mixture: bool = True
    """Whether interests are mixed; if not, an item's score is the highest that one of them gives it."""

    def __post_init__(self) -> None:
        if self.interests > self.prototypes:
            raise ValueError(
                f"interests: expected at most {self.prototypes} prototypes, got {self.interests}"
            )


class Prototypes(Interests):
    """The prototypes that a user has, each made into an interest by the entries that belong to it."""

    def __init__(self, settings: SINESettings) -> None:
        super().__init__()
        self.settings, width = settings, settings.width
        self.names = tuple(f"interest {m + 1}" for m in range(settings.interests))
        self.pool = drawn(width, settings.prototypes, width)
        self.entry = drawn(width, width, width)
        self.place = nn.Parameter(torch.zeros(settings.window, width))
        self.summary, self.intent = AdditiveAttention(width), AdditiveAttention(width)
        self.weigh = AdditiveAttention(width, settings.interests)

    def forward(self, past_BWD: Tensor, seen: Seen, made: Made) -> tuple[Tensor, Tensor]:
        settings, real_BW, long_BWK = self.settings, seen.real_BW, past_BWD.chunk(2, 2)[1]
        base_B1K = short_and_long(past_BWD, real_BW, settings.short, settings.fade)
        score_BP = summed(self.summary(long_BWK, real_BW), long_BWK)[:, 0] @ self.pool.T
        top_BM, chosen_BM = score_BP.topk(settings.interests, 1)
        centre_BMK = self.pool[chosen_BM] * torch.sigmoid(top_BM)[..., None]
        own_BWM = assigned(long_BWK @ self.entry, centre_BMK, 0.2)
        placed_BWK = long_BWK + self.place[places_back(real_BW).long()]
        interest_BMK = summed(own_BWM * self.weigh(placed_BWK, real_BW), long_BWK)
        scale_B = (real_BW.sum(1) * settings.interests).sqrt()
        concept_BWK = own_BWM @ centre_BMK
        next_B1K = layer_norm(summed(self.intent(concept_BWK, real_BW), concept_BWK), (settings.width,))
        weight_BM = torch.softmax(cosine_similarity(interest_BMK, next_B1K, 2) / 0.3, 1)
        return base_B1K + scale_B[:, None, None] * interest_BMK, weight_BM


class SINE(CatalogueNetwork):
    name: ClassVar[str] = "sine"
    Config: ClassVar[type[Settings]] = SINESettings
    ablations: ClassVar[dict[str, dict[str, Any]]] = {
        "one interest": {"interests": 1},
        "the best interest": {"mixture": False},
    }

    @property
    def needs(self) -> Needs:
        """Entries by their place, the newest without a gap: the paper's sequence, and both sums."""
        return Needs(window=self.settings.window, newest=self.settings.window)

    def build(self, sizes: Sizes) -> Slots:
        settings = cast(SINESettings, self.settings)
        head = MixtureHead() if settings.mixture else Highest()
        return Slots(Towers(settings.width, settings.sd), Prototypes(settings), head)
