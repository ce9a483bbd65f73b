"""A factorised two-tower: the user is the sum of the vectors that a faded memory recalls.

Shape suffixes: B rows, W window entries, V interests, N items, K width, D = K + 1, C candidates.

    weight_vw  = r_vw / sqrt(sum over w of r_vw + prior)
    interest_v = sum over entries w of weight_vw x the vector of w's item
    score(j)   = (sum over v of interest_v) . q_j + b_j

These are the shallow interests; `learners.interests.deep` adds what learned queries find among the newest
entries. An item's vectors are its own plus those of its kinds (`learners.interests.kinds`). Together they
stand for STIM's hierarchical multi-interest unit over shallow and deep semantics (arXiv:2508.02451; the
equations are our reconstruction).

`r` is .7^b for the b-th newest (short view, own vectors) and the retention, times the hour, week or place
kernel, in the other views, which share a second set of vectors. Published vectors carry the bias as a last
coordinate: item (q_j, b_j), first interest (..., 1), other interests (..., 0); so the score is the inner
product of the item with the sum of the interests.

Learned one event at a time by softmax cross-entropy over the whole table, or over candidates drawn from
popularity^.75 with their logits corrected by -log(draws x probability) (logQ, Yi et al., RecSys 2019; the
true item, which is always there, is not corrected), with row-wise AdaGrad.
"""

from typing import ClassVar, cast

import numpy as np

from learners.contract import Context, Needs, RankRequest, Settings
from learners.interests import deep, learning, rows, search, views
from learners.interests.contract import Unit
from learners.interests.kinds import Kinds, side_by_side, whole
from learners.interests.recalling import recalled
from learners.interests.settings import TwoTowerSettings
from learners.tables.embedding import PUBLISH, RANK, EmbeddingTable, Slot
from learners.tables.expiry import Forgotten
from learners.tables.item_columns import ItemColumns
from learners.tables.popularity_draws import Sampler, identities
from state.errors import InputError, bringing
from state.examples import Doubles, ExampleBatch, Floats, Window, window_of
from state.keys import Int64s
from state.tree import Tree

PLACED = frozenset({"tz", "place", "lat"})
"""Roles that give a log local time or place."""

_DAY_MS = 86_400_000


INTERESTS = ("recent", "long", "hour", "week", "place")
"""What each shallow interest is, in the kernels' order; the last three only where the views are on."""


