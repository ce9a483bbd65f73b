"""When a trainer saves itself, and what becomes of it: checkpoints, and the journal that goes with them."""

import logging
import time
from collections.abc import Callable

from ebbtide.live.arriving.journal import Journal
from ebbtide.live.settings import TrainerSettings
from ebbtide.live.snapshots import Saver
from state import checkpoint
from state.tree import Tree

log = logging.getLogger("ebbtide.train")

_AGAIN_S = 10.0
"""After a checkpoint that could not be written."""


class Keeping:
    """Checkpoints of one directory. One that cannot be written leaves the older ones, and is tried again."""

    def __init__(self, settings: TrainerSettings, journal: Journal) -> None:
        self.settings, self.journal = settings, journal
        self.events = 0
        """Examples done with, at the newest checkpoint that was begun."""
        self.written_ms: int | None = None
        """When the newest was there."""
        self.trouble: str | None = None
        self._saver = Saver(settings.directory)
        self._due_s = 0.0

    def start(self, events: int, tree: Callable[[], Tree]) -> None:
        """Begin a checkpoint after so many examples."""
        self.events = events
        self._saver.start(events, tree)
        self.journal.begin(events)
        self._due_s = time.monotonic() + self.settings.every_s

    def loaded(self, events: int) -> None:
        """A trainer goes on from a checkpoint."""
        self.events, self.written_ms = events, round(time.time() * 1000)

    def due(self, events: int) -> bool:
        """Whether it is time for a checkpoint after so many examples."""
        self.note()
        since = events - self.events
        many = since >= self.settings.every and self.trouble is None
        late = time.monotonic() >= self._due_s and (since > 0 or self.trouble is not None)
        return not self._saver.busy and (many or late)

    def note(self, *, wait: bool = False) -> None:
        """Take note of a checkpoint that was written, or not."""
        try:
            if not self._saver.ended(wait=wait):
                return
        except OSError as error:
            self.trouble = f"no checkpoint could be written ({error.strerror or error}); trying again"
            log.error("%s", self.trouble)
            self._due_s = time.monotonic() + _AGAIN_S
            return
        self.trouble, self.written_ms = None, round(time.time() * 1000)
        self.journal.prune(checkpoint.oldest(self.settings.directory))
