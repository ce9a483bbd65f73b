"""Networks over the catalogue whose items have codes (`learners.slots.Tokenizer`): the books' slow clock.

Books are fitted to the items that are known by then, first as soon as there are as many as codes, then
whenever `TIMES` as many rows are learned: each fit is a version, whatever the time of day.

Shape suffixes: as in `learners.slots`; N items of the catalogue.
"""

from typing import cast

import numpy as np
import torch

from learners.contract import Context, Settings
from learners.insight import BookUse, Codes, Insight
from learners.slots import Tokenizer
from learners.training.catalogue_network import CatalogueNetwork
from state.examples import ExampleBatch
from state.keys import Int64s
from state.tree import Tree

TIMES, _LEAST_ROWS = 4, 250
_MOST_ITEMS = 20_000


class CodedNetwork(CatalogueNetwork):
    """A system whose embedder may have a tokenizer."""

    def __init__(self, config: Settings, context: Context) -> None:
        super().__init__(config, context)
        self.learned, self.due, self.version = 0, 0, 0
        self.fitted, self.kept = 0, float("nan")
        self.use_S2 = np.zeros((0, 2))
        """Utilisation and entropy of each book at the last fit."""

    @property
    def tokenizer(self) -> Tokenizer | None:
        return self.model.slots.embed.codes

    def learn_micro_batch(self, batch: ExampleBatch) -> None:
        super().learn_micro_batch(batch)
        self.learned += len(batch)
        if self.tokenizer is not None and self.learned >= self.due:
            self._fit(self.tokenizer, int(batch.time_ms_B.max()))

    def changed_items(self) -> Int64s:
        """Codes move under every item."""
        return self.items.keys[: len(self.items)] if self.version else super().changed_items()

    def insight(self) -> Insight | None:
        if not self.version:
            return super().insight()
        books = [BookUse(utilisation=float(used), entropy=float(spread)) for used, spread in self.use_S2]
        kept = None if np.isnan(self.kept) else self.kept
        return Insight(codes=Codes(version=self.version, items=self.fitted, kept=kept, books=books))

    def _fit(self, tokenizer: Tokenizer, now_ms: int) -> None:
        catalogue = self.context.catalogue
        keys_N = catalogue.items.keys[: len(catalogue)]
        described_NLZ = self.reader.described_items(keys_N, now_ms)
        described_NLZ = described_NLZ[described_NLZ.any((1, 2))]
        if len(described_NLZ) < tokenizer.codes:
            return
        every = -(-len(described_NLZ) // _MOST_ITEMS)
        described_ULZ = torch.from_numpy(described_NLZ[::every]).to(self.model.device)
        before_US = self._codes(tokenizer, described_ULZ)
        use = tokenizer.fit(described_ULZ, self.context.seed, self.version)
        same = float((before_US == self._codes(tokenizer, described_ULZ)).mean())
        self.kept = same if self.version else float("nan")
        self.version += 1
        self.due = TIMES * max(self.learned, _LEAST_ROWS)
        self.fitted = len(described_ULZ)
        self.use_S2 = np.array([[book.utilisation, book.entropy] for book in use])

    def _codes(self, tokenizer: Tokenizer, described_ULZ: torch.Tensor) -> Int64s:
        with torch.no_grad():
            return cast(Int64s, tokenizer(described_ULZ).code_US.cpu().numpy())

    def tree(self) -> Tree:
        return super().tree() | {
            "learned": self.learned,
            "due": self.due,
            "version": self.version,
            "fitted": self.fitted,
            "kept": self.kept,
            "use_S2": self.use_S2.copy(),
        }

    def load(self, tree: Tree) -> None:
        super().load(tree)
        self.learned, self.due, self.version = (int(tree[name]) for name in ("learned", "due", "version"))
        self.fitted, self.kept = int(tree["fitted"]), float(tree["kept"])
        self.use_S2 = np.array(tree["use_S2"]).reshape(-1, 2)
