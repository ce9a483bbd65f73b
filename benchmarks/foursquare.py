"""Foursquare NYC, next place, second half, whole catalogue: `python -m benchmarks.foursquare --data DIR`.

DIR is a folder with the check-ins and the places. A check-in becomes known a minute later, the log's clock
tick, so that one never knows of another in the same minute.
"""

import argparse

from benchmarks.replays import Replayed, replays
from benchmarks.tables import Row, Tables, bar, say
from learners.judging.evaluation import Judged

FLOOR = "habits"
METRICS = ("recall@1", "recall@10", "ndcg@10", "mrr")


def measure(data: str) -> Tables:
    """Every ranker on the second half, and what it is worth beside the floor."""
    replayed = replays(data, label_delay="60s", score_from=0.5, rank_share=1.0, title="foursquare")[0]
    rankers = [judged for judged in replayed.report.learners if judged.ranks]
    floor = next(judged for judged in rankers if judged.name == FLOOR).scored
    bars = zip(METRICS, (0.297, 0.688, 0.485), strict=False)
    return {
        "Foursquare NYC, second half, strict (60 s)": [_quality(judged) for judged in rankers],
        "Foursquare NYC, speed": [_speed(replayed)],
        "Foursquare NYC, the bar": [
            bar(f"{FLOOR} {metric}", round(floor.value(metric) or 0.0, 3), at) for metric, at in bars
        ],
    }


def _quality(judged: Judged) -> Row:
    row: Row = {"what": judged.name + (" (floor)" if judged.floor else "")}
    row |= {metric: judged.scored.value(metric) for metric in METRICS}
    interval = judged.interval(FLOOR, "ndcg@10")
    difference = None if interval is None else f"{interval.difference:+.4f}"
    within = "" if interval is None else f" ({interval.low:+.4f} to {interval.high:+.4f})"
    return row | {f"ndcg@10 - {FLOOR} (95%)": difference and difference + within}


def _speed(replayed: Replayed) -> Row:
    report = replayed.report
    return {
        "events": report.events.used,
        "ranked": report.ranking.ranked,
        "wall_s": replayed.wall_s,
        "cpu_s": replayed.cpu_s,
        "events_per_cpu_s": replayed.rate(),
        "peak_mb": replayed.peak_mb,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description="Foursquare NYC: the floor reproduced, and what beats it.")
    parser.add_argument("--data", required=True, metavar="DIR", help="folder of check-ins and places")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    arguments = parser.parse_args()
    say(measure(arguments.data), as_json=arguments.json)


if __name__ == "__main__":
    main()
