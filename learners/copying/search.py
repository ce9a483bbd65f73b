"""Candidates of rows, and what speaks for each: out of the user's memory, and as of the crowd just then.

What is looked for is scratch; what is kept of it (the crowd, returns, leaders and neighbours) is the state.
"""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from learners.contract import Context
from learners.copying.candidates import gather as kernels
from learners.copying.candidates.columns import (
    Asked,
    Counted,
    Found,
    Int32s,
    Room,
    first_rows,
    near_tree,
    new_found,
    new_room,
)
from learners.copying.candidates.evidence import COLUMN, own, tables
from learners.copying.counts.crowd import (
    LED_BY,
    SLOTS,
    Crowd,
    CrowdRows,
    crowd_rows,
    cut,
    mark_leaders,
    time_slot,
)
from learners.copying.counts.returns import Returns
from learners.copying.experts import HELD
from learners.copying.settings import CopySettings
from learners.interests.contract import Unit
from learners.interests.views import repeats
from learners.tables.expiry import Forgotten
from learners.tables.popularity_draws import identities
from state.examples import ITEMS, ExampleBatch, Floats, Window, window_of
from state.keys import NO_KEY, Int64s
from state.memory.windows import columns_of
from state.tree import Tree

CHUNK = 64
"""Rows that are scored with the same weights."""
_BEHIND = 1e3
"""Further than any candidate's logit is below 0."""


class Search:
    """Over one catalogue. `interests` is another's: it brings candidates."""

    def __init__(
        self, settings: CopySettings, context: Context, interests: Unit[Any], *, periodic: bool
    ) -> None:
        self.settings = settings
        self.context = context
        self.interests = interests
        self.periodic = periodic
        self.here = "here" in context.roles
        self.crowd = Crowd()
        self.returns = Returns()
        self.counted = 0
        """Events of the crowd."""
        self.leaders_N: Int64s = np.zeros(0, np.int64)
        self.leaders_at: Int64s = np.array([0, -2])
        """Events of the crowd when they were found, and for which hour and kind of day."""
        self.repeats = np.zeros(2)
        """Rows whose item was in the memory, and all rows with a memory."""
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

    def note_repeats(self, window: Window, item_B: Int64s, wanted_B: NDArray[np.bool_]) -> None:
        """Count rows that repeat an item of their memory."""
        item_BX = np.concatenate([window.item_BW, window.total_item_BI], axis=1)
        length_B = np.where(window.length_B > 0, item_BX.shape[1], 0)
        self.repeats += repeats(wanted_B, item_B, item_BX, length_B)

    def count(self, queue: CrowdRows, learned: int, stop: int) -> None:
        """Let the crowd learn queue rows `learned` .. `stop` - 1."""
        if stop > learned:
            rows = cut(queue, learned, stop)
            self.crowd.learn(rows, len(self.context.catalogue))
            self.returns.learn(rows, self.crowd.category_N)
            self.counted += stop - learned

    def find(
        self,
        part: ExampleBatch,
        wanted_B: NDArray[np.bool_],
        whole_B: NDArray[np.bool_],
        due_B: Int64s,
        queue: CrowdRows,
        learned: int,
        waiting: int,
        *,
        keep: bool = True,
    ) -> Found:
        """Candidates and evidence of the wanted rows, each as of the queue's rows that are due before it.

        Of `waiting` candidates the evidence waits for its outcome. `keep` is whether what is looked for anew,
        of leaders and neighbours, is known from then on.
        """
        s, items = self.settings, self.context.catalogue.items
        size = len(items)
        due = max(int(due_B[-1]) - learned, 0)
        crowd = self.crowd.reserve(size, due)
        self._reserve(size)
        window, users = window_of(part), self.interests.users(part)
        brought = self.strangers(s.brought)
        brought_BM = np.full((len(part), brought), -1, np.int64)
        wanted_R = np.flatnonzero(wanted_B)
        if len(wanted_R):
            among = self.strangers(s.among)
            brought_BM[wanted_R] = self.interests.nearest(users, wanted_R, brought, among)
        leaders = self._leaders(part, size, keep=keep)
        own_most = min(s.own, window.item_BW.shape[1] + ITEMS)
        most = min(own_most + len(leaders) + brought_BM.shape[1] + kernels.OTHERS, max(size, 1))
        wanted = int(wanted_B.sum())
        if len(part) > len(self._found.held_BV) or wanted * most > len(self._found.item_C):
            self._found = new_found(len(part), wanted * most, HELD)
        found = first_rows(self._found, len(part))
        waits = waiting + wanted * own_most <= s.most_waiting
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
            events=self.counted - learned,
            keep=keep,
            repeats=self.repeating,
            own_most=own_most,
            speaks=s.memory,
        )
        counted = Counted(crowd, returns)
        stop = kernels.gather(
            due_B, learned, queue, asked, counted, self._tables, self._own, self._room, found
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
        found.base_C[:] *= np.float32(s.base_events / (s.base_events + self.counted) if s.base else 0.0)
        return found

    def behind(self, size: int) -> Floats:
        """What items score that are no candidates: below any candidate, by popularity."""
        share_N = self.crowd.popular.share(3, size)
        return (-_BEHIND - 1.0 / np.maximum(share_N, 1e-12)).astype(np.float32)

    def rows(self, batch: ExampleBatch) -> CrowdRows:
        return crowd_rows(batch, self.context.catalogue.items.rows(batch.item_B), here=self.here)

    def item_slots(self) -> Int32s:
        """Scratch by catalogue row, all zero between calls."""
        return self._own.slot_N

    def _leaders(self, part: ExampleBatch, size: int, *, keep: bool) -> Int64s:
        """The popular items; looked for again once the crowd has grown by a 16th of the catalogue."""
        s, weight_VN = self.settings, self.crowd.popular.arrays.weight_VN
        slot = time_slot(int(part.time_ms_B[0]), int(part.tz_min_B[0])) if self.periodic else -1
        if slot != self.leaders_at[1] or self.counted - self.leaders_at[0] >= max(CHUNK, size // 16):
            popular, led_N = self.strangers(s.popular), np.zeros(size, np.bool_)
            for v in LED_BY:
                mark_leaders(weight_VN[v], 0, 1, popular, led_N)
            if self.periodic:
                mark_leaders(self.crowd.slotted.arrays.weight_VN[0], slot, SLOTS + 1, popular, led_N)
            leaders_N = np.flatnonzero(led_N)
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
        self._make_room(len(self.context.catalogue))

    def tree(self) -> Tree:
        return {
            "crowd": self.crowd.tree(),
            "returns": self.returns.tree(),
            "counted": self.counted,
            "leaders_N": self.leaders_N.copy(),
            "leaders_at": self.leaders_at.copy(),
            "repeats": self.repeats.copy(),
            **near_tree(self._room, len(self.context.catalogue)),
        }

    def load(self, tree: Tree) -> None:
        self.crowd.load(tree["crowd"])
        self.returns.load(tree["returns"])
        self.counted = int(tree["counted"])
        self.leaders_N, self.leaders_at = np.array(tree["leaders_N"]), np.array(tree["leaders_at"])
        self.repeats[:] = tree["repeats"]
        size = len(tree["near_at_N"])
        self._make_room(size)
        self._room.near_NM[:size] = tree["near_NM"]
        self._room.near_at_N[:] = tree["near_at_N"]
