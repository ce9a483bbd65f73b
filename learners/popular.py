"""The floor below all others: what has been popular lately."""

from typing import ClassVar, cast

import numpy as np

from learners.contract import Context, Settings
from learners.counting import Counting, Ranks, Rows, positive, put_rank
from learners.fading import DAY_MS, TOP, Faded, FadedArrays, fade_add
from state.compiled import compiled
from state.examples import ExampleBatch, Floats
from state.keys import Int64s
from state.tree import Tree


class PopularSettings(Settings, frozen=True, kw_only=True):
    half_life_days: float = 7.0
    """How long until a count is worth half."""


class Popular(Counting):
    """Ranks every item by its faded count, the same for every user."""

    name: ClassVar[str] = "popular"
    Config: ClassVar[type[Settings]] = PopularSettings

    def __init__(self, config: Settings, context: Context) -> None:
        super().__init__(config, context)
        self.half_life_ms = cast(PopularSettings, config).half_life_days * DAY_MS
        self.counts = Faded()

    def count(self, rows: Rows, queue: Rows, due_B: Int64s, ranks: Ranks) -> None:
        counts = self.counts.reserve(len(self.context.catalogue))
        _count(due_B, queue, ranks, counts, self.half_life_ms)

    def rank(self, batch: ExampleBatch) -> Floats:
        share_N = self.counts.share(len(self.context.catalogue))
        return np.tile(share_N.astype(np.float32), (len(batch), 1))

    def tree(self) -> Tree:
        return self.counts.tree()

    def load(self, tree: Tree) -> None:
        self.counts.load(tree)


@compiled
def _count(due_B: Int64s, queue: Rows, ranks: Ranks, counts: FadedArrays, half_life_ms: float) -> None:
    q = 0
    own_N, touched = np.zeros(counts.weight_N.shape[0]), np.zeros(0, np.int64)
    for b in range(due_B.shape[0]):
        while q < due_B[b]:
            if positive(queue.label_B[q]):
                fade_add(counts, half_life_ms, queue.item_B[q], queue.time_ms_B[q], 1.0)
            q += 1
        if ranks.place_B[b] >= 0:
            put_rank(ranks, ranks.place_B[b], own_N, touched, 0, counts.weight_N, 1.0, counts.clock[TOP])
