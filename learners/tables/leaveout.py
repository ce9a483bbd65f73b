"""What a ranking leaves out: nothing, what the user has had, or what the session has had.

Shape suffixes: B rows, Q queue, R ranked rows, L links, O owners.
"""

from dataclasses import dataclass
from typing import Literal, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from learners.tables.expiry import Forgotten, without
from learners.tables.growing import grown
from state.compiled import compiled
from state.examples import ExampleBatch
from state.keys import NO_KEY, Int64s, KeyArrays, KeyMap, add, find, pair
from state.tree import Tree

Rule = Literal["none", "user", "session"]

IDLE_MS = 86_400_000
"""How long after its newest known event a session is over."""

_FOREVER_MS = 2**62


@dataclass(frozen=True, slots=True)
class HadAtScoring:
    """What each row's owner had had when the row was scored."""

    link_B: Int64s
    """The owner's newest link then, or -1."""
    size_B: Int64s
    own_B: NDArray[np.bool_]
    """Whether the row's own item was among them: then there is nothing to rank."""

    def take(self, rows: Int64s) -> Self:
        return type(self)(self.link_B[rows], self.size_B[rows], self.own_B[rows])


class OwnerRows(NamedTuple):
    """Rows of a batch or of the queue."""

    owner_B: Int64s
    item_B: Int64s
    known_ms_B: Int64s


class LinkArrays(NamedTuple):
    """All links inside a kernel; the ids are of (owner, its start, item)."""

    ids: KeyArrays
    item_L: Int64s
    before_L: Int64s


class OwnerArrays(NamedTuple):
    """All owners inside a kernel."""

    ids: KeyArrays
    link_O: Int64s
    size_O: Int64s
    start_ms_O: Int64s
    last_ms_O: Int64s


class SeenArrays(NamedTuple):
    """`HadAtScoring`, to be written to by a kernel."""

    link_B: Int64s
    size_B: Int64s
    own_B: NDArray[np.bool_]


class Had:
    """The items that each owner (user or session) has had, as linked lists.

    Nothing is kept under the rule "none"; an event without a session is left to itself. A user's list only
    grows. A session is over once its newest known event is more than IDLE_MS older than the row at hand, by
    the stream's clock, that of `known_ms`: it then has had nothing, and starts anew with its next event.
    What is over is dropped whenever the lists would outgrow their room, which no answer depends on. So
    there is room for twice the links of the sessions of the last IDLE_MS, and for a micro-batch.
    """

    def __init__(self, rule: Rule) -> None:
        self.rule = rule
        self.idle_ms = IDLE_MS if rule == "session" else _FOREVER_MS
        self.clock_ms = 0
        """`known_ms` of the newest event folded in."""
        self.pairs = KeyMap()
        """(owner, its start, item) -> link."""
        self.item_L: Int64s = np.zeros(0, np.int64)
        self.before_L: Int64s = np.zeros(0, np.int64)
        self.owners = KeyMap()
        self.link_O: Int64s = np.zeros(0, np.int64)
        self.size_O: Int64s = np.zeros(0, np.int64)
        self.start_ms_O: Int64s = np.zeros(0, np.int64)
        """`known_ms` of the first event in the list, and of the newest one."""
        self.last_ms_O: Int64s = np.zeros(0, np.int64)

    def step(self, batch: ExampleBatch, queue: ExampleBatch, due_B: Int64s) -> HadAtScoring:
        """Fold the queue's rows in as they become due; what each row's owner had by then."""
        size = len(batch)
        seen = HadAtScoring(np.full(size, -1, np.int64), np.zeros(size, np.int64), np.zeros(size, np.bool_))
        if self.rule == "none" or not size:
            return seen
        due = int(due_B[-1])
        self._reserve(due)
        _step(
            self._rows(batch),
            self._rows(queue),
            due_B,
            self.idle_ms,
            LinkArrays(self.pairs.arrays, self.item_L, self.before_L),
            OwnerArrays(self.owners.arrays, self.link_O, self.size_O, self.start_ms_O, self.last_ms_O),
            SeenArrays(seen.link_B, seen.size_B, seen.own_B),
        )
        if due:
            self.clock_ms = int(queue.known_ms_B[due - 1])
        return seen

    def learn(self, queue: ExampleBatch) -> None:
        """Fold rows in at the end of a stream."""
        if len(queue):
            self.step(queue.take(slice(0, 1)), queue, np.array([len(queue)]))

    def listed(self, seen_R: HadAtScoring) -> tuple[Int64s, Int64s]:
        """(start_R1, item keys): row r's items are `keys[start_R1[r] : start_R1[r + 1]]`, newest first."""
        start_R1 = np.concatenate([np.zeros(1, np.int64), np.cumsum(seen_R.size_B)])
        keys = np.empty(start_R1[-1], np.int64)
        _listed(seen_R.link_B, start_R1, self.item_L, self.before_L, keys)
        return start_R1, keys

    def of(self, owner: int) -> Int64s:
        """Item keys that one owner has had by the newest known event, newest first."""
        row = self.owners.row(owner)
        if row < 0 or self.clock_ms - self.last_ms_O[row] > self.idle_ms:
            return np.zeros(0, np.int64)
        seen = HadAtScoring(self.link_O[row : row + 1], self.size_O[row : row + 1], np.zeros(1, np.bool_))
        return self.listed(seen)[1]

    def _rows(self, batch: ExampleBatch) -> OwnerRows:
        owner_B = batch.user_B if self.rule == "user" else batch.session_B
        return OwnerRows(owner_B, batch.item_B, batch.known_ms_B)

    def _reserve(self, extra: int) -> None:
        if len(self.pairs) + extra > len(self.pairs.keys):
            self._drop_idle()
            self.pairs.reserve(len(self.pairs))
        self.pairs.reserve(extra)
        self.owners.reserve(extra)
        self.item_L = grown(self.item_L, len(self.pairs.keys))
        self.before_L = grown(self.before_L, len(self.pairs.keys))
        for name in _OF_OWNERS:
            setattr(self, name, grown(getattr(self, name), len(self.owners.keys)))

    def _drop_idle(self) -> None:
        """Close up what is left of sessions that are not over: links in order, owners by their newest."""
        if self.rule == "session":
            last_ms_O = self.last_ms_O[: len(self.owners)]
            self._keep(np.flatnonzero(self.clock_ms - last_ms_O <= self.idle_ms), KeyMap())

    def forget(self, forgotten: Forgotten) -> None:
        """Drop users and items that have left."""
        if self.rule != "none":
            gone_U = forgotten.user_U if self.rule == "user" else forgotten.user_U[:0]
            self._keep(without(self.owners, gone_U)[1], KeyMap(forgotten.item_I))

    def _keep(self, kept_O: Int64s, gone: KeyMap) -> None:
        """Close up what is left: these owners, without the items that are gone."""
        links = len(self.pairs)
        kept_L = np.zeros(links, np.bool_)
        _rewire(kept_O, self.link_O, self.size_O, self.item_L, self.before_L, gone.table, kept_L)
        kept_O = kept_O[np.argsort(self.link_O[kept_O], kind="stable")]
        link_L = np.where(kept_L, np.cumsum(kept_L) - 1, -1)
        self.pairs = KeyMap(self.pairs.keys[:links][kept_L])
        self.item_L = self.item_L[:links][kept_L]
        before_L = self.before_L[:links][kept_L]
        self.before_L = np.where(before_L >= 0, link_L[before_L], -1)
        self.owners = KeyMap(self.owners.keys[kept_O])
        for name in _OF_OWNERS:
            setattr(self, name, getattr(self, name)[kept_O])
        self.link_O = np.where(self.link_O >= 0, link_L[self.link_O], -1)

    def tree(self) -> Tree:
        """Without what is over, so that it depends on the stream alone."""
        self._drop_idle()
        self._reserve(0)
        links, owners = len(self.pairs), len(self.owners)
        return {
            "pairs": self.pairs.tree(),
            "item_L": self.item_L[:links].copy(),
            "before_L": self.before_L[:links].copy(),
            "owners": self.owners.tree(),
            "clock_ms": self.clock_ms,
            **{name: getattr(self, name)[:owners].copy() for name in _OF_OWNERS},
        }

    def load(self, tree: Tree) -> None:
        self.pairs.load(tree["pairs"])
        self.owners.load(tree["owners"])
        self.clock_ms = int(tree["clock_ms"])
        for name in ("item_L", "before_L", *_OF_OWNERS):
            setattr(self, name, np.array(tree[name]))
        self._reserve(0)


