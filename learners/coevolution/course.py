"""Co-evolution along a stream of events: what waits to be known, and what is done after how many are.

Every row is looked at when it is scored, and learned as it was seen then. Learning goes by blocks of events
that are known, so it is the same however the stream is cut:

    every block                Relevance learns; slates are kept for the cycles
    every 1,024 events or so   shares and personas are counted anew
    after 512, 1,024 ... and at each cycle   the group identity moves on
    every `every` events, or when it is asked for   a cycle begins, on the state of that moment; it goes on a
                               few steps a block, and its version serves `lag` events later

So nothing waits for a cycle, and a run that was killed in the midst of one, and begins it anew from what it
looks at, has its version at the same event.

Shape suffixes: B rows, Q rows of the queue, C clusters, M clusters of a user.
"""

from typing import NamedTuple

import numpy as np

from learners.coevolution.cycle import CycleSettings
from learners.coevolution.entries import KINDS, MOST, NEVER, Past
from learners.coevolution.group_identity import Book, fitted
from learners.coevolution.history import RECENT, Outcomes, inputs_of, novel_of
from learners.coevolution.inputs import Asked, Feedback, Inputs
from learners.coevolution.over_time import Lived, OverTime
from learners.coevolution.personas import Personas, Shares
from learners.coevolution.slates import Slates
from learners.coevolution.system import CoEvolution
from learners.tables.fifo import Fifo
from state.arrays import Bools, Doubles, Int64s
from state.examples import ExampleBatch
from state.ids import key_of
from state.tree import Tree

BLOCK = 64
EXPLORED = key_of("explore")
"""The source of an event that came of an explore slot."""
_COUNTED, _ENTRIES = 1024, 64
"""Events until statistics are counted anew; more where there are more entries than so many times that."""
_FIRST_BOOK, _LEAST_USERS = 512, 8
_EVERY = 10_000
"""Events from one group identity to the next, where there are no cycles."""
_STEPS = 8
"""Of a cycle, a block."""


class Rows(NamedTuple):
    """A block, as it was seen, and what came of it."""

    past: Past
    user_B: Int64s
    item_B: Int64s
    cluster_B: Int64s
    accepted_B: Bools
    propensity_B: Doubles
    explored_B: Bools


