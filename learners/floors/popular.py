"""The floor below all others: what has been popular lately.

How late is "lately" depends on the log, so popularity is kept at several half-lives
(`learners.counting.best_variant`).
"""

from typing import Annotated, ClassVar, cast

import msgspec
import numpy as np

from learners.contract import Context, Settings
from learners.counting.best_variant import SPEAKER, LeaderArrays, settle, trial
from learners.counting.floor import (
    Counting,
    Due,
    RankColumns,
    Sparse,
    answer,
    positive,
)
from learners.ranges import Positive
from learners.tables.expiry import Forgotten
from learners.tables.faded import Faded, FadedArrays, fade_add
from state.compiled import compiled
from state.examples import ExampleBatch, Floats
from state.tree import Tree


class PopularSettings(Settings, frozen=True, kw_only=True):
    half_life_days: Annotated[tuple[Positive, ...], msgspec.Meta(min_length=1)] = (
        7.0,
        30.0,
        1.0,
        1 / 24,
        1 / 720,
    )
    """How long until a count is worth half; the first speaks until another has ranked better."""


class Popular(Counting):
    """Ranks every item by its faded count, the same for every user."""

    name: ClassVar[str] = "popular"
    Config: ClassVar[type[Settings]] = PopularSettings

    def __init__(self, config: Settings, context: Context) -> None:
        half_lives = cast(PopularSettings, config).half_life_days
        super().__init__(config, context, len(half_lives))
        self.counts = Faded(half_lives)

    def count(self, step: Due, ranks: RankColumns, leader: LeaderArrays) -> None:
        _count(step, ranks, leader, self.counts.reserve(len(self.context.catalogue)))

    def rank(self, batch: ExampleBatch) -> Floats:
        share_N = self.counts.share(self.leader.speaker, len(self.context.catalogue))
        return np.tile(share_N.astype(np.float32), (len(batch), 1))

    def forget(self, forgotten: Forgotten) -> None:
        self.counts.keep(forgotten.kept_K)

    def tree(self) -> Tree:
        return {"leader": self.leader.tree(), "counts": self.counts.tree()}

    def load(self, tree: Tree) -> None:
        self.leader.load(tree["leader"])
        self.counts.load(tree["counts"])


@compiled
def _count(step: Due, ranks: RankColumns, leader: LeaderArrays, counts: FadedArrays) -> None:
    _, queue, due_B = step
    q = 0
    own = Sparse(np.zeros(counts.weight_VN.shape[1]), np.zeros(0, np.int64))
    for b in range(due_B.shape[0]):
        while q < due_B[b]:
            counted = positive(queue.label_B[q])
            if counted:
                fade_add(counts, queue.item_B[q], queue.time_ms_B[q])
            settle(leader, counted)
            q += 1
        r = ranks.place_B[b]
        if r >= 0:
            place = trial(leader, b, ranks.true_R[r])
            for v in range(counts.weight_VN.shape[0]):
                if place >= 0 or v == leader.at[SPEAKER]:
                    answer(ranks, leader, r, place, v, own, 0, counts, 1.0)
