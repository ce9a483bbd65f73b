"""STIM beside DIN, Gaussian rows, Vowpal Wabbit and river on MovieLens-100K.

All events are scored before they are learned: in sequence, strictly (an event becomes known a second later),
and with a delay of an hour. DIN (torch) goes through the same contract, with the same features, on one
thread; it ranks nothing here: a network that weighs the whole past anew for every candidate cannot rank a
catalogue at the rate of a stream. The next film is of the last fifth, rated ones left out. Rates are of whole
replays, file to report. Half an hour; fetches the log once (50 MB).
"""

from statistics import median
from typing import Any

from benchmarks.benchmark import Bench, Benchmark, Option
from benchmarks.peers import Rated
from benchmarks.quality import LABELLED, PREDICTED, RANKED, predicted, quality, rankers, ranking_bars
from benchmarks.replays import Replayed
from benchmarks.tables import Bar, Row, Tables
from ebbtide import api

MODEL, DIN, GAUSSIAN = "stim", "din", "gaussian"
PROTOCOLS = {"sequential": 0, "strict (1 s)": 1000, "delay 1 h": 3_600_000}
RATES = "events per CPU-second, file to report"
ALONE: dict[str, Any] = {"floors": False, "rank_share": 0.0}
"""P(action), and vectors to publish, and nothing else."""
NO_COPY_PATH: dict[str, Any] = {"learners": {MODEL: {"copy": {"on": False}}}}
JOBS: dict[str, tuple[str, dict[str, Any]]] = {
    f"{MODEL}, P(action) and vectors alone": (MODEL, ALONE | NO_COPY_PATH),
    f"{MODEL}, learning to rank too": (MODEL, ALONE),
    f"{MODEL} as it comes": (MODEL, {}),
    f"{DIN}, P(action) alone": (DIN, ALONE),
    f"{GAUSSIAN}, P(action) alone": (GAUSSIAN, ALONE),
}
FASTEST, PEER = f"{MODEL}, P(action) and vectors alone", f"{DIN}, P(action) alone"


def measure(bench: Bench, *, log: str, rounds: int) -> Tables:
    with bench.telling.step("reading the log for the peers"):
        rated = Rated.read(api.open_log(log))
    said = quality(bench, log, rated, (MODEL, DIN, GAUSSIAN), PROTOCOLS)
    following = bench.replays(log, learner=MODEL, score_from=0.8, rank_share=1.0, title="the next film")[0]
    return {PREDICTED: said, RANKED: rankers(following), RATES: _rates(bench, log, rounds)}


def _rates(bench: Bench, log: str, rounds: int) -> list[Row]:
    """Models by turns, each the second time in its process, when nothing is loaded or compiled any more."""
    measured: dict[str, list[Replayed]] = {what: [] for what in JOBS}
    for number in range(rounds):
        for what, (model, options) in JOBS.items():
            title = f"round {number + 1} of {rounds}: {what}"
            measured[what].append(bench.replays(log, times=2, learner=model, title=title, **options)[1])
    peer = max(again.rate() for again in measured[PEER])
    return [
        {
            "what": what,
            "AUC": _auc(found[0], JOBS[what][0]),
            "best": max(again.rate() for again in found),
            "median": median(again.rate() for again in found),
            "times DIN": max(again.rate() for again in found) / peer,
        }
        for what, found in measured.items()
    ]


def _auc(replayed: Replayed, model: str) -> float | None:
    return {judged.name: judged.all.auc for judged in replayed.report.learners}[model]


BENCHMARK = Benchmark(
    measure=measure,
    options={
        "log": LABELLED,
        "rounds": Option(help="rounds that rates are taken in", default=3, quick=1, kind=int),
    },
    bars=(
        Bar("AUC, sequential", PREDICTED, MODEL, predicted("AUC", "sequential"), 0.785, 0.787, digits=4),
        Bar(
            "log loss, sequential",
            PREDICTED,
            MODEL,
            predicted("log loss", "sequential"),
            0.551,
            0.549,
            least=False,
            digits=4,
        ),
        Bar("AUC, delay 1 h", PREDICTED, MODEL, predicted("AUC", "delay 1 h"), 0.715, 0.730, digits=4),
        *ranking_bars(MODEL, {"recall@10": (0.215, 0.231), "NDCG@10": (0.110, 0.120)}),
        Bar("events per CPU-second, times DIN's", RATES, FASTEST, "times DIN", 1.0, 4.0),
        Bar("AUC of DIN, sequential", PREDICTED, DIN, predicted("AUC", "sequential"), 0.754, digits=4),
    ),
)
