"""An engine whose records live in a map of somebody else's: keyed state, of which no snapshot can be hooked.

Whoever owns the map may take a snapshot of it at any time, and finds the engine as it was when `settle` was
called last. What it has done since is worked out again, unsent, from the events themselves
(`streams.engines.restoring`).
"""

from streams.engines.partition import Engine
from streams.records.packs import Entries, Packs


class Keyed:
    """An `Engine` in a map."""

    def __init__(self, engine: Engine, entries: Entries) -> None:
        """Goes on from what the map holds. Raises InputError."""
        self.engine = engine
        self._packs, records = Packs.of(entries)
        engine.restore(records)
        self._settled = engine.progress

    def settle(self) -> None:
        """Let the map hold the engine as it is."""
        if self.engine.progress == self._settled:
            return
        self._packs.write(self.engine.records())
        self._settled = self.engine.progress
