"""How far what `recommend` goes by follows STIM's own ranking: `python -m benchmarks.overlap [--json]`.

MovieLens-100K always; Foursquare NYC and Globo news where their folders are given. After so many events the
300 users who were seen last are asked for ten items at the time of their last event: by the published sum of
few terms, by the published interests alone, and by `rank` on the memory as it is then.
"""

import argparse
import tempfile
from contextlib import closing
from pathlib import Path

import msgspec
import numpy as np

from benchmarks.tables import Cell, Row, Tables, say
from ebbtide import api
from ebbtide.config import RunConfig
from ebbtide.running.plan import operator_of
from ebbtide.running.replaying import Run as Replay
from replay.log import Log
from serving.answers import Run
from state.examples import ExampleBatch, concat
from state.memory.after import after
from state.store.contract import KINDS
from state.store.in_memory import DictStore

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


def measured(title: str, source: str, events: int) -> Row:
    """One log's row."""
    log = api.open_log(source, limit=events)
    config = RunConfig(learner="stim", floors=False, rank_share=0.0, leave_out="none")
    store = DictStore()
    with tempfile.TemporaryDirectory() as folder, closing(Replay(log, config, store, Path(folder))) as run:
        for batch in log.batches(256):
            run.step(batch)
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
                    said = {one.item for one in reader.recommend(log.names[user], _TOP).items}
                    shares[name].append(len(best & said) / _TOP)
        copy = answers.info.copy
    found: dict[str, Cell] = {"log": f"{title}, {events:,}"}
    if copy is not None:
        found |= {"candidates": round(copy.overlap, 3), "r2": round(copy.r2, 3)}
    by = "sum" if copy is not None and copy.agrees else "interests"
    return found | {
        "whole_catalogue": float(np.mean(shares[by])),
        "interests_alone": float(np.mean(shares["interests"])),
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
    return after(concat([newest[user] for user in users]), known=True, periodic=periodic)


def main() -> None:
    parser = argparse.ArgumentParser(description="Published scores beside the ranking that they stand for.")
    parser.add_argument("--foursquare", metavar="DIR", help="folder of check-ins and places")
    parser.add_argument("--globo", metavar="DIR", help="folder of news clicks")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    arguments = parser.parse_args()
    logs = [
        ("Foursquare NYC", arguments.foursquare, 40_000),
        ("Globo news", arguments.globo, 60_000),
        ("MovieLens-100K", "movielens-100k", 60_000),
    ]
    rows = [measured(title, source, events) for title, source, events in logs if source]
    tables: Tables = {"Top 10 of recommend against STIM's ranking": rows}
    say(tables, as_json=arguments.json)


if __name__ == "__main__":
    main()
