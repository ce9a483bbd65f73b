"""What a store is given, in order: deltas, each one version further; all of it again where it has lost any;
what is kept of it, and an earlier version for readers."""

import logging
import time
from collections.abc import Callable

import msgspec

from ebbtide.publishing.delta import Delta
from ebbtide.publishing.mirror import Mirror
from state import progress
from state.progress import TrainerStatus
from state.store.contract import (
    KINDS,
    EmbeddingStore,
    Gone,
    Kind,
    Publication,
    RunInfo,
    packed_items,
    packed_users,
)
from state.store.kept import NEWEST
from state.store.records import Packed

log = logging.getLogger("ebbtide.train")

LOOK_S = 2.0
_GONE = (
    "what was published is gone (emptied, restarted from older data, a replica that was behind, or evicted); "
    "publishing all of it again"
)


class Sending:
    """Every step waits for the store, and raises InputError where it does not answer.

    Versions go on above `version` and above what the store has. `said` is what is to be said of the trainer
    while all is published again.
    """

    def __init__(
        self, store: EmbeddingStore, mirror: Mirror, version: int, status: Callable[[], TrainerStatus | None]
    ) -> None:
        self.store, self.mirror = store, mirror
        self.version = version
        """The newest that is in the store."""
        self.readers_at = 0
        """The version that the store has pointed readers at, as far as is known; 0 before it was asked."""
        self.lost: str | None = None
        """How far the publishing of all is, while what was published is not all there."""
        self._said = status
        self._look_s = 0.0
        """When to ask next whether all is still there."""
        self._above_store = False

    def begin(self) -> None:
        """Once: versions go on above the store's, which holds what the mirror does, or all of what it has."""
        if self._above_store:
            return
        self.readers_at = self.store.version()
        if self.mirror.mark is None:
            self.mirror.fill(self.store)
        self.version = max(self.version, self.readers_at + 1)
        self.readers_at = self.mirror.version
        self._above_store = True

    def publish(self, delta: Delta) -> float:
        """When readers saw it, in ms since the epoch."""
        version = self.version + 1
        rows: dict[Kind, Packed] = {
            "items": packed_items(version, delta.items),
            "users": packed_users(version, delta.users),
        }
        gone: dict[Kind, Gone] = {"items": delta.items.gone, "users": delta.users.gone}
        assert self.mirror.mark is not None
        self._look_s = time.monotonic() + LOOK_S
        whole = self.store.write(Publication(version, rows, gone), self.mirror.mark, self.readers_at)
        for kind in rows:
            self.mirror.remove(kind, gone[kind])
        if whole:
            self.readers_at = self.version = version
            at_ms = time.time() * 1000
            self.mirror.keep(rows, version)
            return at_ms
        self.mirror.keep(rows, self.readers_at)
        self._publish_all(version)
        return time.time() * 1000

    def look(self) -> None:
        """Publish everything again if the store has lost any of it; asked every LOOK_S at most."""
        if time.monotonic() < self._look_s:
            return
        assert self.mirror.mark is not None
        self._look_s = time.monotonic() + LOOK_S
        if not self.store.intact(self.mirror.mark, self.readers_at):
            self._publish_all(self.version + 1)

    def tell(self, info: RunInfo) -> None:
        self.store.put_info(info)
        self.mirror.keep_info(info)

    def say(self, status: TrainerStatus) -> None:
        now = msgspec.structs.replace(status, version=self.version, readers_at=self.readers_at)
        self.store.put_status(progress.encode(now))

    def keep(self, note: str, clock_ms: int) -> None:
        """Keep the version that is there, unless readers are served an earlier one."""
        if self.readers_at and self.store.pointer().at == NEWEST:
            self.store.keep(note, clock_ms)

    def serve_earlier(self, time_ms: int) -> None:
        """Serve readers the newest version kept that had learned nothing from stream time `time_ms` on."""
        earlier = [
            kept.version
            for kept in self.store.kept()
            if kept.facts.clock_ms is not None and kept.facts.clock_ms < time_ms
        ]
        if earlier:
            self.store.rollback(earlier[-1])
            log.warning("readers are served version %d again, until `ebbtide versions resume`", earlier[-1])
        else:
            log.error("no version is kept from before the change; readers are served the newest")

    def _publish_all(self, version: int) -> None:
        """Rows as they were, with their stamps: none goes backwards. The version is new to readers."""
        assert self.mirror.mark is not None
        if self.lost is None:
            self.mirror.count_loss()
        self.store.forget_kept()  # their rows are those of the newest, of which some are gone
        done, whole = 0, self.mirror.count()
        for kind in KINDS:
            for page in self.mirror.pages(kind):
                self._say_lost(f"{done:,} of {whole:,} rows are there again")
                self.store.put(kind, page)
                done += len(page)
        info = self.mirror.info
        if info is not None:
            self.store.put_info(info)
        self.store.mark(self.mirror.mark)
        self.store.advance(version)
        self.readers_at = self.version = version
        log.warning("store: what was published had gone; all %d rows are there again", done)
        self.lost = None

    def _say_lost(self, how_far: str) -> None:
        if self.lost is None:
            log.warning("store: %s", _GONE)
        self.lost = f"store: {_GONE}: {how_far}"
        status = self._said()
        if status is not None:
            self.say(status)
