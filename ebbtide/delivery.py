"""What is to be published, on its way to the store: sent in a thread of its own, kept while it is away.

Deltas that wait are one: the newest row of each user and item, sent under one version. So a store that is
slow or gone holds up nobody, what waits is bounded by users and items, and nothing is lost.

Shape suffixes: B rows, K interests, D width, P moments of production.
"""

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Any

import numpy as np

from state import texts
from state.errors import InputError
from state.keys import Int64s
from state.records import MEMORY_ENTRY, Packed, Record, pack, unpack
from state.store import EmbeddingStore, ItemRows, RunInfo, UserRows
from state.tree import Tree

MOST_BYTES = 256 << 20
"""Of users' rows that wait; with more, learning should wait too."""
_PAUSE_S, _LONGEST_PAUSE_S = 0.2, 5.0
_EXACT_MS = 10_000
"""What was produced longer before the newest is known by the second."""
_NO_ENTRIES, _NO_KEYS = np.zeros(0, MEMORY_ENTRY), np.zeros(0, np.int64)


@dataclass(frozen=True, kw_only=True)
class Delta:
    """Rows to publish, and when the events behind them were produced: so many each."""

    users: UserRows
    items: ItemRows
    produced_ms_P: Int64s
    count_P: Int64s

    @cached_property
    def nbytes(self) -> int:
        """Of the users."""
        lists = (*(self.users.memory_B or ()), *(self.users.left_out_B or ()))
        return int(self.users.interests_BKD.nbytes + sum(one.nbytes for one in lists))


@dataclass(frozen=True, slots=True)
class Arrived:
    """A delta that readers see."""

    at_ms: float
    produced_ms_P: Int64s
    count_P: Int64s


class Delivery:
    """Publishes in the background. `publish`, `tell` and `say` return at once; only the newest is said.

    Versions go on above `version` and above what the store has.
    """

    def __init__(self, store: EmbeddingStore, version: int = 0) -> None:
        self.store = store
        self.version = version
        """The newest that is in the store."""
        self.trouble: str | None = None
        self.failure: Exception | None = None
        """What ended the thread, which nothing should."""
        self.holding = False
        """While it is set nothing is published: what waits may be older than what readers have."""
        self._arrived: list[Arrived] = []
        self._waiting: list[Delta] = []
        self._sending: list[Delta] = []
        self._produced: list[Int64s] = []
        self._info: RunInfo | None = None
        self._said: bytes | None = None
        self._above_store = False
        self._closing = False
        self._news = threading.Condition()
        self._thread = threading.Thread(target=self._run, name="delivery", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def learned(self, produced_ms_B: Int64s) -> None:
        """When the events behind the next delta were produced."""
        self._produced.append(produced_ms_B)

    def publish(self, version: int, users: UserRows | None = None, items: ItemRows | None = None) -> None:
        """Take a delta. Its version counts only as being newer than the one before."""
        assert users is not None
        assert items is not None
        produced = np.concatenate(self._produced) if self._produced else np.zeros(0, np.int64)
        self._produced = []
        produced_ms_P, count_P = np.unique(produced, return_counts=True)
        delta = Delta(users=users, items=items, produced_ms_P=produced_ms_P, count_P=count_P)
        with self._news:
            self._waiting.append(delta)
            if len(self._waiting) > 16:
                self._waiting = [merged(self._waiting)]
            self._news.notify()

    def arrived(self) -> list[Arrived]:
        """What readers see since the last call."""
        with self._news:
            found, self._arrived = self._arrived, []
        return found

    def tell(self, info: RunInfo) -> None:
        with self._news:
            self._info = info
            self._news.notify()

    def say(self, status: bytes) -> None:
        with self._news:
            self._said = status
            self._news.notify()

    @property
    def full(self) -> bool:
        """Whether so much waits that learning should, too."""
        with self._news:
            return sum(delta.nbytes for delta in self._waiting) > MOST_BYTES

    @property
    def idle(self) -> bool:
        """Whether all has arrived."""
        with self._news:
            return not (self._waiting or self._sending or self._info or self._said)

    def release(self) -> None:
        """Hold nothing any longer."""
        with self._news:
            self.holding = False
            self._news.notify()

    def drain(self, patience_s: float) -> bool:
        """Wait until all has arrived, so long at most; whether it has."""
        deadline = time.monotonic() + patience_s
        while not self.idle and time.monotonic() < deadline and self.failure is None:
            time.sleep(0.005)
        return self.idle

    def close(self) -> None:
        """End, with what has arrived by now."""
        with self._news:
            self._closing = True
            self._news.notify()
        self._thread.join(timeout=_LONGEST_PAUSE_S)

    def _run(self) -> None:
        pause_s = _PAUSE_S
        while True:
            with self._news:
                while not (self._closing or self._ready()):
                    self._news.wait()
                if self._closing:
                    return
                info, said = self._info, self._said
                if not self.holding:
                    self._sending, self._waiting = self._waiting, []
            try:
                self._send(info, said)
                self.trouble, pause_s = None, _PAUSE_S
            except InputError as error:
                self.trouble = f"store: {error}"
                with self._news:
                    self._waiting, self._sending = self._sending + self._waiting, []
                    self._news.wait_for(lambda: self._closing, timeout=pause_s)
                pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)
            except Exception as error:
                self.failure = error
                return

    def _ready(self) -> bool:
        return bool((self._waiting and not self.holding) or self._info or self._said)

    def _send(self, info: RunInfo | None, said: bytes | None) -> None:
        if not self._above_store:
            self.version = max(self.version, self.store.version() + 1)
            self._above_store = True
        if self._sending:
            delta = merged(self._sending)
            self.store.publish(self.version + 1, delta.users, delta.items)
            with self._news:
                self.version += 1
                self._sending = []
                self._arrived.append(Arrived(time.time() * 1000, delta.produced_ms_P, delta.count_P))
        if info is not None:
            self.store.put_info(info)
        if said is not None:
            self.store.put_status(said)
        with self._news:
            self._info = None if self._info is info else self._info
            self._said = None if self._said is said else self._said

    def still(self) -> Callable[[], Tree]:
        """The version and what has not arrived by now, as far as is known: a tree, made when it is called."""
        with self._news:
            deltas = self._sending + self._waiting
            version = self.version + bool(self._sending)
        return lambda: {"version": version, **(_to_tree(merged(deltas)) if deltas else {})}

    def load(self, tree: Tree) -> None:
        with self._news:
            self.version = int(tree["version"])
            if "users" in tree:
                self._waiting.insert(0, _from_tree(tree))


