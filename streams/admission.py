"""Who is let in: duplicates and late events are dropped and counted, and the stream's clock is kept."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from state.compiled import compiled
from state.keys import NO_KEY, Int64s, KeyArrays, KeyMap, add, find
from state.tree import Tree

_BEFORE_ALL_MS = -(2**62)


ROW, KEPT, CLOCK, SINCE, DUPLICATES, LATE = range(6)
"""Where `_admit` is: its row, how many are kept, the clock, the generation's start; and two counts."""


class Verdict(NamedTuple):
    """Rows that are used, the clock as of each, and late rows."""

    row_K: Int64s
    clock_K: Int64s
    late_L: Int64s


class Admission:
    """The clock of a stream: the latest time among the events used.

    An event older than the clock by more than `lateness_ms` is late. An event whose id was used before is
    a duplicate. Ids are kept in two generations; a new one begins when the last is older than `lateness_ms`
    by the clock or holds `ids` ids. So the last `ids` ids are remembered, or as many as there were in the
    last `lateness_ms`: a repeat of an older one is late anyway.
    """

    def __init__(self, lateness_ms: int, ids: int) -> None:
        self.lateness_ms = lateness_ms
        self.ids = ids
        self.clock_ms = _BEFORE_ALL_MS
        self.duplicates = 0
        self.late = 0
        self._since_ms = _BEFORE_ALL_MS
        self.generation = 0
        """How often ids were forgotten."""
        self._now, self._before = KeyMap(), KeyMap()

    def admit(self, event_id_B: Int64s, time_ms_B: Int64s) -> tuple[Int64s, Int64s, Int64s]:
        """Rows (K,) that are used, the clock (K,) as of each, itself included, and late rows (L,)."""
        size = len(time_ms_B)
        verdict = Verdict(np.empty(size, np.int64), np.empty(size, np.int64), np.empty(size, np.int64))
        late = self.late
        at = np.array([0, 0, self.clock_ms, self._since_ms, self.duplicates, late], np.int64)
        while True:
            self._now.reserve(min(size - int(at[ROW]), self.ids))
            now, before = self._now.arrays, self._before.table
            _admit(event_id_B, time_ms_B, self.lateness_ms, self.ids, now, before, at, late, verdict)
            if at[ROW] == size:
                break
            self._before, self._now = self._now, KeyMap()
            self.generation += 1
            at[SINCE] = at[CLOCK]
        kept, self.clock_ms, self._since_ms, self.duplicates, self.late = at[1:].tolist()
        return verdict.row_K[:kept], verdict.clock_K[:kept], verdict.late_L[: self.late - late]

    @property
    def ids_by_generation(self) -> dict[int, Int64s]:
        """The ids remembered, in order, of the last generation and of this one: views."""
        kept = ((self.generation - 1, self._before), (self.generation, self._now))
        return {number: ids.keys[: len(ids)] for number, ids in kept}

    @property
    def numbers(self) -> tuple[int, int, int, int]:
        """All there is beside the ids, for `restore`."""
        return self.clock_ms, self._since_ms, self.duplicates, self.late

    def restore(self, generation: int, before_P: Int64s, now_P: Int64s, numbers: Sequence[int]) -> None:
        """Take over `numbers`, `generation` and the ids of the generation before and of this one."""
        self.clock_ms, self._since_ms, self.duplicates, self.late = numbers
        self.generation = generation
        self._before, self._now = KeyMap(before_P), KeyMap(now_P)

    def tree(self) -> Tree:
        return {
            "clock_ms": self.clock_ms,
            "since_ms": self._since_ms,
            "duplicates": self.duplicates,
            "late": self.late,
            "now": self._now.tree(),
            "before": self._before.tree(),
        }

    def load(self, tree: Tree) -> None:
        self.clock_ms, self._since_ms = int(tree["clock_ms"]), int(tree["since_ms"])
        self.duplicates, self.late = int(tree["duplicates"]), int(tree["late"])
        self._now.load(tree["now"])
        self._before.load(tree["before"])


@compiled
def _admit(
    event_id_B: Int64s,
    time_ms_B: Int64s,
    lateness_ms: int,
    most: int,
    now: KeyArrays,
    before: Int64s,
    at: Int64s,
    late: int,
    verdict: Verdict,
) -> None:
    """Go on until the end or a new generation, which `most` ids make.

    `late` is what the count of late rows was before the first of these rows.
    """
    for b in range(at[ROW], time_ms_B.shape[0]):
        at[ROW] = b
        event_id = event_id_B[b]
        if event_id != NO_KEY:
            if now.used[0] > 0 and (now.used[0] >= most or at[CLOCK] - at[SINCE] > lateness_ms):
                return
            if find(now.table, event_id) >= 0 or find(before, event_id) >= 0:
                at[DUPLICATES] += 1
                continue
        if at[CLOCK] - time_ms_B[b] > lateness_ms:
            verdict.late_L[at[LATE] - late] = b
            at[LATE] += 1
            continue
        if event_id != NO_KEY:
            if now.used[0] == 0:
                at[SINCE] = max(at[CLOCK], time_ms_B[b])
            add(now, event_id)
        at[CLOCK] = max(at[CLOCK], time_ms_B[b])
        verdict.row_K[at[KEPT]] = b
        verdict.clock_K[at[KEPT]] = at[CLOCK]
        at[KEPT] += 1
    at[ROW] = time_ms_B.shape[0]
