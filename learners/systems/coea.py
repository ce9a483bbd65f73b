"""CoEA (arXiv:2508.00450) on a stream, free of language models: which interest comes next, by group identity
and individual history (DSIE, `learners.coevolution.identity`), and which new one to try.

Interests are clusters of items (`learners.coevolution.clusters`). An item's score is the logarithm of the
chance of its cluster and of its share of the cluster's events; that is what is published, with a dimension a
cluster. With `explore` a user's row says, too, with which probability each cluster would be tried
(`learners.coevolution.slot`); what comes of it is learned by Relevance, and by Novelty once a cycle
(`learners.coevolution.cycle`). Of what is here the abstract says little: see `docs/coevolution.md`.

    ebbtide replay LOG --out runs/coea --learner coea

Whatever the micro-batches: rows are scored with the weights after the last whole `BLOCK` of events that are
known, and with the counts of everything that is.

Shape suffixes: B rows, Q rows of the queue, R rows to rank, N items, C clusters, K interests, D width.
"""

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, cast

import msgspec
import numpy as np
import torch

from learners.coevolution.clusters import Clusters
from learners.coevolution.course import BLOCK, Course
from learners.coevolution.cycle import CycleSettings
from learners.coevolution.entries import Past
from learners.coevolution.history import codes_of
from learners.coevolution.identity import Branches, Online, Told
from learners.coevolution.record import Cluster, Coevolution, Record
from learners.coevolution.weights import Weights
from learners.contract import Context, Learner, Outcome, RankRequest, Settings, Step
from learners.ranges import Amount, Some
from learners.tables.expiry import Forgotten
from learners.tables.true_ranks import true_ranks
from state.errors import InputError
from state.examples import Doubles, ExampleBatch, Floats
from state.keys import Int64s, Names
from state.tree import Tree

_FLOOR = -40.0
"""The least logarithm that is published."""


class CoEASettings(Settings, frozen=True, kw_only=True):
    clusters: str = "auto"
    """What items are grouped by: "category" (the events'), "place", a category column of the item table, or
    the first of these that the log has; "content", what that table's texts and vectors say."""
    most_clusters: Annotated[int, msgspec.Meta(ge=2, le=4096)] = 256
    """All others are one cluster."""
    codes: tuple[Some, ...] = (16, 6)
    """Of each level of the group identity; none for no group identity."""
    short: bool = True
    """Whether the last accepts count,"""
    long: bool = True
    """and the whole history beside the codes."""
    width: Some = 16
    lr: Amount = 0.1
    explore: bool = False
    """Whether a place of recommendations is kept for what is new to the user."""
    explore_share: Annotated[float, msgspec.Meta(gt=0, le=0.5)] = 0.1
    """How many places."""
    cycle: CycleSettings = CycleSettings(every=10_000, keep_slates=2400, keep_held=1600)
    """Its `every` are events that are known; 0 for no cycles. Its `sizes` are `codes`."""
    lag: Annotated[int, msgspec.Meta(ge=BLOCK)] = 512
    """Events between the state that a cycle looks at and the moment in which its version serves."""


