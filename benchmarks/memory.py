"""Whether memory stays flat: millions of users through a worker and a trainer who forget.

No Kafka, no store: Arrow messages go into an `Engine` (decoding, memory, examples, records of the changelog),
its examples are decoded again and learned by a `Learning` with the floors beside the model and a publisher,
all in this process on one thread. Users come evenly over 900 days and stay for a month; one of 50 comes back
a year later. Items come and go, too: 10,000 of them at a time. Events are without labels, nothing is ranked.
Five minutes; needs nothing.
"""

import os
import time
from collections.abc import Iterator

import numpy as np

from benchmarks.benchmark import Bench, Benchmark, Option
from benchmarks.tables import Bar, Row, Tables
from benchmarks.telling import Step
from ebbtide.config import read
from ebbtide.live.arriving.side_tables import SideTables
from ebbtide.live.arriving.stream_facts import look
from ebbtide.running.learning import Learning
from state import example_wire
from state.examples import concat
from state.store.contract import ItemRows, UserRows
from streams.engines.engine_config import EngineConfig
from streams.engines.partition import Engine
from streams.schema import EventBatch
from streams.wire import arrow_form
from streams.wire.message import ARROW, HEADER, Message

DAY_MS = 86_400_000
DAYS = 900
EVENTS = 1.4
"""Of a user, in the mean."""
LIVE, STAYS_DAYS = 10_000, 60
"""Items at a time, and for how long one is there."""
BATCH, WINDOW = 4096, 16
LINES = 30


class Nowhere:
    """Where deltas go that nobody reads."""

    def publish(self, version: int, users: UserRows | None = None, items: ItemRows | None = None) -> None:
        pass


def events(users: int, seed: int = 0) -> Iterator[EventBatch]:
    """Day after day: who is new, and who comes again."""
    random = np.random.default_rng(seed)
    waiting: list[np.ndarray] = [np.zeros(0, np.int64) for _ in range(DAYS + 400)]
    a_day, born = users / DAYS, 0
    for day in range(DAYS):
        new = np.arange(born, round((day + 1) * a_day))
        born = new[-1] + 1
        back = new[random.random(len(new)) < EVENTS - 1.0 - 0.02]
        for later in range(1, 31):
            waiting[day + later] = np.append(waiting[day + later], back[later - 1 :: 30])
        waiting[day + 365] = np.append(waiting[day + 365], new[random.random(len(new)) < 0.02])
        user = np.concatenate([new, waiting[day]])
        waiting[day] = user[:0]
        popular = (random.pareto(1.0, len(user)) * 30).astype(np.int64) % LIVE
        first = (popular * 7919) % LIVE
        turn = (day + first * STAYS_DAYS // LIVE) // STAYS_DAYS
        time_ms = 1_600_000_000_000 + day * DAY_MS + np.sort(random.integers(0, DAY_MS, len(user)))
        order = random.permutation(len(user))
        item = 10**9 + turn * LIVE + popular
        for start in range(0, len(user), BATCH):
            rows = slice(start, start + BATCH)
            yield EventBatch.of(user=user[order][rows], item=item[order][rows], time_ms=time_ms[rows])


def run(step: Step, users: int, expire: str | None, learner: str) -> list[Row]:
    """What was held after every thirtieth of the events."""
    rows: list[Row] = []
    config = read(None, expire=expire, learner=learner, rank_share=0.0, drift=False)
    engine = Engine(EngineConfig(operator=config.operator, window=WINDOW, newest=WINDOW), "events", 0)
    learning: Learning | None = None
    offset = done = tombstones = reached = 0
    begun = time.process_time()
    for batch in events(users):
        value = arrow_form.encode(batch, {})
        message = Message(value, b"0", [(HEADER, ARROW.encode())], 0, offset, int(batch.time_ms_B[-1]))
        output = engine.take([message])
        assert not output.dead, output.dead[0].headers
        shipments = [example_wire.decode(one) for one in output.examples]
        examples = concat([one.batch for one in shipments])
        if learning is None:
            stream = look(examples, config, shipments[0].made_by)
            learning = Learning(stream.subject(SideTables()), config, Nowhere())
        learning.step(examples)
        offset, done, reached = offset + 1, done + len(batch), max(reached, int(batch.user_B.max()) + 1)
        if offset % 50 == 0:
            tombstones += sum(record is None for record in engine.records().values())
        step.reached(min(done / (users * EVENTS), 1.0))
        if done >= (len(rows) + 1) * users * EVENTS / LINES:
            rows.append(line(engine, learning, done, reached, tombstones, time.process_time() - begun))
    assert learning is not None
    rows.append(line(engine, learning, done, reached, tombstones, time.process_time() - begun))
    return rows


def line(engine: Engine, learning: Learning, done: int, reached: int, tombstones: int, seconds: float) -> Row:
    """What is held by now."""
    counts, trainer = engine.operator.counts, learning.trainer
    with open("/proc/self/statm") as pages:
        resident = int(pages.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    return {
        "what": f"{done:,} events",
        "users so far": reached,
        "resident MB": round(resident / 1e6),
        "users in the worker": counts.users,
        "its MB for users": round(counts.users * counts.bytes_per_user / 1e6),
        "expired": counts.expired,
        "records removed": tombstones,
        "users in the trainer": 0 if trainer.expiry is None else len(trainer.expiry.users),
        "items": len(trainer.catalogue),
        "CPU s": seconds,
    }


def measure(bench: Bench, *, users: int, expire: str, learner: str) -> Tables:
    with bench.telling.step(f"{users:,} users, {learner}") as step:
        rows = run(step, users, None if expire == "never" else expire, learner)
    bounded = [float(row["resident MB"] or 0) for row in rows if row["expired"]]
    half = bounded[len(bounded) // 2 :]
    growth: Row = {
        "what": "resident MB",
        "least": min(half),
        "most": max(half),
        "end / half-way": half[-1] / half[0],
    }
    return {HELD: rows, LATER: [growth]} if half else {HELD: rows}


HELD, LATER = "held after so many events", "second half of the events after the first expired"
BENCHMARK = Benchmark(
    measure=measure,
    options={
        "users": Option(help="users in all", default=5_000_000, quick=9000, kind=int),
        "expire": Option(
            help="--expire of worker and trainer, or never", default="90d", quick="90d", metavar="TIME"
        ),
        "learner": Option(help="the model", default="twotower", quick="twotower", metavar="NAME"),
    },
    bars=(Bar("memory at the end / half-way", LATER, "resident MB", "end / half-way", 1.1, least=False),),
)
