"""A keyed window of a user's last 50 events within 7 days beside bytewax; the whole operator.

Both sides run in this process, in turns, on one thread, and are measured in CPU seconds; the best of the
rounds counts, and for bytewax the better batch size. bytewax gets its events as ready-made tuples, our side
columns. Both hand every window out: bytewax a list of (time, item), ours a row of items and one of ages. The
number of entries handed out must agree. Below that, the whole operator; the same window over more and more
users with as much in each memory; and what a user's memory takes. Some three minutes; needs nothing.
"""

import time
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Any

import bytewax.operators as op
import numpy as np
from bytewax.dataflow import Dataflow
from bytewax.operators import StatefulBatchLogic
from bytewax.outputs import DynamicSink, StatelessSinkPartition
from bytewax.testing import TestingSource, run_main

from benchmarks.benchmark import Bench, Benchmark, Option
from benchmarks.tables import Bar, Row, Tables
from state.compiled import compiled
from state.examples import Floats
from state.keys import NO_KEY, Int64s
from state.memory.mask import MaskRoom, Selection, choose, room, squares
from state.memory.memory_config import MemoryConfig
from state.memory.pending import Event, Rows
from state.memory.recall import Curve, met, remember
from state.memory.slabs import AHEAD, ITEM, TIME, Slabs, entries, full, grow, minutes, touch
from state.memory.users import UserMemory
from state.memory.views import ages, gathered
from streams.operator import Operator, OperatorConfig
from streams.schema import EventBatch

WIDTH = 50
NEWEST, TIMELESS = Selection(WIDTH, 0), squares(clock=False)
HORIZON_MS = 7 * 86_400_000
SPAN_MS = 30 * 86_400_000
USERS, CAPACITY = 10_000, 12


BATCHES = (256, 1024)
PEER, OURS = "bytewax", "append + window of 50"
BESIDE, GROWING, MEMORY = (
    "events per CPU-second",
    "over more users, memories of 12 entries",
    "bytes of a user's memory",
)
OPERATORS = {
    "whole operator, no window": (0, 0),
    "whole operator, 20 newest": (20, 20),
    "whole operator, 50 newest": (50, 50),
    "whole operator, 64 by the mask": (64, 16),
}


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
    room: MaskRoom,
    sink: Int64s,
    length_B: Int64s,
    item_BW: Int64s,
    age_s_BW: Floats,
) -> int:
    """The window of each row, then the row; returns the first row not done, for want of room."""
    for b in range(first, len(rows.user_B)):
        if (b - first) % AHEAD == 0:
            sink[0] = touch(slabs, rows.user_B[b : b + AHEAD], WIDTH)
        if full(slabs):
            return b
        user, time_ms = rows.user_B[b], rows.time_ms_B[b]
        times, old = entries(slabs, user, TIME), 0
        while old < len(times) and times[old] < time_ms - HORIZON_MS:
            old += 1
        length = choose(times, minutes(slabs, user), old, time_ms, 0, NEWEST, TIMELESS, room)
        length_B[b] = length
        gathered(entries(slabs, user, ITEM), room.chosen_W[:length], item_BW[b])
        ages(entries(slabs, user, TIME), room.chosen_W[:length], time_ms, age_s_BW[b])
        event = Event(rows.item_B[b], NO_KEY, NO_KEY, time_ms, time_ms, 1.0, 0)
        remember(slabs, curve, user, event, met(slabs, curve, user, event.item, time_ms))
    return len(rows.user_B)


class Ours:
    """The operator's memory, with its newest view alone."""

    def __init__(self, capacity: int) -> None:
        config = MemoryConfig(capacity=capacity)
        self.memory = UserMemory(config, NEWEST)
        self.room = room(WIDTH, config.capacity)
        self.sink: Int64s = np.zeros(1, np.int64)

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
            row_B,
            item,
            item,
            item,
            time_ms,
            time_ms,
            time_ms,
            np.empty(0, np.float32),
            item,
            item,
            item,
        )
        out = np.empty(size, np.int64), np.empty((size, WIDTH), np.int64), np.zeros((size, WIDTH), np.float32)
        done = 0
        while done < size:
            done = _append(self.memory.slabs, self.memory.curve, rows, done, self.room, self.sink, *out)
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


