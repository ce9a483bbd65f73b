"""What Feast takes to read one user's vector from its online store in Redis; for a Python that has Feast.

  python benchmarks/feast_read.py HOST:PORT NUMBERS

Imports nothing of ours: Feast (0.67, `feast[redis]`) lives in an environment of its own. The same number of
users and of numbers each as beside it. Starts `feast serve`, with one worker that is never renewed. For each
line, how many reads, it answers with one of JSON: CPU ms of a `get_online_features(...).to_dict()` in this
process, and where the server is. Both end with the lines.
"""

import http.client
import json
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
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


def main(address: str, numbers: int) -> None:
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
        with served(Path(folder), address) as (port, pid):
            for line in sys.stdin:
                before_s = time.process_time()
                for n in range(int(line)):
                    row = {"user": f"user {n * 7 % USERS}"}
                    found = store.get_online_features(features=["users:vector"], entity_rows=[row]).to_dict()
                    assert len(found["vector"][0]) == numbers
                cpu_ms = 1000 * (time.process_time() - before_s) / max(1, int(line))
                print(json.dumps({"cpu_ms": cpu_ms, "port": port, "pid": pid}), flush=True)


@contextmanager
def served(folder: Path, address: str) -> Iterator[tuple[int, int]]:
    """Port and process of a server that answers."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    (folder / "feature_store.yaml").write_text(
        f"project: bench\nprovider: local\nregistry: {folder / 'registry.db'}\n"
        f"online_store:\n  type: redis\n  connection_string: {address}\n"
        "entity_key_serialization_version: 3\n"
    )
    feast = str(Path(sys.executable).with_name("feast"))
    words = [feast, "-c", str(folder), "serve", "-p", str(port), "--no-access-log", "--max-requests", "0"]
    server = subprocess.Popen(
        [*words, "--max-requests-jitter", "0"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        while not healthy(port):
            if server.poll() is not None:
                raise SystemExit(f"feast serve has ended with {server.returncode}")
            time.sleep(0.1)
        yield port, server.pid
    finally:
        server.terminate()
        server.wait()


def healthy(port: int) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port)
    try:
        connection.request("GET", "/health")
        return connection.getresponse().status == 200
    except OSError:
        return False
    finally:
        connection.close()


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
