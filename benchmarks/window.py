"""A keyed window beside bytewax: every event gets its user's last 50 events within 7 days, then joins them.

    python -m benchmarks.window [--events N] [--rounds R] [--json]

Both sides run in this process, in turns, on one thread, and are measured in CPU seconds; the best of the
rounds counts, and for bytewax the better batch size. bytewax gets its events as ready-made tuples, our side
columns. Both hand every window out: bytewax a list of (time, item), ours a row of items and one of ages. The
number of entries handed out must agree.

Below that, the whole operator, and the same window over more and more users with as much in each memory.
"""

import argparse
import json
import time
from collections import deque
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import bytewax.operators as op
import numpy as np
from bytewax.dataflow import Dataflow
from bytewax.operators import StatefulBatchLogic
from bytewax.outputs import DynamicSink, StatelessSinkPartition
from bytewax.testing import TestingSource, run_main

from state.compiled import compiled
from state.examples import Floats
from state.keys import NO_KEY, Int64s
from state.memory.pending import Event, Rows
from state.memory.recall import Curve, remember
from state.memory.slabs import AHEAD, ITEM, TIME, Slabs, entries, full, grow, touch
from state.memory.users import MemoryConfig, UserMemory
from state.memory.views import Scratch, ages, gathered, newest, scratch
from streams.operator import Operator, OperatorConfig
from streams.schema import EventBatch

WIDTH = 50
HORIZON_MS = 7 * 86_400_000
SPAN_MS = 30 * 86_400_000


@dataclass(frozen=True)
class Line:
    what: str
    users: int
    batch: int
    events_per_cpu_s: float
    times_bytewax: float


class Discarding(StatelessSinkPartition[Any]):
    """Counts what the windows hold, and drops them."""

    def __init__(self, total: list[int]) -> None:
        self.total = total

    def write_batch(self, items: list[tuple[str, list[tuple[int, int]]]]) -> None:
        self.total[0] += sum(len(window) for _, window in items)


class Discard(DynamicSink[Any]):
    def __init__(self, total: list[int]) -> None:
        self.total = total

    def build(self, step_id: str, worker_index: int, worker_count: int) -> Discarding:
        return Discarding(self.total)


class Windowed(StatefulBatchLogic[tuple[int, int], list[tuple[int, int]], None]):
    """One user in bytewax, by its quickest operator: hand the window out, then append."""

    def __init__(self) -> None:
        self.window: deque[tuple[int, int]] = deque(maxlen=WIDTH)

    def on_batch(self, values: list[tuple[int, int]]) -> tuple[list[list[tuple[int, int]]], bool]:
        window, shown = self.window, []
        for event in values:
            since_ms = event[0] - HORIZON_MS
            while window and window[0][0] < since_ms:
                window.popleft()
            shown.append(list(window))
            window.append(event)
        return shown, StatefulBatchLogic.RETAIN

    def snapshot(self) -> None:
        return None


def bytewax_run(events: list[tuple[str, tuple[int, int]]], batch: int) -> int:
    """Entries handed out."""
    total = [0]
    flow = Dataflow("window")
    stream = op.input("events", flow, TestingSource(events, batch_size=batch))
    op.output("windows", op.stateful_batch("window", stream, lambda _: Windowed()), Discard(total))
    run_main(flow)  # type: ignore[no-untyped-call]
    return total[0]


@compiled
def _append(
    slabs: Slabs,
    curve: Curve,
    rows: Rows,
    first: int,
    room: Scratch,
    length_B: Int64s,
    item_BW: Int64s,
    age_s_BW: Floats,
) -> int:
    """The window of each row, then the row; returns the first row not done, for want of room."""
    for b in range(first, len(rows.user_B)):
        if (b - first) % AHEAD == 0:
            room.sink[0] = touch(slabs, rows.user_B[b : b + AHEAD], WIDTH)
        if full(slabs):
            return b
        user, time_ms = rows.user_B[b], rows.time_ms_B[b]
        length = newest(slabs, user, WIDTH, time_ms - HORIZON_MS, room)
        length_B[b] = length
        gathered(entries(slabs, user, ITEM), room.chosen_W[:length], item_BW[b])
        ages(entries(slabs, user, TIME), room.chosen_W[:length], time_ms, age_s_BW[b])
        event = Event(rows.item_B[b], NO_KEY, NO_KEY, time_ms, time_ms, 1.0, 0)
        remember(slabs, curve, user, event)
    return len(rows.user_B)


class Ours:
    """The operator's memory, with its newest view alone."""

    def __init__(self, capacity: int) -> None:
        config = MemoryConfig(capacity=capacity)
        self.memory = UserMemory(config, window=WIDTH)
        self.room = scratch(WIDTH, config.capacity)

    def run(self, user: Int64s, item: Int64s, time_ms: Int64s, batch: int) -> int:
        """Entries handed out."""
        total = 0
        for start in range(0, len(user), batch):
            part = slice(start, start + batch)
            total += int(self.step(user[part], item[part], time_ms[part])[0].sum())
        return total

    def step(self, user: Int64s, item: Int64s, time_ms: Int64s) -> tuple[Int64s, Int64s, Floats]:
        size = len(user)
        row_B = self.memory.rows(user)
        rows = Rows(
            *(row_B, item, item, item, time_ms, time_ms, time_ms),
            *(np.empty(0, np.float32), item, item, item),
        )
        out = np.empty(size, np.int64), np.empty((size, WIDTH), np.int64), np.zeros((size, WIDTH), np.float32)
        done = 0
        while done < size:
            done = _append(self.memory.slabs, self.memory.curve, rows, done, self.room, *out)
            if done < size:
                self.memory.slabs = grow(self.memory.slabs, 0)
        return out


