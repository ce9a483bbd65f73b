"""Networks that know a user by a few vectors and an item by one: they rank the whole catalogue, and are
published.

The true item of every positive is learned by softmax: against the whole catalogue while it has at most `few`
items, else against `draws` from popularity^.75, their logits corrected by -log(draws x probability) (logQ, Yi
et al., RecSys 2019; the true item, which is always there, is not corrected). Where events hardly ever repeat
an item of the window, its items are no candidates.

Shape suffixes: as in `learners.slots`; S = 1 + draws, N catalogue items.
"""

from typing import cast

import numpy as np
from numpy.typing import NDArray

from learners.contract import Context, Settings
from learners.interests.contract import Unit
from learners.ranges import Amount, Share, Some, Whole
from learners.tables.catalogue import negatives
from learners.tables.embedding import PUBLISH
from learners.training.network import Network, NetworkSettings, choice
from learners.training.network_inputs import Candidates
from state.examples import Doubles, ExampleBatch, Floats, empty_examples, window_of
from state.keys import Int64s, KeyMap
from state.tree import Tree

_SPARE = 0.02
"""Items of the window are no candidates where fewer events than this share repeat one."""


_NONE = np.zeros(0, np.int64)


class CatalogueSettings(NetworkSettings, frozen=True, kw_only=True):
    """What every network over the catalogue has."""

    few: Whole = 2048
    """Items up to which the whole catalogue is learned against."""
    draws: Some = 256
    """Negatives an event beyond that."""


class SumsSettings(CatalogueSettings, frozen=True, kw_only=True):
    """What networks over a short and a long sum of the past have (`learners.usual_parts.short_and_long`)."""

    width: Some = 32
    sd: Amount = 0.1
    minibatch: Some = 128
    short: Some = 20
    """Newest entries in the short sum, each `fade` times the weight of the one after it."""
    fade: Share = 0.7