class CoEA(Learner):
    """Raises InputError on a log whose items nothing is known of."""

    name: ClassVar[str] = "coea"
    Config: ClassVar[type[Settings]] = CoEASettings
    ranks: ClassVar[bool] = True
    cycles: ClassVar[bool] = True
    ablations: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "no group identity": {"codes": [], "cycle": {"every": 0}},
        "no long history": {"long": False, "cycle": {"every": 0}},
        "no last accepts": {"short": False, "cycle": {"every": 0}},
    }

    def __init__(self, config: Settings, context: Context) -> None:
        super().__init__(config, context)
        self.settings = s = cast(CoEASettings, config)
        torch.set_num_threads(1)  # several take sums in other orders, and wait for one another at this size
        self.clusters = Clusters(context, s.clusters, s.most_clusters)
        self.next = Online(
            s.most_clusters,
            s.codes,
            width=s.width,
            lr=s.lr,
            branches=Branches(s.short, s.long),
            seed=context.seed,
        )
        cycle = msgspec.structs.replace(s.cycle, sizes=s.codes)
        self.course = Course(s.most_clusters, cycle, s.lag, context.seed, labelled=context.labelled)
        self.weights = Weights(s.most_clusters)
        """Of items within their clusters."""

    def step(self, step: Step) -> Outcome:
        course, batch, done, start = self.course, step.batch, 0, 0
        rank_R = np.empty(len(step.rank.rows_R), np.int64)
        block_B = (course.known + step.due_B) // BLOCK
        known = course.known
        while start < len(batch):
            stop = int(np.searchsorted(block_B, block_B[start], "right"))
            whole = max(int(block_B[start]) * BLOCK - known, done)
            self._learn(step.queue.take(slice(done, whole)))
            done = whole
            part, last = batch.take(slice(start, stop)), int(step.due_B[stop - 1])
            queue = step.queue.take(slice(done, last))
            past = course.walk(queue, self.clusters.learn(queue), step.due_B[start:stop] - done, part)
            log_BC = self.next.log_p(self._told(past))
            self.scored(part, past, log_BC)
            self._rank(step.rank, slice(start, stop), self._listed(past, log_BC), rank_R)
            done, start = last, stop
        return Outcome(rank_R=rank_R)

    def scored(self, rows: ExampleBatch, past: Past, log_BC: Doubles) -> None:
        """Called with what was said of rows, for whoever measures."""

    def learn(self, batch: ExampleBatch) -> None:
        """Learn the rows that wait longest; what was never scored is looked at now."""
        rest = batch.take(slice(self.course.waiting, len(batch)))
        if len(rest):
            nothing = batch.take(slice(0, 0))
            self.course.walk(nothing, self.clusters.learn(nothing), np.zeros(len(rest), np.int64), rest)
        self._learn(batch)

    def _learn(self, queue: ExampleBatch) -> None:
        """Take in what became known, and learn every block that is whole."""
        course, at, nobody = self.course, 0, queue.take(slice(0, 0))
        while True:
            if course.ready == BLOCK:
                self._learn_block()
            if at == len(queue):
                return
            piece = queue.take(slice(at, at + BLOCK - course.ready))
            course.walk(piece, self.clusters.learn(piece), _NONE, nobody)
            at += len(piece)

    def _learn_block(self) -> None:
        rows = self.course.block()
        taken = np.flatnonzero(rows.accepted_B)
        if len(taken):
            past = Past._make(column[taken] for column in rows.past)
            self.next.learn(self._told(past), rows.cluster_B[taken])
        item_B = self.context.catalogue.items.rows(rows.item_B[taken])
        self.weights.add(item_B, rows.past.time_ms_B[taken], len(self.context.catalogue))
        self.course.learned(rows, len(self.clusters))
        self.clusters.tidy()

    def _told(self, past: Past) -> Told:
        return Told(
            past,
            codes_of(past, self.settings.most_clusters, self.course.book),
            self.course.shares,
            len(self.clusters),
        )

    def _rank(self, request: RankRequest, rows: slice, log_BC: Doubles, rank_R: Int64s) -> None:
        first, last = np.searchsorted(request.rows_R, [rows.start, rows.stop])
        for at in range(first, last, BLOCK):
            part = slice(at, min(at + BLOCK, last))
            true_ranks(
                self._scores(log_BC[request.rows_R[part] - rows.start]),
                request.true_R[part],
                request.size_R[part],
                request.left_start_R1[part.start : part.stop + 1],
                request.left_out,
                rank_R[part],
            )

    def rank(self, batch: ExampleBatch) -> Floats:
        past = self.course.look(batch.user_B, batch.time_ms_B)
        return self._scores(self._listed(past, self._log_p(past)))

    def _log_p(self, past: Past) -> Doubles:
        return self.next.log_p(self._told(past))

    def _listed(self, past: Past, log_BC: Doubles) -> Doubles:
        """What lists go by: where there is an explore slot, the other places are the policy's, too."""
        return log_BC + self.course.optimism(past) if self.settings.explore else log_BC

    def _scores(self, log_BC: Doubles) -> Floats:
        cluster_N = self.clusters.of_catalogue()
        within = self.weights.within(cluster_N)
        user_BC = np.maximum(log_BC - within.total_C, _FLOOR).astype(np.float32)
        return user_BC[:, cluster_N] + within.item_N

    def item_vectors(self, keys_N: Int64s) -> Floats | None:
        cluster_N = self.clusters.of_catalogue()
        row_N = self.context.catalogue.items.rows(keys_N)
        vector_ND = np.zeros((len(keys_N), self.settings.most_clusters + 1), np.float32)
        there = np.flatnonzero(row_N >= 0)
        vector_ND[there, cluster_N[row_N[there]]] = 1.0
        vector_ND[there, -1] = self.weights.within(cluster_N).item_N[row_N[there]]
        return vector_ND

    def interests(self, batch: ExampleBatch) -> Floats | None:
        width = self.settings.most_clusters
        found_BKD = np.zeros((len(batch), len(self.interest_names), width + 1), np.float32)
        cluster_N = self.clusters.of_catalogue()
        total_C = self.weights.within(cluster_N).total_C
        has_C = np.bincount(cluster_N, minlength=width)[:width] > 0
        has_C[0] = False
        for at in range(0, len(batch), BLOCK):
            part = slice(at, at + BLOCK)
            rows = batch.take(part)
            past = self.course.look(rows.user_B, rows.time_ms_B)
            log_BC = self._listed(past, self._log_p(past))
            found_BKD[part, 0, :-1] = np.maximum(log_BC - total_C, _FLOOR)
            if self.settings.explore:
                found_BKD[part, 1, :-1] = self.course.propensities(rows.user_B, rows.time_ms_B, has_C)
                found_BKD[part, 1, -1] = self.course.system.serving
        found_BKD[:, 0, -1] = 1.0
        return found_BKD

    @property
    def interest_names(self) -> tuple[str, ...]:
        return ("next", EXPLORE) if self.settings.explore else ("next",)

    @property
    def explore(self) -> float:
        return self.settings.explore_share if self.settings.explore else 0.0

    @property
    def explores_by(self) -> tuple[int, ...]:
        return tuple(version.number for version in self.course.system.versions)

    def changed_items(self) -> Int64s:
        keys_N = self.context.catalogue.items.keys
        return keys_N[self.weights.changed()].copy()

    @property
    def cycle_records(self) -> list[Record]:
        """Of the cycles that have ended, the newest."""
        return self.course.system.told()

    def coevolution(self, names: Names) -> Coevolution:
        """What has evolved, given what keys stand for."""
        cluster_N, keys_N = self.clusters.of_catalogue(), self.context.catalogue.items.keys
        weight_N, named = self.weights.within(cluster_N).item_N, self.clusters.names(names)
        order = np.lexsort((-weight_N, cluster_N))
        start_C1 = np.searchsorted(cluster_N[order], np.arange(len(named) + 1))
        clusters: list[Cluster] = []
        for name, start, stop in zip(named, start_C1[:-1].tolist(), start_C1[1:].tolist(), strict=True):
            popular = self._called(keys_N[order[start : min(start + _SHOWN, stop)]], names)
            if name is None:
                name = f"like {', '.join(popular)}" if popular else f"no. {len(clusters)}"
            clusters.append(Cluster(name=name, items=stop - start, popular=popular))
        system = self.course.system
        return Coevolution(
            clusters_by=self.clusters.by,
            clusters=clusters,
            serving=system.serving,
            running=system.running is not None,
            cycles=system.told(),
            over_time=self.course.over_time.moments(),
        )

    def _called(self, keys_K: Int64s, names: Names) -> list[str]:
        """What people call items: their title by now, where a side table has one, else their id."""
        titles = [] if self.context.items is None else list(self.context.items.texts.values())
        if self.context.items is None or not titles:
            return [names[key] for key in keys_K.tolist()]
        row_K = self.context.items.rows(keys_K, np.full(len(keys_K), self.course.clock_ms))
        said = zip(keys_K.tolist(), row_K.tolist(), strict=True)
        return [(row >= 0 and titles[0][row][:_LONGEST]) or names[key] for key, row in said]

    def begin_cycle(self) -> None:
        if not self.settings.cycle.every:
            raise InputError("[learners.coea.cycle] every is 0, so there are none")
        self.course.ask()

    def cycle_mark(self) -> tuple[int, ...]:
        system = self.course.system
        last = system.records[-1].number if system.records else -1
        return (last, system.serving, system.running is not None)

    def roll_back(self) -> int:
        return self.course.system.roll_back()

    def forget(self, forgotten: Forgotten) -> None:
        self.clusters.keep(forgotten.kept_K)
        self.weights.keep(forgotten.kept_K)
        self.course.forget(forgotten.user_U)

    def tree(self) -> Tree:
        return {
            "clusters": self.clusters.tree(),
            "next": self.next.tree(),
            "course": self.course.tree(),
            "weights": self.weights.tree(),
        }

    def load(self, tree: Tree) -> None:
        self.clusters.load(tree["clusters"])
        self.next.load(tree["next"])
        self.course.load(tree["course"])
        self.weights.load(tree["weights"])


EXPLORE = "explore"
_SHOWN, _LONGEST = 3, 60
"""Items of a cluster that are named, and characters of a title."""
_NONE = np.zeros(0, np.int64)
