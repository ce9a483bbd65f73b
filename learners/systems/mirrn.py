"""MIRRN, Multi-granularity Interest Retrieval and Refinement Network (Xu et al., KDD 2025, arXiv:2411.15005),
online: of a long history the entries nearest to the candidate.

The paper's: SimHash (signs of a fixed random projection) finds the entries of a long history whose code is
nearest to the candidate's by the Hamming distance; they are looked at in the order of time.

Ours: one of the paper's three granularities, the candidate's own; its queries of the last and of all entries,
and the Fourier layer that refines what is found, are left out. The projection takes the items' own vectors
less their running mean, so that codes part the items (with what is known of them besides, genres on
MovieLens, it harms); codes are made anew in each micro-batch, as vectors move. What is found takes the place
of the newest entries in DIN (`learners.systems.din`).

    ebbtide replay LOG --out runs/mirrn --learner mirrn

Shape suffixes: as in `learners.slots`; H bits of a code.
"""

from collections.abc import Mapping
from typing import Any, ClassVar, cast

import torch
from torch import Tensor

from learners.contract import Needs, Settings
from learners.ranges import Some, Whole
from learners.slots import Made, Retriever, Seen, Slots
from learners.systems.din import Attentive, DINSettings, EntryInterests
from learners.training.network_inputs import Sizes
from learners.training.pair_network import PairNetwork
from learners.usual_parts import IdVectors


class MIRRNSettings(DINSettings, frozen=True, kw_only=True):
    window: Some = 500
    """Entries of the memory that are searched."""
    kept: Some = 50
    """Of them the candidate is seen with so many."""
    bits: Whole = 32
    """Of a code; 0 takes the newest entries."""


class SimHash(Retriever):
    """The entries whose items have codes like the candidate's, the newer of two that are as near."""

    pace = 0.01
    """Of the running mean, a micro-batch."""

    def __init__(self, width: int, bits: int, kept: int) -> None:
        super().__init__()
        self.kept = kept
        self.projection_DH: Tensor
        self.mean_D: Tensor
        self.register_buffer("projection_DH", torch.randn(width, bits))
        self.register_buffer("mean_D", torch.zeros(width))

    def forward(self, seen: Seen, made: Made) -> Tensor:
        with torch.no_grad():
            code_UH = torch.sign((self._own(made) - self.mean_D) @ self.projection_DH)
            alike_BCU = code_UH[seen.target_BC] @ code_UH.T
            rows, candidates, entries = *seen.target_BC.shape, seen.entry_BW.shape[1]
            alike_BCW = alike_BCU.gather(2, seen.entry_BW[:, None].expand(rows, candidates, entries))
            place_W = torch.arange(entries, device=alike_BCW.device)
            nearness_BCW = alike_BCW * entries + place_W
            nearness_BCW = nearness_BCW.masked_fill(seen.real_BW[:, None] == 0, -torch.inf)
            nearest_BCS = nearness_BCW.topk(min(self.kept, entries), 2).indices
            return nearest_BCS.sort(2).values

    def observe(self, made: Made) -> None:
        self.mean_D.lerp_(self._own(made).mean(0), self.pace)

    def _own(self, made: Made) -> Tensor:
        return made.item_UE[:, : len(self.mean_D)]


class MIRRN(PairNetwork):
    name: ClassVar[str] = "mirrn"
    Config: ClassVar[type[Settings]] = MIRRNSettings
    ablations: ClassVar[Mapping[str, Mapping[str, Any]]] = {"newest entries": {"bits": 0}}

    @property
    def needs(self) -> Needs:
        """What is looked at is the retriever's to say."""
        return Needs(window=self.settings.window, newest=self.settings.window)

    def build(self, sizes: Sizes) -> Slots:
        settings = cast(MIRRNSettings, self.settings)
        return Slots(
            IdVectors(settings.width, settings.sd, sizes.content),
            EntryInterests(),
            Attentive(sizes, settings),
            SimHash(settings.width, settings.bits, settings.kept),
        )
