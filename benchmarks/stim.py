"""STIM beside DIN, Gaussian rows, Vowpal Wabbit and river: `python -m benchmarks.stim [--json]`.

MovieLens-100K always; Foursquare NYC and Globo news where their folders are given, whose logs may not be
redistributed; Complete Journey where asked for. DIN (torch) goes through the same contract, with the same
features, in a process of its own like every replay, on one thread. It ranks nothing here: a network that
weighs the whole past anew for every candidate cannot rank a catalogue at the rate of a stream.
"""

import argparse
from statistics import median
from typing import Any

from benchmarks.movielens import GENRES
from benchmarks.peers import Rated, peers, prequential
from benchmarks.replays import Replayed, replays
from benchmarks.tables import Row, Tables, bar, say
from ebbtide import api
from learners.judging.evaluation import Judged, Part

MODEL, DIN, GAUSSIAN = "stim", "din", "gaussian"
LOG = "movielens-100k"
PROTOCOLS = {"sequential": ("0s", 0), "strict (1 s)": ("1s", 1000), "delay 1 h": ("1h", 3_600_000)}
METRICS = ("recall@1", "recall@10", "ndcg@10")
ALONE = {"floors": False, "rank_share": 0.0}
"""P(action), and vectors to publish, and nothing else."""
NO_COPY_PATH: dict[str, Any] = {"learners": {MODEL: {"copy": {"on": False}}}}


def movielens(rounds: int) -> Tables:
    """Quality of P(action) under every protocol, of the next item, and rates of `rounds` rounds."""
    said = [*_ours(), *_peers()]
    following = replays(LOG, learner=MODEL, score_from=0.8, rank_share=1.0, title="next item")[0]
    rates = _rates(rounds)
    return {
        "MovieLens-100K, P(rating >= 4), all events": said,
        "MovieLens-100K, next item, last 20%, rated items masked": _rankers(following),
        "MovieLens-100K, events per CPU-second, file to report": rates,
        "MovieLens-100K, the bar": [
            bar("AUC, sequential", _of(said, MODEL, "sequential", "auc"), 0.785, 0.787),
            bar(
                "log loss, sequential", _of(said, MODEL, "sequential", "log_loss"), 0.551, 0.549, least=False
            ),
            bar("AUC, delay 1 h", _of(said, MODEL, "delay 1 h", "auc"), 0.715, 0.730),
            *_ranking_bars(following, {"recall@10": (0.215, 0.231), "ndcg@10": (0.110, 0.120)}),
            bar("events per CPU-second, times DIN's", float(rates[0]["times_din"] or 0), 1.0, 4.0),
            bar("AUC of DIN, sequential", _of(said, DIN, "sequential", "auc"), 0.754),
        ],
    }


def foursquare(data: str) -> Tables:
    """Next place, second half, whole catalogue; a check-in becomes known a minute later, the log's tick."""
    replayed = replays(
        data, learner=MODEL, label_delay="60s", score_from=0.5, rank_share=1.0, title="foursquare"
    )[0]
    title = "Foursquare NYC, second half, strict (60 s)"
    bars = {"recall@1": (0.36, 0.39), "recall@10": (0.71, 0.735), "ndcg@10": (0.53, 0.56)}
    return {
        title: _rankers(replayed),
        f"{title}, the bar": [
            *_ranking_bars(replayed, bars),
            bar("events per CPU-second at that quality", replayed.rate(), 1000.0, 4000.0),
        ],
    }


def globo(data: str) -> Tables:
    """Next article, second half, the session's earlier clicks left out; strict, by the log's tick."""
    replayed = replays(
        data,
        learner=MODEL,
        label_delay="1ms",
        leave_out="session",
        score_from=0.5,
        rank_share=1.0,
        title="globo",
    )[0]
    title = "Globo news, second half, strict (1 ms)"
    bars = {"recall@1": (0.212, 0.238), "recall@10": (0.702, 0.730), "ndcg@10": (0.434, 0.463)}
    return {title: _rankers(replayed), f"{title}, the bar": _ranking_bars(replayed, bars)}


def completejourney() -> Tables:
    """Next product, second half, a seeded share of the lines; a line knows nothing of its own basket."""
    replayed = replays("completejourney", learner=MODEL, label_delay="1s", title="completejourney")[0]
    title = f"Complete Journey, second half, {replayed.report.ranking.share:.1%} of the lines, strict (1 s)"
    return {
        title: _rankers(replayed),
        "Complete Journey, the bar": [
            *_ranking_bars(replayed, {"recall@10": (0.126, 0.130), "ndcg@10": (0.070, 0.073)}),
            bar("wall minutes", replayed.wall_s / 60, 15.0, 5.0, least=False),
            bar(
                "memory at the end / at a quarter",
                replayed.rss_mb[-1] / replayed.rss_mb[0],
                1.25,
                least=False,
            ),
        ],
    }


