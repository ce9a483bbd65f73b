"""A year of shopping by STIM: quality, time, and whether memory stays flat.

Complete Journey, 1.47 million purchase lines.

Strict: a line becomes known a second later, so it knows nothing of its own basket, whose lines share the
time. Rankings are of the whole catalogue, on a seeded share of the lines of the second half. Some 15 minutes;
fetches the log once (60 MB).
"""

from benchmarks.benchmark import Bench, Benchmark, Option
from benchmarks.quality import RANKED, rankers, ranking_bars
from benchmarks.replays import QUARTERS, Replayed
from benchmarks.tables import Bar, Row, Tables

MODEL = "stim"
TIME, PHASES, MEMORY = "time, file to report", "CPU seconds by phase", "resident MB"


def measure(bench: Bench, *, log: str, limit: int | None) -> Tables:
    replayed = bench.replays(
        log, learner=MODEL, label_delay="1s", limit=limit, title=f"{MODEL}, strict (1 s)"
    )[0]
    return {
        TIME: [_time(replayed)],
        PHASES: [{"what": MODEL, **replayed.report.phases}],
        MEMORY: [_memory(replayed)],
        RANKED: rankers(replayed),
    }


def _time(replayed: Replayed) -> Row:
    return {
        "what": MODEL,
        "events": replayed.report.events.used,
        "share ranked": replayed.report.ranking.share,
        "wall minutes": replayed.wall_s / 60,
        "CPU s": replayed.cpu_s,
        "whole process, CPU s": replayed.process_cpu_s,
        "events per CPU-second": replayed.rate(),
    }


def _memory(replayed: Replayed) -> Row:
    after = zip(QUARTERS, replayed.rss_mb, strict=True)
    growth = replayed.rss_mb[-1] / replayed.rss_mb[0]
    by_quarter = {f"after {part:.0%}": mb for part, mb in after}
    return {"what": MODEL, **by_quarter, "peak": replayed.peak_mb, "end / a quarter": growth}


BENCHMARK = Benchmark(
    measure=measure,
    options={
        "log": Option(
            help="a log",
            default="completejourney",
            quick="planted:users=20,items=30,events=400",
            metavar="LOG",
        ),
        "limit": Option(help="only the first N lines", kind=int),
    },
    bars=(
        *ranking_bars(MODEL, {"recall@10": (0.126, 0.130), "NDCG@10": (0.070, 0.073)}),
        Bar("wall minutes", TIME, MODEL, "wall minutes", 15.0, 5.0, least=False),
        Bar("memory at the end / at a quarter", MEMORY, MODEL, "end / a quarter", 1.25, 1.0, least=False),
    ),
)
