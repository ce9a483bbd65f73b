"""From the trainer to the store: the newest interests of every user seen, the vectors of every item changed.

A delta goes out every `every` events and at the end. A user's row is made from the memory as it is after
its last event (`state.memory.after`), so that a reader sees what the user has just done. Under a label
delay that event has no outcome yet, and on a log without labels it is not remembered yet: what is not known
must not be served either. Where the next request will come from is not known: the row is for the place
where the user was last.
"""

from dataclasses import replace
from typing import Protocol

import numpy as np

from learners.contract import Learner
from learners.tables.leaveout import Had
from learners.training.trainer import Scored
from state.examples import ExampleBatch, concat
from state.keys import NO_KEY, Int64s, Names
from state.memory.after import after, last_ms
from state.places import closeness_to_last
from state.side import SideTable
from state.store.contract import Gone, ItemRows, UserRows
from state.store.records import MEMORY_ENTRY, MEMORY_LIMIT, NO_TOTALS, TOTAL, Entries, Totals
from state.tree import Tree

_NOBODY = (np.zeros(0, np.int64), np.zeros(0, np.int64), 0)
"""Keys of users and of items that have left, and before which event time."""
_MOST_TITLES, _LONGEST_TITLE = 200_000, 120


class Sink(Protocol):
    """Where deltas go: an embedding store, or what stands before it."""

    def publish(self, version: int, users: UserRows | None = None, items: ItemRows | None = None) -> None: ...


class Publisher:
    """A trainer's listener that publishes deltas of one learner's vectors."""

    def __init__(
        self,
        sink: Sink,
        learner: Learner,
        names: Names,
        had: Had,
        *,
        every: int,
        known: bool,
        periodic: bool,
    ) -> None:
        """`known` and `periodic` as for `state.memory.after`."""
        self.sink = sink
        self.learner = learner
        self.names = names
        self.had = had
        self.every = every
        self.known = known
        self.periodic = periodic
        self.version = 0
        self.width = 0
        """D of the vectors published; 0 before the first."""
        self._rows: list[ExampleBatch] = []
        self._newest_ms = 0
        """Of the events behind what was published."""
        self._events = 0
        self._gone = _NOBODY

    def __call__(self, scored: Scored) -> None:
        rows = _last_of_each_user(scored.batch)
        self._rows.append(self.learner.narrow(rows))
        self._events += len(scored.batch)
        for forgotten in scored.forgotten:
            users, items, _ = self._gone
            users = np.concatenate([users, forgotten.user_U])
            self._gone = (users, np.concatenate([items, forgotten.item_I]), forgotten.before_ms)
        if self._events >= self.every:
            self.flush()

    def flush(self) -> None:
        """Publish what changed since the last time, as the next version."""
        if not self._rows:
            return
        rows = _last_of_each_user(concat(self._rows))
        self._rows, self._events = [], 0
        selection = self.learner.needs.selection
        seen = at_last_place(after(rows, selection, known=self.known, periodic=self.periodic))
        interests_BKD = self.learner.interests(seen)
        changed = self.learner.changed_items()
        vectors_ND = self.learner.item_vectors(changed)
        if interests_BKD is None or vectors_ND is None:
            return
        self.version += 1
        self.width = vectors_ND.shape[1]
        self._newest_ms = max(self._newest_ms, int(rows.time_ms_B.max()))
        users, items, before_ms = self._gone
        self._gone = _NOBODY
        self.sink.publish(
            self.version,
            UserRows(
                ids=[self.names[key] for key in rows.user_B.tolist()],
                event_time_ms_B=rows.time_ms_B,
                interests_BKD=interests_BKD,
                memory_B=None if seen.window is None else memory_entries(seen),
                totals_B=None if seen.window is None else memory_totals(seen),
                left_out_B=self._left_out(rows),
                gone=Gone([self.names[key] for key in users.tolist()], before_ms),
            ),
            ItemRows(
                ids=[self.names[key] for key in changed.tolist()],
                event_time_ms_B=np.full(len(changed), rows.time_ms_B.max()),
                vectors_BD=vectors_ND,
                gone=Gone([self.names[key] for key in items.tolist()], self._newest_ms + 1),
            ),
        )

    def _left_out(self, rows: ExampleBatch) -> list[Int64s] | None:
        if self.had.rule == "none":
            return None
        owners = rows.user_B if self.had.rule == "user" else rows.session_B
        return [self.had.of(owner) for owner in owners.tolist()]

    def tree(self) -> Tree:
        return {
            "version": self.version,
            "width": self.width,
            "events": self._events,
            "rows": concat(self._rows).tree() if self._rows else {},
            "newest_ms": self._newest_ms,
            "gone": dict(zip(("users", "items", "before_ms"), self._gone, strict=True)),
        }

    def load(self, tree: Tree) -> None:
        self.version, self.width, self._events = (int(tree[name]) for name in ("version", "width", "events"))
        self._rows = [ExampleBatch.from_tree(tree["rows"])] if tree.get("rows") else []
        self._newest_ms = int(tree.get("newest_ms", 0))
        if "gone" in tree:
            users, items = (np.asarray(tree["gone"][name], np.int64) for name in ("users", "items"))
            self._gone = (users, items, int(tree["gone"]["before_ms"]))


