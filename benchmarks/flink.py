"""A Flink job beside the Faust worker and the engine alone, on the same messages.

The log is in the topics before anybody reads: 4 partitions of Arrow, about 1,024 events a message, and of
JSON, one event a message, the first 200,000. `ebbtide flink run` has a cluster within one process;
both it and `ebbtide ingest` run with their defaults; the engine alone takes the messages in this
process, 200 of JSON at a time, and sends nothing, and does so again with each partition's users dealt to two
engines. Measured is what goes on, not what begins: all three alike from the moment when a third of the events
are dealt with, to the last example, with the CPU of all processes of a worker; where it goes in a job is told
by the names of the JVM's threads. Broker and workers share the machine's cores. Needs `make setup-flink`; ten
minutes; a broker of its own.
"""

import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from itertools import groupby
from pathlib import Path
from statistics import median

import numpy as np

from benchmarks.benchmark import Bench, Benchmark, Option
from benchmarks.live_bed import (
    LOG,
    PARTITIONS,
    Bed,
    Cpu,
    Span,
    bed,
    begun,
    cpu_s,
    descendants,
    done,
    fill,
    run,
    running,
    worker,
)
from benchmarks.tables import Bar, Row, Tables, loads
from benchmarks.telling import Step
from streams.engines.engine_config import EngineConfig
from streams.engines.partition import Engine
from streams.kafka.observer import Observer
from streams.wire import arrow_form
from streams.wire.decode import decode
from streams.wire.message import Message

RATES, WHERE, LOADS = "events a second", "where a job's CPU goes, us an event", "load average"
ALONE, INGEST, FLINK = "the engine alone", "ebbtide ingest", "ebbtide flink run"
_SHARDS, _BEGINNING = 2, 3
"""The second: one part of so many is not measured."""
_AT_ONCE = {"json": 200, "arrow": 1}
_THREADS = {
    "garbage": ("VM Thread", "GC "),
    "compilers": ("C1 ", "C2 "),
    "source": ("Source", "Kafka", "kafka-consumer"),
    "operator's task": ("remember",),
    "gRPC to Python": ("grpc",),
    "state and checkpoints": ("rocksdb", "AsyncOperat", "jobmanager-io"),
}
"""How names of the JVM's threads begin; those that are none of these are "the JVM's others"."""
_CLIENT, _WORKERS, _OTHERS = "Python: client", "Python: workers", "the JVM's others"


@dataclass(frozen=True)
class Took:
    span: Span
    cpu_s: float
    jvm_cpu_s: float
    parts_s: Mapping[str, float] = field(default_factory=dict)
    """Of a job, from a moment later on."""


def alone(bed: Bed, form: str, name: str, step: Step) -> Took:
    """An engine a partition, in this process."""
    parts = _parts(bed, form)
    engines = [Engine(EngineConfig(), form, part[0].partition) for part in parts]

    def take(at: int, part: Sequence[Message]) -> None:
        for first in range(0, len(part), _AT_ONCE[form]):
            engines[at].take(part[first : first + _AT_ONCE[form]])

    return _here(parts, engines, take)


def by_shard(bed: Bed, form: str, shards: int, name: str, step: Step) -> Took:
    """An engine for each share of a partition's users, in this process: what one hot partition would take.

    Every message of Arrow is read for its users, and cut into those of the shards, which read them again.
    """
    parts = _parts(bed, form)
    engines = [Engine(EngineConfig(), form, part[0].partition) for part in parts for _ in range(shards)]

    def take(at: int, part: Sequence[Message]) -> None:
        for message in part:
            shard_B = decode([message]).events.user_B % shards
            for shard in range(shards):
                value = arrow_form.rows(message.value or b"", np.flatnonzero(shard_B == shard).tolist())
                engines[at * shards + shard].take([message._replace(value=value)])

    return _here(parts, engines, take)


