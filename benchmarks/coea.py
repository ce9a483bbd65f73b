"""The next novel cluster by CoEA's group identity and without: Foursquare, MovieLens, Complete Journey.

A cluster is novel to whom it had nothing of for 30 days; nats and recall@10 among all that are novel to the
user, on the second half, with intervals over users, paired. Strict: an event knows of none of the same
minute, which is a basket's or a second's, too. Clusters are cells of a kilometre, combinations of genres of
films that were liked, and product categories (of a quarter of the households).

A few minutes a log. Consumption logs: what was not tried is not known, so this is no value of exploring.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import msgspec
import numpy as np

from benchmarks.benchmark import Bench, Benchmark, Option
from benchmarks.tables import Bar, Row, Tables
from ebbtide.config import RunConfig
from ebbtide.running.plan import subject
from learners.coevolution.entries import NEVER, Past
from learners.coevolution.history import dense, novel_of
from learners.contract import Context, Learner
from learners.judging.off_policy import Estimated, interval
from learners.systems.coea import CoEA
from learners.tables.catalogue import Catalogue
from learners.tables.leaveout import Had
from learners.training.trainer import Trainer
from replay.log import Log
from state.arrays import Doubles, Int64s
from state.examples import ExampleBatch
from streams.operator import Operator

WORTH = "next novel cluster, second half: without group identity less with it"
QUALITY = "next novel cluster, second half"
_BATCH = 1024
WITHOUT = "no group identity"
LOGS = ("Foursquare", "MovieLens", "Complete Journey")


class _Log(NamedTuple):
    path: str
    label: str | None
    settings: Mapping[str, Any]
    quarter: bool = False
    """Of the users: those whose number four divides."""


class _Said(NamedTuple):
    nats_E: Doubles
    hit_E: Doubles
    user_E: Int64s
    first_E: Doubles
    """1 where the cluster was never had before."""
    event_E: Int64s


class _Measured(CoEA):
    """CoEA that notes what it said of what was turned to."""

    name = "coea"

    def __init__(self, config: Any, context: Context) -> None:
        super().__init__(config, context)
        self.said: list[_Said] = []

    def scored(self, rows: ExampleBatch, past: Past, log_BC: Doubles) -> None:
        clusters = self.settings.most_clusters
        novel_BC = novel_of(past, clusters)
        novel_BC[:, 0], novel_BC[:, len(self.clusters) :] = False, False
        true_B = self.clusters.of(rows)
        row = np.flatnonzero(novel_BC[np.arange(len(rows)), true_B] & ~(rows.label_B <= 0.5))
        log_EC = np.where(novel_BC[row], log_BC[row], -np.inf)
        top_E1 = log_EC.max(1, keepdims=True)
        own_E = log_EC[np.arange(len(row)), true_B[row]]
        total_E = np.log(np.exp(log_EC - top_E1).sum(1)) + top_E1[:, 0]
        had_BM = (past.accept_ms_BM > NEVER).astype(np.float64)
        had_E = dense(past, had_BM, clusters)[row, true_B[row]]
        self.said.append(
            _Said(
                total_E - own_E,
                ((log_EC >= own_E[:, None]).sum(1) <= 10).astype(np.float64),
                rows.user_B[row],
                1.0 - had_E,
                rows.offset_B[row],
            )
        )


def measure(
    bench: Bench, *, foursquare: str | None, limit: int | None, only: str | None, clusters: str | None
) -> Tables:
    logs = {
        "MovieLens": _Log("movielens-100k", "rating>=4", {"clusters": "class"}),
        "Complete Journey": _Log("completejourney", None, {"most_clusters": 320}, quarter=True),
    }
    if foursquare is not None:
        logs = {"Foursquare": _Log(foursquare, None, {"clusters": "place", "most_clusters": 512})} | logs
    if only is not None:
        logs = {name: log for name, log in logs.items() if name == only}
    if clusters is not None:
        logs = {
            name: log._replace(settings={**log.settings, "clusters": clusters}) for name, log in logs.items()
        }
    tables: Tables = {QUALITY: [], WORTH: []}
    for name in LOGS:
        if name not in logs:
            tables[WORTH].append(_not_run(f"{name}: {WITHOUT}"))
    for name, log in logs.items():
        with bench.telling.step(name):
            said = _run(log, limit)
        tables[QUALITY] += [_quality(f"{name}: {variant}", of) for variant, of in said.items()]
        tables[WORTH] += [
            _worth(f"{name}: {variant}", said["coea"], said[variant]) for variant in said if variant != "coea"
        ]
    return tables


def _run(one: _Log, limit: int | None) -> dict[str, _Said]:
    log = Log.open(one.path, label=one.label, limit=limit)
    about = subject(RunConfig(label_delay_ms=60_000), log)
    catalogue = Catalogue()
    context = Context(
        labelled=about.labelled, roles=about.roles, catalogue=catalogue, items=about.items, users=about.users
    )
    no_cycles = {"every": 0}
    made: dict[str, Learner] = {
        name: _Measured(msgspec.convert({**one.settings, **differ, "cycle": no_cycles}, CoEA.Config), context)
        for name, differ in {"coea": {}, **CoEA.ablations}.items()
    }
    trainer = Trainer(made, catalogue, Had("none"), rank_share=0.0)
    operator = Operator(about.operator, 0)
    for events in log.batches(_BATCH):
        chosen = events.take(np.flatnonzero(events.user_B % 4 == 0)) if one.quarter else events
        if len(chosen):
            trainer.step(operator.process(chosen, int(chosen.time_ms_B.max())))
    half = log.rows // 2
    nats_of = {}
    for name, learner in made.items():
        assert isinstance(learner, _Measured)
        columns = _Said._make(np.concatenate(column) for column in zip(*learner.said, strict=True))
        late = columns.event_E >= half
        nats_of[name] = _Said._make(column[late] for column in columns)
    return nats_of


def _quality(name: str, said: _Said) -> Row:
    first = said.first_E > 0.5
    return {
        "what": name,
        "events": len(said.nats_E),
        "nats": float(said.nats_E.mean()),
        "recall@10": float(said.hit_E.mean()),
        "of them never before": float(first.mean()),
        "recall@10, never before": float(said.hit_E[first].mean()) if first.any() else None,
    }


def _worth(name: str, with_it: _Said, without: _Said) -> Row:
    """Differences above 0 speak for the part; of events that both could say something of."""
    both, a, b = np.intersect1d(with_it.event_E, without.event_E, return_indices=True)
    row: Row = {"what": name, "events": len(both)}
    of = {
        "nats": without.nats_E[b] - with_it.nats_E[a],
        "recall@10": with_it.hit_E[a] - without.hit_E[b],
    }
    for what, less_E in of.items():
        found = interval(
            Estimated(float(less_E.mean()), (less_E - less_E.mean()) / len(less_E)), with_it.user_E[a]
        )
        row |= {what: found.value, f"{what}, low": found.low, f"{what}, high": found.high}
    return row


def _not_run(name: str) -> Row:
    row: Row = {"what": name, "events": None}
    for what in ("nats", "recall@10"):
        row |= dict.fromkeys((what, f"{what}, low", f"{what}, high"))
    return row


BENCHMARK = Benchmark(
    measure=measure,
    options={
        "foursquare": Option(help="folder of check-ins and places", metavar="DIR"),
        "limit": Option(help="events of each log", kind=int, quick=3000),
        "only": Option(help="one of the logs", metavar="NAME", quick="MovieLens"),
        "clusters": Option(help="by something else, such as content", metavar="NAME"),
    },
    bars=tuple(
        Bar(f"group identity on {name}, nats, lower end", WORTH, f"{name}: {WITHOUT}", "nats, low", 0.0, None)
        for name in LOGS
    ),
)
