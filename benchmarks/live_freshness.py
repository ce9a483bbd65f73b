"""From an event's production to its user's vector being readable in the store.

A sender at a steady rate, one `ebbtide ingest`, one `ebbtide train` with its defaults, the broker and the
store, all on this machine. Quantiles are the trainer's own, of the last minute before the sender ended; how
many events were ingested and trained is said of that moment, too. Two minutes; starts a broker and a store of
its own.
"""

import subprocess
import time
from contextlib import ExitStack

from benchmarks.benchmark import Bench, Benchmark, Option
from benchmarks.live_bed import (
    LOG,
    PARTITIONS,
    Bed,
    Cpu,
    Span,
    bed,
    fill,
    reached,
    run,
    said,
    trainer,
    until,
    worker,
)
from benchmarks.tables import Bar, Row, Tables, loads
from replay.traffic import Form
from state.progress import TrainerStatus
from streams.kafka.client import ensure_topic

GROUP = "fresh"
_FIRST, _LOOK_S = 1000, 1.0


def _measured(bench: Bench, bed: Bed, log: str, rate: float, seconds: float, form: Form, learner: str) -> Row:
    ensure_topic(bed.brokers, "fresh-events", PARTITIONS)
    with ExitStack() as stack:
        ingest = stack.enter_context(worker(bed, "fresh-events", GROUP))
        log_of_worker = bed.folder / f"{GROUP}.log"
        until(lambda: "partitions [" in log_of_worker.read_text(), lambda: "no worker came up")
        train = stack.enter_context(trainer(bed, GROUP, "--learner", learner))
        fill(
            bench.telling, bed.brokers, log, "fresh-events", form, _FIRST, PARTITIONS
        )  # a trainer begins with one
        with bench.telling.step("waiting for worker and trainer"):
            until(
                lambda: (found := said(bed, GROUP)) and found.trained >= _FIRST, lambda: "no trainer came up"
            )
        where = {"to": f"kafka://{bed.brokers}/fresh-events", "rate": rate, "format": form}
        command = run("replay", log, "--quiet", limit=int(rate * seconds), **where)
        with (
            bench.telling.step(f"{rate:,.0f} events a second for {seconds:.0f} s, {learner}, {form}") as step,
            subprocess.Popen(command) as sender,
        ):
            pids = [ingest.pid, train.pid, bed.broker_pid, sender.pid]
            with Cpu(pids) as cpu:
                start_s = time.time()
                last, seen = start_s, _status(bed)
                while sender.poll() is None:
                    time.sleep(_LOOK_S)
                    if sender.poll() is None:
                        last, seen = time.time(), _status(bed)
                        step.reached(min((last - start_s) / seconds, 1.0))
                if sender.returncode:
                    raise RuntimeError(f"the sender ended with exit status {sender.returncode}")
                far = reached(bed.brokers, f"{GROUP}-examples")
            span = Span(seen.trained - _FIRST, start_s, last)
            busy = dict(zip(("ingest", "train", "broker", "sender"), pids, strict=True))
            shares = {
                f"{name}, cores": cpu.used_s(pid, span) / (last - start_s) for name, pid in busy.items()
            }
    return {
        "what": f"{learner}, {form}",
        "events a second": rate,
        **{f"{name} ms": seen.freshness_ms.get(name) for name in ("p50", "p95", "p99")},
        "events": int(rate * seconds),
        "ingested": sum(said.events for said in far.values()) - _FIRST,
        "trained": span.events,
        "trouble": seen.trouble,
        **shares,
        "load": loads(),
    }


def _status(bed: Bed) -> TrainerStatus:
    status = said(bed, GROUP)
    if status is None:
        raise RuntimeError("the trainer's status is gone")
    return status


def measure(bench: Bench, *, log: str, rate: float, seconds: float, format: Form, learner: str) -> Tables:
    with bed(bench) as here:
        row = _measured(bench, here, log, rate, seconds, format, learner)
    return {FRESHNESS: [row], WORST: [{"what": "p99", "ms": row["p99 ms"]}]}


FRESHNESS, WORST = "from produced to readable", "against the bar"
BENCHMARK = Benchmark(
    measure=measure,
    options={
        "log": LOG,
        "rate": Option(help="events a second", default=2000.0, quick=400.0, kind=float),
        "seconds": Option(help="how long", default=80.0, quick=5.0, kind=float, metavar="S"),
        "format": Option(help="json or arrow", default="json", quick="json", metavar="F"),
        "learner": Option(help="the model", default="stim", quick="stim", metavar="NAME"),
    },
    bars=(Bar("p99 in ms", WORST, "p99", "ms", 400.0, 150.0, least=False),),
)
