"""A factorised two-tower: the user is the sum of the vectors that a faded memory recalls.

Shape suffixes: B rows, W window entries, V views (one interest each), N items, K width, D = K + 1.

    weight_vw  = r_vw / sqrt(sum over w of r_vw + prior)
    interest_v = sum over entries w of weight_vw x the vector of w's item
    score(j)   = (sum over v of interest_v) . q_j + b_j

`r` is .7^b for the b-th newest (short view, own vectors) and the retention, times the hour, week or place
kernel, in the other views, which share a second set of vectors. Published vectors carry the bias as a last
coordinate: item (q_j, b_j), first interest (..., 1), other interests (..., 0); so the score is the inner
product of the item with the sum of the interests.

Learned one event at a time by softmax cross-entropy over the whole table, or over candidates drawn from
popularity^.75 with their logits corrected by -log(draws x probability) (logQ, Yi et al., RecSys 2019; the
true item, which is always there, is not corrected), with row-wise AdaGrad.
"""

from typing import ClassVar, Literal, cast

import numpy as np

from learners import twotower_kernels as kernels
from learners.columns import Columns
from learners.contract import Context, Learner, Needs, RankRequest, Settings
from learners.ranking import true_ranks
from learners.sampling import Sampler, identities
from learners.table import PUBLISH, EmbeddingTable, Slot
from state.errors import InputError
from state.examples import Doubles, ExampleBatch, Floats, Window, empty_window
from state.keys import Int64s
from state.tree import Tree

PLACED = frozenset({"tz", "place", "lat"})
"""Roles that give a log local time or place."""

_DAY_MS = 86_400_000


INTERESTS = ("recent", "long", "hour", "week", "place")
"""What each interest vector is, in the kernels' order; the last three only where the views are on."""


class TwoTowerSettings(Settings, frozen=True, kw_only=True):
    """Defaults were chosen on the first halves of the benchmark logs."""

    width: int = 32
    window: int = 50
    """Entries of the memory that a user's vector is made of."""
    views: bool | None = None
    """Whether hour, week and place give interests of their own; by default where the log has a place."""
    short: int = 10
    """Newest entries in the short view, each `fade` times the weight of the one after it."""
    fade: float = 0.7
    softmax: Literal["sampled", "full"] = "sampled"
    draws: int = 32
    lr: float = 0.12
    bias_lr: float = 0.5
    reg: float = 0.02
    """Pull to zero of a row that is updated, in proportion to its share in the update."""
    sd: float = 0.1
    """Of the first weights."""
    accumulator: float = 0.1
    """Where AdaGrad's sums start."""
    cold_bias: float = 0.0
    """Bias of an item nothing was learned of."""
    spare: float = 0.02
    """Where fewer events than this share repeat an item of the window, its items are no candidates."""
    admit: int = 1
    """Events of an item before it gets a row."""
    expire_days: float = 365.0
    """Time without an event after which an item loses its row."""
    device: str = "cpu"
    """'cpu': the compiled kernel, an update an event. Any other, like 'cuda' or 'cpu:0': torch, an update a
    micro-batch."""


