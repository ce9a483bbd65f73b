"""What Feast takes to read one user's vector from its online store in Redis; for a Python that has Feast.

  python benchmarks/feast_read.py HOST:PORT READS NUMBERS

Imports nothing of ours: Feast (0.67, `feast[redis]`) lives in an environment of its own. The same number of
users and of numbers each as beside it: `get_online_features(...).to_dict()` in this process, and
`POST /get-online-features` of `feast serve` with one worker, one request after the other. Prints one line of
JSON: CPU of a read and of a request (of the server's processes; Linux), and quantiles of a read, in ms.
"""

import http.client
import json
import socket
import subprocess
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
        served_ms = served(Path(folder), address, reads, numbers)
        said = {"cpu_ms": cpu_ms, "p50_ms": float(p50), "p99_ms": float(p99), "served_cpu_ms": served_ms}
        print(json.dumps(said))


def served(folder: Path, address: str, reads: int, numbers: int) -> float:
    """CPU ms of a request, of all processes of the server."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    (folder / "feature_store.yaml").write_text(
        f"project: bench\nprovider: local\nregistry: {folder / 'registry.db'}\n"
        f"online_store:\n  type: redis\n  connection_string: {address}\n"
        "entity_key_serialization_version: 3\n"
    )
    feast = str(Path(sys.executable).with_name("feast"))
    # a worker that is replaced after 1,000 requests would take its CPU with it
    words = [feast, "-c", str(folder), "serve", "-p", str(port), "--no-access-log", "--max-requests", "0"]
    server = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        connection = http.client.HTTPConnection("127.0.0.1", port)

        def asked(path: str, body: object = None) -> bytes:
            said = None if body is None else json.dumps(body)
            connection.request(
                "GET" if said is None else "POST", path, said, {"content-type": "application/json"}
            )
            answer = connection.getresponse()
            assert answer.status == 200, answer.read()
            return answer.read()

        while True:
            try:
                asked("/health")
                break
            except OSError:
                connection.close()
                if server.poll() is not None:
                    raise
                time.sleep(0.1)
        before_s = 0.0
        for n in range(reads + 100):
            if n == 100:
                before_s = cpu_s(server.pid)
            body = {"features": ["users:vector"], "entities": {"user": [f"user {n * 7 % USERS}"]}}
            found = json.loads(asked("/get-online-features", body))
            assert len(found["results"][1]["values"][0]) == numbers
        return 1000 * (cpu_s(server.pid) - before_s) / reads
    finally:
        server.terminate()
        server.wait()


def cpu_s(pid: int) -> float:
    """Of a process and of those that it has started."""
    spent = 0.0
    for task in Path(f"/proc/{pid}/task").iterdir():
        spent += int((task / "schedstat").read_text().split()[0]) / 1e9
        spent += sum(cpu_s(int(child)) for child in (task / "children").read_text().split())
    return spent


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
