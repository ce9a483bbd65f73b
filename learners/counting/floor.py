"""What the counting floors share: exact ranks, event by event, with each row learned the moment it is due.

Shape suffixes: B rows to score, Q rows of the queue, R rows to rank, N catalogue rows.
"""

from abc import abstractmethod
from typing import ClassVar, NamedTuple

import numpy as np
from numpy.typing import NDArray

from learners.contract import NO_RANKS, Context, Learner, Outcome, RankRequest, Settings, Step
from learners.counting.best_variant import SPEAKER, Leader, LeaderArrays
from learners.tables.faded import TOP, FadedArrays
from learners.tables.true_ranks import MISSED, sparse_rank
from state.compiled import inner
from state.errors import InputError
from state.examples import Doubles, ExampleBatch, Floats
from state.keys import Int64s


class FloorColumns(NamedTuple):
    """The columns of examples that a floor counts."""

    item_B: Int64s
    """Catalogue row, -1 where it has none."""
    user_B: Int64s
    time_ms_B: Int64s
    tz_min_B: Int64s
    label_B: Floats


class Due(NamedTuple):
    """Rows to answer, the queue, and how many of the queue are known before each row."""

    rows: FloorColumns
    queue: FloorColumns
    due_B: Int64s


class Sparse(NamedTuple):
    """Scores of the few items that have some, to be added up: all zero between rows."""

    score_N: Doubles
    touched_T: Int64s
    """Those items, as far as the caller says."""


class RankColumns(NamedTuple):
    """A rank request by batch row, and where the answers go."""

    place_B: Int64s
    """Place of the row among those to rank, or -1."""
    true_R: Int64s
    size_R: Int64s
    left_start_R1: Int64s
    left_out: Int64s
    rank_R: Int64s


class Counting(Learner):
    """A ranker whose `count` learns and ranks row by row. On a log with labels only positives count.

    It keeps a few variants of itself, for logs of different kinds; the one that has ranked best speaks.
    """

    ranks: ClassVar[bool] = True
    floor: ClassVar[bool] = True

    def __init__(self, config: Settings, context: Context, variants: int) -> None:
        super().__init__(config, context)
        if not variants:
            raise InputError(
                f"learners.{self.name}: expected one variant or more, got none; leave the list out"
            )
        self.leader = Leader(variants)

    def step(self, step: Step) -> Outcome:
        ranks = _ranks(step.rank, len(step.batch))
        leader = self.leader.begin(len(step.batch))
        self.count(Due(self._rows(step.batch), self._rows(step.queue), step.due_B), ranks, leader)
        self.leader.end(len(step.batch))
        return Outcome(rank_R=ranks.rank_R)

    def learn(self, batch: ExampleBatch) -> None:
        if len(batch):
            rows = self._rows(batch)
            self.count(Due(rows, rows, np.array([len(batch)])), _ranks(NO_RANKS, 1), self.leader.begin(0))

    def _rows(self, batch: ExampleBatch) -> FloorColumns:
        item_B = self.context.catalogue.items.rows(batch.item_B)
        return FloorColumns(item_B, batch.user_B, batch.time_ms_B, batch.tz_min_B, batch.label_B)

    @abstractmethod
    def count(self, step: Due, ranks: RankColumns, leader: LeaderArrays) -> None:
        """Before each row b learn the queue's rows below `due_B[b]` and `settle` them; then, where
        `place_B[b]` is not -1, answer. Every row of the queue has an item row."""


def _ranks(request: RankRequest, size: int) -> RankColumns:
    place_B = np.full(size, -1, np.int64)
    place_B[request.rows_R] = np.arange(len(request.rows_R))
    return RankColumns(
        place_B,
        request.true_R,
        request.size_R,
        request.left_start_R1,
        request.left_out,
        np.empty(len(request.rows_R), np.int64),
    )


def positives(label_B: Floats) -> NDArray[np.bool_]:
    """Which rows count, as `positive` has it."""
    return ~(label_B <= 0.5)


@inner
def positive(label: float) -> bool:
    """Whether a row counts: a label above 1/2, or none at all."""
    return not label <= 0.5


@inner
def answer(
    ranks: RankColumns,
    leader: LeaderArrays,
    r: int,
    place: int,
    v: int,
    own: Sparse,
    many: int,
    base: FadedArrays,
    scale: float,
) -> None:
    """Rank request r by variant v's scores, own + scale x base, and set the own ones back to zero.

    The speaker's rank is the answer; any rank counts in the trial at `place`, if that is not -1.
    """
    left_out = ranks.left_out[ranks.left_start_R1[r] : ranks.left_start_R1[r + 1]]
    top, true, size = base.clock_V3[v, TOP], ranks.true_R[r], ranks.size_R[r]
    rank = sparse_rank(own.score_N, own.touched_T, many, base.weight_VN[v], scale, top, true, size, left_out)
    if v == leader.at[SPEAKER]:
        ranks.rank_R[r] = rank
    if place >= 0:
        leader.reward_WV[place, v] = 1.0 / rank if rank != MISSED else 0.0
    for i in range(many):
        own.score_N[own.touched_T[i]] = 0.0
