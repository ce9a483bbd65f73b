"""Made-up streams for the checks of learners, with the operator that every learner has before it."""

import numpy as np

from learners.checks.bench import DAY_MS, GAPS, LONG, SIZE, StreamSpec
from state.examples import ExampleBatch
from state.memory.memory_config import MemoryConfig
from state.tree import Tree
from streams.operator import Operator, OperatorConfig
from streams.schema import EventBatch

_START_MS = 1_500_000_000_000
_CENTURY_MS = 100 * 365 * DAY_MS
_JUMPS_MS = {10: 1, 15: DAY_MS, 20: 81 * _CENTURY_MS // 100, 30: -9 * _CENTURY_MS, 40: 60 * _CENTURY_MS}
"""Row -> how far the time jumps there, in a stream with gaps."""


class MadeUp:
    """A stream's examples, as the operator makes them."""

    def __init__(self, asked: StreamSpec) -> None:
        config = OperatorConfig(
            label_delay_ms=asked.delay_ms,
            lateness_ms=100 * _CENTURY_MS if asked.kind == "gaps" else DAY_MS,
            memory=MemoryConfig(expire_ms=asked.expire_ms),
        )
        self._operator = Operator(config, asked.needs.window, asked.needs.newest)
        self._events = _events(asked)

    def examples(self, start: int, stop: int) -> ExampleBatch:
        part = self._events.take(slice(start, stop))
        return self._operator.process(part, int(part.time_ms_B[-1]))

    def tree(self) -> Tree:
        return self._operator.tree()

    def load(self, tree: Tree) -> None:
        self._operator.load(tree)


def _events(asked: StreamSpec) -> EventBatch:
    if asked.kind == "endless":
        return _endless(asked.labelled)
    size = GAPS if asked.kind == "gaps" else SIZE
    events = _usual(size, asked.labelled, turned=asked.kind == "turned")
    if asked.kind == "gaps":
        jump_ms = np.zeros(size, np.int64)
        jump_ms[list(_JUMPS_MS)] = list(_JUMPS_MS.values())
        events.time_ms_B[:] += np.cumsum(jump_ms)
    return events


def _usual(size: int, labelled: bool, *, turned: bool) -> EventBatch:
    """Users with a favourite each, places, ties in time, and items that come and go."""
    rng = np.random.default_rng(0)
    user = rng.integers(0, 12, size)
    age = np.arange(size) // 40
    item = np.where(rng.random(size) < 0.5, user % 5, age + rng.integers(0, 6, size))
    place = rng.integers(0, 3, size)
    label = (((user + item) % 3 == 0) != turned).astype(np.float32)
    return EventBatch.of(
        user=user,
        item=item,
        time_ms=_START_MS + np.cumsum(rng.integers(0, 4, size)) * 1_800_000,
        category=item % 4,
        session=user * 1000 + age,
        lat=40.7 + place * 0.01,
        lon=-74.0 + place * 0.01,
        **({"label": label} if labelled else {}),
    )


def _endless(labelled: bool) -> EventBatch:
    """A row every 20 minutes; nobody and nothing is there for longer than a day, and nobody comes back."""
    rng = np.random.default_rng(0)
    step = np.arange(LONG)
    user, item = step // 15 + rng.integers(0, 5, LONG), step // 12 + rng.integers(0, 6, LONG)
    place = step // 50
    return EventBatch.of(
        user=user,
        item=10_000_000 + item,
        time_ms=_START_MS + step * 1_200_000,
        category=step // 200,
        session=step // 30,
        lat=40.0 + place * 0.01,
        lon=-74.0 + place * 0.01,
        **({"label": ((user + item) % 3 == 0).astype(np.float32)} if labelled else {}),
    )
