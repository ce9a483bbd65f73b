"""The learner under every system of `learners.slots`: all that a system's file says is `build`.

It reads examples, gives ids their rows and takes them away, learns in micro-batches, each event once, and
saves parameters and buffers by name. Its two kinds, `PairNetwork` and `CatalogueNetwork`, say which
candidates there are.

Shape suffixes: as in `learners.slots`.
"""

from abc import abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import cross_entropy

from learners.contract import Context, Learner, Needs, Settings
from learners.ranges import Amount, Positive, Some
from learners.slots import Slots
from learners.tables.embedding import EmbeddingTable
from learners.tables.expiry import Forgotten, without
from learners.training.network_inputs import Candidates, InputReader, Sizes
from learners.training.network_model import Loss, Model, device_of
from state.examples import ExampleBatch
from state.keys import NO_KEY, Int64s, KeyMap
from state.tree import Tree

_DAY_MS = 86_400_000


class NetworkSettings(Settings, frozen=True, kw_only=True):
    """What every network has."""

    window: Some = 50
    """Entries of the memory that it sees."""
    width: Some = 16
    """Of an embedding."""
    lr: Amount = 0.005
    """AdamW's, at first."""
    lr_steps: Positive = 15.0
    """At step t AdamW's rate is lr / sqrt(1 + t / lr_steps)."""
    embedding_lr: Amount = 0.1
    """AdaGrad's."""
    decay: Amount = 0.0
    """AdamW's decoupled weight decay."""
    sd: Amount = 0.05
    """Of the first embeddings."""
    accumulator: Positive = 0.1
    """Where AdaGrad's sums start."""
    minibatch: Some = 256
    """Events a step."""
    expire_days: Positive = 365.0
    """Time without an event after which an id loses its embedding."""
    device: str = "auto"
    """Any that torch knows; "auto" is the GPU where there is one."""
    bf16: bool = False
    """Whether products of matrices are taken in bfloat16, for GPUs. As CPUs show, P(action) stays within .01
    of float32, the sum of a user's published vectors within a tenth of its length."""
    threads: Some = 1
    """Of torch. On several, sums are taken in another order from run to run."""


class Network(Learner):
    """Raises InputError where the device is missing."""

    ranks: ClassVar[bool] = True
    doubts: ClassVar[bool] = True

    def __init__(self, config: Settings, context: Context) -> None:
        super().__init__(config, context)
        self.settings = s = cast(NetworkSettings, config)
        device = device_of(s.device, self.name)
        torch.set_num_threads(s.threads)
        self.reader = InputReader(context)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(context.seed)
            slots = self.build(self.reader.sizes)
        self.reader.sides = slots.embed.sides
        self.reader.described = slots.embed.codes is not None
        self.table = EmbeddingTable(dict(slots.embed.slots), seed=context.seed, accumulator=s.accumulator)
        self.model = Model(
            slots,
            self.table,
            device,
            lr=s.lr,
            lr_steps=s.lr_steps,
            row_lr=s.embedding_lr,
            decay=s.decay,
            bf16=s.bf16,
        )
        self.items = KeyMap()
        self.category_N: Int64s = np.zeros(0, np.int64)
        """The category that an item last came with; by row of `items`."""
        self.swept_ms = 0

    @abstractmethod
    def build(self, sizes: Sizes) -> Slots:
        """The parts of this system, with their first weights."""

    @property
    def needs(self) -> Needs:
        return Needs(window=self.settings.window)

    def learn(self, batch: ExampleBatch) -> None:
        self._remember(batch)
        batch = self.narrow(batch.take(np.flatnonzero(self.teaches(batch))))
        if not len(batch):
            return
        self._sweep(int(batch.time_ms_B.max()))
        for start in range(0, len(batch), self.settings.minibatch):
            self.learn_micro_batch(batch.take(slice(start, start + self.settings.minibatch)))

    @abstractmethod
    def teaches(self, batch: ExampleBatch) -> NDArray[np.bool_]:
        """Which rows there is something to learn from (B,)."""

    @abstractmethod
    def learn_micro_batch(self, batch: ExampleBatch) -> None:
        """One step of gradient."""

    def learn_from(
        self, batch: ExampleBatch, candidates: Candidates, goal: Mapping[str, NDArray[Any]], loss: Loss
    ) -> None:
        """One step of `loss`, given the logits of `candidates` and `goal`."""
        inputs = self.reader.read(batch, candidates, rescale=True)
        self.table.admit(inputs.id_I, np.full(len(inputs.id_I), batch.time_ms_B.max()))
        self.model.learn(inputs, goal, loss)

    def categories(self, item: Int64s) -> Int64s:
        """The category that each item last came with, in the shape of `item`."""
        rows = self.items.rows(item.reshape(-1)).reshape(item.shape)
        known: Int64s = np.append(self.category_N, NO_KEY)[rows]  # row -1 is the last
        return known

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

    def doubt(self, share: float) -> None:
        """Rows and dense weights take longer steps again."""
        self.table.doubt(share)
        self.model.doubt(share)

    def forget(self, forgotten: Forgotten) -> None:
        self.table.expire(forgotten.before_ms)
        self.items, kept_N = without(self.items, forgotten.item_I)
        self.category_N = self.category_N[kept_N]

    def tree(self) -> Tree:
        return {
            "reader": self.reader.numbers.tree(),
            "table": self.table.tree(),
            "model": self.model.tree(),
            "items": self.items.tree(),
            "category_N": self.category_N.copy(),
            "swept_ms": self.swept_ms,
        }

    def load(self, tree: Tree) -> None:
        self.reader.numbers.load(tree["reader"])
        self.table.load(tree["table"])
        self.model.load(tree["model"])
        self.items.load(tree["items"])
        self.category_N = np.array(tree["category_N"])
        self.swept_ms = int(tree["swept_ms"])


def choice(logit_BC: Tensor, goal: Mapping[str, Tensor]) -> Tensor:
    """Softmax cross-entropy of candidate `true_B` among all, whose logits `off_BC` corrects."""
    return cross_entropy(logit_BC + goal["off_BC"], goal["true_B"], reduction="sum")
