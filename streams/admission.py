"""Who is let in: duplicates and late events are dropped and counted, and the stream's clock is kept."""

from collections.abc import Sequence

import numpy as np

from state.compiled import compiled
from state.keys import NO_KEY, Int64s, KeyMap, add, find
from state.tree import Tree

_BEFORE_ALL_MS = -(2**62)


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
        rows_K, clock_K, late_L = (np.empty(size, np.int64) for _ in range(3))
        late = self.late
        at = np.array([0, 0, self.clock_ms, self._since_ms, self.duplicates, late], np.int64)
        while True:
            self._now.reserve(min(size - int(at[0]), self.ids))
            _admit(
                *(event_id_B, time_ms_B, self.lateness_ms, self.ids),
                *(self._now.table, self._now.keys, self._now.count, self._before.table),
                *(at, rows_K, clock_K),
                *(late, late_L),
            )
            if at[0] == size:
                break
            self._before, self._now = self._now, KeyMap()
            self.generation += 1
            at[3] = at[2]
        kept, self.clock_ms, self._since_ms, self.duplicates, self.late = at[1:].tolist()
        return rows_K[:kept], clock_K[:kept], late_L[: self.late - late]

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
    ids: int,
    table: Int64s,
    keys: Int64s,
    count: Int64s,
    before: Int64s,
    at: Int64s,
    rows_K: Int64s,
    clock_K: Int64s,
    late: int,
    late_L: Int64s,
) -> None:
    """Go on until the end or a new generation. `at`: row, kept, clock, generation's start, counts.

    `late` is what the count of late rows was before the first of these rows.
    """
    for b in range(at[0], time_ms_B.shape[0]):
        at[0] = b
        event_id = event_id_B[b]
        if event_id != NO_KEY:
            if count[0] > 0 and (count[0] >= ids or at[2] - at[3] > lateness_ms):
                return
            if find(table, event_id) >= 0 or find(before, event_id) >= 0:
                at[4] += 1
                continue
        if at[2] - time_ms_B[b] > lateness_ms:
            late_L[at[5] - late] = b
            at[5] += 1
            continue
        if event_id != NO_KEY:
            if count[0] == 0:
                at[3] = max(at[2], time_ms_B[b])
            add(table, keys, count, event_id)
        at[2] = max(at[2], time_ms_B[b])
        rows_K[at[1]] = b
        clock_K[at[1]] = at[2]
        at[1] += 1
    at[0] = time_ms_B.shape[0]