_OF_OWNERS = ("link_O", "size_O", "start_ms_O", "last_ms_O")


@compiled
def _step(
    rows: OwnerRows,
    queue: OwnerRows,
    due_B: Int64s,
    idle_ms: int,
    links: LinkArrays,
    owners: OwnerArrays,
    seen: SeenArrays,
) -> None:
    q = 0
    for b in range(rows.owner_B.shape[0]):
        while q < due_B[b]:
            owner, item, known_ms = queue.owner_B[q], queue.item_B[q], queue.known_ms_B[q]
            if owner != NO_KEY:
                known_owners, known_links = owners.ids.used[0], links.ids.used[0]
                o = add(owners.ids, owner)
                if o == known_owners or known_ms - owners.last_ms_O[o] > idle_ms:
                    owners.link_O[o] = -1
                    owners.size_O[o] = 0
                    owners.start_ms_O[o] = known_ms
                owners.last_ms_O[o] = known_ms
                link = add(links.ids, pair(pair(owner, owners.start_ms_O[o]), item))
                if link == known_links:
                    links.item_L[link] = item
                    links.before_L[link] = owners.link_O[o]
                    owners.link_O[o] = link
                    owners.size_O[o] += 1
            q += 1
        owner = rows.owner_B[b]
        if owner != NO_KEY:
            o = find(owners.ids.table, owner)
            if o >= 0 and rows.known_ms_B[b] - owners.last_ms_O[o] <= idle_ms:
                seen.link_B[b] = owners.link_O[o]
                seen.size_B[b] = owners.size_O[o]
                own = pair(pair(owner, owners.start_ms_O[o]), rows.item_B[b])
                seen.own_B[b] = find(links.ids.table, own) >= 0


@compiled
def _rewire(
    kept_O: Int64s,
    link_O: Int64s,
    size_O: Int64s,
    item_L: Int64s,
    before_L: Int64s,
    gone: Int64s,
    kept_L: NDArray[np.bool_],
) -> None:
    """Mark the links of owners that are kept, and lead past those of items that are gone."""
    for o in kept_O:
        link, newer, many = link_O[o], -1, 0
        link_O[o] = -1
        for _ in range(size_O[o]):
            older = before_L[link]
            if find(gone, item_L[link]) < 0:
                kept_L[link] = True
                many += 1
                before_L[link] = -1
                if newer < 0:
                    link_O[o] = link
                else:
                    before_L[newer] = link
                newer = link
            link = older
        size_O[o] = many


@compiled
def _listed(link_R: Int64s, start_R1: Int64s, item_L: Int64s, before_L: Int64s, keys: Int64s) -> None:
    for r in range(link_R.shape[0]):
        link = link_R[r]
        for i in range(start_R1[r], start_R1[r + 1]):
            keys[i] = item_L[link]
            link = before_L[link]
