"""How tests wait for what other processes and threads do: for the event, as long as a slow machine needs.

No time that passes is taken for an event, and no test fails by the clock: patience only ends one that hangs.
"""

import time
from collections.abc import Callable
from typing import TypeVar

PATIENCE_S = 600.0
"""Of a test with a process or a thread; nothing that works takes so long, on the slowest machine, cold."""
_MOST_S = 0.2

T = TypeVar("T")


def until(look: Callable[[], T], enough: Callable[[T], object] = bool) -> T:
    """What `look` gives once it is enough; fails with the last where that takes too long."""
    began_s = time.monotonic()
    while True:
        looked_s = time.monotonic()
        found = look()
        if enough(found):
            return found
        now_s = time.monotonic()
        assert now_s - began_s < PATIENCE_S, f"waited {PATIENCE_S:.0f} s, last seen: {found}"
        time.sleep(min(max(0.01, now_s - looked_s), _MOST_S))
