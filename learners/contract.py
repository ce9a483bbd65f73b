"""What a learner is.

The trainer hands every micro-batch to `step` as a `Step`: rows to score in order, and a first-in-first-out
queue of rows whose outcome is becoming known. `due_B[i]` says how many rows of the queue may be learned
before row i is scored; a learner may know less than that (a network scores a whole micro-batch with the
weights it had), never more.

Shape suffixes: B rows to score, Q rows of the queue, R rows to rank, N catalogue rows, K interests, D width.
"""

from abc import ABC
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Self

import msgspec
import numpy as np

from learners.insight import Insight
from learners.tables.catalogue import Catalogue
from learners.tables.expiry import Forgotten
from learners.tables.true_ranks import true_ranks
from state.examples import Doubles, ExampleBatch, Floats
from state.keys import Int64s
from state.memory.mask import NEWEST, Selection, narrowed, select
from state.side import SideTable
from state.store.copy_score import CopyScore
from state.tree import Tree


@dataclass(frozen=True, slots=True)
class Needs:
    """What the operator must put into the examples; what nobody needs is not computed."""

    window: int = 0
    """Entries of the user's memory: the newest, and of the others those that the mask of forgetting, hour and
    week lets through (`state.memory.mask`); 0 for none."""
    newest: int = NEWEST
    """How many of them are just the newest; `window` or more for a window without a mask."""

    @property
    def selection(self) -> Selection:
        return select(self.window, self.newest)


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """What a learner is built with, fixed for a run."""

    labelled: bool
    roles: frozenset[str]
    """The roles that the log has, and "here" where a row's place is the request's own: without it, no ranking
    may read `cell_B`, `lat_B` or `lon_B`. A learner builds no feature from other roles."""
    catalogue: Catalogue
    items: SideTable | None = None
    users: SideTable | None = None
    seed: int = 0


@dataclass(frozen=True, slots=True)
class RankRequest:
    """Which rows of the batch to rank the whole catalogue for.

    The candidates of row r are catalogue rows 0 .. `size_R[r]` - 1 without
    `left_out[left_start_R1[r] : left_start_R1[r + 1]]`. The true item is never among those left out;
    `true_R[r]` is its catalogue row, or -1 if nothing was known of it: then it is MISSED.
    """

    rows_R: Int64s
    true_R: Int64s
    size_R: Int64s
    left_start_R1: Int64s
    left_out: Int64s


_NONE = np.zeros(0, np.int64)
NO_RANKS = RankRequest(_NONE, _NONE, _NONE, np.zeros(1, np.int64), _NONE)
"""Nothing is to be ranked."""


@dataclass(frozen=True, slots=True)
class Step:
    """One micro-batch of work."""

    batch: ExampleBatch
    queue: ExampleBatch
    """The rows that become known by the end of this step: left by earlier steps, then some of `batch`."""
    due_B: Int64s
    """Never falls; row i's own place in the queue is not due before row i."""
    rank: RankRequest

    @property
    def due(self) -> int:
        """How many rows are to be learned by the end of this step: all of the queue."""
        return int(self.due_B[-1])

    def narrow(self, selection: Selection) -> Self:
        """The step with windows of no more than is selected."""
        return replace(self, batch=narrowed(self.batch, selection), queue=narrowed(self.queue, selection))


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a step says: P(action) of each row, the true item's rank (1 is best) of each ranked row."""

    p_B: Doubles | None = None
    rank_R: Int64s | None = None


class Settings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Base of every learner's settings; a subclass adds fields with defaults."""