class Course:
    def __init__(
        self, clusters: int, settings: CycleSettings, lag: int, seed: int, *, labelled: bool
    ) -> None:
        self.clusters, self.settings, self.lag, self.seed = clusters, settings, lag, seed
        self.labelled = labelled
        self.system = CoEvolution(clusters, settings, seed, guided=labelled)
        self.known = 0
        """Events so far whose outcome is known."""
        self.book: Book = tuple(np.zeros((size, clusters)) for size in settings.sizes)
        """The group identity of what comes next; a version's own goes with its Novelty."""
        self.waits = Fifo(_COLUMNS)
        """Rows from the one after the last whole block on: first those known, then those that are not."""
        self.clock_ms = NEVER
        self.done = 0
        """Those of them that were learned, in whole blocks."""
        self.counted, self.recode, self.books = 0, _FIRST_BOOK, 0
        """Events at which statistics were counted, and at which the next group identity is due; how many of
        them there have been."""
        self.begun, self.asked = 0, 0
        """Events at which the cycle that runs has begun; whether one was asked for."""
        self.over_time = OverTime(clusters, labelled=labelled)
        self.shares: Shares
        self.personas: Personas
        self._count()

    @property
    def waiting(self) -> int:
        """Rows whose outcome is not known."""
        return len(self.waits) - self.ready

    @property
    def ready(self) -> int:
        """Events that are known and were not learned: less than a block, or a whole one that is to be."""
        return self.known - self.done

    def look(self, user_B: Int64s, time_ms_B: Int64s) -> Past:
        return self.system.history.look(user_B, time_ms_B)

    def walk(self, queue: ExampleBatch, cluster_Q: Int64s, due_B: Int64s, rows: ExampleBatch) -> Past:
        """Outcomes become known, and rows are seen in turn; they wait."""
        accepted_Q = ~(queue.label_B <= 0.5)
        outcomes = Outcomes(queue.user_B, cluster_Q, accepted_Q, queue.time_ms_B)
        past = self.system.history.walk(outcomes, due_B, rows.user_B, rows.time_ms_B)
        place = self.waits.extend(len(rows))
        columns, new = self.waits.columns, slice(place, place + len(rows))
        for name, column in past._asdict().items():
            columns[name][new] = column.reshape(columns[name][new].shape)
        columns["user_B"][new], columns["item_B"][new] = rows.user_B, rows.item_B
        columns["propensity_B"][new] = rows.propensity_B
        columns["source_B"][new] = rows.source_B
        columns["cluster_B"][new], columns["accepted_B"][new] = 0, 0
        at = self.waits.head + self.ready
        due = slice(at, at + len(queue))
        columns["cluster_B"][due], columns["accepted_B"][due] = cluster_Q, accepted_Q
        self.known += len(queue)
        if len(queue):
            self.clock_ms = max(self.clock_ms, int(queue.time_ms_B.max()))
        return past

    def block(self) -> Rows:
        """The oldest block that is known."""
        rows = slice(self.waits.head, self.waits.head + BLOCK)
        columns = {name: column[rows].copy() for name, column in self.waits.columns.items()}
        self.waits.take(BLOCK)
        shapes = {"count_BMK": (BLOCK, MOST, -1)}
        past = Past(
            **{name: columns[name].reshape(shapes.get(name, columns[name].shape)) for name in Past._fields}
        )
        p_B = columns["propensity_B"]
        explored_B = (columns["source_B"] == EXPLORED) & (p_B > 0.0) & (p_B <= 1.0)
        return Rows(
            past=past,
            user_B=columns["user_B"],
            item_B=columns["item_B"],
            cluster_B=columns["cluster_B"],
            accepted_B=columns["accepted_B"] > 0,
            propensity_B=np.where(explored_B, p_B, 1.0),
            explored_B=explored_B & (columns["cluster_B"] > 0),
        )

    def learned(self, rows: Rows, clusters: int) -> None:
        """A block was learned, of so many clusters that there are; what is due by now."""
        self.done += BLOCK
        if self.settings.every:
            self._keep(rows, clusters)
        history = self.system.history
        entries = int(history.counts.used[0])
        if self.done >= self.counted + max(_COUNTED, entries // _ENTRIES):
            self._count()
        if self.done >= self.recode and len(history.users) >= _LEAST_USERS:
            self._move_on()
        if self.settings.every:
            self._cycle()

    def ask(self) -> None:
        """Let a cycle begin after the block that is being filled, if none is running."""
        self.asked = 1

    def propensities(self, user_B: Int64s, time_ms_B: Int64s, open_C: Bools) -> Doubles:
        """With which probability the explore slot shows each cluster (B, C); zeros where nothing is new."""
        past = self.look(user_B, time_ms_B)
        inputs = inputs_of(past, self.clusters, self.system.version.book, self.personas)
        open_BC = novel_of(past, self.clusters) & open_C
        some_B = np.asarray(open_BC.any(1))
        p_BC = np.zeros(open_BC.shape)
        if some_B.any():
            asked = Asked(inputs.take(some_B), self._relevance(inputs.take(some_B)), open_BC[some_B])
            p_BC[some_B] = self.system.policy().propensities(asked)
        return p_BC

    def optimism(self, past: Past) -> Doubles:
        """What the policy that serves adds to the log probability of what is new, in a list (B, C)."""
        novel_BC = novel_of(past, self.clusters)
        novel_BC[:, 0] = False
        return np.asarray(np.log(self.system.policy().optimism) * novel_BC)

    def forget(self, user_U: Int64s) -> None:
        """Keep nothing of these users, by key, but what a cycle that runs has begun with."""
        self.system.forget(user_U)

    def _relevance(self, inputs: Inputs) -> Doubles:
        if not self.labelled:
            return np.zeros((inputs.size, self.clusters))
        return self.system.relevance.accepts(inputs)

    def _keep(self, rows: Rows, clusters: int) -> None:
        """Relevance learns of all; for the cycles is kept what was new to its user, as scored before that."""
        inputs = inputs_of(rows.past, self.clusters, self.system.version.book, self.personas)
        cluster_B1, accepted_B1 = rows.cluster_B[:, None], rows.accepted_B[:, None]
        novel_BC = novel_of(rows.past, self.clusters)
        novel_BC[:, 0], novel_BC[:, clusters:] = False, False
        new_B = novel_BC[np.arange(BLOCK), rows.cluster_B]
        kept, believed_B = np.flatnonzero(new_B), np.zeros(BLOCK)
        if len(kept):
            relevance_BC = self._relevance(inputs.take(kept))
            believed_B[kept] = relevance_BC[np.arange(len(kept)), rows.cluster_B[kept]]
        lived = Lived(rows.past, rows.cluster_B, rows.accepted_B, new_B, rows.explored_B & new_B, believed_B)
        self.over_time.add(lived, clusters, self.system.serving)
        if self.labelled:
            feedback = Feedback(inputs, cluster_B1, accepted_B1, rows.propensity_B[:, None])
            self.system.relevance.learn(feedback)
        self.system.learned += BLOCK
        if not len(kept):
            return
        self.system.keep(
            Slates(
                inputs=inputs.take(kept),
                relevance_BC=relevance_BC.astype(np.float32),
                novel_BC=novel_BC[kept],
                cluster_BS=cluster_B1[kept],
                accepted_BS=accepted_B1[kept],
                propensity_B=rows.propensity_B[kept],
                explored_B=rows.explored_B[kept],
                user_B=rows.user_B[kept],
                time_ms_B=rows.past.time_ms_B[kept],
            )
        )

    def _count(self) -> None:
        now_ms, history = self.clock_ms, self.system.history
        self.shares = history.shares(self.book, now_ms)
        self.personas = history.personas(self.system.version.book, now_ms)
        self.counted = self.done

    def _move_on(self) -> None:
        """The group identity, and when it moves on next."""
        if self.settings.sizes:
            self.books += 1
            rng = np.random.default_rng((self.seed, 2, self.books))
            tastes_UC = self.system.history.tastes(self.clock_ms)
            old = self.book if self.books > 1 else None
            self.book = fitted(tastes_UC, self.settings.sizes, rng, old)
            if not self.system.started:
                self.system.versions = [self.system.version._replace(book=self.book)]
            self._count()
        every = self.settings.every or _EVERY
        self.recode = self.done + min(self.recode, every)

    def _cycle(self) -> None:
        system = self.system
        if system.running is None:
            due = self.asked or system.learned >= self.settings.every
            if due and len(system.slates) and system.slates.all().accepted_BS.any():
                system.begin(self.clock_ms)
                self.begun, self.asked = self.done, 0
        elif self.done >= self.begun + self.lag:
            system.end()
            self._count()
        else:
            for _ in range(_STEPS):
                system.running.advance()

    def tree(self) -> Tree:
        return {
            "system": self.system.tree(),
            "book": {str(level): centre_KC for level, centre_KC in enumerate(self.book)},
            "waits": self.waits.tree(),
            "over_time": self.over_time.tree(),
            "numbers": np.array([getattr(self, name) for name in _NUMBERS], np.int64),
            "shares": _levels_tree(self.shares.everybody_C, self.shares.by_level),
            "personas": _levels_tree(self.personas.everybody_C, self.personas.by_level),
        }

    def load(self, tree: Tree) -> None:
        self.system.load(tree["system"])
        sizes = self.settings.sizes
        self.book = tuple(np.array(tree["book"][str(level)]) for level in range(len(sizes)))
        self.waits.load(tree["waits"])
        if "over_time" in tree:  # an older checkpoint has none
            self.over_time.load(tree["over_time"])
        for name, value in zip(_NUMBERS, tree["numbers"].tolist(), strict=True):
            setattr(self, name, value)
        self.shares = Shares(*_levels_of(tree["shares"]))
        self.personas = Personas(*_levels_of(tree["personas"]), sizes)


_NUMBERS = ("known", "done", "clock_ms", "counted", "recode", "books", "begun", "asked")
_COLUMNS: dict[str, tuple[type[np.generic], int]] = {
    "cluster_BM": (np.int64, MOST),
    "count_BMK": (np.float32, MOST * 2 * KINDS),
    "accept_ms_BM": (np.int64, MOST),
    "recent_BR": (np.int64, RECENT),
    "recent_ms_BR": (np.int64, RECENT),
    "time_ms_B": (np.int64, 0),
    "user_B": (np.int64, 0),
    "item_B": (np.int64, 0),
    "propensity_B": (np.float64, 0),
    "source_B": (np.int64, 0),
    "cluster_B": (np.int64, 0),
    "accepted_B": (np.int64, 0),
}


def _levels_tree(everybody_C: Doubles, by_level: tuple[Doubles, ...]) -> Tree:
    return {"everybody": everybody_C, **{str(level): table_GC for level, table_GC in enumerate(by_level)}}


def _levels_of(tree: Tree) -> tuple[Doubles, tuple[Doubles, ...]]:
    levels = tuple(np.array(tree[str(level)]) for level in range(len(tree) - 1))
    return np.array(tree["everybody"]), levels
