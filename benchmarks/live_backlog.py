"""Behind by a million events, then without a store for a minute.

Everything is sent before a worker begins, and the worker is done before a trainer begins. A third of the way
through, the store is killed and comes back `--away` seconds later. Ten minutes; starts a broker and a store
of its own.
"""

import json
import os
import signal
import time
from typing import Any

from benchmarks.benchmark import Bench, Benchmark, Option
from benchmarks.live_bed import PARTITIONS, Bed, bed, done, fill, peak_mb, said, trainer, until, worker
from benchmarks.tables import Row, Tables
from benchmarks.telling import Step
from ebbtide.services import control

GROUP, TRAIN = "behind", "train"
_PATIENCE_S, _SETTLE_S = 1500.0, 5.0


def measure(bench: Bench, *, log: str, events: int, away: float, learner: str) -> Tables:
    told = bench.telling
    with bed(bench) as here:
        sent = fill(told, here.brokers, log.format(events=events), "behind-events", "arrow", None, PARTITIONS)
        with worker(here, "behind-events", GROUP) as ingest, told.step("ingesting") as step:
            span = done(here, f"{GROUP}-examples", sent, [ingest], step)
            rows = [_row("ingest, Arrow", sent, span.end_s - span.start_s, peak_mb(ingest.pid))]
        with trainer(here, GROUP, "--learner", learner, "--json") as train, told.step("training") as step:
            until(lambda: _newest(here), lambda: "no trainer came up")
            start_s, before = time.time(), _newest(here)["trained"]
            _until(here, sent // 3, sent, step)
            outage = _without_store(here, away, train.pid, step)
            _until(here, sent, sent, step)
            rows.append(_row(TRAIN, sent - before, time.time() - start_s, peak_mb(train.pid)))
            until(
                lambda: (found := said(here, GROUP)) and found.trained == sent, lambda: "the store is behind"
            )
    return {BEHIND: rows, AWAY: [outage]}


def _without_store(bed: Bed, away_s: float, pid: int, step: Step) -> Row:
    """Kill the store, look at the trainer, and start it again."""
    store = control.status(bed.services).services[1].pid
    if store is None:
        raise RuntimeError("the store is gone already")
    step.say(f"the store is away for {away_s:.0f} s")
    os.kill(store, signal.SIGKILL)
    settle_s = min(_SETTLE_S, away_s / 2)
    time.sleep(settle_s)
    first, memory_mb = _newest(bed), peak_mb(pid)
    time.sleep(away_s - settle_s)
    last = _newest(bed)
    control.up(bed.services)
    return {
        "what": f"{away_s:g} s",
        "learned meanwhile": last["trained"] - first["trained"],
        "MB more": peak_mb(pid) - memory_mb,
        "trouble": last["trouble"],
    }


def _row(what: str, events: int, seconds: float, memory_mb: float) -> Row:
    return {
        "what": what,
        "events": events,
        "seconds": seconds,
        "a second": events / seconds,
        "peak MB": memory_mb,
    }


def _until(bed: Bed, trained: int, of: int, step: Step) -> None:
    def there() -> bool:
        far = int(_newest(bed)["trained"])
        step.say(f"{far:,} of {of:,} trained")
        step.reached(far / of)
        return far >= trained

    until(
        there,
        lambda: f"the trainer did not learn {trained:,}: {_newest(bed)}",
        patience_s=_PATIENCE_S,
    )


def _newest(bed: Bed) -> dict[str, Any]:
    """The trainer's newest line; nothing before its first."""
    lines = (bed.folder / f"{GROUP}.train.log").read_text().split("\n")[:-1]
    newest: dict[str, Any] = next((json.loads(line) for line in reversed(lines) if line.startswith("{")), {})
    return newest


BEHIND, AWAY = "catching up", "the store away"
BENCHMARK = Benchmark(
    measure=measure,
    options={
        "log": Option(
            help="a log; {events} in it stands for --events",
            default="planted:users=10000,items=2000,events={events}",
            quick="planted:users=40,items=60,events={events}",
            metavar="LOG",
        ),
        "events": Option(help="events in all", default=1_000_000, quick=3000, kind=int),
        "away": Option(help="seconds without a store", default=60.0, quick=1.0, kind=float, metavar="S"),
        "learner": Option(help="the model", default="stim", quick="stim", metavar="NAME"),
    },
)
