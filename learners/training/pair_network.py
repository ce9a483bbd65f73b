"""Networks that read what is known of every pair of request and candidate, and so look at few candidates.

On a log with labels P(action) is learned by cross-entropy. On one without, the true item is learned against
`draws` negatives from popularity^.75 by softmax, their logits corrected by -log(draws x probability) (logQ,
Yi et al., RecSys 2019; the true item, which is always there, is not corrected), and P(action) is the sigmoid
of that score: it orders, and is no rate.

A network of this kind ranks what something else retrieves; here that is the `candidates` most popular items
and those of the window. Other items are no candidates.

Shape suffixes: as in `learners.slots`; S = 1 + draws, N catalogue items.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import ClassVar, cast

import numpy as np
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits

from learners.ranges import Some, Whole
from learners.tables.catalogue import negatives
from learners.training.network import Network, NetworkSettings, choice
from learners.training.network_inputs import Candidates
from learners.training.network_numbers import OWN, own_rates
from state.examples import Doubles, ExampleBatch, Floats, window_of
from state.keys import Int64s

_CHUNK = 256
"""Candidates scored at a time: what attention needs of them stays in the cache."""
_ALIGNED = 64
"""Candidates are filled up to a multiple of this, so that none is scored by a routine for small matrices,
which would round differently."""
_MOST = 16.0
"""Log odds are cut off here."""


class PairSettings(NetworkSettings, frozen=True, kw_only=True):
    """What every network of pairs has."""

    draws: Some = 15
    """Negatives an event on a log without labels."""
    candidates: Whole = 200
    """Most popular items that are ranked, besides those of the window; 0 ranks the whole catalogue."""


class PairNetwork(Network):
    """A system whose head reads numbers and fields."""

    predicts: ClassVar[bool] = True

    def score(self, batch: ExampleBatch) -> Doubles:
        logit_B = np.empty(len(batch))
        for start in range(0, len(batch), _CHUNK):
            rows = slice(start, start + _CHUNK)
            part = batch.take(rows)
            filled = part.take(_filled(np.arange(len(part))))
            inputs = self.reader.read(filled, Candidates.own(filled))
            logit_B[rows] = self.model.logits(inputs)[: len(part), 0]
        return np.asarray(1.0 / (1.0 + np.exp(-np.clip(logit_B, -_MOST, _MOST))))

    def rank(self, batch: ExampleBatch) -> Floats:
        keys_N = self.context.catalogue.items.keys[: len(self.context.catalogue)]
        score_BN = np.full((len(batch), len(keys_N)), -np.inf, np.float32)
        for b in range(len(batch)):
            row = batch.take(slice(b, b + 1))
            rows_C = self._retrieved(row)
            for start in range(0, len(rows_C), _CHUNK):
                chosen = rows_C[start : start + _CHUNK]
                pairs = self._pairs(row, keys_N[_filled(chosen)][None])
                score_BN[b, chosen] = self.model.logits(self.reader.read(row, pairs))[0, : len(chosen)]
        return score_BN

    def teaches(self, batch: ExampleBatch) -> NDArray[np.bool_]:
        known_B: NDArray[np.bool_] = ~np.isnan(batch.label_B) | (not self.context.labelled)
        return known_B

    def learn_micro_batch(self, batch: ExampleBatch) -> None:
        if self.context.labelled:
            goal = {"label_BC": batch.label_B[:, None]}
            self.learn_from(batch, Candidates.own(batch), goal, _cross_entropy)
            return
        catalogue, count = self.context.catalogue, cast(PairSettings, self.settings).draws
        drawn_BS, log_q_N = negatives(catalogue, batch, count, self.context.seed)
        item_BS = np.concatenate([batch.item_B[:, None], catalogue.items.keys[drawn_BS]], 1)
        off_BS = np.zeros(item_BS.shape, np.float32)
        off_BS[:, 1:] = -np.log(count) - log_q_N[drawn_BS]
        off_BS[:, 1:][item_BS[:, 1:] == batch.item_B[:, None]] = -np.inf
        candidates = self._pairs(batch, item_BS)
        assert candidates.pairs is not None
        candidates.pairs.item_rates_BR[:: item_BS.shape[1]] = batch.item_rates_BR
        goal = {"off_BC": off_BS, "true_B": np.zeros(len(batch), np.int64)}
        self.learn_from(batch, candidates, goal, choice)

    def _pairs(self, batch: ExampleBatch, item_BC: Int64s) -> Candidates:
        """The rows with other items, and what is known of those by now."""
        category_BC = self.categories(item_BC)
        owner_N = np.repeat(np.arange(len(batch)), item_BC.shape[1])
        pairs = replace(
            replace(batch, window=None).take(owner_N),
            item_B=item_BC.reshape(-1),
            category_B=category_BC.reshape(-1),
        )
        pairs.user_rates_BR[:, OWN] = own_rates(window_of(batch), owner_N, pairs.item_B, pairs.category_B)
        nothing_due = np.zeros(len(pairs), np.int64)
        rates_NR, _ = self.context.catalogue.step(pairs, pairs.take(slice(0, 0)), nothing_due)
        return Candidates(item_BC, category_BC, pairs.with_item_rates(rates_NR))

    def _retrieved(self, row: ExampleBatch) -> Int64s:
        """Catalogue rows to be scored for one example."""
        catalogue, most = self.context.catalogue, cast(PairSettings, self.settings).candidates
        if not most or most >= len(catalogue):
            return np.arange(len(catalogue))
        popular = np.argpartition(-catalogue.popularity(int(row.time_ms_B[0])), most)[:most]
        own = catalogue.items.rows(window_of(row).item_BW[0])
        return np.unique(np.concatenate([popular, own[own >= 0]]))


def _filled(rows: Int64s) -> Int64s:
    """The last one repeated up to a multiple of `_ALIGNED`."""
    return rows[np.minimum(np.arange(-(-len(rows) // _ALIGNED) * _ALIGNED), len(rows) - 1)]


def _cross_entropy(logit_BC: Tensor, goal: Mapping[str, Tensor]) -> Tensor:
    """Of labels 0..1."""
    return binary_cross_entropy_with_logits(logit_BC, goal["label_BC"], reduction="sum")
