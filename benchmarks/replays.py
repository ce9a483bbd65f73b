"""Replays in a process of their own, which imports nothing else, with its CPU seconds and memory watched.

The parent calls `replays`; the process it starts runs this file and tells, a JSON object a line, how far it
is and what came out. The embedded store is a process beside it and is not counted.
"""

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from ebbtide.report.report import Report

QUARTERS = (0.25, 0.5, 0.75, 1.0)


@dataclass(frozen=True)
class Replayed:
    """One replay of a log, from opening the file to the report written."""

    report: Report
    wall_s: float
    cpu_s: float
    """CPU seconds from opening the file to the report written."""
    process_cpu_s: float
    """CPU seconds of the whole process so far: imports and kernels too, if it is the process's first."""
    rss_mb: list[float]
    """Resident memory after each of QUARTERS of the events."""

    @property
    def peak_mb(self) -> float:
        return self.report.peak_rss_mb

    def rate(self) -> float:
        """Events per CPU-second, file to report."""
        return self.report.events.used / self.cpu_s


def replays(log: str, *, times: int = 1, title: str = "", **options: Any) -> list[Replayed]:
    """Replay `log` so many times in one fresh process; `options` are those of `ebbtide.replay`.

    The first pays for imports and for loading kernels, the later ones do not.
    """
    asked = json.dumps({"log": log, "times": times, "options": options})
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "benchmarks.replays", asked]
    made: list[Replayed] = []
    columns = (TextColumn("{task.description}"), BarColumn(bar_width=24), TimeElapsedColumn())
    with (
        subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process,
        Progress(*columns, console=Console(stderr=True), transient=True) as bar,
    ):
        task = bar.add_task(title or log, total=float(times))
        assert process.stdout is not None
        for line in process.stdout:
            told = json.loads(line)
            if "report" in told:
                made.append(Replayed(**told | {"report": msgspec.convert(told["report"], Report)}))
                bar.update(task, completed=len(made))
            else:
                bar.update(task, completed=len(made) + told["done"])
    if process.returncode != 0:
        raise RuntimeError(f"the replay of {log} ended with exit status {process.returncode}")
    return made


def resident_mb() -> float:
    """Resident memory now; where the system does not tell (no /proc), the most so far."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return pages * resource.getpagesize() / 2**20


def _replay(log: str, options: dict[str, Any]) -> None:
    from ebbtide import api  # here, so that the parent does not load what it does not run

    told = 0.0
    rss_mb: list[float] = []

    def progress(done: int, total: int, _: object) -> None:
        nonlocal told
        if done / total >= QUARTERS[len(rss_mb)]:
            rss_mb.append(resident_mb())
        if done / total >= told + 0.01:
            told = done / total
            _tell({"done": told})

    with tempfile.TemporaryDirectory() as out:
        wall, cpu = time.perf_counter(), time.process_time()
        report = api.replay(log, out, progress=progress, **options)
        finished = time.process_time()
        _tell(
            {
                "report": msgspec.to_builtins(report),
                "wall_s": time.perf_counter() - wall,
                "cpu_s": finished - cpu,
                "process_cpu_s": finished,
                "rss_mb": rss_mb,
            }
        )


def _tell(said: dict[str, Any]) -> None:
    print(json.dumps(said), flush=True)


if __name__ == "__main__":
    asked = json.loads(sys.argv[1])
    for _ in range(asked["times"]):
        _replay(asked["log"], asked["options"])
