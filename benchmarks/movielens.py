"""Gaussian rows beside Vowpal Wabbit and river on MovieLens-100K: quality, and rates.

All events count, scored before they are learned: in sequence, and strictly (an event becomes known a second
later). Rates are events per CPU-second of one thread. Ours are from opening the file to the report written,
with every floor beside the model; the peer's clock starts with the log in memory. Some ten minutes; fetches
the log once (50 MB).
"""

from statistics import median

from benchmarks.benchmark import Bench, Benchmark, Option
from benchmarks.peers import ParsedOnce, Rated, VowpalWabbit, prequential
from benchmarks.quality import LABELLED, PREDICTED, predicted, quality
from benchmarks.replays import Replayed
from benchmarks.tables import Bar, Row, Tables
from ebbtide import api

MODEL = "gaussian"
PROTOCOLS = {"sequential": 0, "strict (1 s)": 1000}
OURS = "file to report, with floors"
VW = "Vowpal Wabbit, each line parsed once"
RATES = "events per CPU-second"


def measure(bench: Bench, *, log: str, rounds: int) -> Tables:
    """Quality under both protocols, and rates of `rounds` rounds."""
    with bench.telling.step("reading the log for the peers"):
        rated = Rated.read(api.open_log(log))
    return {
        PREDICTED: quality(bench, log, rated, (MODEL,), PROTOCOLS),
        RATES: _rates(bench, log, rated, rounds),
    }


def _rates(bench: Bench, log: str, rated: Rated, rounds: int) -> list[Row]:
    measured: dict[str, list[float]] = {}
    for number in range(rounds):
        turn = f"round {number + 1} of {rounds}"
        first, again = bench.replays(log, learner=MODEL, times=2, title=f"{turn}: {MODEL} and floors")
        alone = bench.replays(log, learner=MODEL, times=2, floors=False, title=f"{turn}: {MODEL} alone")[1]
        peer_s = []
        for peer in (VowpalWabbit, ParsedOnce):
            with bench.telling.step(f"{turn}: Vowpal Wabbit") as step:
                peer_s.append(prequential(peer(rated), rated, 0, step).cpu_s)
        for name, rate in (
            (OURS, again.rate()),
            ("file to report, by its own figure", _reported(again)),
            ("whole process with imports, with floors", len(rated) / first.process_cpu_s),
            ("file to report, without floors", alone.rate()),
            ("Vowpal Wabbit, predict a line, learn a line", len(rated) / peer_s[0]),
            (VW, len(rated) / peer_s[1]),
        ):
            measured.setdefault(name, []).append(rate)
    peer_rates = measured[VW]
    return [
        {
            "what": name,
            "best": max(found),
            "median": median(found),
            "times VW, best": max(found) / max(peer_rates),
            "times VW, median": median(found) / median(peer_rates),
        }
        for name, found in measured.items()
    ]


def _reported(replayed: Replayed) -> float:
    return replayed.report.events_per_cpu_second or 0.0


BENCHMARK = Benchmark(
    measure=measure,
    options={
        "log": LABELLED,
        "rounds": Option(help="rounds that rates are taken in", default=3, quick=1, kind=int),
    },
    bars=(
        Bar("AUC, sequential", PREDICTED, MODEL, predicted("AUC", "sequential"), 0.779),
        Bar(
            "log loss, sequential", PREDICTED, MODEL, predicted("log loss", "sequential"), 0.557, least=False
        ),
        Bar("AUC, strict", PREDICTED, MODEL, predicted("AUC", "strict (1 s)"), 0.772),
        Bar("events per CPU-second, file to report", RATES, OURS, "best", 100_000, 500_000),
    ),
)
