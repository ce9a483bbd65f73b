"""Gaps in arrival: a stretch of event time without an event, much longer than any lately."""

import numpy as np

from monitor.alarms import GAP, Alarm
from state.arrays import Int64s
from state.compiled import compiled
from state.tree import Tree

STRETCH, STRETCHES = 1024, 20
"""Events of a stretch, and complete stretches that say what is usual: the longest gap in all of them."""
TIMES, LEAST_MS = 8, 60_000
"""A gap is told from so many times that, and from so long on."""


class Gaps:
    """Of one stream. Its clock never falls, so neither late events nor clocks that jump back make a gap."""

    def __init__(self) -> None:
        self._longest_S: Int64s = np.zeros(STRETCHES + 1, np.int64)
        """Longest gap of each stretch, ms; the newest, which is not complete, at `events // STRETCH`."""
        self._at: Int64s = np.zeros(2, np.int64)
        """Events so far, and the clock after them."""

    def alarms(self, events: int, clock_ms_B: Int64s) -> list[Alarm]:
        """Of the gaps that end with the events after so many, given the clock after each."""
        columns = _step(clock_ms_B, self._longest_S, self._at)
        return [
            Alarm(
                detector="longest",
                signal=GAP,
                event=events + 1 + row,
                time_ms=int(clock_ms_B[row]),
                since_event=events + row,
                since_ms=int(clock_ms_B[row]) - gap_ms,
                mean_before=usual_ms / 1000.0,
                mean_after=gap_ms / 1000.0,
                values_before=STRETCH * STRETCHES,
                values_after=1,
            )
            for row, usual_ms, gap_ms in zip(*(column.tolist() for column in columns), strict=True)
        ]

    def tree(self) -> Tree:
        return {"longest_S": self._longest_S.copy(), "at": self._at.copy()}

    def load(self, tree: Tree) -> None:
        self._longest_S, self._at = np.array(tree["longest_S"]), np.array(tree["at"])


@compiled
def _step(clock_ms_B: Int64s, longest_S: Int64s, at: Int64s) -> tuple[Int64s, Int64s, Int64s]:
    size = len(clock_ms_B)
    row_G, usual_G, gap_G = np.empty(size, np.int64), np.empty(size, np.int64), np.empty(size, np.int64)
    count = 0
    usual = longest_S.max()
    for b in range(size):
        events = at[0]
        gap = clock_ms_B[b] - at[1] if events else 0
        s = (events // STRETCH) % len(longest_S)
        if events % STRETCH == 0:
            longest_S[s] = 0
            usual = longest_S.max()
        full = events >= STRETCH * (len(longest_S) - 1)
        if full and gap >= LEAST_MS and gap > TIMES * usual:
            row_G[count], usual_G[count], gap_G[count] = b, usual, gap
            count += 1
        longest_S[s] = max(longest_S[s], gap)
        usual = max(usual, gap)
        at[0], at[1] = events + 1, clock_ms_B[b]
    return row_G[:count], usual_G[:count], gap_G[:count]
