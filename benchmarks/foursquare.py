"""The next place by STIM and by the floors: check-ins of Foursquare in New York.

The second half, whole catalogue, every event ranked.

Strict: a check-in becomes known a minute later, the log's tick, so that one never knows of another in the
same minute. A few minutes; the log may not be redistributed, so its folder (check-ins and places) has to be
given.
"""

from benchmarks.benchmark import Bench, Benchmark, Option
from benchmarks.quality import RANKED, rankers, ranking_bars
from benchmarks.replays import Replayed
from benchmarks.tables import Bar, Row, Tables

MODEL, FLOOR = "stim", "habits"
SPEED = "speed, file to report"
WORTH = f"NDCG@10 above {FLOOR}, with the 95% interval over users"


def measure(bench: Bench, *, foursquare: str) -> Tables:
    """Every ranker on the second half, and what it is worth beside the floor."""
    replayed = bench.replays(
        foursquare,
        learner=MODEL,
        label_delay="60s",
        score_from=0.5,
        rank_share=1.0,
        title=f"{MODEL}, strict (60 s)",
    )[0]
    return {RANKED: rankers(replayed), WORTH: _worth(replayed), SPEED: [_speed(replayed)]}


def _worth(replayed: Replayed) -> list[Row]:
    rows: list[Row] = []
    for judged in replayed.report.learners:
        interval = judged.interval(FLOOR, "ndcg@10")
        if interval is not None:
            rows.append(
                {
                    "what": judged.name,
                    "difference": interval.difference,
                    "low": interval.low,
                    "high": interval.high,
                }
            )
    return rows


def _speed(replayed: Replayed) -> Row:
    report = replayed.report
    return {
        "what": MODEL,
        "events": report.events.used,
        "ranked": report.ranking.ranked,
        "wall s": replayed.wall_s,
        "CPU s": replayed.cpu_s,
        "events per CPU-second": replayed.rate(),
        "peak MB": replayed.peak_mb,
    }


BENCHMARK = Benchmark(
    measure=measure,
    options={
        "foursquare": Option(
            help="folder of check-ins and places",
            quick="planted:users=20,items=30,events=400,labels=0",
            metavar="DIR",
            required=True,
        )
    },
    bars=(
        *ranking_bars(
            MODEL, {"recall@1": (0.378, 0.391), "recall@10": (0.730, 0.737), "NDCG@10": (0.552, 0.562)}
        ),
        *ranking_bars(
            f"{FLOOR} (floor)",
            {"recall@1": (0.297, None), "recall@10": (0.688, None), "NDCG@10": (0.485, None)},
        ),
        Bar("events per CPU-second at that quality", SPEED, MODEL, "events per CPU-second", 1000.0, 4000.0),
    ),
)