class Learner(ABC):
    """A part that scores, then learns. Subclass in one file under `learners/`; it is found by `name`.

    Implement `score` if it `predicts`, `rank` if it `ranks`, and `learn`; or override `step` to score
    and learn event by event. `score` and `rank` change nothing.
    """

    name: ClassVar[str]
    Config: ClassVar[type[Settings]] = Settings
    predicts: ClassVar[bool] = False
    ranks: ClassVar[bool] = False
    floor: ClassVar[bool] = False
    """Whether it is a simple counter that every report shows beside the model."""
    doubts: ClassVar[bool] = False
    """Whether it can be told that the world has changed (`doubt`)."""
    cycles: ClassVar[bool] = False
    """Whether a part of it evolves in cycles, which may be asked for (`begin_cycle`)."""
    saved: ClassVar[bool] = True
    """Whether `tree` can give its state. If not, a run with it has no checkpoints."""
    layout: ClassVar[int] = 1
    """Of its state; a state of another layout is refused, not misread."""
    ablations: ClassVar[Mapping[str, Mapping[str, Any]]] = {}
    """Variants with a part switched off, such as "no copy path": name -> settings that differ, nested as in
    TOML. A name has no '/'; a variant `needs` no more than the learner itself."""

    def __init__(self, config: Settings, context: Context) -> None:
        self.config = config
        self.context = context

    @classmethod
    def ablations_for(cls, context: Context) -> Mapping[str, Mapping[str, Any]]:
        """The variants that say something on this log; a part that the log cannot feed is left out."""
        return cls.ablations

    @property
    def needs(self) -> Needs:
        return Needs()

    def narrow(self, batch: ExampleBatch) -> ExampleBatch:
        """The rows with windows as it needs them, where they hold more for others' sake."""
        return narrowed(batch, self.needs.selection)

    @property
    def predicting(self) -> bool:
        """Whether it says P(action) on this log, which needs labels."""
        return self.predicts and self.context.labelled

    def step(self, step: Step) -> Outcome:
        """Score and rank with what is known at the batch's start, then learn all that is due."""
        outcome = Outcome(
            p_B=self.score(step.batch) if self.predicting else None,
            rank_R=self.ranked(step.batch, step.rank) if self.ranks else None,
        )
        if step.due:
            self.learn(step.queue)
        return outcome

    def score(self, batch: ExampleBatch) -> Doubles:
        """P(action) of each row, in (0, 1)."""
        raise TypeError(f"{self.name} does not predict")

    def rank(self, batch: ExampleBatch) -> Floats:
        """Scores of the whole catalogue for each row: shape (len(batch), len(catalogue)).

        -inf for an item that is no candidate. Only the order within a row matters.
        """
        raise TypeError(f"{self.name} does not rank")

    def learn(self, batch: ExampleBatch) -> None:
        """Learn from rows whose outcome is known, in order, once."""

    def relearn(self, batch: ExampleBatch) -> None:
        """Go over rows again that were learned before, in a further pass of retraining offline.

        A pass goes over all that were learned, in order; then another may begin.
        A network moves its weights once more. What is counted, or solved in closed form, has nothing to
        gain: nothing, unless overridden.
        """

    def ranked(self, batch: ExampleBatch, request: RankRequest, chunk: int = 64) -> Int64s:
        """The true items' ranks by `rank`, in chunks of bounded size."""
        ranks_R = np.empty(len(request.rows_R), np.int64)
        for start in range(0, len(ranks_R), chunk):
            part = slice(start, min(start + chunk, len(ranks_R)))
            scores_RN = self.rank(batch.take(request.rows_R[part]))
            true_ranks(
                scores_RN,
                request.true_R[part],
                request.size_R[part],
                request.left_start_R1[part.start : part.stop + 1],
                request.left_out,
                ranks_R[part],
            )
        return ranks_R

    def item_vectors(self, keys_N: Int64s) -> Floats | None:
        """Vectors (N, D) to publish for these items, or None if it has none."""
        return None

    def interests(self, batch: ExampleBatch) -> Floats | None:
        """Interest vectors (B, K, D) of each row's user as of that row, or None."""
        return None

    @property
    def interest_names(self) -> tuple[str, ...]:
        """What each of the K interests is, such as "recent", "long", "hour", "week", "place"."""
        return ()

    @property
    def explore(self) -> float:
        """Share of the places of recommendations that are kept for what is new to a user. Above 0, one of the
        interests, called "explore", is how likely each dimension, a cluster of items, is tried; its last
        dimension is the number of the version that says so."""
        return 0.0

    @property
    def explores_by(self) -> tuple[int, ...]:
        """Versions whose word of what is tried holds; one that was withdrawn is none of them."""
        return ()

    def changed_items(self) -> Int64s:
        """Keys of items whose vector changed since the last call."""
        return np.zeros(0, np.int64)

    def copy_score(self) -> CopyScore | None:
        """A sum of few terms that follows its ranking, for readers of the store, or None.

        Without one they go by the inner product of item and interests.
        """
        return None

    def insight(self) -> Insight | None:
        """What it has learned that people can look at, or None."""
        return None

    def doubt(self, share: float) -> None:
        """The world has changed: give back `share`, in (0, 1], of the certainty gained, to learn faster.

        Called between two steps. Raises TypeError where `doubts` is not set.
        """
        raise TypeError(f"{self.name} cannot doubt")

    def begin_cycle(self) -> None:
        """Let a cycle begin with the next block of what it learns, if none is running.

        Called between two steps. Raises TypeError where `cycles` is not set, InputError where its settings
        have none.
        """
        raise TypeError(f"{self.name} has no cycles")

    def cycle_mark(self) -> tuple[int, ...]:
        """Another one whenever a cycle has begun or ended, or another version serves."""
        return ()

    def roll_back(self) -> int:
        """Let the version before serve again; its number. Raises InputError where none is kept."""
        raise TypeError(f"{self.name} has no cycles")

    def forget(self, forgotten: Forgotten) -> None:
        """Keep nothing of users and items that have left, and follow the rows of the catalogue.

        Called between two steps, by a trainer that forgets: memory is bounded on a stream without an end.
        """

    def tree(self) -> Tree:
        """All that a restart needs."""
        return {}

    def load(self, tree: Tree) -> None:
        """Take over what `tree` gave."""
