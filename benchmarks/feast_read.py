"""What Feast takes to read one user's vector from its online store in Redis; for a Python that has Feast.

  python benchmarks/feast_read.py HOST:PORT READS NUMBERS

Imports nothing of ours: Feast (0.67, `feast[redis]`) lives in an environment of its own. The same number of
users and of numbers each as beside it; one process, `get_online_features(...).to_dict()`, as its page on
retrieval has it. Prints one line of JSON: CPU and quantiles of a read, in ms.
"""

import json
import sys
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pandas as pd  # type: ignore[import-untyped]
from feast import (  # type: ignore[import-not-found]
    Entity,
    FeatureStore,
    FeatureView,
    Field,
    FileSource,
    RepoConfig,
    ValueType,
)
from feast.types import Array, Float32  # type: ignore[import-not-found]

USERS = 1000


def main(address: str, reads: int, numbers: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        made = pd.DataFrame(
            {
                "user": [f"user {n}" for n in range(USERS)],
                "vector": list(np.random.default_rng(0).normal(size=(USERS, numbers)).astype(np.float32)),
                "event_timestamp": datetime.now(UTC),
            }
        )
        path = Path(folder) / "users.parquet"
        made.to_parquet(path)
        store = FeatureStore(
            config=RepoConfig(
                project="bench",
                provider="local",
                registry=str(Path(folder) / "registry.db"),
                online_store={"type": "redis", "connection_string": address},
                entity_key_serialization_version=3,
            )
        )
        user = Entity(name="user", value_type=ValueType.STRING)
        view = FeatureView(
            name="users",
            entities=[user],
            ttl=timedelta(days=1),
            schema=[Field(name="vector", dtype=Array(Float32))],
            source=FileSource(path=str(path), timestamp_field="event_timestamp"),
        )
        store.apply([user, view])
        store.write_to_online_store("users", made)
        took_ms: list[float] = []
        before_s = 0.0
        for n in range(reads + 100):
            if n == 100:  # the first are for warming
                took_ms, before_s = [], time.process_time()
            began_s = time.perf_counter()
            row = {"user": f"user {n * 7 % USERS}"}
            found = store.get_online_features(features=["users:vector"], entity_rows=[row]).to_dict()
            took_ms.append(1000 * (time.perf_counter() - began_s))
            assert len(found["vector"][0]) == numbers
        cpu_ms = 1000 * (time.process_time() - before_s) / reads
        p50, p99 = np.percentile(took_ms, [50, 99])
        print(json.dumps({"cpu_ms": cpu_ms, "p50_ms": float(p50), "p99_ms": float(p99)}))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
