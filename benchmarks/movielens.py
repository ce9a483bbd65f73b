"""MovieLens-100K, P(rating >= 4), beside Vowpal Wabbit and river: `python -m benchmarks.movielens [--json]`.

All events count, scored before they are learned: in sequence, and strictly (an event becomes known a second
later). Rates are events per CPU-second of one thread, taken in turns. Ours are from opening the file to the
report written, with every floor beside the model; the peer's clock starts with the log in memory.
"""

import argparse
from statistics import median

from benchmarks.peers import ParsedOnce, Rated, VowpalWabbit, peers, prequential
from benchmarks.replays import Replayed, replays
from benchmarks.tables import Row, Tables, bar, say
from ebbtide import api

LOG, GENRES = "movielens-100k", "class"
VW = "Vowpal Wabbit, each line parsed once"
PROTOCOLS = {"sequential": ("0s", 0), "strict (1 s)": ("1s", 1000)}


def measure(rounds: int) -> Tables:
    """Quality under both protocols, and rates of `rounds` rounds."""
    rated = Rated.read(api.open_log(LOG), GENRES)
    quality: list[Row] = []
    for protocol, (delay, delay_ms) in PROTOCOLS.items():
        report = replays(LOG, label_delay=delay, title=f"ebbtide, {protocol}")[0].report
        for judged in report.learners:
            if judged.predicts:
                name = f"ebbtide {judged.name}" + (" (floor)" if judged.floor else "")
                quality.append(_quality(name, protocol, judged.all.auc, judged.all.log_loss))
        for name, peer in peers(rated).items():
            said = prequential(peer, rated, delay_ms).metrics(rated)
            quality.append(_quality(name, protocol, said["auc"], said["log_loss"]))
    rates = _rates(rated, rounds)
    return {
        "MovieLens-100K, all events": quality,
        "MovieLens-100K, events per CPU-second": rates,
        "MovieLens-100K, the bar": _bars(quality, rates),
    }


def _rates(rated: Rated, rounds: int) -> list[Row]:
    measured: dict[str, list[float]] = {}
    for number in range(rounds):
        title = f"round {number + 1} of {rounds}"
        first, again = replays(LOG, times=2, title=title)
        alone = replays(LOG, times=2, title=f"{title}, no floors", floors=False)[1]
        twice, once = (prequential(vw(rated), rated, 0) for vw in (VowpalWabbit, ParsedOnce))
        for name, rate in (
            ("ebbtide, file to report", again.rate()),
            ("ebbtide, its report's own figure", _reported(again)),
            ("ebbtide, whole process with imports", len(rated) / first.process_cpu_s),
            ("ebbtide without floors, file to report", alone.rate()),
            ("Vowpal Wabbit, predict a line, learn a line", len(rated) / twice.cpu_s),
            (VW, len(rated) / once.cpu_s),
        ):
            measured.setdefault(name, []).append(rate)
    peer = measured[VW]
    return [
        {
            "what": name,
            "best": max(found),
            "median": median(found),
            "times_vw_best": max(found) / max(peer),
            "times_vw_median": median(found) / median(peer),
        }
        for name, found in measured.items()
    ]


def _reported(replayed: Replayed) -> float:
    return replayed.report.events_per_cpu_second or 0.0


def _quality(what: str, protocol: str, auc: float | None, log_loss: float | None) -> Row:
    return {"what": what, "protocol": protocol, "auc": auc, "log_loss": log_loss}


def _bars(quality: list[Row], rates: list[Row]) -> list[Row]:
    sequential, strict = (
        next(row for row in quality if row["what"] == "ebbtide gaussian" and row["protocol"] == protocol)
        for protocol in PROTOCOLS
    )
    rate = float(rates[0]["best"] or 0)
    return [
        bar("AUC, sequential", float(sequential["auc"] or 0), 0.779),
        bar("log loss, sequential", float(sequential["log_loss"] or 9), 0.557, least=False),
        bar("AUC, strict", float(strict["auc"] or 0), 0.772),
        bar("events per CPU-second, file to report", rate, 100_000, 500_000),
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description="MovieLens-100K beside Vowpal Wabbit and river.")
    parser.add_argument("--rounds", type=int, default=3, help="rounds that rates are taken in")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    arguments = parser.parse_args()
    say(measure(arguments.rounds), as_json=arguments.json)


if __name__ == "__main__":
    main()