def titles(items: SideTable | None, names: Names, now_ms: int) -> dict[str, str]:
    """The first text of each item that has one by now, for people to read."""
    if items is None or not items.texts or len(items.ids) > _MOST_TITLES:
        return {}
    text_N = next(iter(items.texts.values()))
    return {item: text_N[row][:_LONGEST_TITLE] for item, row in _by_now(items, names, now_ms) if text_N[row]}


def columns(items: SideTable | None, names: Names, now_ms: int) -> dict[str, dict[str, tuple[str, ...]]]:
    """Category column -> value -> items that have it by now; long columns are left out."""
    if items is None:
        return {}
    known, made = _by_now(items, names, now_ms), {}
    for column, of in items.categories.items():
        if len(of.keys) > _MOST_TITLES:
            continue
        having: dict[str, list[str]] = {}
        for item, row in known:
            for key in of.keys[of.start_N1[row] : of.start_N1[row + 1]].tolist():
                having.setdefault(names[key], []).append(item)
        made[column] = {value: tuple(ids) for value, ids in having.items()}
    return made


def _by_now(items: SideTable, names: Names, now_ms: int) -> list[tuple[str, int]]:
    """Every item that something is known of, and the row that says it."""
    keys, rows = items.ids.tolist(), items.rows(items.ids, np.full(len(items.ids), now_ms)).tolist()
    return [(names[key], row) for key, row in zip(keys, rows, strict=True) if row >= 0]


def _last_of_each_user(rows: ExampleBatch) -> ExampleBatch:
    backwards = rows.user_B[::-1]
    _, first = np.unique(backwards, return_index=True)
    return rows.take(np.sort(len(rows) - 1 - first))


def at_last_place(rows: ExampleBatch) -> ExampleBatch:
    """Each row's window for a request from where its newest entry that has a place was."""
    window = rows.window
    if window is None:
        return rows
    place_BW = np.zeros_like(window.place_BW)
    closeness_to_last(window.length_B, window.cell_BW, place_BW)
    return replace(rows, window=replace(window, place_BW=place_BW))


def memory_entries(rows: ExampleBatch) -> list[Entries]:
    """What a query needs of each row's window: the newest entries, MEMORY_LIMIT at most, oldest first."""
    window = rows.window
    assert window is not None
    kept_B = np.minimum(window.length_B, MEMORY_LIMIT)
    at_BW = np.arange(window.item_BW.shape[1]) - (window.length_B - kept_B)[:, np.newaxis]
    kept_BW = (at_BW >= 0) & (at_BW < kept_B[:, np.newaxis])
    entries_E = np.zeros(int(kept_B.sum()), MEMORY_ENTRY)
    entries_E["item"] = window.item_BW[kept_BW]
    entries_E["time_ms"] = window.time_ms_BW[kept_BW]
    entries_E["last_ms"] = last_ms(window, rows.time_ms_B)[kept_BW]
    entries_E["cell"] = window.cell_BW[kept_BW]
    entries_E["strength_s"] = window.strength_s_BW[kept_BW]
    entries_E["label"] = window.label_BW[kept_BW]
    entries_E["minute"] = window.minute_BW[kept_BW]
    entries_E["before"] = window.before_BW[kept_BW]
    entries_E["gap_s"] = window.gap_s_BW[kept_BW]
    return [np.copy(entries) for entries in np.split(entries_E, np.cumsum(kept_B)[:-1])]


def memory_totals(rows: ExampleBatch) -> list[Totals]:
    """What the whole memory says of items: of users whose window does not tell it all by its entries."""
    window = rows.window
    assert window is not None
    real_BI = window.total_item_BI != NO_KEY
    made = []
    for b, time_ms in enumerate(rows.time_ms_B.tolist()):
        real_I, length = real_BI[b], window.length_B[b]
        good_W = ~(window.label_BW[b, :length] <= 0.5)
        same_IW = window.total_item_BI[b, real_I, np.newaxis] == window.item_BW[b, :length]
        count_I = window.total_count_BI[b, real_I]
        since_I = length - 1 - np.where(same_IW, np.arange(length), -1).max(1, initial=-1)
        told_I = ((same_IW & good_W).sum(1) == count_I) & (since_I == window.total_since_BI[b, real_I])
        if told_I.all():
            made.append(NO_TOTALS)
            continue
        totals = np.zeros(int(real_I.sum()), TOTAL)
        totals["item"] = window.total_item_BI[b, real_I]
        totals["count"], totals["since"] = count_I, window.total_since_BI[b, real_I]
        totals["faded"] = window.total_faded_BI[b, real_I]
        for name, ago_s_BI in (("first_ms", window.total_first_s_BI), ("last_ms", window.total_last_s_BI)):
            totals[name] = time_ms - np.rint(ago_s_BI[b, real_I].astype(np.float64) * 1000.0).astype(np.int64)
        made.append(totals)
    return made
