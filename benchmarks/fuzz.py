"""What comes in from outside, drawn and spoilt by seed: nothing may break.

No peer. It asks that nothing ends in a traceback or a library's warning, that every row is used or named,
that a table is the same log in two encodings, that cutting messages otherwise changes nothing, and that what
is learned is finite. A minute unless --seconds says otherwise; needs nothing. What fails is made smaller and
left in a folder (`make fuzz` has more options).
"""

import shutil
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.benchmark import Bench, Benchmark, Option
from benchmarks.tables import Bar, Row, Tables
from tests.fuzz.campaign import DRAW, Campaign

CASES = "cases by kind"
ALL = "all"


def measure(bench: Bench, *, seconds: float, seed: int) -> Tables:
    folder = Path(tempfile.mkdtemp(prefix="ebbtide-fuzz-"))
    campaign = Campaign(seed, folder)
    begun, cpu, number = time.monotonic(), time.process_time(), 0
    with bench.telling.step(f"seed {seed}") as step:
        while (passed_s := time.monotonic() - begun) < seconds or number == 0:
            campaign.step(number, lambda line: print(line, file=sys.stderr))
            number += 1
            step.say(f"{number:,} cases, {campaign.failures.total()} failed")
            step.reached(min(passed_s / max(seconds, 1e-9), 1.0))
    if not campaign.failures.total():
        shutil.rmtree(folder)
    rows: list[Row] = [{"what": kind, "cases": campaign.checked[kind]} for kind in DRAW]
    total: Row = {
        "what": ALL,
        "cases": number,
        "failed": campaign.failures.total(),
        "cases a second": number / (time.monotonic() - begun),
        "CPU s": time.process_time() - cpu,
    }
    return {CASES: rows, f"{ALL} cases": [total]}


BENCHMARK = Benchmark(
    measure=measure,
    options={
        "seconds": Option(help="how long", default=60.0, quick=2.0, kind=float, metavar="S"),
        "seed": Option(help="of all cases", default=0, quick=0, kind=int),
    },
    bars=(Bar("cases that fail", f"{ALL} cases", ALL, "failed", 0, least=False, must=True),),
)
