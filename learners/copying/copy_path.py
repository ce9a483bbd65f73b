"""The copy path: candidates from the user's own memory and from the crowd, weighed by a mixture of experts.

STIM's masks (arXiv:2508.02451) made explicit, in our reconstruction: `evidence` and `candidates` say what
speaks for an item, `mixture` learns how much that counts at this hour, in this place, for this user. Rows are
learned with the evidence that they were scored with.

Shape suffixes: B rows of a chunk, C candidates, F columns, E experts, X context numbers, R rows to rank.
"""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from learners.contract import Context, RankRequest, Step
from learners.copying import candidates as kernels
from learners.copying import ranks
from learners.copying.columns import (
    Asked,
    Counted,
    Found,
    Room,
    first_rows,
    near_tree,
    new_found,
    new_room,
)
from learners.copying.crowd import LED_BY, SLOTS, Crowd, CrowdRows, crowd_rows, cut, leaders, time_slot
from learners.copying.distil_rows import Requests
from learners.copying.evidence import COLUMN, COLUMNS, own, tables
from learners.copying.experts import HELD, VIEWS, context, experts, opened, silenced
from learners.copying.returns import Returns
from learners.copying.sample import sampled
from learners.copying.settings import CopySettings
from learners.copying.waiting import EvidenceQueue, chosen
from learners.counting.floor import positives
from learners.insight import GateLedger
from learners.interests.contract import Unit
from learners.interests.views import repeats
from learners.mixing.mixture import Evidence, Mixture
from learners.tables.expiry import Forgotten
from learners.tables.popularity_draws import identities
from state.examples import ITEMS, ExampleBatch, Floats, window_of
from state.keys import NO_KEY, Int64s
from state.memory.views import columns_of
from state.tree import Tree

CHUNK = 64
"""Rows that are scored with the same weights."""
_BEHIND = 1e3
"""Further than any candidate's logit is below 0."""


