"""The feed of changed ids: what a reader that lives long has to read anew, instead of everything.

Every write of a store notes the ids that it put or removed, in order. A reader keeps the position up to which
it has read, and asks what has changed since: it gets those rows as they are now. The newest FEED notes are
kept. Where the note that a position names is there no longer (the reader was away for too long, the store was
emptied, lost a part of what it held or was restarted from older data), nobody can tell what has changed, and
the reader reads everything again.

Rows come with their version in one step, and what has changed is told as of one moment: so a reader that
follows has exactly one version. Only rows that are put without a version, as when a store has lost what it
had, are seen before they are pointed at.
"""

import os
from collections import deque
from collections.abc import Iterable

FEED = 4096
"""Notes that are kept."""
IDS_A_NOTE = 128
"""At most."""
NOWHERE = b""
"""The position in a feed that has nothing yet: nothing follows from there."""


def new_token() -> bytes:
    """What tells one note from all others, of other stores and other days, too."""
    return os.urandom(8)


class Feed:
    """A feed in this process's memory."""

    def __init__(self) -> None:
        self._notes: deque[tuple[bytes, list[bytes]]] = deque()

    def note(self, ids: Iterable[bytes]) -> None:
        changed = list(ids)
        for start in range(0, len(changed), IDS_A_NOTE):
            self._notes.append((new_token(), changed[start : start + IDS_A_NOTE]))
        while len(self._notes) > FEED:
            self._notes.popleft()

    def position(self) -> bytes:
        return self._notes[-1][0] if self._notes else NOWHERE

    def since(self, position: bytes) -> list[bytes] | None:
        """Each id once that was noted after `position`; None where that is not known."""
        for back, (token, _) in enumerate(reversed(self._notes)):
            if token == position:
                following = list(self._notes)[len(self._notes) - back :]
                return list(dict.fromkeys(identifier for _, ids in following for identifier in ids))
        return None

    def clear(self) -> None:
        self._notes.clear()