class InterestUnit(Unit[Floats]):
    """The learner that embeddings are published from. On a log with labels it learns from positives."""

    Config: ClassVar[type[Settings]] = TwoTowerSettings
    ranks: ClassVar[bool] = True
    doubts: ClassVar[bool] = True

    def __init__(self, config: Settings, context: Context) -> None:
        super().__init__(config, context)
        self.settings = s = cast(TwoTowerSettings, config)
        slots = {
            "item": Slot(s.width, s.sd),
            "bias": Slot(1, 0.0, s.cold_bias),
            "short": Slot(s.width, s.sd),
            "long": Slot(s.width, s.sd),
        }
        self.deep = s.deep if s.shallow else 0
        if self.deep:
            slots["deep"] = Slot(s.width, s.sd)
        self.table = EmbeddingTable(slots, seed=context.seed, admit=s.admit, accumulator=s.accumulator)
        self.kinds = Kinds(
            context.items if s.semantics else None,
            category=s.semantics and "category" in context.roles,
            scale=s.kind_scale,
        )
        self.queries = deep.first_queries(self.deep, s.width, s.sd, context.seed)
        self.sampler = Sampler()
        self.repeats: Doubles = np.zeros(2)
        """Positives whose item was in the window, and all positives."""
        self.swept_ms = 0
        self.columns = ItemColumns(s.width, s.cold_bias)
        periodic = bool(context.roles & PLACED) if s.views is None else s.views
        self.views = views.VIEWS if s.shallow and periodic else views.LONG + s.shallow

    @property
    def needs(self) -> Needs:
        return Needs(window=self.settings.window)

    def rank(self, batch: ExampleBatch) -> Floats:
        items = self.context.catalogue.items
        item_DN = self._columns()
        return search.scored(self.users(batch), item_DN, len(items))

    def ranked(self, batch: ExampleBatch, request: RankRequest, chunk: int = 64) -> Int64s:
        if not len(request.rows_R):
            return np.empty(0, np.int64)
        item_DN, size = self._columns(), len(self.context.catalogue.items)
        return search.ranks(self.users(batch.take(request.rows_R)), item_DN, size, request, chunk)

    def users(self, batch: ExampleBatch) -> Floats:
        """The sum of each row's interests (B, D), with D filled up as in `columns`."""
        vector_BVD = self.interests(batch)
        user_BD = np.zeros((len(vector_BVD), len(self.columns.item_DN)), np.float32)
        user_BD[:, : vector_BVD.shape[2]] = vector_BVD.sum(1)
        return user_BD

    def logits(self, users: Floats, start_B1: Int64s, item_C: Int64s) -> Floats:
        """Scores (C,) of given candidates alone: those of row b are `start_B1[b]` to `start_B1[b + 1]`.

        `users` is what `users` gives, `item_C` holds catalogue rows. Changes nothing.
        """
        return search.logits(
            users,
            start_B1,
            item_C,
            self.context.catalogue.items.keys,
            self.table.ids.table,
            self.table.weight["item"],
            self.table.weight["bias"],
            self.kinds.kind_NP,
            np.float32(self.settings.cold_bias),
        )

    def nearest(self, users: Floats, row_R: Int64s, count: int, among: int) -> Int64s:
        """Catalogue rows (R, `count`) of the best items for rows of `users`, best first, of the `among` most
        popular.

        Popularity is as of the sampler's last rebuild. -1 where there are fewer. Changes nothing.
        """
        rows_S = self.sampler.most_drawn(among)
        catalogue_S1 = np.append(self.context.catalogue.items.rows(self.table.ids.keys[rows_S]), -1)
        item_DS = search.apart(users.shape[1], len(rows_S))
        weight = self.table.weight
        side_by_side(rows_S, weight["item"], weight["bias"], self.kinds.kind_NP, item_DS)
        return catalogue_S1[search.nearest(users[row_R], item_DS, len(rows_S), count)]

    def relearn(self, batch: ExampleBatch) -> None:
        self.learn(batch)

    def learn(self, batch: ExampleBatch) -> None:
        if not len(batch):
            return
        s, table = self.settings, self.table
        self._sweep(int(batch.time_ms_B.max()))
        before = len(table)
        target_B = table.admit(batch.item_B, batch.time_ms_B)
        self.kinds.admit(batch, table, before)
        if self.context.labelled:
            target_B[~(batch.label_B > 0.5)] = -1
        if self.sampler.due(len(batch)):
            self._resample(int(batch.time_ms_B[-1]))
        memory = self._recalled(window_of(batch))
        full = s.softmax == "full" or (s.softmax == "auto" and len(table) <= s.few)
        events = rows.Targets(
            target_B,
            identities(batch, self.context.seed),
            memory,
            0 if full else s.draws,
            bool(self.repeats[0] < s.spare * self.repeats[1]),
        )
        rates = rows.StepSizes(
            *(np.float32(rate) for rate in (s.lr, s.bias_lr, s.query_lr, s.reg, s.kind_rate))
        )
        self.repeats += views.repeats(target_B >= 0, target_B, memory.rows_BW, memory.length_B)
        if s.device == "cpu":
            learning.learn(
                events,
                self.sampler.arrays,
                len(table),
                rates,
                self._weights(),
                self.queries,
                s.attended,
            )
            return
        try:
            from learners.interests.in_torch import learn  # torch is optional, and slow to load
        except ModuleNotFoundError as error:
            raise InputError(
                f"twotower.device: {s.device!r} needs torch; {bringing('torch')} brings it"
            ) from error
        learn(
            events,
            self.sampler.arrays,
            table,
            self.kinds,
            rates,
            self.queries,
            s.attended,
            s.device,
        )

    def item_vectors(self, keys_N: Int64s) -> Floats:
        vector_ND = np.zeros((len(keys_N), self.settings.width + 1), np.float32)
        vector_ND[:, -1] = self.settings.cold_bias
        rows_N = self.table.rows(keys_N)
        known = np.flatnonzero(rows_N >= 0)
        vector_ND[known] = self._vectors(rows_N[known])
        return vector_ND

    @property
    def interest_names(self) -> tuple[str, ...]:
        return *INTERESTS[: self.views], *(f"deep {i + 1}" for i in range(self.deep))

    def interests(self, batch: ExampleBatch) -> Floats:
        vector_BVD = np.zeros((len(batch), self.views + self.deep, self.settings.width + 1), np.float32)
        views.interests(self._recalled(window_of(batch)), self._entry_vectors(), vector_BVD)
        vector_BVD[:, 0, -1] = 1.0
        return vector_BVD

    def explain(self, batch: ExampleBatch, item_B: Int64s) -> Floats:
        """What each window entry adds to the score of `item_B[b]` for row b, by interest: (B, V, W).

        Summed over V and W, plus the item's bias, it is the score, less what further items of the totals add.
        """
        window = window_of(batch)
        memory = self._recalled(window)
        part_BVW = np.zeros((len(batch), self.views + self.deep, window.item_BW.shape[1]), np.float32)
        views.explain(
            memory,
            window.length_B - (memory.length_B - memory.further_B),
            self._entry_vectors(),
            self.item_vectors(item_B),
            part_BVW,
        )
        return part_BVW

    def changed_items(self) -> Int64s:
        self.kinds.spread(self.table, PUBLISH)
        return self.kinds.items(self.table, self.table.changed(PUBLISH))

    def _recalled(self, window: Window) -> views.RecalledRows:
        return recalled(window, self.table.ids.table, self.views, self.settings)

    def _entry_vectors(self) -> views.InterestVectors:
        weights, newest = self._weights(), self.settings.attended
        return views.InterestVectors(
            weights.short_NK,
            weights.long_NK,
            weights.deep_NK,
            weights.kind_NP,
            self.queries.query_IQ,
            newest,
        )

    def _weights(self) -> rows.InterestRows:
        table = self.table
        weight, square, deep = table.weight, table.square, "deep" if self.deep else "short"
        return rows.InterestRows(
            weight["item"],
            square["item"],
            weight["bias"],
            square["bias"],
            weight["short"],
            square["short"],
            weight["long"],
            square["long"],
            weight[deep],
            square[deep],
            table.stale_N,
            kind_NP=self.kinds.kind_NP,
            is_kind_N=self.kinds.is_kind_N,
        )

    def _vectors(self, rows_S: Int64s) -> Floats:
        """Vector and bias of rows that there are, with their kinds' (S, D)."""
        parts = (whole(rows_S, self.table.weight[name], self.kinds.kind_NP) for name in ("item", "bias"))
        return np.concatenate(list(parts), axis=1)

    def _columns(self) -> Floats:
        self.kinds.spread(self.table, RANK)
        return self.columns.refresh(self.context.catalogue.items, self.table, self.kinds.kind_NP)

    def _resample(self, now_ms: int) -> None:
        catalogue = self.context.catalogue
        rows_N = self.table.rows(catalogue.items.keys[: len(catalogue)])
        self.sampler.rebuild(catalogue.popularity(now_ms), rows_N)

    def _sweep(self, now_ms: int) -> None:
        """Let rows expire, checked a tenth of the lifetime apart."""
        life_ms = int(self.settings.expire_days * _DAY_MS)
        if abs(now_ms - self.swept_ms) >= life_ms // 10:
            self.swept_ms = now_ms
            if self.kinds.expire(self.table, now_ms - life_ms):
                self.sampler = Sampler()
                self.columns = ItemColumns(self.settings.width, self.settings.cold_bias)

    def doubt(self, share: float) -> None:
        """Rows and queries take longer steps again."""
        self.table.doubt(share)
        self.queries = deep.doubting(self.queries, share)

    def forget(self, forgotten: Forgotten) -> None:
        self.kinds.expire(self.table, forgotten.before_ms)
        self.columns = ItemColumns(self.settings.width, self.settings.cold_bias)
        self._resample(forgotten.clock_ms)

    def tree(self) -> Tree:
        return {
            "table": self.table.tree(),
            "kinds": self.kinds.tree(self.table),
            "queries": {name: part.copy() for name, part in self.queries._asdict().items()},
            "sampler": self.sampler.tree(),
            "repeats": self.repeats.copy(),
            "swept_ms": self.swept_ms,
        }

    def load(self, tree: Tree) -> None:
        self.table.load(tree["table"])
        self.kinds.load(tree["kinds"], self.table)
        self.queries = deep.Queries(**{name: np.array(part) for name, part in tree["queries"].items()})
        self.sampler.load(tree["sampler"])
        self.repeats[:] = tree["repeats"]
        self.swept_ms = int(tree["swept_ms"])
        self.columns = ItemColumns(self.settings.width, self.settings.cold_bias)
