"""What a version costs a reader that lives long, beside one that reads the whole catalogue.

A catalogue with a published score, in a local server of ours. At every version some items have changed, and
maybe some have come and some have left; the reader follows the feed. Beside it, in turns, one that reads the
whole catalogue, as all did before there was a feed. CPU of the reader alone, the median of the versions. A
minute; needs nothing.
"""

import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from benchmarks.benchmark import Bench, Benchmark, Option
from benchmarks.tables import Row, Tables
from serving.scoring.catalogue import ServedCatalogue
from serving.scoring.follower import Follower
from state.evidence import STIM
from state.ids import key_of
from state.store.contract import EmbeddingStore, Gone, ItemRows, RunInfo
from state.store.copy_score import AMONG, CopyScore, ItemTerms
from state.store.redis import RedisStore
from state.store.server import EmbeddedServer

TITLE = "CPU of a reader at a version"
WIDTH = 33
CHANGED = ((200, 0), (1000, 0), (1000, 10), (10_000, 0))
"""Items with other vectors at a version; items that come, and as many that leave."""


def measure(bench: Bench, *, catalogue: int, versions: int) -> Tables:
    ids = [f"item {n}" for n in range(catalogue)]
    with tempfile.TemporaryDirectory() as folder:
        server = EmbeddedServer(Path(folder))
        try:
            with RedisStore(f"unix://{server.ensure()}") as store:
                store.put_info(RunInfo(log="made", learner="stim", width=WIDTH, copy=copy_score(ids)))
                store.publish(1, items=rows(ids, 1))
                follower = Follower(store)
                follower.catalogue()
                made = []
                for changed, come in CHANGED:
                    with bench.telling.step(f"{changed:,} change, {versions} versions"):
                        made.append(row(store, follower, ids, changed, come, versions))
        finally:
            server.stop()
    return {f"{TITLE}, {catalogue:,} items of {WIDTH} numbers": made}


def row(
    store: EmbeddingStore, follower: Follower, ids: list[str], changed: int, come: int, versions: int
) -> Row:
    random = np.random.default_rng(0)
    follows, loads = [], []
    for _ in range(versions):
        version = store.version() + 1
        put = [ids[n] for n in random.choice(len(ids), min(changed, len(ids)), replace=False).tolist()]
        new = [f"new {version} {n}" for n in range(come)]
        gone = Gone([f"new {version - 1} {n}" for n in range(come)], version)
        made = rows([*put, *new], version)
        store.publish(
            version,
            items=ItemRows(
                ids=made.ids, event_time_ms_B=made.event_time_ms_B, vectors_BD=made.vectors_BD, gone=gone
            ),
        )
        follows.append(cpu_s(follower.catalogue))
        loads.append(cpu_s(lambda: ServedCatalogue(store.items(), follower.info.copy)))
    follow_ms, load_ms = (1000 * statistics.median(times) for times in (follows, loads))
    return {
        "what": f"{changed:,} change" + (f", {come} come and {come} leave" if come else ""),
        "follows the feed, ms": round(follow_ms, 1),
        "reads all, ms": round(load_ms, 1),
        "ratio": round(load_ms / max(follow_ms, 1e-6)),
    }


def rows(ids: list[str], version: int) -> ItemRows:
    vectors_BD = np.random.default_rng(version).normal(size=(len(ids), WIDTH)).astype(np.float32)
    return ItemRows(ids=ids, event_time_ms_B=np.full(len(ids), version), vectors_BD=vectors_BD)


def copy_score(ids: list[str]) -> CopyScore:
    size = len(ids)
    copy = CopyScore(
        memory=dict.fromkeys((kernel.name for kernel in STIM.kernels), 0.1),
        past=dict.fromkeys(STIM.past, 0.0),
        specification=STIM,
        base=0.2,
        near=0.0,
        interest=0.5,
        overlap=0.8,
        r2=0.9,
        requests=80,
    )
    keys = np.array([key_of(identifier) for identifier in ids])
    shares = np.full(size, 1.0 / size)
    return copy.with_terms(
        ItemTerms(keys, np.zeros(size), shares, np.zeros((size, 2)), np.full(size, AMONG, np.uint8))
    )


def cpu_s(work: Callable[[], object]) -> float:
    start = time.process_time()
    work()
    return time.process_time() - start


BENCHMARK = Benchmark(
    measure=measure,
    options={
        "catalogue": Option(help="items", default=70_000, quick=1000, kind=int),
        "versions": Option(help="versions of each row", default=15, quick=3, kind=int),
    },
)
