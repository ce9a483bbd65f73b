"""Vectors into a local Valkey, and out, beside redis-py's pipeline of HSET.

The peer writes the same bytes without comparing versions; ours compares them in the server. Vectors a second
of wall time, client and server on this machine, the best of the rounds in turns. Under a minute; starts a
server of its own.
"""

import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import redis

from benchmarks.benchmark import Bench, Benchmark, Option
from benchmarks.tables import Bar, Row, Tables
from state.store.contract import ItemRows
from state.store.records import pack
from state.store.redis import RedisStore
from state.store.server import EmbeddedServer

TITLE = "vectors a second into a local Valkey"
WIDTHS = (33, 64)


def measure(bench: Bench, *, rows: int, catalogue: int, rounds: int) -> Tables:
    made = []
    for width in WIDTHS:
        with bench.telling.step(f"{rows:,} vectors of {width} numbers, {rounds} rounds"):
            made.append(_width(width, rows, catalogue, rounds))
    return {TITLE: made}


def _width(width: int, rows: int, catalogue: int, rounds: int) -> Row:
    """The best of the rounds, interleaved."""
    vectors = np.random.default_rng(0).normal(size=(max(rows, catalogue), width)).astype(np.float32)
    ids = [f"item {n}" for n in range(len(vectors))]

    def items(count: int, time_ms: int) -> ItemRows:
        return ItemRows(ids=ids[:count], event_time_ms_B=np.full(count, time_ms), vectors_BD=vectors[:count])

    with tempfile.TemporaryDirectory() as folder:
        server = EmbeddedServer(Path(folder))
        url = f"unix://{server.ensure()}"
        plain = redis.Redis.from_url(url)
        ours = hset = read = 0.0
        try:
            with RedisStore(url) as store, RedisStore(f"{url}?run=catalogue") as whole:
                store.put_items(1, items(rows, 0))
                whole.put_items(1, items(catalogue, 0))
                for version in range(2, rounds + 2):
                    delta = items(rows, version)
                    ours = max(ours, rate(rows, store.put_items, version, delta))
                    hset = max(hset, rate(rows, plain_hset, plain, version, delta))
                    read = max(read, rate(catalogue, whole.items))
        finally:
            plain.close()
            server.stop()
    return {
        "what": f"{width} numbers",
        "ours": round(ours),
        "redis-py pipeline of HSET, no comparison": round(hset),
        "ratio": ours / hset,
        f"s to read {catalogue:,} items": catalogue / read,
    }


def plain_hset(client: redis.Redis, version: int, rows: ItemRows) -> None:
    """What one would write with redis-py alone."""
    packed = pack(version, rows.ids, rows.event_time_ms_B, rows.vectors_BD[:, np.newaxis])
    pipeline = client.pipeline(transaction=False)
    for b, identifier in enumerate(packed.ids):
        pipeline.hset("plain", identifier, packed.row(b))
    pipeline.execute()


def rate(count: int, work: Callable[..., object], *arguments: object) -> float:
    start = time.perf_counter()
    work(*arguments)
    return count / (time.perf_counter() - start)


BENCHMARK = Benchmark(
    measure=measure,
    options={
        "rows": Option(help="vectors of each round", default=100_000, quick=1000, kind=int),
        "catalogue": Option(help="items to read", default=68_000, quick=1000, kind=int),
        "rounds": Option(help="rounds, in turns", default=3, quick=1, kind=int),
    },
    bars=tuple(
        Bar(f"vectors of {width} numbers a second", TITLE, f"{width} numbers", "ours", 100_000)
        for width in WIDTHS
    ),
)
