"""Events whose outcome is not known yet. Shape suffixes: B arriving events, Q events, K kinds, O signals."""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Self

import numpy as np

from monitor.alarms import OUTCOMES, SEGMENTS
from state.arrays import Doubles, Int64s
from state.front import front
from state.tree import Tree


@dataclass(frozen=True, slots=True, kw_only=True)
class WatchedOutcomes:
    """What is watched once `known_ms_Q`, which never falls, is reached; in order of arrival."""

    known_ms_Q: Int64s
    event_Q: Int64s
    """The event's number, from 1."""
    time_ms_Q: Int64s
    p_Q: Doubles
    label_Q: Doubles
    scope_QK: Int64s
    outcome_QO: Doubles
    """Columns OUTCOMES, NaN where there is none."""

    def __len__(self) -> int:
        return len(self.event_Q)

    def take(self, rows: slice) -> Self:
        return replace(self, **{f.name: getattr(self, f.name)[rows] for f in fields(self)})


_NONE = WatchedOutcomes(
    known_ms_Q=np.zeros(0, np.int64),
    event_Q=np.zeros(0, np.int64),
    time_ms_Q=np.zeros(0, np.int64),
    p_Q=np.zeros(0),
    label_Q=np.zeros(0),
    scope_QK=np.zeros((0, len(SEGMENTS)), np.int64),
    outcome_QO=np.zeros((0, len(OUTCOMES))),
)


class WaitingOutcomes:
    """First in, first out; popping costs what is popped, not what waits."""

    def __init__(self) -> None:
        self._parts: deque[WatchedOutcomes] = deque()
        self._known_ms: Int64s = np.zeros(0, np.int64)

    def push(self, arrived: WatchedOutcomes, clock_ms_B: Int64s) -> Int64s:
        """Take in B events; how many of all that wait are known (B,) as soon as each of them is there."""
        waited = len(self._known_ms)
        self._parts.append(arrived)
        self._known_ms = np.concatenate([self._known_ms, arrived.known_ms_Q])
        by_time_B = np.searchsorted(self._known_ms, clock_ms_B, "right")
        return np.minimum(by_time_B, waited + 1 + np.arange(len(arrived)))

    def pop(self, count: int) -> WatchedOutcomes:
        """The oldest `count`."""
        self._known_ms = self._known_ms[count:]
        return _joined(
            front(self._parts, count, len, lambda part, first, stop: part.take(slice(first, stop)))
        )

    def tree(self) -> Tree:
        whole = _joined(self._parts)
        return {f.name: getattr(whole, f.name).copy() for f in fields(whole)}

    def load(self, tree: Tree) -> None:
        whole = WatchedOutcomes(**tree)
        self._parts, self._known_ms = deque([whole] if len(whole) else []), whole.known_ms_Q


def _joined(parts: Sequence[WatchedOutcomes] | deque[WatchedOutcomes]) -> WatchedOutcomes:
    columns = {f.name: [getattr(part, f.name) for part in (_NONE, *parts)] for f in fields(WatchedOutcomes)}
    return WatchedOutcomes(**{name: np.concatenate(column) for name, column in columns.items()})
