"""Tables of quality: P(action) of ours and of peers under one rule of what is known when, and rankings."""

from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks.benchmark import Bench, Option
from benchmarks.peers import Rated, peers, prequential
from benchmarks.replays import Replayed
from benchmarks.tables import Bar, Row
from learners.judging.evaluation import Judged

PREDICTED, RANKED = "P(action), all events", "rankings, scored part"
LABELLED = Option(
    help="a labelled log with categories of items",
    default="movielens-100k",
    quick="planted:users=20,items=30,events=400",
    metavar="LOG",
)
_RANKING = ("recall@1", "recall@10", "NDCG@10")


def predicted(metric: str, protocol: str) -> str:
    """The column of a metric under a protocol."""
    return f"{metric}, {protocol}"


def quality(
    bench: Bench, log: str, rated: Rated, models: Sequence[str], protocols: Mapping[str, int]
) -> list[Row]:
    """AUC and log loss of models, the floor and the peers; a protocol is how old, in ms, known events are."""
    rows: dict[str, Row] = {}
    for protocol, delay_ms in protocols.items():
        for model in models:
            options: dict[str, Any] = {"rank_share": 0.0, "floors": model == models[-1]}
            title = f"{model}, {protocol}"
            report = bench.replays(log, learner=model, label_delay=f"{delay_ms}ms", title=title, **options)[
                0
            ].report
            for judged in report.learners:
                if judged.predicts and (judged.floor or judged.name == model):
                    values = {"AUC": judged.all.auc, "log loss": judged.all.log_loss}
                    _add(rows, named(judged), protocol, values)
        for name, peer in peers(rated).items():
            with bench.telling.step(f"{name}, {protocol}") as step:
                metrics = prequential(peer, rated, delay_ms, step).metrics(rated)
            _add(rows, name, protocol, {"AUC": metrics["auc"], "log loss": metrics["log_loss"]})
    return list(rows.values())


def _add(rows: dict[str, Row], name: str, protocol: str, values: Mapping[str, float | None]) -> None:
    row = rows.setdefault(name, {"what": name})
    row |= {predicted(metric, protocol): value for metric, value in values.items()}


def rankers(replayed: Replayed) -> list[Row]:
    """Every ranker of a replay on its scored part."""
    return [
        {"what": named(judged)} | {metric: judged.scored.value(metric.lower()) for metric in _RANKING}
        for judged in replayed.report.learners
        if judged.ranks
    ]


def ranking_bars(row: str, bars: Mapping[str, tuple[float, float | None]]) -> tuple[Bar, ...]:
    """Bars and aims of metrics of one ranker."""
    return tuple(Bar(f"{row}: {name}", RANKED, row, name, *at, digits=3) for name, at in bars.items())


def named(judged: Judged) -> str:
    return judged.name + (" (floor)" if judged.floor else "")
