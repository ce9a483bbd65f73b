"""Live workers beside a plain Faust agent on one broker, and the trainer.

The log is in the topics before anybody reads: 4 partitions of Arrow, about 1,024 events a message, and of
JSON, one event a message, the first 100,000. The peer adds one to a Faust table an event
(`benchmarks.live_plain`), for at most 10 s. `ebbtide ingest` runs with its defaults. Measured is from the
first increment or committed example to the last; broker and worker share the machine's cores. Medians of
rounds in turns. `ebbtide train`, its default learner, learns the first 20,000 of the examples. Up to an hour;
starts a broker and a store of its own.
"""

import json
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from statistics import median

from benchmarks.benchmark import Bench, Benchmark, Option
from benchmarks.live_bed import (
    LOG,
    PARTITIONS,
    PATIENCE_S,
    Bed,
    Cpu,
    Span,
    bed,
    done,
    fill,
    said,
    trainer,
    worker,
)
from benchmarks.tables import Bar, Row, Tables, loads
from benchmarks.telling import Step
from state.progress import TrainerStatus

PLAIN_S = 10.0
EXAMPLES = "for-trainer"
RATES, LOADS = "events a second", "load average"
PLAIN, ROCKSDB = "plain Faust, table in memory", "plain Faust, table in RocksDB"
JSON, ARROW, TRAIN = "ebbtide ingest, JSON", "ebbtide ingest, Arrow batches", "ebbtide train, STIM"


@dataclass(frozen=True)
class Took:
    span: Span
    cpu_s: float
    broker_cpu_s: float


def plain(bed: Bed, events: int, store: str, name: str, step: Step) -> Took:
    """The peer."""
    where = {"brokers": bed.brokers, "topic": "json", "store": store, "events": events, "seconds": PLAIN_S}
    options = [word for option, value in where.items() for word in (f"--{option}", str(value))]
    command = [sys.executable, "-m", "benchmarks.live_plain", *options]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        with Cpu([process.pid, bed.broker_pid]) as cpu:
            answer = process.communicate()[0]
        if process.returncode:
            raise RuntimeError(f"{name}: the plain agent ended with exit status {process.returncode}")
    reply = json.loads(answer)
    span = Span(int(reply["events"]), reply["first_s"], reply["last_s"])
    return Took(span, cpu.used_s(process.pid, span), cpu.used_s(bed.broker_pid, span))


def ingest(bed: Bed, events: int, form: str, name: str, step: Step) -> Took:
    """A worker of ours, from its first committed examples on."""
    with worker(bed, form, name) as process, Cpu([process.pid, bed.broker_pid]) as cpu:
        span = done(bed, f"{name}-examples", events, [process], step)
    return Took(span, cpu.used_s(process.pid, span), cpu.used_s(bed.broker_pid, span))


def train(bed: Bed, events: int, name: str, step: Step) -> Took:
    """A trainer on examples that are there already: from what it says first to what it says last.

    Few examples may be learned before it has said anything twice: then it counts from its start.
    """
    started_s = time.time()
    seen: list[TrainerStatus] = []
    deadline_s = time.monotonic() + PATIENCE_S
    with (
        trainer(bed, EXAMPLES, "--learner", "stim", "--for", events, "--clear") as process,
        Cpu([process.pid, bed.broker_pid]) as cpu,
    ):
        while process.poll() is None:
            if time.monotonic() > deadline_s:
                raise RuntimeError(f"{name}: {events:,} examples were not learned; last said: {seen[-1:]}")
            time.sleep(0.1)
            status = said(bed, EXAMPLES)
            if status and status.pid == process.pid and status.trained and status.trained < events:
                seen.append(status)
                step.reached(status.trained / events)
    shutil.rmtree(bed.folder / f"{EXAMPLES}.trained")
    newest = said(bed, EXAMPLES)
    if process.returncode or newest is None:
        words = (bed.folder / f"{EXAMPLES}.train.log").read_text()
        raise RuntimeError(f"{name}: the trainer ended with exit status {process.returncode}: {words}")
    if len(seen) > 1 and seen[-1].trained > seen[0].trained:
        first, last = seen[0], seen[-1]
        span = Span(last.trained - first.trained, first.updated_ms / 1000, last.updated_ms / 1000)
    else:
        span = Span(newest.trained, started_s, newest.updated_ms / 1000)
    return Took(span, cpu.used_s(process.pid, span), cpu.used_s(bed.broker_pid, span))


def in_turns(
    bench: Bench, bed: Bed, log: str, limit: int, some: int, trained: int, times: int
) -> dict[str, list[Took]]:
    """Everybody, in turns."""
    told = bench.telling
    some = fill(told, bed.brokers, log, "json", "json", min(limit, some), PARTITIONS)
    events = fill(told, bed.brokers, log, "arrow", "arrow", limit, PARTITIONS)
    with told.step("examples for the trainer") as step:  # kernels are compiled here, if they are not yet
        ingest(bed, some, "json", EXAMPLES, step)
    runs: dict[str, Callable[[str, Step], Took]] = {
        PLAIN: partial(plain, bed, some, "memory://"),
        ROCKSDB: partial(plain, bed, some, "rocksdb://"),
        JSON: partial(ingest, bed, some, "json"),
        ARROW: partial(ingest, bed, events, "arrow"),
        TRAIN: partial(train, bed, min(trained, some)),
    }
    took: dict[str, list[Took]] = {name: [] for name in runs}
    for turn in range(times):
        for number, (name, go) in enumerate(runs.items()):
            with told.step(f"round {turn + 1} of {times}: {name}") as step:
                took[name].append(go(f"g{turn}-{number}", step))
            print(f"   {name}: {took[name][-1].span.rate:,.0f} events/s", file=sys.stderr)
    return took


def rows(took: dict[str, list[Took]]) -> list[Row]:
    def rate(name: str) -> float:
        return median(one.span.rate for one in took[name])

    def per_event(name: str, used: Callable[[Took], float]) -> float:
        return 1e6 * median(used(one) / max(one.span.events, 1) for one in took[name])

    base, base_us = rate(PLAIN), per_event(PLAIN, lambda one: one.cpu_s)
    return [
        {
            "what": name,
            "events/s, by round": " / ".join(f"{one.span.rate:,.0f}" for one in of),
            "median": rate(name),
            "times plain": rate(name) / base,
            "CPU us an event": per_event(name, lambda one: one.cpu_s),
            "times plain, by CPU": base_us / max(per_event(name, lambda one: one.cpu_s), 1e-9),
            "broker's CPU us an event": per_event(name, lambda one: one.broker_cpu_s),
        }
        for name, of in took.items()
    ]


def measure(bench: Bench, *, log: str, limit: int, events: int, trained: int, rounds: int) -> Tables:
    with bed(bench) as here:
        before = loads()
        tables = rows(in_turns(bench, here, log, limit, events, trained, rounds))
    return {RATES: tables, LOADS: [{"what": log, "before": before, "after": loads()}]}


BENCHMARK = Benchmark(
    measure=measure,
    options={
        "log": LOG,
        "limit": Option(help="the first N events of it, as Arrow", default=400_000, quick=3000, kind=int),
        "events": Option(help="the first N events of it, as JSON", default=100_000, quick=2000, kind=int),
        "trained": Option(help="examples that are learned", default=20_000, quick=2000, kind=int),
        "rounds": Option(help="rounds, in turns", default=3, quick=1, kind=int),
    },
    bars=(
        Bar("Arrow, times plain Faust", RATES, ARROW, "times plain", 15.0),
        Bar("JSON, times plain Faust", RATES, JSON, "times plain", 8.0),
    ),
)
