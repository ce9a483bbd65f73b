"""How fast events become examples, beside a plain Faust agent on the same broker in the same run.

    python -m benchmarks.live [--log LOG] [--limit N] [--rounds R] [--json]

The log is in the topics before anybody reads: 4 partitions of Arrow, about 1,024 events a message, and of
JSON, one event a message, the first 100,000. The peer adds one to a Faust table an event
(`benchmarks.live_plain`), for at most 10 s. `ebbtide ingest` runs with its defaults. Measured is from the
first increment or committed example to the last; broker and worker share the machine's cores. Medians of
rounds in turns. `ebbtide train`, its default learner, learns the first 20,000 of the examples.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from statistics import median

from benchmarks.live_bed import PARTITIONS, PATIENCE_S, Bed, Cpu, Span, bed, done, fill, said, trainer, worker
from benchmarks.tables import Row, bar, say
from state.progress import TrainerStatus

LOG = "planted:users=10000,items=2000,events=400000"
JSON_EVENTS, PLAIN_S = 100_000, 10.0
WARM = "planted:users=50,items=50,events=2000"
EXAMPLES, TRAINED = "for-trainer", 20_000


@dataclass(frozen=True)
class Took:
    span: Span
    cpu_s: float
    broker_cpu_s: float


def plain(bed: Bed, events: int, store: str, name: str) -> Took:
    """The peer."""
    where = {"brokers": bed.brokers, "topic": "json", "store": store, "events": events, "seconds": PLAIN_S}
    said = [word for option, value in where.items() for word in (f"--{option}", str(value))]
    command = [sys.executable, "-m", "benchmarks.live_plain", *said]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        with Cpu([process.pid, bed.broker_pid]) as cpu:
            answer = process.communicate()[0]
        if process.returncode:
            raise RuntimeError(f"{name}: the plain agent ended with exit status {process.returncode}")
    found = json.loads(answer)
    span = Span(int(found["events"]), found["first_s"], found["last_s"])
    return Took(span, cpu.used_s(process.pid, span), cpu.used_s(bed.broker_pid, span))


def ingest(bed: Bed, events: int, form: str, name: str) -> Took:
    """A worker of ours, from its first committed examples on."""
    with worker(bed, form, name) as process, Cpu([process.pid, bed.broker_pid]) as cpu:
        span = done(bed, f"{name}-examples", events, [process])
    return Took(span, cpu.used_s(process.pid, span), cpu.used_s(bed.broker_pid, span))


def train(bed: Bed, name: str) -> Took:
    """A trainer on examples that are there already: from what it says first to what it says last."""
    seen: list[TrainerStatus] = []
    deadline_s = time.monotonic() + PATIENCE_S
    with (
        trainer(bed, EXAMPLES, "--for", TRAINED, "--clear") as process,
        Cpu([process.pid, bed.broker_pid]) as cpu,
    ):
        while process.poll() is None:
            if time.monotonic() > deadline_s:
                raise RuntimeError(f"{name}: {TRAINED:,} examples were not learned; last said: {seen[-1:]}")
            time.sleep(0.1)
            status = said(bed, EXAMPLES)
            if status and status.pid == process.pid and status.trained and status.trained < TRAINED:
                seen.append(status)
    shutil.rmtree(bed.folder / f"{EXAMPLES}.trained")
    if process.returncode or len(seen) < 2:
        words = (bed.folder / f"{EXAMPLES}.train.log").read_text()
        raise RuntimeError(f"{name}: the trainer ended with exit status {process.returncode}: {words}")
    first, last = seen[0], seen[-1]
    span = Span(last.trained - first.trained, first.updated_ms / 1000, last.updated_ms / 1000)
    return Took(span, cpu.used_s(process.pid, span), cpu.used_s(bed.broker_pid, span))


def rounds(bed: Bed, log: str, limit: int | None, times: int) -> dict[str, list[Took]]:
    """Everybody, in turns."""
    some = fill(bed.brokers, log, "json", "json", min(limit or JSON_EVENTS, JSON_EVENTS), PARTITIONS)
    events = fill(bed.brokers, log, "arrow", "arrow", limit, PARTITIONS)
    warm = fill(bed.brokers, WARM, "warm", "json", None, 1)
    ingest(bed, warm, "warm", "warm-group")  # kernels are compiled here, if they are not yet
    runs: dict[str, Callable[[str], Took]] = {
        "plain Faust, memory": partial(plain, bed, some, "memory://"),
        "plain Faust, RocksDB": partial(plain, bed, some, "rocksdb://"),
        "ebbtide ingest, JSON": partial(ingest, bed, some, "json"),
        "ebbtide ingest, Arrow": partial(ingest, bed, events, "arrow"),
    }
    ingest(bed, some, "json", EXAMPLES)
    runs["ebbtide train"] = partial(train, bed)
    took: dict[str, list[Took]] = {name: [] for name in runs}
    for turn in range(times):
        for number, (name, go) in enumerate(runs.items()):
            took[name].append(go(f"g{turn}-{number}"))
            print(f"{name}: {took[name][-1].span.rate:,.0f} events/s", file=sys.stderr)
    return took


def rows(took: dict[str, list[Took]]) -> list[Row]:
    def rate(name: str) -> float:
        return median(one.span.rate for one in took[name])

    def per_event(name: str, used: Callable[[Took], float]) -> float:
        return 1e6 * median(used(one) / one.span.events for one in took[name])

    peer = "plain Faust, memory"
    base, base_us = rate(peer), per_event(peer, lambda one: one.cpu_s)
    return [
        {
            "what": name,
            "events_per_s": rate(name),
            "least": min(one.span.rate for one in of),
            "most": max(one.span.rate for one in of),
            "times_plain": rate(name) / base,
            "worker_cpu_us_an_event": per_event(name, lambda one: one.cpu_s),
            "broker_cpu_us_an_event": per_event(name, lambda one: one.broker_cpu_s),
            "times_plain_by_worker_cpu": base_us / per_event(name, lambda one: one.cpu_s),
        }
        for name, of in took.items()
    ]


def loads() -> str:
    return " ".join(f"{load:.1f}" for load in os.getloadavg())


def main() -> None:
    parser = argparse.ArgumentParser(description="Live workers beside a plain Faust agent.")
    parser.add_argument("--log", default=LOG, metavar="LOG")
    parser.add_argument("--limit", type=int, metavar="N", help="the first N events of the log only")
    parser.add_argument("--rounds", type=int, default=3, metavar="R")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    asked = parser.parse_args()
    with bed() as here:
        before = loads()
        found = rows(rounds(here, asked.log, asked.limit, asked.rounds))
    ratio = {row["what"]: float(row["times_plain"] or 0) for row in found}
    bars = [
        bar("Arrow, times plain Faust", ratio["ebbtide ingest, Arrow"], 10.0),
        bar("JSON, times plain Faust", ratio["ebbtide ingest, JSON"], 2.0),
    ]
    title = f"live, {asked.log}" + (f", first {asked.limit:,} events" if asked.limit else "")
    say(
        {"load average": [{"before": before, "after": loads()}], title: found, "bars": bars},
        as_json=asked.json,
    )


if __name__ == "__main__":
    main()
