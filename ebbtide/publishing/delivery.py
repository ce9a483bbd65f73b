"""What is to be published, on its way to the store: sent in a thread of its own, kept while it is away.

Deltas that wait are one: the newest row of each user and item, sent under one version. So a store that is
slow or gone holds up nobody, what waits is bounded by users and items, and nothing is lost.

With every delta, and every two seconds besides, it is asked whether the store still holds all that it was
given (`sending`). If not, everything is published again from the mirror.

Shape suffixes: B rows, P moments of production.
"""

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from ebbtide.publishing.delta import Delta, from_tree, merged, to_tree
from ebbtide.publishing.mirror import Mirror
from ebbtide.publishing.sending import LOOK_S, Sending
from state.errors import InputError
from state.keys import Int64s
from state.progress import TrainerStatus
from state.store.contract import (
    EmbeddingStore,
    ItemRows,
    RunInfo,
    UserRows,
)
from state.tree import Tree

log = logging.getLogger("ebbtide.train")

MOST_BYTES = 256 << 20
"""Of users' rows that wait; with more, learning should wait too."""
_PAUSE_S, _LONGEST_PAUSE_S = 0.2, 5.0


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

    def __init__(
        self,
        store: EmbeddingStore,
        mirror: Mirror,
        version: int = 0,
        on_request: Callable[[bytes], None] = lambda request: None,
    ) -> None:
        """`on_request` is called, in the thread, with what the trainer is asked by way of the store."""
        self.store, self.mirror, self.on_request = store, mirror, on_request
        self._to_store = Sending(store, mirror, version, self._newest_said)
        self.trouble: str | None = None
        """Why nothing arrives."""
        self.failure: Exception | None = None
        """What ended the thread, which nothing should."""
        self.holding = False
        """While it is set nothing is published: what waits may be older than what readers have."""
        self._arrived: list[Arrived] = []
        self._waiting: list[Delta] = []
        self._sending: list[Delta] = []
        self._produced: list[Int64s] = []
        self._info: RunInfo | None = None
        self._said: TrainerStatus | None = None
        self._to_keep: tuple[str, int] | None = None
        self._before_keep = 0
        """How many of those that wait go out before a version is kept."""
        self._back_to_ms: int | None = None
        self._closing = False
        self._news = threading.Condition()
        self._thread = threading.Thread(target=self._run, name="delivery", daemon=True)

    @property
    def version(self) -> int:
        """The newest that is in the store."""
        return self._to_store.version

    @property
    def readers_at(self) -> int:
        """The version that the store has pointed readers at, as far as is known; 0 before it was asked."""
        return self._to_store.readers_at

    @property
    def lost(self) -> str | None:
        """How far the publishing of all is, while what was published is not all there."""
        return self._to_store.lost

    def start(self) -> None:
        self._thread.start()

    def learned(self, produced_ms_B: Int64s) -> None:
        """When the events behind the next delta were produced."""
        self._produced.append(produced_ms_B)

    def publish(self, version: int, users: UserRows | None = None, items: ItemRows | None = None) -> None:
        """Take a delta. Its version counts only as being newer than the one before.

        Raises FloatingPointError where a vector has values that are no numbers, as no store takes them.
        """
        assert users is not None
        assert items is not None
        if not (np.isfinite(users.interests_BKD).all() and np.isfinite(items.vectors_BD).all()):
            raise FloatingPointError("vectors with values that are no numbers: the learner has diverged")
        produced = np.concatenate(self._produced) if self._produced else np.zeros(0, np.int64)
        self._produced = []
        produced_ms_P, count_P = np.unique(produced, return_counts=True)
        delta = Delta(users=users, items=items, produced_ms_P=produced_ms_P, count_P=count_P)
        with self._news:
            self._waiting.append(delta)
            if len(self._waiting) > 16:
                parts = self._waiting[: self._before_keep], self._waiting[self._before_keep :]
                self._waiting = [merged(part) for part in parts if part]
                self._before_keep = min(self._before_keep, 1)
            self._news.notify()

    def arrived(self) -> list[Arrived]:
        """What readers see since the last call."""
        with self._news:
            arrived, self._arrived = self._arrived, []
        return arrived

    def tell(self, info: RunInfo) -> None:
        with self._news:
            self._info = info
            self._news.notify()

    def say(self, status: TrainerStatus) -> None:
        """It is said with the versions of the moment that it is sent: a later one than readers saw before."""
        with self._news:
            self._said = status
            self._news.notify()

    def keep(self, note: str, clock_ms: int) -> None:
        """Keep the version with all that was given by now, unless readers are served an earlier one."""
        with self._news:
            self._to_keep, self._before_keep = (note, clock_ms), len(self._waiting)
            self._news.notify()

    def roll_back(self, time_ms: int) -> None:
        """Serve readers the newest version kept that had learned nothing from stream time `time_ms` on."""
        with self._news:
            self._back_to_ms = time_ms
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
            waits = self._waiting or self._sending or self._info or self._said or self._to_keep
            return not waits and self._back_to_ms is None

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
                if not (self._closing or self._ready()):
                    self._news.wait(LOOK_S)
                if self._closing:
                    return
                info, status, to_keep = self._info, self._said, self._to_keep
                if not self.holding:
                    first = len(self._waiting) if to_keep is None else self._before_keep
                    self._sending, self._waiting = self._waiting[:first], self._waiting[first:]
                    self._before_keep = 0
            try:
                self._send(info, status)
                if not self.holding:
                    self._keep(to_keep)
                    self._serve_earlier()
                self.trouble, pause_s = None, _PAUSE_S
            except InputError as error:
                self.trouble = f"store: {error}"
                with self._news:
                    self._before_keep += len(self._sending) if self._to_keep else 0
                    self._waiting, self._sending = self._sending + self._waiting, []
                    self._news.wait_for(lambda: self._closing, timeout=pause_s)
                pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)
            except Exception as error:
                self.failure = error
                return

    def _ready(self) -> bool:
        waits = self._waiting or self._to_keep or self._back_to_ms is not None
        return bool((waits and not self.holding) or self._info or self._said)

    def _send(self, info: RunInfo | None, status: TrainerStatus | None) -> None:
        self._to_store.begin()
        if self._sending:
            delta = merged(self._sending)
            at_ms = self._to_store.publish(delta)
            with self._news:
                self._sending = []
                self._arrived.append(Arrived(at_ms, delta.produced_ms_P, delta.count_P))
        else:
            self._to_store.look()
        if info is not None:
            self._to_store.tell(info)
        if status is not None:
            self._to_store.say(status)
            self._take_request()
        with self._news:
            self._info = None if self._info is info else self._info
            self._said = None if self._said is status else self._said

    def _take_request(self) -> None:
        """What the trainer is asked by way of the store; it is there until it was handed over."""
        request = self.store.request()
        if request is not None:
            self.on_request(request)
            self.store.put_request(None)

    def _keep(self, to_keep: tuple[str, int] | None) -> None:
        if to_keep is None:
            return
        self._to_store.keep(*to_keep)
        with self._news:
            self._to_keep = None if self._to_keep is to_keep else self._to_keep

    def _serve_earlier(self) -> None:
        time_ms = self._back_to_ms
        if time_ms is None:
            return
        self._to_store.serve_earlier(time_ms)
        with self._news:
            self._back_to_ms = None if self._back_to_ms == time_ms else self._back_to_ms

    def _newest_said(self) -> TrainerStatus | None:
        with self._news:
            return self._said

    def still(self) -> Callable[[], Tree]:
        """The version and what has not arrived by now, as far as is known: a tree, made when it is called."""
        with self._news:
            deltas = self._sending + self._waiting
            version = self.version + bool(self._sending)
        return lambda: {"version": version, **(to_tree(merged(deltas)) if deltas else {})}

    def load(self, tree: Tree) -> None:
        with self._news:
            self._to_store.version = int(tree["version"])
            if "users" in tree:
                self._waiting.insert(0, from_tree(tree))