def measure(bench: Bench, *, events: int, rounds: int, users: int) -> Tables:
    best = against_bytewax(bench, events, rounds) | whole_operator(bench, events, rounds)
    peer = max(best[PEER].values())
    growing = {
        count: by_users(bench, events // 4, rounds, count) for count in (users // 100, users // 10, users)
    }
    few, most = min(growing), max(growing)
    return {
        BESIDE: [
            {
                "what": what,
                **{f"batch {batch}": rates[batch] for batch in BATCHES},
                "times bytewax": max(rates.values()) / peer,
            }
            for what, rates in best.items()
        ],
        GROWING: [
            {
                "what": OURS,
                **{f"{count:,} users": rate for count, rate in growing.items()},
                "fall": 1 - growing[most] / growing[few],
            }
        ],
        MEMORY: bytes_a_user(min(users, 1000)),
    }


def against_bytewax(bench: Bench, events: int, rounds: int) -> dict[str, dict[int, float]]:
    """Both sides' events per CPU-second at both batch sizes, in turns."""
    user, item, time_ms = stream(events, USERS)
    keys = [str(key) for key in user.tolist()]
    tuples = list(zip(keys, zip(time_ms.tolist(), item.tolist(), strict=True), strict=True))
    runs: dict[tuple[str, int], Callable[[], int]] = {}
    for batch in BATCHES:
        runs[PEER, batch] = partial(bytewax_run, tuples, batch)
        runs[OURS, batch] = partial(fresh_run, user, item, time_ms, batch)
    fresh_run(user[:1000], item[:1000], time_ms[:1000], 256)
    best: dict[str, dict[int, float]] = {PEER: {}, OURS: {}}
    shown = dict.fromkeys(runs, 0)
    for number in range(rounds):
        for (what, batch), run in runs.items():
            with bench.telling.step(f"round {number + 1} of {rounds}: {what}, batch {batch}"):
                start = time.process_time()
                shown[what, batch] = run()
                rate = events / (time.process_time() - start)
            best[what][batch] = max(best[what].get(batch, 0.0), rate)
    if len(set(shown.values())) != 1:
        raise AssertionError(f"the windows differ: {shown}")
    return best


def fresh_run(user: Int64s, item: Int64s, time_ms: Int64s, batch: int) -> int:
    return Ours(MemoryConfig().capacity).run(user, item, time_ms, batch)


def whole_operator(bench: Bench, events: int, rounds: int) -> dict[str, dict[int, float]]:
    """The operator on the same stream, with labels and categories."""
    user, item, time_ms = stream(events, USERS)
    label = (item % 3 == 0).astype(np.float32)
    batch = EventBatch.of(user=user, item=item, time_ms=time_ms, label=label, category=item % 50)
    operated([batch.take(slice(0, 10))], 1, 1)
    best: dict[str, dict[int, float]] = {}
    for what, (window, newest) in OPERATORS.items():
        for size in BATCHES:
            parts = [batch.take(slice(i, i + size)) for i in range(0, events, size)]
            with bench.telling.step(f"{what}, batch {size}, {rounds} rounds"):
                s = best_cpu_s(rounds, partial(operated, parts, window, newest))
            best.setdefault(what, {})[size] = events / s
    return best


def operated(parts: list[EventBatch], window: int, newest: int) -> Operator:
    operator = Operator(OperatorConfig(), window, newest)
    for part in parts:
        operator.process(part, now_ms=0)
    return operator


def by_users(bench: Bench, events: int, rounds: int, users: int) -> float:
    """Events per CPU-second where each of `users` has a full memory of twelve: as much work, less cached."""
    user, item, time_ms = stream(events * rounds, users, fill=CAPACITY)
    filled = CAPACITY * users
    ours = Ours(CAPACITY)
    with bench.telling.step(f"{OURS}, {users:,} users"):
        ours.run(user[:filled], item[:filled], time_ms[:filled], 65_536)
        s = float("inf")
        for part in np.array_split(np.arange(filled, len(user)), rounds):
            columns = user[part], item[part], time_ms[part]
            s = min(s, best_cpu_s(1, partial(ours.run, *columns, 1024)))
    return events / s


def bytes_a_user(users: int) -> list[Row]:
    """What the operator holds for each of so many users, without a window."""
    full = MemoryConfig().capacity
    rows: list[Row] = []
    for what, each in (("3 events", 3), (f"full, {full} entries", full)):
        user, item, time_ms = stream(0, users, fill=each)
        item = np.arange(len(user))
        counts = operated([EventBatch.of(user=user, item=item, time_ms=time_ms)], 0, 0).counts
        rows.append({"what": what, "bytes": counts.bytes_per_user})
    return rows


BENCHMARK = Benchmark(
    measure=measure,
    options={
        "events": Option(help="events of a round", default=1_000_000, quick=4000, kind=int),
        "rounds": Option(help="rounds, in turns", default=3, quick=1, kind=int),
        "users": Option(help="the most users of the last table", default=1_000_000, quick=100, kind=int),
    },
    bars=(
        Bar("append + window of 50, times bytewax", BESIDE, OURS, "times bytewax", 3.0, 6.0),
        Bar("fall from a hundredth of the users to all", GROWING, OURS, "fall", 0.15, least=False),
    ),
)
