"""How long events take from their production to their being readable: counts by duration, a minute of them.

Shape suffixes: B durations, D buckets, S seconds.
"""

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from state.keys import Int64s

_STEP = 1.05
_BUCKETS = 480
"""From a millisecond up to 170 days, each a twentieth wider than the one before."""
_SECONDS = 60
Quantile = Literal["p50", "p95", "p99"]
_QUANTILES: dict[Quantile, float] = {"p50": 0.5, "p95": 0.95, "p99": 0.99}


class Delays:
    """Durations are rounded up to the end of their bucket, by a twentieth at most."""

    def __init__(self) -> None:
        self.total_D: Int64s = np.zeros(_BUCKETS, np.int64)
        """Since the start."""
        self._recent_SD: Int64s = np.zeros((_SECONDS, _BUCKETS), np.int64)
        self._second = 0

    def add(self, delay_ms_B: NDArray[np.floating[Any]], count_B: Int64s, now_s: float) -> None:
        """So many events took so long."""
        self._turn(now_s)
        bucket_B = np.ceil(np.log(np.maximum(delay_ms_B, 1)) / np.log(_STEP)).astype(np.int64)
        found_D = np.bincount(np.minimum(bucket_B, _BUCKETS - 1), count_B, _BUCKETS).astype(np.int64)
        self.total_D += found_D
        self._recent_SD[self._second % _SECONDS] += found_D

    def recent(self, now_s: float) -> dict[Quantile, float]:
        """Quantiles over the last minute, in ms; empty if there was nothing."""
        self._turn(now_s)
        upto_D = np.cumsum(self._recent_SD.sum(0))
        if not upto_D[-1]:
            return {}
        return {
            name: round(float(_STEP ** np.searchsorted(upto_D, share * upto_D[-1])), 1)
            for name, share in _QUANTILES.items()
        }

    def _turn(self, now_s: float) -> None:
        passed = int(now_s) - self._second
        for second in range(self._second + 1, self._second + 1 + min(max(passed, 0), _SECONDS)):
            self._recent_SD[second % _SECONDS] = 0
        self._second = max(self._second, int(now_s))
