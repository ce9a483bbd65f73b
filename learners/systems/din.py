"""Deep Interest Network (Zhou et al., KDD 2018, arXiv:1706.06978), online: the field's baseline.

The user's remembered events are weighed anew for every candidate by a small network (the activation unit)
and summed; a second network takes the sum, the candidate, their product, the user and what else is known.

Ours, not the paper's: an entry carries its outcome, retention, age and kernel values into the activation
unit and the sum; the sum is divided by the square root of the entries; PReLU stands for Dice, whose batch
statistics would make a row's score depend on its batch; running rates and side tables are inputs; the
logit starts from the running base rate; embeddings grow with the ids and learn by row-wise AdaGrad, the
rest by Adam, in mini-batches of `minibatch` events, each event once.

On a log with labels P(action) is learned by cross-entropy. On one without, the true item is learned against
`draws` negatives from popularity^.75 (softmax, logQ-corrected as in `learners.interests.unit`) and
P(action) is the sigmoid of that score: it orders, and is no rate. A network of this kind ranks what
something else retrieves; here that is the `candidates` most popular items and those of the window. Other
items are no candidates.

Shape suffixes: as in `learners.din_inputs`; S = 1 + draws, N catalogue items.
"""

from dataclasses import replace
from typing import TYPE_CHECKING, ClassVar, cast

import numpy as np

from learners.contract import Context, Learner, Needs, Settings
from learners.din_inputs import Reader, own_rates
from learners.tables.catalogue import negatives
from learners.tables.embedding import EmbeddingTable, Slot
from learners.tables.expiry import Forgotten, without
from state.errors import InputError, bringing
from state.examples import USER_RATES, Doubles, ExampleBatch, Floats, window_of
from state.keys import NO_KEY, Int64s, KeyMap
from state.tree import Tree

if TYPE_CHECKING:
    from learners.din_torch import Model

_DAY_MS = 86_400_000
_CHUNK = 256
"""Candidates scored at a time: what the attention needs of them stays in the cache."""
_ALIGNED = 64
"""Candidates are filled up to a multiple of this, so that none is scored by a routine for small matrices,
which would round differently."""
_MOST = 16.0
"""Log odds are cut off here."""
_OWN = slice(USER_RATES.index("item_count"), USER_RATES.index("gap_s"))


class DINSettings(Settings, frozen=True, kw_only=True):
    """Defaults were chosen on the first half of MovieLens-100K."""

    window: int = 50
    """Entries of the memory that attention sees."""
    width: int = 16
    """Of an embedding; an item has two, its own and the mean of what is known of it."""
    attention: int = 16
    """Hidden units of the activation unit."""
    hidden: tuple[int, int] = (64, 32)
    """Of the network on top."""
    lr: float = 0.005
    """Adam's, at first."""
    lr_steps: float = 15.0
    """At step t Adam's rate is lr / sqrt(1 + t / lr_steps)."""
    embedding_lr: float = 0.1
    """AdaGrad's."""
    decay: float = 0.0
    """Adam's decoupled weight decay."""
    sd: float = 0.05
    """Of the first embeddings."""
    accumulator: float = 0.1
    """Where AdaGrad's sums start."""
    minibatch: int = 256
    """Events a step."""
    draws: int = 15
    """Negatives an event on a log without labels."""
    candidates: int = 200
    """Most popular items that are ranked, besides those of the window; 0 ranks the whole catalogue."""
    expire_days: float = 365.0
    """Time without an event after which an id loses its embedding."""
    device: str = "cpu"
    """Any that torch knows, like 'cuda'."""


