"""Behind by a million events, then without a store for a minute: how it catches up, in how much memory.

    python -m benchmarks.live_backlog [--log LOG] [--events N] [--away S] [--learner L]

Everything is sent before a worker begins, and the worker is done before a trainer begins. A third of the way
through, the store is killed and comes back `--away` seconds later.
"""

import argparse
import json
import os
import signal
import time
from typing import Any

from benchmarks.live_bed import PARTITIONS, Bed, bed, done, fill, peak_mb, said, trainer, until, worker
from benchmarks.tables import Row, Tables, say
from ebbtide.services import control

LOG = "planted:users=10000,items=2000,events={events}"
GROUP = "behind"
_PATIENCE_S, _SETTLE_S = 1500.0, 5.0


def measure(bed: Bed, log: str, away_s: float, learner: str) -> Tables:
    events = fill(bed.brokers, log, "events", "arrow", None, PARTITIONS)
    with worker(bed, "events", GROUP) as ingest:
        span = done(bed, f"{GROUP}-examples", events, [ingest])
        rows: list[Row] = [_row("ingest", events, span.end_s - span.start_s, peak_mb(ingest.pid))]
    with trainer(bed, GROUP, "--learner", learner, "--json") as train:
        until(lambda: _newest(bed), lambda: "no trainer came up")
        start_s, before = time.time(), _newest(bed)["trained"]
        _until(bed, events // 3)
        outage = _without_store(bed, away_s, train.pid)
        _until(bed, events)
        rows.append(_row(f"train, {learner}", events - before, time.time() - start_s, peak_mb(train.pid)))
        until(lambda: (found := said(bed, GROUP)) and found.trained == events, lambda: "the store is behind")
    return {f"behind, {log}": rows, "the store away": [outage]}


def _without_store(bed: Bed, away_s: float, pid: int) -> Row:
    """Kill the store, look at the trainer, and start it again."""
    folder = bed.folder / "services"
    store = control.status(folder).services[1].pid
    if store is None:
        raise RuntimeError("the store is gone already")
    os.kill(store, signal.SIGKILL)
    time.sleep(_SETTLE_S)
    first, memory_mb = _newest(bed), peak_mb(pid)
    time.sleep(away_s - _SETTLE_S)
    last = _newest(bed)
    control.up(folder)
    return {
        "seconds": away_s,
        f"learned after {_SETTLE_S:.0f} s": last["trained"] - first["trained"],
        "MB more": peak_mb(pid) - memory_mb,
        "trouble": last["trouble"],
    }


def _row(what: str, events: int, seconds: float, memory_mb: float) -> Row:
    return {"what": what, "events": events, "seconds": seconds, "a_second": events / seconds, "MB": memory_mb}


def _until(bed: Bed, trained: int) -> None:
    until(
        lambda: _newest(bed)["trained"] >= trained,
        lambda: f"the trainer did not learn {trained:,}: {_newest(bed)}",
        patience_s=_PATIENCE_S,
    )


def _newest(bed: Bed) -> dict[str, Any]:
    """The trainer's newest line; nothing before its first."""
    lines = (bed.folder / f"{GROUP}.train.log").read_text().split("\n")[:-1]
    found: dict[str, Any] = next((json.loads(line) for line in reversed(lines) if line.startswith("{")), {})
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description="Behind by a million events, without a store.")
    parser.add_argument("--events", type=int, default=1_000_000, metavar="N")
    parser.add_argument("--log", metavar="LOG", help="instead of a planted one")
    parser.add_argument("--away", type=float, default=60.0, metavar="S", help="seconds without a store")
    parser.add_argument("--learner", default="stim", metavar="L")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    asked = parser.parse_args()
    log = asked.log or LOG.format(events=asked.events)
    with bed() as here:
        say(measure(here, log, asked.away, asked.learner), as_json=asked.json)


if __name__ == "__main__":
    main()
