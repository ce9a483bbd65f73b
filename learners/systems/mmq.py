"""MMQ, a multimodal mixture of quantisers (arXiv:2508.15281, WSDM 2026), online: items are known by their
id and by codes of what a side table says of them, so that one that nobody has had yet is like those that it
shares codes with.

The tokenizer is the paper's but for what `learners.blocks.quantizers` names. Ours, besides: modalities are
the columns of the side table, hashed (`learners.tables.content`), where the paper has embeddings of text and
picture; books are fitted on a slow clock, as versions, and stage 2 goes on between fits at a hundredth of the
dense rate; the system around it is a short and a long faded sum of what is remembered against every item,
where the paper has HeteroRec and PPNet.

    ebbtide replay LOG --items items.csv --label none --out runs/mmq --learner mmq --ablate

Shape suffixes: as in `learners.slots`.
"""

from collections.abc import Mapping
from typing import Any, ClassVar, cast

from torch import Tensor

from learners.blocks.quantizers import Quantized, Quantizers
from learners.contract import Settings
from learners.insight import BookUse
from learners.ranges import Some, Whole
from learners.slots import Interests, Made, Seen, Slots, Tokenizer, Tokens
from learners.tables.content import WIDTH
from learners.training import tokenizing
from learners.training.catalogue_network import SumsSettings
from learners.training.coded_network import CodedNetwork
from learners.training.network_inputs import Sizes
from learners.usual_parts import Coded, MixtureHead, Towers, short_and_long

_STAGE_2 = 0.5
"""The paper's weight of reconstruction and auxiliary terms beside the system's own loss."""


class MMQSettings(SumsSettings, frozen=True, kw_only=True):
    """What the tokenizer has besides."""

    coded: bool = True
    """Whether items have codes; if not, they are ids alone."""
    shared: Whole = 2
    """Experts that see all columns,"""
    specific: Whole = 1
    """and experts of each column: an item has a code of every one."""
    codes: Some = 64
    """Of a book."""
    latent: Some = 16
    """Width of an expert."""


class MixtureOfQuantizers(Tokenizer):
    """MMQ's."""

    rate = 0.01

    def __init__(self, settings: MMQSettings, modalities: int) -> None:
        super().__init__()
        self.books, self.codes = settings.shared + modalities * settings.specific, settings.codes
        self.quantizers = Quantizers(
            modalities, WIDTH, settings.shared, settings.specific, settings.codes, settings.latent
        )

    def forward(self, described_ULZ: Tensor) -> Tokens:
        quantized: Quantized = self.quantizers(described_ULZ)
        notes = {f"tokens.{name}": value for name, value in quantized._asdict().items()}
        return Tokens(quantized.code_US, quantized.soft(), notes | {"tokens.described": described_ULZ})

    def loss(self, made: Made) -> dict[str, Tensor]:
        quantized = Quantized(*(made.notes[f"tokens.{name}"] for name in Quantized._fields))
        terms = self.quantizers.terms(made.notes["tokens.described"], quantized)
        rows = len(made.request_BG)
        return {name: _STAGE_2 * rows * terms[name] for name in ("reconstruction", "auxiliary")}

    def fit(self, described_ULZ: Tensor, seed: int, version: int) -> list[BookUse]:
        return tokenizing.fit(self.quantizers, described_ULZ, seed, version)


class ShortAndLong(Interests):
    """One interest: what was had lately, and all that is remembered."""

    names = ("short and long",)

    def __init__(self, settings: MMQSettings) -> None:
        super().__init__()
        self.settings = settings

    def forward(self, past_BWD: Tensor, seen: Seen, made: Made) -> tuple[Tensor, Tensor]:
        sum_B1K = short_and_long(past_BWD, seen.real_BW, self.settings.short, self.settings.fade)
        return sum_B1K, sum_B1K.new_ones(sum_B1K.shape[:2])


class MMQ(CodedNetwork):
    name: ClassVar[str] = "mmq"
    Config: ClassVar[type[Settings]] = MMQSettings
    ablations: ClassVar[Mapping[str, Mapping[str, Any]]] = {"plain ids": {"coded": False}}

    def build(self, sizes: Sizes) -> Slots:
        settings = cast(MMQSettings, self.settings)
        towers = Towers(settings.width, settings.sd)
        interests, head = ShortAndLong(settings), MixtureHead()
        if not settings.coded or not sizes.modalities:
            return Slots(towers, interests, head)
        tokenizer = MixtureOfQuantizers(settings, sizes.modalities)
        return Slots(Coded(towers, tokenizer, 2 * settings.width, settings.width + 1), interests, head)