class DIN(Learner):
    """Needs torch. Raises InputError where torch or the device is missing."""

    name: ClassVar[str] = "din"
    Config: ClassVar[type[Settings]] = DINSettings
    predicts: ClassVar[bool] = True
    ranks: ClassVar[bool] = True

    def __init__(self, config: Settings, context: Context) -> None:
        super().__init__(config, context)
        self.settings = s = cast(DINSettings, config)
        self.reader = Reader(context, 2 * s.width)
        self.table = EmbeddingTable(
            {"vector": Slot(s.width, s.sd)}, seed=context.seed, accumulator=s.accumulator
        )
        self.model = self._model()
        self.items = KeyMap()
        self.category_N: Int64s = np.zeros(0, np.int64)
        """The category that an item last came with; by row of `items`."""
        self.swept_ms = 0

    def _model(self) -> "Model":
        try:
            from learners.din_torch import Model, Net  # torch is optional, and slow to load
        except ModuleNotFoundError as error:
            raise InputError(f"learner {self.name!r} needs torch; {bringing('torch')} brings it") from error
        s, reader = self.settings, self.reader
        sizes = (len(reader.plain), reader.entry_numbers, reader.numbers, (s.attention, *s.hidden))
        return Model(
            Net(s.width, *sizes),
            self.table,
            seed=self.context.seed,
            lr=s.lr,
            lr_steps=s.lr_steps,
            embedding_lr=s.embedding_lr,
            decay=s.decay,
            device=s.device,
        )

    @property
    def needs(self) -> Needs:
        return Needs(window=self.settings.window, views=self.reader.local)

    def score(self, batch: ExampleBatch) -> Doubles:
        logit_B = np.empty(len(batch))
        for start in range(0, len(batch), _CHUNK):
            part = batch.take(slice(start, start + _CHUNK))
            logit_B[start : start + _CHUNK] = self._logits(part, None, part)
        return np.asarray(1.0 / (1.0 + np.exp(-np.clip(logit_B, -_MOST, _MOST))))

    def rank(self, batch: ExampleBatch) -> Floats:
        keys_N = self.context.catalogue.items.keys[: len(self.context.catalogue)]
        score_BN = np.full((len(batch), len(keys_N)), -np.inf, np.float32)
        for b in range(len(batch)):
            row = batch.take(slice(b, b + 1))
            candidates = self._candidates(row)
            for start in range(0, len(candidates), _CHUNK):
                chosen = candidates[start : start + _CHUNK]
                owner_C = np.zeros(len(chosen), np.int64)
                pairs = self._pairs(row, owner_C, keys_N[chosen])
                score_BN[b, chosen] = self._logits(row, owner_C, pairs)
        return score_BN

    def learn(self, batch: ExampleBatch) -> None:
        self._remember(batch)
        if self.context.labelled:
            batch = batch.take(np.flatnonzero(~np.isnan(batch.label_B)))
        if not len(batch):
            return
        size = self.settings.minibatch
        self._sweep(int(batch.time_ms_B.max()))
        drawn = None if self.context.labelled else self._draw(batch)
        for start in range(0, len(batch), size):
            rows = slice(start, start + size)
            part = batch.take(rows)
            if drawn is None:
                self._learn_labels(part)
            else:
                self._learn_choices(part, drawn[0][rows], drawn[1][rows])

    def _learn_labels(self, batch: ExampleBatch) -> None:
        inputs = self.reader.read(batch, window_of(batch), rescale=True)
        self._admit(inputs.id_I, batch)
        self.model.learn_labels(inputs, batch.label_B)

    def _learn_choices(self, batch: ExampleBatch, item_BS: Int64s, off_BS: Floats) -> None:
        owner_C = np.repeat(np.arange(len(batch)), item_BS.shape[1])
        pairs = self._pairs(batch, owner_C, item_BS.reshape(-1))
        pairs.item_rates_BR[:: item_BS.shape[1]] = batch.item_rates_BR
        inputs = self.reader.read(pairs, window_of(batch), owner_C, rescale=True)
        self._admit(inputs.id_I, batch)
        self.model.learn_choices(inputs, off_BS)

    def _draw(self, batch: ExampleBatch) -> tuple[Int64s, Floats]:
        """Items (B, S), the true one first, and what their logits are corrected by."""
        catalogue, count = self.context.catalogue, self.settings.draws
        drawn_BS, log_q_N = negatives(catalogue, batch, count, self.context.seed)
        item_BS = np.concatenate([batch.item_B[:, None], catalogue.items.keys[drawn_BS]], 1)
        off_BS = np.zeros(item_BS.shape, np.float32)
        off_BS[:, 1:] = -np.log(count) - log_q_N[drawn_BS]
        off_BS[:, 1:][item_BS[:, 1:] == batch.item_B[:, None]] = -np.inf
        return item_BS, off_BS

    def _logits(self, rows: ExampleBatch, owner_C: Int64s | None, pairs: ExampleBatch) -> Doubles:
        size = len(pairs)
        if size % _ALIGNED:
            filled_C = np.minimum(np.arange(-(-size // _ALIGNED) * _ALIGNED), size - 1)
            pairs = pairs.take(filled_C)
            rows, owner_C = (pairs, None) if owner_C is None else (rows, owner_C[filled_C])
        return self.model.logits(self.reader.read(pairs, window_of(rows), owner_C))[:size]

    def _pairs(self, batch: ExampleBatch, owner_C: Int64s, item_C: Int64s) -> ExampleBatch:
        """The rows' examples with other items, and what is known of those by now."""
        rows_C = self.items.rows(item_C)
        category_C = np.where(
            rows_C >= 0, self.category_N[rows_C] if len(self.category_N) else NO_KEY, NO_KEY
        )
        pairs = replace(
            replace(batch, window=None).take(owner_C), item_B=item_C, category_B=category_C.astype(np.int64)
        )
        pairs.user_rates_BR[:, _OWN] = own_rates(window_of(batch), owner_C, item_C, pairs.category_B)
        nothing_due = np.zeros(len(pairs), np.int64)
        rates_CR, _ = self.context.catalogue.step(pairs, pairs.take(slice(0, 0)), nothing_due)
        return pairs.with_item_rates(rates_CR)

    def _candidates(self, row: ExampleBatch) -> Int64s:
        """Catalogue rows to be scored for one example."""
        catalogue, most = self.context.catalogue, self.settings.candidates
        if not most or most >= len(catalogue):
            return np.arange(len(catalogue))
        popular = np.argpartition(-catalogue.popularity(int(row.time_ms_B[0])), most)[:most]
        own = catalogue.items.rows(window_of(row).item_BW[0])
        return np.unique(np.concatenate([popular, own[own >= 0]]))

    def _admit(self, id_I: Int64s, batch: ExampleBatch) -> None:
        self.table.admit(id_I, np.full(len(id_I), batch.time_ms_B.max()))

    def _remember(self, batch: ExampleBatch) -> None:
        rows_B = self.items.rows(batch.item_B, grow=True)
        grown_N = np.full(len(self.items), NO_KEY, np.int64)
        grown_N[: len(self.category_N)] = self.category_N
        grown_N[rows_B] = batch.category_B
        self.category_N = grown_N

    def _sweep(self, now_ms: int) -> None:
        """Let ids expire, checked a tenth of the lifetime apart."""
        life_ms = int(self.settings.expire_days * _DAY_MS)
        if abs(now_ms - self.swept_ms) >= life_ms // 10:
            self.swept_ms = now_ms
            self.table.expire(now_ms - life_ms)

    def forget(self, forgotten: Forgotten) -> None:
        self.table.expire(forgotten.before_ms)
        self.items, kept_N = without(self.items, forgotten.item_I)
        self.category_N = self.category_N[kept_N]

    def tree(self) -> Tree:
        return {
            "reader": self.reader.tree(),
            "table": self.table.tree(),
            "model": self.model.tree(),
            "items": self.items.tree(),
            "category_N": self.category_N.copy(),
            "swept_ms": self.swept_ms,
        }

    def load(self, tree: Tree) -> None:
        self.reader.load(tree["reader"])
        self.table.load(tree["table"])
        self.model.load(tree["model"])
        self.items.load(tree["items"])
        self.category_N = np.array(tree["category_N"])
        self.swept_ms = int(tree["swept_ms"])