def stream(events: int, users: int, fill: int = 0) -> tuple[Int64s, Int64s, Int64s]:
    """User, item and time of `fill` events of every user, then of random ones."""
    random = np.random.default_rng(7)
    rounds = [random.permutation(users) for _ in range(fill)]
    user = np.concatenate([*rounds, random.integers(0, users, events)])
    time_ms = np.arange(len(user)) * SPAN_MS // len(user)
    return user, random.integers(0, 100_000, len(user)), time_ms


def best_cpu_s(rounds: int, run: Callable[[], object]) -> float:
    """CPU seconds of the quickest of `rounds` runs."""
    best = float("inf")
    for _ in range(rounds):
        start = time.process_time()
        run()
        best = min(best, time.process_time() - start)
    return best


def against_bytewax(events: int, rounds: int) -> list[Line]:
    """Both sides at both batch sizes, in turns."""
    users = 10_000
    user, item, time_ms = stream(events, users)
    keys = [str(key) for key in user.tolist()]
    tuples = list(zip(keys, zip(time_ms.tolist(), item.tolist(), strict=True), strict=True))
    runs: dict[tuple[str, int], Callable[[], int]] = {}
    for batch in (256, 1024):
        runs["bytewax", batch] = partial(bytewax_run, tuples, batch)
        runs["append + window", batch] = partial(fresh_run, user, item, time_ms, batch)
    fresh_run(user[:1000], item[:1000], time_ms[:1000], 256)
    best = dict.fromkeys(runs, float("inf"))
    shown = dict.fromkeys(runs, 0)
    for _ in range(rounds):
        for name, run in runs.items():
            start = time.process_time()
            shown[name] = run()
            best[name] = min(best[name], time.process_time() - start)
    if len(set(shown.values())) != 1:
        raise AssertionError(f"the windows differ: {shown}")
    peer = min(best["bytewax", 256], best["bytewax", 1024])
    return [Line(what, users, batch, events / s, peer / s) for (what, batch), s in best.items()]


def fresh_run(user: Int64s, item: Int64s, time_ms: Int64s, batch: int) -> int:
    return Ours(MemoryConfig().capacity).run(user, item, time_ms, batch)


def whole_operator(events: int, rounds: int, peer: float) -> list[Line]:
    """The operator on the same stream, with labels and categories."""
    users = 10_000
    user, item, time_ms = stream(events, users)
    label = (item % 3 == 0).astype(np.float32)
    batch = EventBatch.of(user=user, item=item, time_ms=time_ms, label=label, category=item % 50)
    operated([batch.take(slice(0, 10))], 1, False)
    lines = []
    for what, window, views in (
        ("operator, no window", 0, False),
        ("operator, 20 newest", 20, False),
        ("operator, 50 newest", 50, False),
        ("operator, 50 by views", 50, True),
    ):
        for size in (256, 1024):
            parts = [batch.take(slice(i, i + size)) for i in range(0, events, size)]
            s = best_cpu_s(rounds, partial(operated, parts, window, views))
            lines.append(Line(what, users, size, events / s, events / s / peer))
    return lines


def operated(parts: list[EventBatch], window: int, views: bool) -> None:
    operator = Operator(OperatorConfig(), window, views)
    for part in parts:
        operator.process(part, now_ms=0)


def by_users(events: int, rounds: int, peer: float) -> list[Line]:
    """The same window over more users, each with a full memory of twelve: as much work, less cached."""
    capacity = 12
    lines = []
    for users in (10_000, 100_000, 1_000_000):
        user, item, time_ms = stream(events * rounds, users, fill=capacity)
        filled = capacity * users
        ours = Ours(capacity)
        ours.run(user[:filled], item[:filled], time_ms[:filled], 65_536)
        s = float("inf")
        for part in np.array_split(np.arange(filled, len(user)), rounds):
            columns = user[part], item[part], time_ms[part]
            s = min(s, best_cpu_s(1, partial(ours.run, *columns, 1024)))
        lines.append(Line(f"append + window, {capacity} each", users, 1024, events / s, events / s / peer))
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description="The window operator beside bytewax, in CPU seconds.")
    parser.add_argument("--events", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    lines = against_bytewax(arguments.events, arguments.rounds)
    peer = max(line.events_per_cpu_s for line in lines if line.what == "bytewax")
    lines += whole_operator(arguments.events, arguments.rounds, peer)
    lines += by_users(arguments.events // 4, arguments.rounds, peer)
    if arguments.json:
        print(json.dumps([asdict(line) for line in lines], indent=2))
        return
    print(f"{'':26}{'users':>10}{'batch':>7}{'events per CPU-s':>18}{'x bytewax':>11}")
    for line in lines:
        print(
            f"{line.what:26}{line.users:>10,}{line.batch:>7,}"
            f"{line.events_per_cpu_s:>18,.0f}{line.times_bytewax:>11.1f}"
        )


if __name__ == "__main__":
    main()
