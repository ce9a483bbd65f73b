"""An engine whose records live in a map of somebody else's: keyed state, of which no snapshot can be hooked.

Whoever owns the map may take a snapshot of it at any time, and finds the engine as it was when `settle` was
called last. What it has done since is worked out again, unsent, from the events themselves
(`streams.engines.restoring`).
"""

from collections.abc import Iterable
from typing import Protocol

from streams.engines.partition import Engine


class Entries(Protocol):
    """The map: Flink's `MapState`, as far as it is asked."""

    def items(self) -> Iterable[tuple[str, bytes]]: ...

    def put(self, key: str, value: bytes) -> None: ...

    def remove(self, key: str) -> None: ...


class Keyed:
    """An `Engine` in a map."""

    def __init__(self, engine: Engine, entries: Entries) -> None:
        """Goes on from what the map holds. Raises InputError."""
        self.engine, self._entries = engine, entries
        engine.restore({key.encode(): value for key, value in entries.items()})
        self._settled = engine.progress

    def settle(self) -> None:
        """Let the map hold the engine as it is."""
        if self.engine.progress == self._settled:
            return
        for record, content in self.engine.records().items():
            if content is None:
                self._entries.remove(record.decode())
            else:
                self._entries.put(record.decode(), content)
        self._settled = self.engine.progress