def _ours() -> list[Row]:
    """The models and the floor under every protocol."""
    rows: list[Row] = []
    for protocol, (delay, _) in PROTOCOLS.items():
        for model in (MODEL, DIN, GAUSSIAN):
            options: dict[str, Any] = {"rank_share": 0.0, "floors": model == GAUSSIAN}
            title = f"{model}, {protocol}"
            report = replays(LOG, learner=model, label_delay=delay, title=title, **options)[0].report
            for judged in report.learners:
                if judged.predicts and (judged.floor or judged.name == model):
                    rows.append(_predicted(_name(judged), protocol, judged.all.auc, judged.all.log_loss))
    return rows


def _peers() -> list[Row]:
    rated = Rated.read(api.open_log(LOG), GENRES)
    rows: list[Row] = []
    for protocol, (_, delay_ms) in PROTOCOLS.items():
        for name, peer in peers(rated).items():
            found = prequential(peer, rated, delay_ms).metrics(rated)
            rows.append(_predicted(name, protocol, found["auc"], found["log_loss"]))
    return rows


def _rates(rounds: int) -> list[Row]:
    """Models by turns, each the second time in its process, when nothing is loaded or compiled any more."""
    jobs: dict[str, tuple[str, dict[str, Any]]] = {
        f"{MODEL}, P(action) alone": (MODEL, ALONE | NO_COPY_PATH),
        f"{MODEL}, learning to rank too": (MODEL, ALONE),
        f"{MODEL}, with rankings and floors": (MODEL, {}),
        f"{DIN} (torch), P(action) alone": (DIN, ALONE),
        f"{GAUSSIAN}, P(action) alone": (GAUSSIAN, ALONE),
    }
    measured: dict[str, list[Replayed]] = {what: [] for what in jobs}
    for number in range(rounds):
        for what, (model, options) in jobs.items():
            title = f"{what}, round {number + 1} of {rounds}"
            measured[what].append(replays(LOG, times=2, learner=model, title=title, **options)[1])
    peer = max(again.rate() for again in measured[f"{DIN} (torch), P(action) alone"])
    return [
        {
            "what": what,
            "auc": _judged(found[0], jobs[what][0]).all.auc,
            "best": max(again.rate() for again in found),
            "median": median(again.rate() for again in found),
            "times_din": max(again.rate() for again in found) / peer,
        }
        for what, found in measured.items()
    ]


def _judged(replayed: Replayed, name: str) -> Judged:
    return next(judged for judged in replayed.report.learners if judged.name == name)


def _ranker(replayed: Replayed) -> Part:
    """The model's scored part, or that of the two-tower beside a model that only predicts."""
    rankers = {judged.name: judged.scored for judged in replayed.report.learners if judged.ranks}
    return rankers[MODEL if MODEL in rankers else "twotower"]


def _rankers(replayed: Replayed) -> list[Row]:
    rankers = [judged for judged in replayed.report.learners if judged.ranks]
    return [
        {"what": _name(judged)} | {metric: judged.scored.value(metric) for metric in METRICS}
        for judged in rankers
    ]


def _ranking_bars(replayed: Replayed, bars: dict[str, tuple[float, float]]) -> list[Row]:
    part = _ranker(replayed)
    return [bar(metric, round(part.value(metric) or 0.0, 3), *at) for metric, at in bars.items()]


def _name(judged: Judged) -> str:
    return judged.name + (" (floor)" if judged.floor else "")


def _predicted(what: str, protocol: str, auc: float | None, log_loss: float | None) -> Row:
    return {"what": what, "protocol": protocol, "auc": auc, "log_loss": log_loss}


def _of(rows: list[Row], what: str, protocol: str, metric: str) -> float:
    row = next(row for row in rows if (row["what"], row["protocol"]) == (what, protocol))
    return round(float(row[metric] or 0.0), 4)


def main() -> None:
    parser = argparse.ArgumentParser(description="STIM beside its peers, against its bars.")
    parser.add_argument("--foursquare", metavar="DIR", help="folder of check-ins and places")
    parser.add_argument("--globo", metavar="DIR", help="folder of news clicks")
    parser.add_argument("--completejourney", action="store_true", help="a year of shopping too")
    parser.add_argument("--rounds", type=int, default=3, help="rounds that rates are taken in")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    arguments = parser.parse_args()
    tables = movielens(arguments.rounds)
    if arguments.foursquare:
        tables |= foursquare(arguments.foursquare)
    if arguments.globo:
        tables |= globo(arguments.globo)
    if arguments.completejourney:
        tables |= completejourney()
    say(tables, as_json=arguments.json)


if __name__ == "__main__":
    main()
