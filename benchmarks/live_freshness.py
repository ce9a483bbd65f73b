"""How fresh what readers see is: from an event's production to its user's vector being readable in the store.

    python -m benchmarks.live_freshness [--log LOG] [--rate N] [--seconds S] [--format F] [--learner L]

A sender at a steady rate, one `ebbtide ingest`, one `ebbtide train` with its defaults, the broker and the
store, all on this machine. Quantiles are the trainer's own, of the last minute before the sender ended; how
many events were ingested and trained is said of that moment, too.
"""

import argparse
import os
import subprocess
import time
from contextlib import ExitStack

from benchmarks.live_bed import (
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
from benchmarks.tables import Row, bar, say
from state.progress import TrainerStatus
from streams.kafka.client import ensure_topic

LOG = "planted:users=10000,items=2000,events=400000"
GROUP = "fresh"
_FIRST, _LOOK_S = 2000, 1.0


def measure(bed: Bed, log: str, rate: float, seconds: float, form: str, learner: str) -> Row:
    ensure_topic(bed.brokers, "events", PARTITIONS)
    with ExitStack() as stack:
        ingest = stack.enter_context(worker(bed, "events", GROUP))
        log_of_worker = bed.folder / f"{GROUP}.log"
        until(lambda: "partitions [" in log_of_worker.read_text(), lambda: "no worker came up")
        train = stack.enter_context(trainer(bed, GROUP, "--learner", learner))
        fill(bed.brokers, log, "events", form, _FIRST, PARTITIONS)  # a trainer begins with the first example
        until(lambda: (found := said(bed, GROUP)) and found.trained >= _FIRST, lambda: "no trainer came up")
        where = {"to": f"kafka://{bed.brokers}/events", "rate": rate, "format": form}
        command = run("replay", log, "--quiet", limit=int(rate * seconds), **where)
        with subprocess.Popen(command) as sender:
            pids = [ingest.pid, train.pid, bed.broker_pid, sender.pid]
            with Cpu(pids) as cpu:
                start_s = time.time()
                last, seen = start_s, _status(bed)
                while sender.poll() is None:
                    time.sleep(_LOOK_S)
                    if sender.poll() is None:
                        last, seen = time.time(), _status(bed)
                far = reached(bed.brokers, f"{GROUP}-examples")
            span = Span(seen.trained - _FIRST, start_s, last)
            busy = dict(zip(("ingest", "train", "broker", "sender"), pids, strict=True))
            shares = {f"{name}_cpu": cpu.used_s(pid, span) / (last - start_s) for name, pid in busy.items()}
    return {
        "format": form,
        "learner": learner,
        "events_a_second": rate,
        **{f"{name}_ms": seen.freshness_ms.get(name) for name in ("p50", "p95", "p99")},
        "events": int(rate * seconds),
        "ingested": sum(said.events for said in far.values()) - _FIRST,
        "trained": span.events,
        "trouble": seen.trouble,
        **shares,
        "load": " ".join(f"{load:.1f}" for load in os.getloadavg()),
    }


def _status(bed: Bed) -> TrainerStatus:
    status = said(bed, GROUP)
    if status is None:
        raise RuntimeError("the trainer's status is gone")
    return status


def main() -> None:
    parser = argparse.ArgumentParser(description="From an event's production to its being readable.")
    parser.add_argument("--log", default=LOG, metavar="LOG")
    parser.add_argument("--rate", type=float, default=2000.0, metavar="N", help="events a second")
    parser.add_argument("--seconds", type=float, default=80.0, metavar="S")
    parser.add_argument("--format", choices=("json", "arrow"), default="json")
    parser.add_argument("--learner", default="stim", metavar="L")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    asked = parser.parse_args()
    with bed() as here:
        row = measure(here, asked.log, asked.rate, asked.seconds, asked.format, asked.learner)
    p99_ms = float(row["p99_ms"] or float("inf"))
    bars = [bar("p99 in ms", p99_ms, 1000.0, 150.0, least=False)]
    say({f"freshness, {asked.log}": [row], "bars": bars}, as_json=asked.json)


if __name__ == "__main__":
    main()
