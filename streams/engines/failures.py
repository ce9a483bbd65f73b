"""Partitions whose work has failed, and when each is tried again: a little later every time."""

import logging
import time
from dataclasses import dataclass

log = logging.getLogger("ebbtide.ingest")

_AGAIN_S, _MOST_AGAIN_S, _SAID_S = 1.0, 30.0, 60.0


@dataclass
class _Failed:
    times: int
    why: str
    said_s: float
    until_s: float


class Failures:
    """Those of one worker, each until it is held again."""

    def __init__(self) -> None:
        self._failed: dict[int, _Failed] = {}

    def __contains__(self, partition: int) -> bool:
        return partition in self._failed

    def __len__(self) -> int:
        return len(self._failed)

    def due(self, partition: int) -> bool:
        """Whether it may be tried."""
        failed = self._failed.get(partition)
        return failed is None or time.monotonic() >= failed.until_s

    def hurry(self) -> None:
        """All may be tried at once: they have been assigned anew."""
        for failed in self._failed.values():
            failed.until_s = 0.0

    def mended(self, partition: int) -> None:
        self._failed.pop(partition, None)

    def keep_off(self, partition: int, wait_s: float) -> None:
        """It is another's, for so long at least."""
        self._failed[partition] = _Failed(1, "", 0.0, time.monotonic() + wait_s)

    def add(self, partition: int, why: str) -> None:
        """Once more; and say so, but the same no more than now and then."""
        now_s, before = time.monotonic(), self._failed.get(partition)
        times = 1 if before is None else before.times + 1
        said_s = 0.0 if before is None or before.why != why else before.said_s
        if not said_s or now_s - said_s > _SAID_S:
            log.warning("partition %d: %s; starting over from what was committed", partition, why)
            said_s = now_s
        wait_s = min(_AGAIN_S * 2 ** (times - 1), _MOST_AGAIN_S)
        self._failed[partition] = _Failed(times, why, said_s, now_s + wait_s)
