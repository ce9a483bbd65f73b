"""The copy path: candidates from the user's own memory and from the crowd, weighed by a mixture of experts.

STIM's masks (arXiv:2508.02451) made explicit, in our reconstruction: `evidence` and `candidates` say what
speaks for an item, `mixture` learns how much that counts at this hour, in this place, for this user. Rows are
learned with the evidence that they were scored with.

Shape suffixes: B rows of a chunk, C candidates, F columns, E experts, X context numbers, R rows to rank.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from learners.contract import Context, RankRequest, Step
from learners.copying import ranks
from learners.copying.candidates.columns import (
    Found,
)
from learners.copying.candidates.evidence import COLUMN, COLUMNS
from learners.copying.candidates.sample import sampled
from learners.copying.counts.crowd import CrowdRows
from learners.copying.distil_rows import Requests
from learners.copying.experts import ASKED, VIEWS, context, experts, opened, silenced
from learners.copying.search import CHUNK, Search
from learners.copying.settings import CopySettings
from learners.copying.waiting import EvidenceQueue
from learners.counting.floor import positives
from learners.insight import GateLedger
from learners.interests.contract import Unit
from learners.mixing.mixture import Evidence, Mixture
from learners.tables.expiry import Forgotten
from state.examples import ExampleBatch, Floats, window_of
from state.keys import Int64s
from state.tree import Tree


class CopyPath:
    """Ranks the catalogue; learns which evidence counts. `interests` is another's: it is read, not taught."""

    def __init__(self, settings: CopySettings, context: Context, interests: Unit[Any]) -> None:
        self.settings = settings
        self.context = context
        self.interests = interests
        self.queue = EvidenceQueue()
        self.kept = Requests(context.seed)
        self.periodic = settings.periodic and "clock" in context.roles
        self.silent = silenced(context.roles, periodic=self.periodic, returns=settings.returns)
        self.experts = experts(self.silent, views=settings.views)
        self.mixture = Mixture(
            settings.mixture,
            features=len(COLUMNS),
            context=ASKED,
            experts=self.experts,
            item_query=[COLUMN[name] for name in ("count", "popular_14d", "return_all")],
            seed=context.seed,
        )
        self.ledger = GateLedger([expert.name for expert in self.experts], VIEWS)
        self.search = Search(settings, context, interests, periodic=self.periodic)

    def step(self, step: Step) -> Int64s:
        """Ranks of the requested rows; evidence of all that will be learned; then what is due is learned."""
        batch, request = step.batch, step.rank
        rank_R = np.empty(len(request.rows_R), np.int64)
        place_B = np.full(len(batch), -1, np.int64)
        place_B[request.rows_R] = np.arange(len(request.rows_R))
        queue, learned = self.search.rows(step.queue), 0
        for start in range(0, len(batch), CHUNK):
            rows = slice(start, min(start + CHUNK, len(batch)))
            part, due_B, ranked_B = batch.take(rows), step.due_B[rows], place_B[rows]
            last = int(due_B[-1])
            first = max(int(due_B[0]) - CHUNK, learned)
            self.search.count(queue, learned, first)
            wanted_B = positives(part.label_B) | (ranked_B >= 0)
            key_B = self.kept.keys(part)
            whole_B = wanted_B & ((ranked_B >= 0) | self.kept.may_keep(key_B))
            found, evidence = self._observe(part, wanted_B, whole_B, due_B, queue, first)
            self._rank(part, found, evidence, request, ranked_B, rank_R)
            self.search.note_repeats(window_of(part), part.item_B, wanted_B)
            self.kept.offer(part, key_B, evidence)
            self.queue.push(sampled(evidence, found.added_C), self.settings.most_waiting)
            self._teach(step.queue.take(slice(learned, last)))
            learned = last
        return rank_R

    def learn(self, batch: ExampleBatch) -> None:
        """Learn the rows that wait longest; what was never scored is scored now, in turn."""
        scored = min(len(self.queue), len(batch))
        old = batch.take(slice(0, scored))
        self.search.count(self.search.rows(old), 0, scored)
        self._teach(old)
        for start in range(scored, len(batch), CHUNK):
            part = batch.take(slice(start, start + CHUNK))
            rows, size = self.search.rows(part), len(part)
            wanted_B, whole_B = positives(part.label_B), np.zeros(size, np.bool_)
            found, evidence = self._observe(part, wanted_B, whole_B, np.arange(size), rows, 0)
            self.search.count(rows, size - 1, size)
            self.queue.push(sampled(evidence, found.added_C), self.settings.most_waiting)
            self._teach(part)

    def rank(self, batch: ExampleBatch) -> Floats:
        """Scores (B, N) of the whole catalogue: candidates first, then the rest by popularity."""
        found, evidence = self._peek(batch)
        size = len(self.context.catalogue)
        score_BN = np.tile(self.search.behind(size), (len(batch), 1))
        ranks.spread(found, self.mixture.score(evidence), score_BN)
        return score_BN

    def ranked(self, batch: ExampleBatch, request: RankRequest) -> Int64s:
        """Ranks of the requested rows, with nothing changed."""
        rank_R = np.empty(len(request.rows_R), np.int64)
        for start in range(0, len(rank_R), CHUNK):
            place_B = np.arange(start, min(start + CHUNK, len(rank_R)))
            part = batch.take(request.rows_R[place_B])
            found, evidence = self._peek(part)
            self._rank(part, found, evidence, request, place_B, rank_R, note=False)
        return rank_R

    def _rank(
        self,
        part: ExampleBatch,
        found: Found,
        evidence: Evidence,
        request: RankRequest,
        place_B: Int64s,
        rank_R: Int64s,
        *,
        note: bool = True,
    ) -> None:
        """Write the ranks of those rows of `part` that have a place among the requested."""
        chosen_B = place_B >= 0
        if not chosen_B.any():
            return
        wanted = ranks.Wanted(
            place_B, request.true_R, request.size_R, request.left_start_R1, request.left_out
        )
        logit_C, gate_BE = self.mixture.score_and_gates(evidence, chosen_B)
        scored = ranks.Scored(found.start_B1, found.item_C, logit_C)
        behind_N = self.search.behind(len(self.context.catalogue))
        ranks.rank_all(wanted, scored, behind_N, self.search.item_slots(), rank_R)
        if note:
            time_ms_B, tz_min_B = part.time_ms_B[chosen_B], part.tz_min_B[chosen_B]
            self.ledger.add(time_ms_B, tz_min_B, gate_BE[chosen_B], found.entries_BV[chosen_B])

    def _teach(self, rows: ExampleBatch) -> None:
        """Let the mixture and the interests learn rows that are due, in order."""
        if len(rows):
            for ready in self.queue.pop(len(rows)):
                self.mixture.learn(ready)
            self.interests.learn(rows)

    def _observe(
        self,
        part: ExampleBatch,
        wanted_B: NDArray[np.bool_],
        whole_B: NDArray[np.bool_],
        due_B: Int64s,
        queue: CrowdRows,
        learned: int,
        *,
        keep: bool = True,
    ) -> tuple[Found, Evidence]:
        """As `Search.find`, and the evidence as the mixture takes it."""
        waiting = self.queue.candidates
        found = self.search.find(part, wanted_B, whole_B, due_B, queue, learned, waiting, keep=keep)
        found.evidence_CF[:, self.silent] = 0.0
        context_BX = context(part, window_of(part), found.held_BV, periodic=self.periodic)
        true_R = np.empty(len(part), np.int64)
        true_B = self.context.catalogue.items.rows(part.item_B)
        ranks.true_places(found.start_B1, found.item_C, true_B, true_R)
        open_BE = opened(self.experts, found.held_BV)
        return found, Evidence(found.start_B1, found.evidence_CF, found.base_C, context_BX, open_BE, true_R)

    def _peek(self, part: ExampleBatch) -> tuple[Found, Evidence]:
        """All evidence of all rows, with nothing changed."""
        nothing_B, all_B = np.zeros(len(part), np.int64), np.ones(len(part), np.bool_)
        nobody = self.search.rows(part.take(slice(0, 0)))
        return self._observe(part, all_B, all_B, nothing_B, nobody, 0, keep=False)

    def forget(self, forgotten: Forgotten) -> None:
        self.search.forget(forgotten)
        self.interests.forget(forgotten)

    def tree(self) -> Tree:
        return {
            **self.search.tree(),
            "queue": self.queue.tree(),
            "kept": self.kept.tree(),
            "mixture": self.mixture.tree(),
            "ledger": self.ledger.tree(),
        }

    def load(self, tree: Tree) -> None:
        self.search.load(tree)
        self.queue.load(tree.get("queue", {}))
        self.kept.load(tree["kept"])
        self.mixture.load(tree["mixture"])
        self.ledger.load(tree["ledger"])
