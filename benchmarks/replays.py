"""Replays with CPU seconds and memory watched, each in a process of its own, which imports nothing else.

The process runs this file and tells, a JSON object a line, how far it is and what came out. The embedded
store is a process beside it and is not counted. In the quick form of a benchmark replays run in the
benchmark's own process.
"""

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from benchmarks.telling import Step, Telling
from ebbtide.report.report import Report
from ebbtide.waiting import compiling
from state.compiled import watched

QUARTERS = (0.25, 0.5, 0.75, 1.0)
Tell = Callable[[dict[str, Any]], None]


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


class Replays:
    """Runs replays. `apart`: in fresh processes, on one thread; else here."""

    def __init__(self, telling: Telling, *, apart: bool) -> None:
        self._telling, self._apart = telling, apart

    def __call__(self, log: str, *, title: str, times: int = 1, **options: Any) -> list[Replayed]:
        """Replay `log` so many times in one process; `options` are those of `ebbtide.replay`.

        The first pays for imports and for loading kernels, the later ones do not.
        """
        made: list[Replayed] = []
        with self._telling.step(title) as step:

            def hear(told: dict[str, Any]) -> None:
                if "report" in told:
                    made.append(Replayed(**told | {"report": msgspec.convert(told["report"], Report)}))
                _show(step, told, len(made), times)

            if self._apart:
                _apart(log, times, options, hear)
            else:
                for _ in range(times):
                    _replay(log, options, hear)
        return made


def _show(step: Step, told: dict[str, Any], finished: int, times: int) -> None:
    if "compiling" in told:
        step.say(compiling(*told["compiling"]))
    else:
        step.reached((finished + told.get("done", 0.0)) / times)


def _apart(log: str, times: int, options: dict[str, Any], hear: Tell) -> None:
    asked = json.dumps({"log": log, "times": times, "options": options})
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "benchmarks.replays", asked]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
        assert process.stdout is not None
        for line in process.stdout:
            hear(json.loads(line))
    if process.returncode != 0:
        raise RuntimeError(f"the replay of {log} ended with exit status {process.returncode}")


def resident_mb() -> float:
    """Resident memory now; where the system does not tell (no /proc), the most so far."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return pages * resource.getpagesize() / 2**20


def _replay(log: str, options: dict[str, Any], tell: Tell) -> None:
    from ebbtide import api  # here, so that the parent does not load what it does not run

    told = 0.0
    rss_mb: list[float] = []

    def progress(done: int, total: int, _: object) -> None:
        nonlocal told
        while len(rss_mb) < len(QUARTERS) and done / total >= QUARTERS[len(rss_mb)]:
            rss_mb.append(resident_mb())
        if done / total >= told + 0.01:
            told = done / total
            tell({"done": told})

    with tempfile.TemporaryDirectory() as out:
        wall, cpu = time.perf_counter(), time.process_time()
        report = api.replay(log, out, progress=progress, **options)
        finished = time.process_time()
        tell(
            {
                "report": msgspec.to_builtins(report),
                "wall_s": time.perf_counter() - wall,
                "cpu_s": finished - cpu,
                "process_cpu_s": finished,
                "rss_mb": rss_mb,
            }
        )


def _print(told: dict[str, Any]) -> None:
    print(json.dumps(told), flush=True)


if __name__ == "__main__":
    asked = json.loads(sys.argv[1])
    with watched(lambda kernel, of: _print({"compiling": (kernel, of)})):
        for _ in range(asked["times"]):
            _replay(asked["log"], asked["options"], _print)