def merged(deltas: Sequence[Delta]) -> Delta:
    """The newest row of each user and item."""
    if len(deltas) == 1:
        return deltas[0]
    users, items = [delta.users for delta in deltas], [delta.items for delta in deltas]
    user_ids, item_ids = [i for one in users for i in one.ids], [i for one in items for i in one.ids]
    u, i = _newest(user_ids), _newest(item_ids)
    memory_B, left_out_B = _lists(users, "memory_B", _NO_ENTRIES), _lists(users, "left_out_B", _NO_KEYS)
    produced_ms, counts = (
        np.concatenate([getattr(delta, name) for delta in deltas]) for name in ("produced_ms_P", "count_P")
    )
    old = produced_ms < produced_ms.max(initial=0) - _EXACT_MS
    moment_P, of = np.unique(np.where(old, produced_ms // 1000 * 1000, produced_ms), return_inverse=True)
    return Delta(
        users=UserRows(
            ids=[user_ids[b] for b in u],
            event_time_ms_B=np.concatenate([one.event_time_ms_B for one in users])[u],
            interests_BKD=np.concatenate([one.interests_BKD for one in users])[u],
            memory_B=None if memory_B is None else [memory_B[b] for b in u],
            left_out_B=None if left_out_B is None else [left_out_B[b] for b in u],
        ),
        items=ItemRows(
            ids=[item_ids[b] for b in i],
            event_time_ms_B=np.concatenate([one.event_time_ms_B for one in items])[i],
            vectors_BD=np.concatenate([one.vectors_BD for one in items])[i],
        ),
        produced_ms_P=moment_P,
        count_P=np.bincount(of, counts, len(moment_P)).astype(np.int64),
    )


def _lists(users: Sequence[UserRows], name: str, nothing: Any) -> list[Any] | None:
    """One of the lists of all users; None where nobody has one."""
    if all(getattr(one, name) is None for one in users):
        return None
    return [row for one in users for row in getattr(one, name) or [nothing] * len(one.ids)]


def _newest(ids: Sequence[str]) -> list[int]:
    """The last place of every id."""
    return list({identifier: b for b, identifier in enumerate(ids)}.values())


def _to_tree(delta: Delta) -> Tree:
    users, items = delta.users, delta.items
    rows = (users.ids, users.event_time_ms_B, users.interests_BKD, users.left_out_B, users.memory_B)
    return {
        "users": _packed_tree(pack(0, *rows)),
        "items": _packed_tree(pack(0, items.ids, items.event_time_ms_B, items.vectors_BD[:, np.newaxis])),
        "produced_ms": delta.produced_ms_P,
        "count": delta.count_P,
    }


def _packed_tree(packed: Packed) -> Tree:
    return {
        "ids": texts.to_tree(packed.names()),
        "start": packed.start_B1,
        "rows": np.frombuffer(packed.blob, np.uint8),
    }


def _records(tree: Tree) -> list[Record]:
    start, rows = tree["start"].tolist(), np.asarray(tree["rows"]).tobytes()
    return [unpack(rows[a:b]) for a, b in pairwise(start)]


def _from_tree(tree: Tree) -> Delta:
    users, items = _records(tree["users"]), _records(tree["items"])
    interests_BKD = np.array([one.vectors_KD for one in users])
    vectors_BD = np.array([one.vectors_KD[0] for one in items]).reshape(len(items), interests_BKD.shape[2])
    return Delta(
        users=UserRows(
            ids=texts.from_tree(tree["users"]["ids"]),
            event_time_ms_B=np.array([one.event_time_ms for one in users], np.int64),
            interests_BKD=interests_BKD,
            memory_B=[one.memory for one in users],
            left_out_B=[one.left_out for one in users],
        ),
        items=ItemRows(
            ids=texts.from_tree(tree["items"]["ids"]),
            event_time_ms_B=np.array([one.event_time_ms for one in items], np.int64),
            vectors_BD=vectors_BD,
        ),
        produced_ms_P=np.asarray(tree["produced_ms"]),
        count_P=np.asarray(tree["count"]),
    )