class TwoTower(Learner):
    """The learner that embeddings are published from. On a log with labels it learns from positives."""

    name: ClassVar[str] = "twotower"
    Config: ClassVar[type[Settings]] = TwoTowerSettings
    ranks: ClassVar[bool] = True

    def __init__(self, config: Settings, context: Context) -> None:
        super().__init__(config, context)
        self.settings = s = cast(TwoTowerSettings, config)
        slots = {
            "item": Slot(s.width, s.sd),
            "bias": Slot(1, 0.0, s.cold_bias),
            "short": Slot(s.width, s.sd),
            "long": Slot(s.width, s.sd),
        }
        self.table = EmbeddingTable(slots, seed=context.seed, admit=s.admit, accumulator=s.accumulator)
        self.sampler = Sampler()
        self.repeats: Doubles = np.zeros(2)
        """Positives whose item was in the window, and all positives."""
        self.swept_ms = 0
        self.columns = Columns(s.width, s.cold_bias)
        self.draws = s.draws if s.softmax == "sampled" else 0
        self.views = bool(context.roles & PLACED) if s.views is None else s.views

    @property
    def needs(self) -> Needs:
        return Needs(window=self.settings.window, views=self.views)

    def rank(self, batch: ExampleBatch) -> Floats:
        items = self.context.catalogue.items
        item_DN = self.columns.refresh(items, self.table)
        return _scores(self._users(_window(batch), len(item_DN)), item_DN, len(items))

    def ranked(self, batch: ExampleBatch, request: RankRequest, chunk: int = 64) -> Int64s:
        ranks_R = np.empty(len(request.rows_R), np.int64)
        if not len(ranks_R):
            return ranks_R
        items = self.context.catalogue.items
        item_DN = self.columns.refresh(items, self.table)
        vector_RD = self._users(_window(batch).take(request.rows_R), len(item_DN))
        for start in range(0, len(ranks_R), chunk):
            part = slice(start, min(start + chunk, len(ranks_R)))
            true_ranks(
                _scores(vector_RD[part], item_DN, len(items)),
                *(request.true_R[part], request.size_R[part]),
                *(request.left_start_R1[start : part.stop + 1], request.left_out, ranks_R[part]),
            )
        return ranks_R

    def learn(self, batch: ExampleBatch) -> None:
        if not len(batch):
            return
        s, table = self.settings, self.table
        self._sweep(int(batch.time_ms_B.max()))
        target_B = table.admit(batch.item_B, batch.time_ms_B)
        if self.context.labelled:
            target_B[~(batch.label_B > 0.5)] = -1
        if self.draws and self.sampler.due(len(batch)):
            catalogue = self.context.catalogue
            rows_N = table.rows(catalogue.items.keys[: len(catalogue)])
            self.sampler.rebuild(catalogue.popularity(int(batch.time_ms_B[-1])), rows_N)
        window = _window(batch)
        rows_BW = self._rows(window)
        events = kernels.Events(
            target_B, rows_BW, window.length_B, self._weights(window), identities(batch, self.context.seed)
        )
        spare = bool(self.repeats[0] < s.spare * self.repeats[1])
        if s.device == "cpu":
            self._learn_compiled(events, spare)
        else:
            try:
                from learners.twotower_torch import learn  # torch is optional, and slow to load
            except ModuleNotFoundError as error:
                raise InputError(
                    f"twotower.device: {s.device!r} needs torch; `pip install ebbtide[torch]`"
                ) from error
            learn(
                *(events, table, self.sampler),
                draws=self.draws,
                spare=spare,
                lr=s.lr,
                bias_lr=s.bias_lr,
                reg=s.reg,
                device=s.device,
            )
        self.repeats += kernels.repeats(target_B, rows_BW, window.length_B)

    def _learn_compiled(self, events: kernels.Events, spare: bool) -> None:
        s, table = self.settings, self.table
        kernels.learn(
            events,
            self.sampler.arrays,
            *(self.draws, spare, len(table)),
            *(np.float32(s.lr), np.float32(s.bias_lr), np.float32(s.reg)),
            *(table.weight["item"], table.square["item"], table.weight["bias"], table.square["bias"]),
            *(table.weight["short"], table.square["short"], table.weight["long"], table.square["long"]),
            table.stale_N,
        )

    def item_vectors(self, keys_N: Int64s) -> Floats:
        width = self.settings.width
        vector_ND = np.zeros((len(keys_N), width + 1), np.float32)
        vector_ND[:, width] = self.settings.cold_bias
        rows_N = self.table.rows(keys_N)
        known = np.flatnonzero(rows_N >= 0)
        vector_ND[known, :width] = self.table.weight["item"][rows_N[known]]
        vector_ND[known, width] = self.table.weight["bias"][rows_N[known], 0]
        return vector_ND

    @property
    def interest_names(self) -> tuple[str, ...]:
        return INTERESTS if self.views else INTERESTS[: kernels.LONG + 1]

    def interests(self, batch: ExampleBatch) -> Floats:
        return self._interests(_window(batch))

    def explain(self, batch: ExampleBatch, item_B: Int64s) -> Floats:
        """What each window entry adds to the score of `item_B[b]` for row b, by view: (B, V, W).

        Summed over V and W, plus the item's bias, it is the score.
        """
        window = _window(batch)
        rows_BW = self._rows(window)
        weight_VBW = self._weights(window)
        item_BK = self.item_vectors(item_B)[:, :-1]
        part_BVW = np.zeros((len(batch), *weight_VBW.shape[::2]), np.float32)
        for v, weight_BW in enumerate(weight_VBW):
            source_NK = self.table.weight["short" if v == kernels.SHORT else "long"]
            real = (rows_BW >= 0) & (weight_BW != 0.0)
            b, w = np.nonzero(real)
            part_BVW[b, v, w] = weight_BW[b, w] * (source_NK[rows_BW[b, w]] * item_BK[b]).sum(1)
        return part_BVW

    def changed_items(self) -> Int64s:
        return self.table.changed(PUBLISH)

    def _rows(self, window: Window) -> Int64s:
        """The table row of each entry (B, W), -1 where there is none."""
        rows_BW = np.full(window.item_BW.shape, -1, np.int64)
        kernels.window_rows(self.table.ids.table, window.item_BW, window.length_B, rows_BW)
        return rows_BW

    def _weights(self, window: Window) -> Floats:
        s = self.settings
        weight_VBW = np.zeros((kernels.VIEWS if self.views else 2, *window.item_BW.shape), np.float32)
        kernels.view_weights(
            *(window.length_B, window.retention_BW, window.hour_BW, window.week_BW, window.place_BW),
            *(s.short, s.fade, weight_VBW),
        )
        return weight_VBW

    def _interests(self, window: Window) -> Floats:
        weight_VBW = self._weights(window)
        vector_BVD = np.zeros((weight_VBW.shape[1], len(weight_VBW), self.settings.width + 1), np.float32)
        kernels.interests(
            *(self._rows(window), window.length_B, weight_VBW),
            *(self.table.weight["short"], self.table.weight["long"], vector_BVD),
        )
        vector_BVD[:, 0, -1] = 1.0
        return vector_BVD

    def _users(self, window: Window, width: int) -> Floats:
        """The sum of each row's interests (B, `width`), filled up with zeros."""
        vector_BVD = self._interests(window)
        vector_BD = np.zeros((len(vector_BVD), width), np.float32)
        vector_BD[:, : vector_BVD.shape[2]] = vector_BVD.sum(1)
        return vector_BD

    def _sweep(self, now_ms: int) -> None:
        """Let rows expire, checked a tenth of the lifetime apart."""
        life_ms = int(self.settings.expire_days * _DAY_MS)
        if now_ms - self.swept_ms >= life_ms // 10:
            self.swept_ms = now_ms
            if len(self.table.expire(now_ms - life_ms)):
                self.sampler = Sampler()
                self.columns = Columns(self.settings.width, self.settings.cold_bias)

    def tree(self) -> Tree:
        return {
            "table": self.table.tree(),
            "sampler": self.sampler.tree(),
            "repeats": self.repeats.copy(),
            "swept_ms": self.swept_ms,
        }

    def load(self, tree: Tree) -> None:
        self.table.load(tree["table"])
        self.sampler.load(tree["sampler"])
        self.repeats[:] = tree["repeats"]
        self.swept_ms = int(tree["swept_ms"])
        self.columns = Columns(self.settings.width, self.settings.cold_bias)


def _window(batch: ExampleBatch) -> Window:
    return batch.window if batch.window is not None else empty_window(len(batch), 1)


def _scores(vector_BD: Floats, item_DN: Floats, size: int) -> Floats:
    score_BN = np.empty((len(vector_BD), size), np.float32)
    kernels.scores(vector_BD, item_DN, score_BN)
    return score_BN
