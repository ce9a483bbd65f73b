"""From the trainer to the store: the newest interests of every user seen, the vectors of every item changed.

A delta goes out every `every` events and at the end. A user's row is made from the window of its last
event with that event itself added, so that a reader sees what the user has just done. Under a label delay
nothing is added: what is not known yet must not be served either.
"""

from dataclasses import fields, replace

import numpy as np

from learners.contract import Learner
from learners.leaveout import Had
from learners.trainer import Scored
from state.examples import RECENT, ExampleBatch, Window, concat
from state.forgetting import WEEK_MIN
from state.keys import Int64s, Names
from state.records import MEMORY_ENTRY, Entries
from state.store import EmbeddingStore, ItemRows, UserRows
from state.tree import Tree


class Publisher:
    """A trainer's listener that publishes deltas of one learner's vectors."""

    def __init__(
        self, store: EmbeddingStore, learner: Learner, names: Names, had: Had, *, every: int, own_event: bool
    ) -> None:
        self.store = store
        self.learner = learner
        self.names = names
        self.had = had
        self.every = every
        self.own_event = own_event
        self.version = 0
        self.width = 0
        """D of the vectors published; 0 before the first."""
        self._rows: list[ExampleBatch] = []
        self._events = 0

    def __call__(self, scored: Scored) -> None:
        self._rows.append(_last_of_each_user(scored.batch))
        self._events += len(scored.batch)
        if self._events >= self.every:
            self.flush()

    def flush(self) -> None:
        """Publish what changed since the last time, as the next version."""
        if not self._rows:
            return
        rows = _last_of_each_user(concat(self._rows))
        self._rows, self._events = [], 0
        seen = with_own_event(rows) if self.own_event else rows
        interests_BKD = self.learner.interests(seen)
        changed = self.learner.changed_items()
        vectors_ND = self.learner.item_vectors(changed)
        if interests_BKD is None or vectors_ND is None:
            return
        self.version += 1
        self.width = vectors_ND.shape[1]
        self.store.publish(
            self.version,
            UserRows(
                ids=[self.names[key] for key in rows.user_B.tolist()],
                event_time_ms_B=rows.time_ms_B,
                interests_BKD=interests_BKD,
                memory_B=None if seen.window is None else memory_entries(seen),
                left_out_B=self._left_out(rows),
            ),
            ItemRows(
                ids=[self.names[key] for key in changed.tolist()],
                event_time_ms_B=np.full(len(changed), rows.time_ms_B.max()),
                vectors_BD=vectors_ND,
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
        }

    def load(self, tree: Tree) -> None:
        self.version, self.width, self._events = (int(tree[name]) for name in ("version", "width", "events"))
        self._rows = [ExampleBatch.from_tree(tree["rows"])] if tree.get("rows") else []


def _last_of_each_user(rows: ExampleBatch) -> ExampleBatch:
    backwards = rows.user_B[::-1]
    _, first = np.unique(backwards, return_index=True)
    return rows.take(np.sort(len(rows) - 1 - first))


def with_own_event(rows: ExampleBatch) -> ExampleBatch:
    """Each row's window with the row's own event as its newest entry; a full window drops its oldest."""
    window = rows.window
    if window is None:
        return rows
    width = window.item_BW.shape[1]
    full_B = window.length_B == width
    columns = {f.name: np.array(getattr(window, f.name)) for f in fields(Window)}
    for name, column in columns.items():
        if name.endswith("_BW"):
            column[full_B, :-1] = column[full_B, 1:]
    row_B, at_B = np.arange(len(rows)), np.minimum(window.length_B, width - 1)
    own = {
        "item_BW": rows.item_B,
        "category_BW": rows.category_B,
        "cell_BW": rows.cell_B,
        "age_s_BW": 0.0,
        "retention_BW": 1.0,
        "hour_BW": 1.0 if window.hour_BW.any() else 0.0,
        "week_BW": 1.0 if window.week_BW.any() else 0.0,
        "place_BW": (rows.cell_B >= 0).astype(np.float32),
        "label_BW": rows.label_B,
        "views_BW": np.uint8(RECENT),
    }
    for name, value in own.items():
        columns[name][row_B, at_B] = value
    columns["length_B"] = at_B + 1
    return replace(rows, window=Window(**columns))


def memory_entries(rows: ExampleBatch) -> list[Entries]:
    """What a query needs of each row's window: one array of MEMORY_ENTRY a row, oldest first.

    `last_ms` and `strength_s` are those of a single event that is retained as well at the row's time.
    """
    window = rows.window
    assert window is not None
    entries_BW = np.zeros(window.item_BW.shape, MEMORY_ENTRY)
    age_s_BW = window.age_s_BW.astype(np.float64)
    with np.errstate(divide="ignore", invalid="ignore"):
        strength_s_BW = -age_s_BW / np.log(window.retention_BW)
    time_ms_BW = rows.time_ms_B[:, np.newaxis] - np.rint(age_s_BW * 1000).astype(np.int64)
    entries_BW["item"] = window.item_BW
    entries_BW["time_ms"] = entries_BW["last_ms"] = time_ms_BW
    entries_BW["cell"] = window.cell_BW
    entries_BW["strength_s"] = np.where(
        np.isfinite(strength_s_BW) & (strength_s_BW > 0), strength_s_BW, FRESH_S
    )
    entries_BW["label"] = window.label_BW
    entries_BW["minute"] = (time_ms_BW // 60_000 + rows.tz_min_B[:, np.newaxis]) % WEEK_MIN
    entries_BW["views"] = window.views_BW
    return [entries_BW[b, :length] for b, length in enumerate(window.length_B.tolist())]


FRESH_S = 3 * 86400.0
"""Strength of an entry that has not faded yet."""
