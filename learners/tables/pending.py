"""Rows whose outcome is not known yet, first in, first out."""

from collections import deque

import numpy as np

from state.examples import ExampleBatch, Floats, concat
from state.front import front
from state.keys import Int64s
from state.tree import Tree


class Pending:
    """Scored rows that wait for `known_ms`; popping costs what is popped, not what waits."""

    def __init__(self) -> None:
        self._parts: deque[ExampleBatch] = deque()
        self._known_ms: Int64s = np.zeros(0, np.int64)
        self._clock_ms = np.iinfo(np.int64).min

    def __len__(self) -> int:
        return len(self._known_ms)

    def due(self, batch: ExampleBatch) -> Int64s:
        """How many rows (of those waiting, then of `batch` itself) are known before each row of `batch`.

        A row is known to those that come after it once the stream's clock, the latest time seen, has
        reached its `known_ms`.
        """
        known_ms = np.concatenate([self._known_ms, batch.known_ms_B])
        clock_ms_B = np.maximum(np.maximum.accumulate(batch.time_ms_B), self._clock_ms)
        by_time_B = np.searchsorted(known_ms, clock_ms_B, "right")
        by_place_B = len(self) + np.arange(len(batch))
        return np.minimum(by_time_B, by_place_B)

    def push(self, batch: ExampleBatch) -> None:
        self._parts.append(batch)
        self._known_ms = np.concatenate([self._known_ms, batch.known_ms_B])
        self._clock_ms = max(self._clock_ms, int(batch.time_ms_B.max()))

    def rate(self, item_rates_NR: Floats) -> None:
        """Of the rows that were pushed last, as many as still wait: what was known of their items."""
        if len(item_rates_NR):
            self._parts.append(self._parts.pop().with_item_rates(item_rates_NR))

    def pop(self, count: int) -> ExampleBatch:
        """The oldest `count` rows, or all there are."""
        count = min(count, len(self))
        self._known_ms = self._known_ms[count:]
        taken = front(self._parts, count, len, lambda part, first, stop: part.take(slice(first, stop)))
        return concat(taken) if taken else self._parts[0].take(slice(0, 0))

    def tree(self) -> Tree:
        rows = {"rows": concat(list(self._parts)).tree()} if len(self) else {}
        return {"clock_ms": self._clock_ms, **rows}

    def load(self, tree: Tree) -> None:
        self.__init__()  # type: ignore[misc]
        if "rows" in tree:
            self.push(ExampleBatch.from_tree(tree["rows"]))
        self._clock_ms = int(tree["clock_ms"])
