"""How fast vectors go into a local server, and come out: `python -m benchmarks.store [--json]`.

Beside us in the same run: redis-py's pipeline with one HSET a row, the same bytes, no comparison of stamps.
"""

import argparse
import json
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import redis

from state.store.contract import ItemRows
from state.store.records import pack
from state.store.redis import RedisStore
from state.store.server import EmbeddedServer

ROWS = 100_000
CATALOGUE = 68_000
ROUNDS = 3


def measure(width: int) -> dict[str, Any]:
    """Vectors a second (wall, both processes on this machine): best of ROUNDS, interleaved."""
    vectors = np.random.default_rng(0).normal(size=(ROWS, width)).astype(np.float32)
    ids = [f"item {n}" for n in range(ROWS)]
    with tempfile.TemporaryDirectory() as folder:
        server = EmbeddedServer(Path(folder))
        url = f"unix://{server.ensure()}"
        plain = redis.Redis.from_url(url)
        best = {"ours": 0.0, "hset": 0.0, "read": 0.0}
        try:
            with RedisStore(url) as store, RedisStore(f"{url}?run=catalogue") as catalogue:
                store.put_items(
                    1, ItemRows(ids=ids, event_time_ms_B=np.zeros(ROWS, np.int64), vectors_BD=vectors)
                )
                catalogue.put_items(
                    1,
                    ItemRows(
                        ids=ids[:CATALOGUE],
                        event_time_ms_B=np.zeros(CATALOGUE, np.int64),
                        vectors_BD=vectors[:CATALOGUE],
                    ),
                )
                for version in range(2, ROUNDS + 2):
                    rows = ItemRows(ids=ids, event_time_ms_B=np.full(ROWS, version), vectors_BD=vectors)
                    ours = rate(ROWS, store.put_items, version, rows)
                    hset = rate(ROWS, plain_hset, plain, version, rows)
                    read = rate(CATALOGUE, catalogue.items)
                    for name, value in (("ours", ours), ("hset", hset), ("read", read)):
                        best[name] = max(best[name], value)
        finally:
            plain.close()
            server.stop()
    return {
        "width": width,
        "put_vectors_per_second": round(best["ours"]),
        "hset_pipeline_vectors_per_second": round(best["hset"]),
        "ratio": round(best["ours"] / best["hset"], 2),
        "read_all_items_seconds": round(CATALOGUE / best["read"], 3),
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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    as_json = parser.parse_args().json
    figures = [measure(width) for width in (33, 64)]
    if as_json:
        print(json.dumps({"store": figures}))
        return
    for row in figures:
        print(
            f"float32 x {row['width']}: put {row['put_vectors_per_second']:,}/s, "
            f"redis-py HSET pipeline {row['hset_pipeline_vectors_per_second']:,}/s ({row['ratio']}x), "
            f"{CATALOGUE:,} vectors read in {row['read_all_items_seconds']} s"
        )


if __name__ == "__main__":
    main()
