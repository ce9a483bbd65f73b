"""Complete Journey, 1.47 million purchase lines: `python -m benchmarks.completejourney [--json]`.

How long a year of shopping takes from file to report, and whether memory stays flat. Strict: a line becomes
known a second later, so it knows nothing of its own basket, whose lines share the time. Rankings are of
the whole catalogue, on the seeded share of lines that the report names.
"""

import argparse

from benchmarks.replays import QUARTERS, Replayed, replays
from benchmarks.tables import Row, Tables, bar, say

LOG = "completejourney"
METRICS = ("recall@1", "recall@10", "recall@50", "ndcg@10")


def measure(limit: int | None = None) -> Tables:
    """Time, memory and quality of one replay."""
    replayed = replays(LOG, label_delay="1s", limit=limit, title=LOG)[0]
    report = replayed.report
    title = f"Complete Journey, second half, {report.ranking.share:.1%} of the lines ranked, strict (1 s)"
    growth = replayed.rss_mb[-1] / replayed.rss_mb[0]
    return {
        "Complete Journey, time": [_time(replayed)],
        "Complete Journey, CPU seconds by phase": [{**report.phases}],
        "Complete Journey, resident MB": [_memory(replayed)],
        title: [
            {"what": judged.name + (" (floor)" if judged.floor else "")}
            | {metric: judged.scored.value(metric) for metric in METRICS}
            for judged in report.learners
            if judged.ranks
        ],
        "Complete Journey, the bar": [
            bar("wall seconds", replayed.wall_s, 300.0, 100.0, least=False),
            bar("memory at the end / at a quarter", growth, 1.25, 1.0, least=False),
        ],
    }


def _time(replayed: Replayed) -> Row:
    return {
        "events": replayed.report.events.used,
        "wall_min": replayed.wall_s / 60,
        "cpu_s": replayed.cpu_s,
        "process_cpu_s": replayed.process_cpu_s,
        "events_per_cpu_s": replayed.rate(),
    }


def _memory(replayed: Replayed) -> Row:
    after = zip(QUARTERS, replayed.rss_mb, strict=True)
    return {**{f"after {part:.0%}": mb for part, mb in after}, "peak": replayed.peak_mb}


def main() -> None:
    parser = argparse.ArgumentParser(description="Complete Journey: time and memory of a large log.")
    parser.add_argument("--limit", type=int, metavar="N", help="only the first N lines")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    arguments = parser.parse_args()
    say(measure(arguments.limit), as_json=arguments.json)


if __name__ == "__main__":
    main()
