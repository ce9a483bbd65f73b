"""How far what `recommend` goes by follows STIM's own ranking.

After so many events the 300 users who were seen last are asked for ten items at the time of their last event:
by the published sum of few terms, by the published interests alone, and by `rank` on the memory as it is
then. A few minutes a log; MovieLens-100K always (fetched once, 50 MB), Foursquare's check-ins and Globo's
clicks where their folders are given.
"""

import tempfile
from contextlib import closing
from pathlib import Path

import msgspec
import numpy as np

from benchmarks.benchmark import Bench, Benchmark, Option
from benchmarks.tables import Cell, Row, Tables
from benchmarks.telling import Step
from ebbtide import api
from ebbtide.config import RunConfig
from ebbtide.running.plan import operator_of, selection_of
from ebbtide.running.run import ReplayRun as Replay
from replay.log import Log
from serving.run import Run
from state.examples import ExampleBatch, concat
from state.memory.after import after
from state.store.contract import KINDS
from state.store.in_memory import DictStore

LOG, PLANTED = "movielens-100k", "planted:users=40,items=60,events=1200"
_USERS, _TOP, _CHUNK = 300, 10, 20


def without_copy(store: DictStore) -> DictStore:
    """The same rows, to recommend from by the interests alone."""
    info, plain = store.info(), DictStore()
    assert info is not None
    plain.put_info(msgspec.structs.replace(info, copy=None))
    for kind in KINDS:
        for page in store.pages(kind):
            plain.put(kind, page)
    plain.advance(store.version())
    return plain


def measured(step: Step, title: str, source: str, events: int) -> Row:
    """One log's row."""
    log = api.open_log(source, limit=events)
    config = RunConfig(learner="stim", floors=False, rank_share=0.0, leave_out="none")
    store = DictStore()
    with tempfile.TemporaryDirectory() as folder, closing(Replay(log, config, store, Path(folder))) as run:
        for batch in log.batches(256):
            run.step(batch)
            step.reached(run.events / log.rows)
        run.finish()
        learner, asked = run.trainer.learners["stim"], last_of_users(log, run)
        keys_N = learner.context.catalogue.items.keys
        answers = Run(store)
        plain = Run(without_copy(store))
        shares: dict[str, list[float]] = {"sum": [], "interests": []}
        for start in range(0, len(asked), _CHUNK):
            rows = asked.take(slice(start, start + _CHUNK))
            for user, score_N in zip(rows.user_B.tolist(), learner.rank(rows), strict=True):
                best = {log.names[key] for key in keys_N[np.argsort(-score_N, kind="stable")[:_TOP]].tolist()}
                for name, reader in (("sum", answers), ("interests", plain)):
                    recommended = {one.item for one in reader.recommend(log.names[user], _TOP).items}
                    shares[name].append(len(best & recommended) / _TOP)
        copy = answers.info.copy
    cells: dict[str, Cell] = {
        "what": f"{title}, {events:,}",
        "among the candidates": None if copy is None else copy.overlap,
        "R2": None if copy is None else copy.r2,
    }
    by = "sum" if copy is not None and copy.agrees else "interests"
    return cells | {
        "whole catalogue": float(np.mean(shares[by])),
        "interests alone": float(np.mean(shares["interests"])),
        "users": len(shares["sum"]),
    }


def last_of_users(log: Log, run: Replay) -> ExampleBatch:
    """The memories, after their last event, of the users seen last, by a second pass of the operator."""
    newest: dict[int, ExampleBatch] = {}
    operator = operator_of(run.trainer, run.subject)
    for events in log.batches(256):
        rows = operator.process(events, 0)
        _, first = np.unique(rows.user_B[::-1], return_index=True)
        for b in (len(rows) - 1 - first).tolist():
            newest.pop(int(rows.user_B[b]), None)
            newest[int(rows.user_B[b])] = rows.take(np.array([b]))
    users = list(newest)[-_USERS:]
    periodic = run.subject.operator.memory.periodic
    rows = concat([newest[user] for user in users])
    return after(rows, selection_of(run.trainer), known=True, periodic=periodic)


def measure(
    bench: Bench, *, log: str, limit: int, foursquare: str | None = None, globo: str | None = None
) -> Tables:
    logs = {
        "Foursquare NYC": (foursquare, 40_000),
        "Globo news": (globo, 60_000),
        "MovieLens-100K" if log == LOG else log: (log, limit),
    }
    rows = []
    for title, (source, events) in logs.items():
        if source is not None:
            with bench.telling.step(f"{title}, {events:,} events") as step:
                rows.append(measured(step, title, source, events))
    return {"top 10 of recommend against STIM's ranking": rows}


BENCHMARK = Benchmark(
    measure=measure,
    options={
        "log": Option(help="a log", default=LOG, quick=PLANTED, metavar="LOG"),
        "limit": Option(help="the first N events of it", default=60_000, quick=1200, kind=int),
        "foursquare": Option(help="folder of check-ins and places", quick=PLANTED, metavar="DIR"),
        "globo": Option(help="folder of news clicks", quick=PLANTED, metavar="DIR"),
    },
)