class CatalogueNetwork(Network, Unit[ExampleBatch]):
    """A system whose head needs nothing of a candidate but its item. Its users are the rows themselves."""

    def __init__(self, config: Settings, context: Context) -> None:
        super().__init__(config, context)
        self.repeats: Doubles = np.zeros(2)
        """Positives whose item was in the window, and all positives."""

    def rank(self, batch: ExampleBatch) -> Floats:
        logit_BN: Floats = self.model.logits(self.reader.read(self.narrow(batch), self._catalogue()))
        return logit_BN

    def users(self, batch: ExampleBatch) -> ExampleBatch:
        return self.narrow(batch)

    def nearest(self, users: ExampleBatch, row_R: Int64s, count: int, among: int) -> Int64s:
        catalogue = self.context.catalogue
        popular_N = -catalogue.popularity(int(users.time_ms_B[0]))
        among = min(among, len(popular_N))
        rows_S = np.sort(np.argpartition(popular_N, among - 1)[:among]) if among else _NONE
        logit_RS = self.model.logits(
            self.reader.read(users.take(row_R), self._candidates(catalogue.items.keys[None, rows_S]))
        )
        best_RM = np.argsort(-logit_RS, 1, kind="stable")[:, :count]
        nearest_RM = np.full((len(row_R), count), -1, np.int64)
        nearest_RM[:, : best_RM.shape[1]] = rows_S[best_RM]
        return nearest_RM

    def logits(self, users: ExampleBatch, start_B1: Int64s, item_C: Int64s) -> Floats:
        count_B = np.diff(start_B1)
        asked = np.flatnonzero(count_B)
        if not len(asked):
            return np.zeros(0, np.float32)
        there_RC = np.arange(count_B.max()) < count_B[asked, None]
        item_RC = np.full(there_RC.shape, item_C[0])
        item_RC[there_RC] = item_C
        candidates = self._candidates(self.context.catalogue.items.keys[item_RC])
        logit_C: Floats = self.model.logits(self.reader.read(users.take(asked), candidates))[there_RC]
        return logit_C

    def teaches(self, batch: ExampleBatch) -> NDArray[np.bool_]:
        positive_B: NDArray[np.bool_] = (batch.label_B > 0.5) | (not self.context.labelled)
        return positive_B

    def learn_micro_batch(self, batch: ExampleBatch) -> None:
        catalogue, settings = self.context.catalogue, cast(CatalogueSettings, self.settings)
        if len(catalogue) <= settings.few:
            candidates, true_B = self._catalogue(), catalogue.items.rows(batch.item_B)
            off_BC = np.zeros((len(batch), len(catalogue)), np.float32)
        else:
            drawn_BS, log_q_N = negatives(catalogue, batch, settings.draws, self.context.seed)
            item_BS = np.concatenate([batch.item_B[:, None], catalogue.items.keys[drawn_BS]], 1)
            candidates, true_B = self._candidates(item_BS), np.zeros(len(batch), np.int64)
            off_BC = np.zeros(item_BS.shape, np.float32)
            off_BC[:, 1:] = -np.log(settings.draws) - log_q_N[drawn_BS]
            off_BC[:, 1:][item_BS[:, 1:] == batch.item_B[:, None]] = -np.inf
        self._spare(batch, candidates.item_BC, true_B, off_BC)
        self.learn_from(batch, candidates, {"off_BC": off_BC, "true_B": true_B}, choice)

    def item_vectors(self, keys_N: Int64s) -> Floats:
        inputs = self.reader.read(empty_examples(1, 1), self._candidates(keys_N[None]))
        vector_NE: Floats = self.model.items(inputs)[inputs.target_BC[0]]
        return vector_NE

    @property
    def interest_names(self) -> tuple[str, ...]:
        return self.model.slots.interests.names

    def interests(self, batch: ExampleBatch) -> Floats:
        nothing = self._candidates(np.zeros((1, 0), np.int64))
        return self.model.queries(self.reader.read(self.narrow(batch), nothing))

    def changed_items(self) -> Int64s:
        changed = KeyMap(self.table.changed(PUBLISH))
        keys_N = self.items.keys[: len(self.items)]
        return keys_N[changed.rows(self.reader.item_ids(keys_N)) >= 0]

    def _catalogue(self) -> Candidates:
        """Every item, for all rows."""
        catalogue = self.context.catalogue
        return self._candidates(catalogue.items.keys[None, : len(catalogue)])

    def _candidates(self, item_BC: Int64s) -> Candidates:
        return Candidates(item_BC, self.categories(item_BC))

    def _spare(self, batch: ExampleBatch, item_BC: Int64s, true_B: Int64s, off_BC: Floats) -> None:
        """Count repeats, and take the window's items from the candidates where there are hardly any."""
        window = window_of(batch)
        real_BW = np.arange(window.item_BW.shape[1]) < window.length_B[:, None]
        again_B = ((window.item_BW == batch.item_B[:, None]) & real_BW).any(1)
        if self.repeats[0] < _SPARE * self.repeats[1]:
            row_B, entry_B = np.nonzero(real_BW)
            if len(item_BC) < len(batch):  # the same candidates for all rows
                column_B = self.context.catalogue.items.rows(window.item_BW[row_B, entry_B])
                off_BC[row_B[column_B >= 0], column_B[column_B >= 0]] = -np.inf
            else:
                recalled_BC = (item_BC[:, :, None] == np.where(real_BW, window.item_BW, -1)[:, None]).any(2)
                off_BC[recalled_BC] = -np.inf
            off_BC[np.arange(len(batch)), true_B] = 0.0
        self.repeats += again_B.sum(), len(batch)

    def tree(self) -> Tree:
        return super().tree() | {"repeats": self.repeats.copy()}

    def load(self, tree: Tree) -> None:
        super().load(tree)
        self.repeats[:] = tree["repeats"]