class CopyPath:
    """Ranks the catalogue; learns which evidence counts. `interests` is another's: it is read, not taught."""

    def __init__(self, settings: CopySettings, context: Context, interests: Unit[Any]) -> None:
        self.settings = settings
        self.context = context
        self.interests = interests
        self.here = "here" in context.roles
        self.crowd = Crowd()
        self.returns = Returns()
        self.counted = 0
        """Events of the crowd."""
        self.leaders_N: Int64s = np.zeros(0, np.int64)
        self.leaders_at: Int64s = np.array([0, -2])
        """Events of the crowd when they were found, and for which hour and kind of day."""
        self.queue = EvidenceQueue()
        self.kept = Requests(context.seed)
        self.repeats = np.zeros(2)
        """Rows whose item was in the memory, and all rows with a memory."""
        self.periodic = settings.periodic and "clock" in context.roles
        self.silent = silenced(
            context.roles, periodic=self.periodic, returns=settings.returns, recency=settings.recency
        )
        self.experts = experts(self.silent, views=settings.views)
        self.mixture = Mixture(
            settings.mixture,
            features=len(COLUMNS),
            context=HELD + 7,
            experts=self.experts,
            item_query=[COLUMN[name] for name in ("count", "popular_14d", "return_all")],
            seed=context.seed,
        )
        self.ledger = GateLedger([expert.name for expert in self.experts], VIEWS)
        self._tables = tables()
        self._make_room(0)
        self._found = new_found(0, 0, HELD)

    @property
    def repeating(self) -> bool:
        """Whether what the user has had is a candidate."""
        return bool(self.repeats[0] >= self.settings.spare * self.repeats[1])

    def strangers(self, most: int) -> int:
        """How many of `most` candidates that are not the user's own are worth their cost: the share of events
        that repeat nothing."""
        again, rows = self.repeats.tolist()
        return math.ceil(most * (rows - again) / rows) if rows else most

    def step(self, step: Step) -> Int64s:
        """Ranks of the requested rows; evidence of all that will be learned; then what is due is learned."""
        batch, request = step.batch, step.rank
        rank_R = np.empty(len(request.rows_R), np.int64)
        place_B = np.full(len(batch), -1, np.int64)
        place_B[request.rows_R] = np.arange(len(request.rows_R))
        queue, learned = self._rows(step.queue), 0
        for start in range(0, len(batch), CHUNK):
            rows = slice(start, min(start + CHUNK, len(batch)))
            part, due_B, ranked_B = batch.take(rows), step.due_B[rows], place_B[rows]
            first, last = max(int(due_B[0]), learned), int(due_B[-1])
            self._count(queue, learned, first)
            wanted_B = positives(part.label_B) | (ranked_B >= 0)
            whole_B = wanted_B & ((ranked_B >= 0) | self.kept.may_keep(part))
            found, evidence = self._observe(part, wanted_B, whole_B, due_B, queue, first)
            self._rank(part, found, evidence, request, ranked_B, rank_R)
            window = window_of(part)
            item_BX = np.concatenate([window.item_BW, window.total_item_BI], axis=1)
            length_B = np.where(window.length_B > 0, item_BX.shape[1], 0)
            self.repeats += repeats(wanted_B, part.item_B, item_BX, length_B)
            self.kept.offer(part, evidence)
            self.queue.push(sampled(evidence, found.added_C), self.settings.most_waiting)
            self._teach(step.queue.take(slice(learned, last)))
            learned = last
        return rank_R

    def learn(self, batch: ExampleBatch) -> None:
        """Learn the rows that wait longest; what was never scored is scored now, in turn."""
        scored = min(len(self.queue), len(batch))
        old = batch.take(slice(0, scored))
        self._count(self._rows(old), 0, scored)
        self._teach(old)
        for start in range(scored, len(batch), CHUNK):
            part = batch.take(slice(start, start + CHUNK))
            rows, size = self._rows(part), len(part)
            wanted_B, whole_B = positives(part.label_B), np.zeros(size, np.bool_)
            found, evidence = self._observe(part, wanted_B, whole_B, np.arange(size), rows, 0)
            self._count(rows, size - 1, size)
            self.queue.push(sampled(evidence, found.added_C), self.settings.most_waiting)
            self._teach(part)

    def rank(self, batch: ExampleBatch) -> Floats:
        """Scores (B, N) of the whole catalogue: candidates first, then the rest by popularity."""
        found, evidence = self._peek(batch)
        size = len(self.context.catalogue)
        score_BN = np.tile(self._behind(size), (len(batch), 1))
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
        asked, item_C = chosen(evidence, found.item_C, chosen_B)
        wanted = ranks.Wanted(
            place_B[chosen_B], request.true_R, request.size_R, request.left_start_R1, request.left_out
        )
        logit_C, gate_RE = self.mixture.score_and_gates(asked)
        scored = ranks.Scored(asked.start_R1, item_C, logit_C)
        behind_N = self._behind(len(self.context.catalogue))
        ranks.rank_all(wanted, scored, behind_N, self._own.slot_N, rank_R)
        if note:
            time_ms_B, tz_min_B = part.time_ms_B[chosen_B], part.tz_min_B[chosen_B]
            self.ledger.add(time_ms_B, tz_min_B, gate_RE, found.entries_BV[chosen_B])

    def _count(self, queue: CrowdRows, learned: int, stop: int) -> None:
        """Let the crowd learn queue rows `learned` .. `stop` - 1."""
        if stop > learned:
            rows = cut(queue, learned, stop)
            self.crowd.learn(rows, len(self.context.catalogue))
            self.returns.learn(rows, self.crowd.category_N)
            self.counted += stop - learned

    def _teach(self, rows: ExampleBatch) -> None:
        """Let the mixture and the interests learn rows that are due, in order."""
        if len(rows):
            for ready in self.queue.pop(len(rows)):
                self.mixture.learn(ready)
            self.interests.learn(rows)

    def _peek(self, part: ExampleBatch) -> tuple[Found, Evidence]:
        """All evidence of all rows, with nothing changed."""
        nothing_B, all_B = np.zeros(len(part), np.int64), np.ones(len(part), np.bool_)
        nobody = self._rows(part.take(slice(0, 0)))
        return self._observe(part, all_B, all_B, nothing_B, nobody, 0, keep=False)

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
        """Candidates and evidence of the wanted rows, each as of the queue's rows that are due before it.

        `keep` is whether what is looked for anew, of leaders and neighbours, is known from then on.
        """
        s, items = self.settings, self.context.catalogue.items
        size = len(items)
        due = max(int(due_B[-1]) - learned, 0)
        crowd = self.crowd.reserve(size, due)
        self._reserve(size)
        window, users = window_of(part), self.interests.users(part)
        brought_BM = self.interests.nearest(users, self.strangers(s.brought), s.among)
        leaders = self._leaders(part, size, keep=keep)
        own_most = min(s.own, window.item_BW.shape[1] + ITEMS)
        most = min(own_most + len(leaders) + brought_BM.shape[1] + kernels.OTHERS, max(size, 1))
        wanted = int(wanted_B.sum())
        if len(part) > len(self._found.held_BV) or wanted * most > len(self._found.item_C):
            self._found = new_found(len(part), wanted * most, HELD)
        found = first_rows(self._found, len(part))
        waits = self.queue.candidates + wanted * own_most <= s.most_waiting
        returns = self.returns.reserve(size, due, len(part), wanted * own_most)
        true_B = items.rows(part.item_B)
        asked = Asked(
            past=columns_of(window),
            item_table=items.table,
            leaders=leaders,
            wanted_B=wanted_B,
            whole_B=whole_B,
            true_B=true_B,
            identity_B=identities(part, self.context.seed),
            user_B=part.user_B,
            waits=waits,
            time_ms_B=part.time_ms_B,
            tz_min_B=part.tz_min_B,
            cell_B=part.cell_B if self.here else np.full(len(part), NO_KEY, np.int64),
            brought_BM=brought_BM,
            keep=keep,
            repeats=self.repeating,
            own_most=own_most,
            fade=float(s.recency),
            speaks=s.memory,
        )
        events, tables = self.counted - learned, self._tables
        stop = kernels.gather(
            due_B,
            learned,
            queue,
            asked,
            Counted(crowd, returns),
            events,
            tables,
            self._own,
            self._room,
            found,
        )
        self.returns.settle(keep=keep)
        self.counted += stop - learned
        end = int(found.start_B1[-1])
        found = found._replace(
            item_C=found.item_C[:end],
            evidence_CF=found.evidence_CF[:end],
            base_C=found.base_C[:end],
            added_C=found.added_C[:end],
        )
        found.evidence_CF[:, COLUMN["interest"]] = self.interests.logits(users, found.start_B1, found.item_C)
        found.evidence_CF[:, self.silent] = 0.0
        found.base_C[:] *= np.float32(s.base_events / (s.base_events + self.counted) if s.base else 0.0)
        context_BX = context(part, window, found.held_BV, periodic=self.periodic)
        true_R = np.empty(len(part), np.int64)
        ranks.true_places(found.start_B1, found.item_C, true_B, true_R)
        open_BE = opened(self.experts, found.held_BV)
        return found, Evidence(found.start_B1, found.evidence_CF, found.base_C, context_BX, open_BE, true_R)

    def _behind(self, size: int) -> Floats:
        """What items score that are no candidates: below any candidate, by popularity."""
        share_N = self.crowd.popular.share(3, size)
        return (-_BEHIND - 1.0 / np.maximum(share_N, 1e-12)).astype(np.float32)

    def _rows(self, batch: ExampleBatch) -> CrowdRows:
        return crowd_rows(batch, self.context.catalogue.items.rows(batch.item_B), here=self.here)

    def _leaders(self, part: ExampleBatch, size: int, *, keep: bool) -> Int64s:
        """The popular items; looked for again once the crowd has grown by a 16th of the catalogue."""
        s, weight_VN = self.settings, self.crowd.popular.arrays.weight_VN
        slot = time_slot(int(part.time_ms_B[0]), int(part.tz_min_B[0])) if self.periodic else -1
        if slot != self.leaders_at[1] or self.counted - self.leaders_at[0] >= max(CHUNK, size // 16):
            popular = self.strangers(s.popular)
            lists = [leaders(weight_VN[v], size, popular) for v in LED_BY]
            if self.periodic:
                slotted_N = self.crowd.slotted.arrays.weight_VN[0, slot :: SLOTS + 1]
                lists.append(leaders(slotted_N, size, popular))
            leaders_N = np.unique(np.concatenate(lists))
            if keep:
                self.leaders_N = leaders_N
                self.leaders_at[:] = self.counted, slot
            return leaders_N
        return self.leaders_N

    def _reserve(self, size: int) -> None:
        if size > len(self._own.slot_N):
            size = max(size, 2 * len(self._own.slot_N))
            self._make_room(size, self._room)

    def _make_room(self, size: int, old: Room | None = None) -> None:
        s = self.settings
        width, candidates = s.window + ITEMS, s.own + 4 * s.popular + s.brought + kernels.OTHERS
        self._own, self._room = own(width, size), new_room(size, width, candidates, old)

    def forget(self, forgotten: Forgotten) -> None:
        """Follow the catalogue's rows. Neighbours in space are looked for anew."""
        self.crowd.forget(forgotten)
        self.returns.forget(forgotten, self.crowd.category_N)
        leaders_N = forgotten.moved_N[self.leaders_N]
        self.leaders_N = leaders_N[leaders_N >= 0]
        size = len(self.context.catalogue)
        self._make_room(size)
        self.interests.forget(forgotten)

    def tree(self) -> Tree:
        return {
            "crowd": self.crowd.tree(),
            "returns": self.returns.tree(),
            "counted": self.counted,
            "queue": self.queue.tree(),
            "kept": self.kept.tree(),
            "leaders_N": self.leaders_N.copy(),
            "leaders_at": self.leaders_at.copy(),
            "repeats": self.repeats.copy(),
            "mixture": self.mixture.tree(),
            "ledger": self.ledger.tree(),
            **near_tree(self._room, len(self.context.catalogue)),
        }

    def load(self, tree: Tree) -> None:
        self.crowd.load(tree["crowd"])
        self.returns.load(tree["returns"])
        self.counted = int(tree["counted"])
        self.queue.load(tree.get("queue", {}))
        self.kept.load(tree["kept"])
        self.leaders_N, self.leaders_at = np.array(tree["leaders_N"]), np.array(tree["leaders_at"])
        self.repeats[:] = tree["repeats"]
        self.mixture.load(tree["mixture"])
        self.ledger.load(tree["ledger"])
        size = len(tree["near_at_N"])
        self._make_room(size)
        self._room.near_NM[:size] = tree["near_NM"]
        self._room.near_at_N[:] = tree["near_at_N"]