def _here(
    parts: Sequence[Sequence[Message]],
    engines: Sequence[Engine],
    take: Callable[[int, Sequence[Message]], None],
) -> Took:
    """What it takes to `take` the messages of each part, but for their beginning."""

    def reached() -> int:
        return sum(engine.progress.events for engine in engines)

    for at, part in enumerate(parts):
        take(at, part[: len(part) // _BEGINNING])
    before, started_s, used_s = reached(), time.time(), time.process_time()
    for at, part in enumerate(parts):
        take(at, part[len(part) // _BEGINNING :])
    return Took(Span(reached() - before, started_s, time.time()), time.process_time() - used_s, 0.0)


def _parts(bed: Bed, form: str) -> list[list[Message]]:
    """A topic's messages, by partition."""
    with Observer(bed.brokers) as observer:
        return [list(some) for _, some in groupby(observer.read(form), lambda message: message.partition)]


def ingest(bed: Bed, events: int, form: str, name: str, step: Step) -> Took:
    """A Faust worker."""
    examples = f"{name}-examples"
    with worker(bed, form, name) as process, Cpu([process.pid]) as cpu:
        before = begun(bed, examples, events // _BEGINNING, [process])
        span = done(bed, examples, events, [process], step).after(before)
    return Took(span, cpu.used_s(process.pid, span), 0.0)


def flink(bed: Bed, events: int, form: str, parallelism: int, name: str, step: Step) -> Took:
    """A job on a cluster of its own, with all its processes."""
    examples = f"{name}-examples"
    where = {"brokers": bed.brokers, "events": form, "group": name, "parallelism": parallelism}
    to = {"examples": examples, "dead_letters": f"{name}-dead", "checkpoints": bed.folder / name}
    command = run("flink", "run", **where, **to)
    with (
        running(bed, f"{name}.log", command) as process,
        Cpu([process.pid, -process.pid], of=_tree_cpu_s) as cpu,
    ):
        before = begun(bed, examples, events // _BEGINNING, [process])
        parts_before_s = _parts_s(process.pid)
        span = done(bed, examples, events, [process], step).after(before)
        parts_s = {title: used_s - parts_before_s[title] for title, used_s in _parts_s(process.pid).items()}
    return Took(span, cpu.used_s(process.pid, span), cpu.used_s(-process.pid, span), parts_s)


def _parts_s(pid: int) -> dict[str, float]:
    """CPU seconds so far of a job's processes: of Python's whole, of the JVM's by what a thread does."""
    found = dict.fromkeys((_CLIENT, _WORKERS, *_THREADS, _OTHERS), 0.0)
    found[_CLIENT] = cpu_s(pid)
    for one in descendants(pid):
        if not _is_java(one):
            found[_WORKERS] += float(np.nan_to_num(cpu_s(one)))
            continue
        for thread in Path(f"/proc/{one}/task").iterdir():
            with suppress(OSError):  # it has ended
                name = thread.joinpath("comm").read_text()
                titles = (title for title, begins in _THREADS.items() if name.startswith(begins))
                found[next(titles, _OTHERS)] += float(np.nan_to_num(cpu_s(f"{one}/task/{thread.name}")))
    return found


def _tree_cpu_s(pid: int) -> float:
    """Of a process and its descendants; of its JVMs alone for a negative number."""
    whole = [abs(pid), *descendants(abs(pid))]
    return float(np.nansum([cpu_s(one) for one in whole if pid > 0 or _is_java(one)]))


def _is_java(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip() == "java"
    except OSError:
        return False


def rows(took: dict[str, list[Took]]) -> list[Row]:
    def us(name: str, used: Callable[[Took], float]) -> float:
        return 1e6 * median(used(one) / max(one.span.events, 1) for one in took[name])

    def per_cpu_s(name: str) -> float:
        return 1e6 / max(us(name, lambda one: one.cpu_s), 1e-9)

    return [
        {
            "what": name,
            "events/s, by round": " / ".join(f"{one.span.rate:,.0f}" for one in of),
            "median": median(one.span.rate for one in of),
            "events a CPU second": per_cpu_s(name),
            "times ingest, by CPU": per_cpu_s(name) / per_cpu_s(f"{INGEST}, {name.split(', ')[1]}"),
            "CPU us an event": us(name, lambda one: one.cpu_s),
            "of it the JVM's": us(name, lambda one: one.jvm_cpu_s),
        }
        for name, of in took.items()
    ]


def where(took: dict[str, list[Took]]) -> list[Row]:
    return [
        {"what": name}
        | {
            title: 1e6 * median(one.parts_s[title] / max(one.span.events, 1) for one in of)
            for title in of[0].parts_s
        }
        for name, of in took.items()
        if of[0].parts_s
    ]


def measure(bench: Bench, *, log: str, limit: int, events: int, rounds: int) -> Tables:
    with bed(bench) as here:
        before, told = loads(), bench.telling
        sent = {
            "json": fill(told, here.brokers, log, "json", "json", min(limit, events), PARTITIONS),
            "arrow": fill(told, here.brokers, log, "arrow", "arrow", limit, PARTITIONS),
        }
        runs: dict[str, Callable[[str, Step], Took]] = {}
        for form, title in (("json", "JSON"), ("arrow", "Arrow")):
            runs[f"{ALONE}, {title}"] = partial(alone, here, form)
            if form == "arrow":
                runs[f"{ALONE}, {title}, a partition in {_SHARDS} shards"] = partial(
                    by_shard, here, form, _SHARDS
                )
            runs[f"{INGEST}, {title}"] = partial(ingest, here, sent[form], form)
            for parallelism in (1, 2):
                runs[f"{FLINK}, {title}, parallelism {parallelism}"] = partial(
                    flink, here, sent[form], form, parallelism
                )
        took: dict[str, list[Took]] = {name: [] for name in runs}
        for turn in range(rounds):
            for number, (name, go) in enumerate(runs.items()):
                with told.step(f"round {turn + 1} of {rounds}: {name}") as step:
                    took[name].append(go(f"f{turn}-{number}", step))
                print(f"   {name}: {took[name][-1].span.rate:,.0f} events/s", file=sys.stderr)
    return {RATES: rows(took), WHERE: where(took), LOADS: [{"what": log, "before": before, "after": loads()}]}


BENCHMARK = Benchmark(
    measure=measure,
    options={
        "log": Option(
            help="a log",
            default="planted:users=10000,items=2000,events=800000",
            quick=LOG.quick,
            metavar="LOG",
        ),
        "limit": Option(help="the first N events of it, as Arrow", default=800_000, quick=3000, kind=int),
        "events": Option(help="the first N events of it, as JSON", default=200_000, quick=2000, kind=int),
        "rounds": Option(help="rounds, in turns", default=1, quick=1, kind=int),
    },
    bars=(
        Bar(
            "Arrow, times ingest by CPU", RATES, f"{FLINK}, Arrow, parallelism 1", "times ingest, by CPU", 1.0
        ),
    ),
)
