"""Serving from weights that are published now and then, while the learner goes on learning.

A copy has a catalogue and learners of its own. What a user's memory holds (windows, user rates, what a
ranking leaves out) is as of the row; what is learned, and what is known of items, is as of the publication.
A publication falls on the first micro-batch that begins at or after its time (whoever runs copies cuts
micro-batches there), and holds what was learned before that micro-batch.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from learners.contract import Learner, Outcome, RankRequest
from learners.tables.catalogue import Catalogue
from state.examples import ExampleBatch
from state.keys import Int64s
from state.tree import Tree

Make = Callable[[Catalogue], Mapping[str, Learner]]
"""Learners at their beginning, on a catalogue of their own."""


class Schedule:
    """Times that lie `every_ms` apart, counted from the first that is asked about; 0 is always."""

    def __init__(self, every_ms: int) -> None:
        self.every_ms = every_ms
        self._start_ms: int | None = None
        self._number = 0

    def due(self, now_ms: int) -> bool:
        """Whether one of them was passed since the last call; `now_ms` never falls."""
        if not self.every_ms:
            return True
        if self._start_ms is None:
            self._start_ms = now_ms
        before, self._number = self._number, (now_ms - self._start_ms) // self.every_ms
        return self._number > before


@dataclass(slots=True)
class Copies:
    """Learners by name and what they know of items; they only score."""

    catalogue: Catalogue
    learners: Mapping[str, Learner]

    @classmethod
    def of(cls, make: Make) -> "Copies":
        catalogue = Catalogue()
        return cls(catalogue, make(catalogue))

    def score(self, batch: ExampleBatch, request: RankRequest) -> dict[str, Outcome]:
        """What each says of the rows, with item rates and candidates as its own catalogue has them."""
        nothing = batch.take(slice(0, 0))
        rates_BR, _ = self.catalogue.step(batch, nothing, np.zeros(len(batch), np.int64))
        known = batch.with_item_rates(rates_BR)
        asked = clipped(request, len(self.catalogue))
        outcomes = {}
        for name, learner in self.learners.items():
            seen = learner.narrow(known)
            outcomes[name] = Outcome(
                p_B=learner.score(seen) if learner.predicting else None,
                rank_R=learner.ranked(seen, asked) if learner.ranks else None,
            )
        return outcomes


class Served:
    """Copies that are brought up to date every `every_ms` of stream time; silent before the first time."""

    def __init__(self, make: Make, every_ms: int) -> None:
        self.copies = Copies.of(make)
        self.schedule = Schedule(every_ms)
        self.published = 0

    def publish(self, catalogue: Tree, learners: Mapping[str, Tree]) -> None:
        """Take over what was learned up to now."""
        self.copies.catalogue.load(catalogue)
        for name, learner in self.copies.learners.items():
            learner.load(learners[name])
        self.published += 1

    def score(self, batch: ExampleBatch, request: RankRequest) -> dict[str, Outcome]:
        return self.copies.score(batch, request) if self.published else {}


def clipped(request: RankRequest, size: int) -> RankRequest:
    """The request as it is for a catalogue that knows only the first `size` items.

    Catalogue rows are numbered in the order of first sight, so an older catalogue is a prefix of a newer
    one. A true item beyond it is MISSED.
    """
    kept_L = request.left_out < size
    start_L1: Int64s = np.concatenate([np.zeros(1, np.int64), np.cumsum(kept_L)])
    return RankRequest(
        rows_R=request.rows_R,
        true_R=np.where(request.true_R < size, request.true_R, -1),
        size_R=np.minimum(request.size_R, size),
        left_start_R1=start_L1[request.left_start_R1],
        left_out=request.left_out[kept_L],
    )
