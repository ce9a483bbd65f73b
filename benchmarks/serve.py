"""`ebbtide serve` on loopback: CPU and latency of a request, flatness, overload, freshness; beside redis-py.

Feast wants half a gigabyte of its own, so it is in no group of ours. `uv venv F`, `uv pip install --python
F/bin/python "feast[redis]"`, and `--feast F/bin/python` measures its read beside ours.

A made catalogue with a published score, users of five interests and a hundred remembered events, in a local
server of ours. Load comes in an open loop, from this process: on two cores it takes time from the server, so
read CPU, not percentiles, unless the machine is quiet. Five minutes; starts its servers itself; Linux.
"""

import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import redis

from benchmarks import beside_feast, reader
from benchmarks.benchmark import Bench, Benchmark, Option
from benchmarks.beside_feast import OVER
from benchmarks.http_load import Answered, cpu_s, get, offered
from benchmarks.made_run import Server, of_user, publish, served, timed, user_id
from benchmarks.tables import Bar, Row, Tables
from ebbtide import connect
from state.store.embedded import EmbeddedStore
from state.store.records import unpack

REQUESTS, OVERLOAD, PROCESS, FRESH = "a request", "overload", "in process", "freshness"
BESIDE = "beside Feast"


def measure(
    bench: Bench,
    *,
    catalogue: int,
    requests: int,
    rate: int,
    flat: int,
    recommendations: int,
    feast: str | None,
) -> Tables:
    beside = beside_feast.rows(bench, feast, requests, rate)
    with tempfile.TemporaryDirectory() as folder, EmbeddedStore(Path(folder) / "store") as store:
        with bench.telling.step(f"publishing {catalogue:,} items"):
            publish(store, catalogue)
        with served(folder) as server:
            tables = {REQUESTS: list(_requests(bench, server, catalogue, requests, rate, recommendations))}
            with bench.telling.step(f"{flat:,} requests, whether they stay as quick"):
                tables["flatness"] = [_flat(server, flat, rate)]
            with bench.telling.step("ten times what it can answer"):
                each_ms = float(str(tables[REQUESTS][1]["CPU, ms"]))
                tables[OVERLOAD] = [_overload(server, 10_000 / each_ms, recommendations)]
            with bench.telling.step("new items"):
                tables[FRESH] = [_fresh(server, store)]
        with bench.telling.step("in process"):
            tables[PROCESS] = list(_in_process(folder, store, requests))
    return tables | {BESIDE: beside}


def _recommendations(number: int) -> bytes:
    return of_user(number).replace(b" HTTP", b"/recommendations HTTP")


def _requests(
    bench: Bench, server: Server, catalogue: int, requests: int, rate: int, recommendations: int
) -> Iterator[Row]:
    ways = (
        ("one user's vectors", of_user, requests, float(rate)),
        ("recommendations", _recommendations, recommendations, 40.0),
        ("items alike", lambda n: get(f"/items/item%20{n}/similar"), recommendations, 40.0),
    )
    for what, request_of, count, asked_s in ways:
        with bench.telling.step(f"{what}, {count:,} at {asked_s:,.0f}/s"):
            offered(server.address, request_of, min(count, 100), asked_s)
            before_s = cpu_s(server.pid)
            answered = offered(server.address, request_of, count, asked_s)
            yield _row(what, answered, cpu_s(server.pid) - before_s) | {"items": catalogue}


def _row(what: str, answered: Answered, spent_s: float) -> Row:
    count = len(answered.latency_ms_R)
    p50, p99 = np.percentile(answered.latency_ms_R, [50, 99])
    return {
        "what": what,
        "CPU, ms": round(1000 * spent_s / count, 3),
        "p50, ms": round(float(p50), 2),
        "p99, ms": round(float(p99), 2),
        "not 200": count - answered.status[200],
    }


def _flat(server: Server, count: int, rate: int) -> Row:
    """The CPU of the last twentieth beside the first."""
    part = max(1, count // 20)
    spent_s = []
    for _ in range(20):
        before_s = cpu_s(server.pid)
        offered(server.address, of_user, part, float(rate))
        spent_s.append(cpu_s(server.pid) - before_s)
    first, last = (1e6 * spent / part for spent in (spent_s[0], spent_s[-1]))
    return {
        "what": "one user's vectors",
        "requests": count,
        "first, us": round(first),
        "last, us": round(last),
        "ratio": last / first,
    }


def _overload(server: Server, rate: float, count: int) -> Row:
    answered = offered(server.address, _recommendations, 4 * count, rate, connections=512)
    began_s = time.perf_counter()
    while offered(server.address, _recommendations, 1, 1.0, 1).status[200] != 1:
        pass
    others = sum(answered.status.values()) - answered.status[200] - answered.status[429]
    return {
        "what": "recommendations",
        "offered a second": round(rate),
        "200": answered.status[200],
        "429": answered.status[429],
        "other": others,
        "s to recover": round(time.perf_counter() - began_s, 2),
    }


def _fresh(server: Server, store: EmbeddedStore) -> Row:
    """From the publication of an item to its being found among those alike."""
    waited_ms = []
    for n in range(10):
        rows = reader.rows([f"new {n}"], n + 100)
        store.publish(store.version() + 1, items=rows)
        began_s = time.perf_counter()
        while offered(server.address, lambda _: get(f"/items/new%20{n}/similar"), 1, 1.0, 1).status[200] != 1:  # noqa: B023
            time.sleep(0.005)
        waited_ms.append(1000 * (time.perf_counter() - began_s))
    return {
        "what": "a new item is found",
        "median, ms": round(float(np.median(waited_ms))),
        "longest, ms": round(max(waited_ms)),
    }


def _in_process(folder: str, store: EmbeddedStore, count: int) -> Iterator[Row]:
    ids = [user_id(n) for n in range(count)]
    with connect(folder) as run:
        yield timed("ebbtide.connect(DIR).user()", lambda one: run.user(one), ids)
    client = redis.Redis.from_url(store.address())
    key = store.key_of("users").decode()
    yield timed("redis-py HGET, unpacked", lambda one: _plain(client, key, one), ids)
    client.close()


def _plain(client: redis.Redis, key: str, identifier: str) -> list[list[float]]:
    value = client.hget(key, identifier)
    assert isinstance(value, bytes)
    vectors: list[list[float]] = unpack(value).vectors_KD.tolist()
    return vectors


BENCHMARK = Benchmark(
    measure=measure,
    options={
        "catalogue": Option(help="items", default=70_000, quick=500, kind=int),
        "requests": Option(help="requests for one user", default=20_000, quick=300, kind=int),
        "rate": Option(help="requests a second", default=1000, quick=300, kind=int),
        "flat": Option(
            help="requests to see whether they stay as quick", default=200_000, quick=400, kind=int
        ),
        "recommendations": Option(help="requests for recommendations", default=600, quick=40, kind=int),
        "feast": Option(help="a Python that has feast[redis], to read beside us", default=None, kind=str),
    },
    bars=(
        Bar("CPU ms of one user's vectors", REQUESTS, "one user's vectors", "CPU, ms", 0.35, least=False),
        Bar("Feast's CPU over ours, a request", BESIDE, beside_feast.HTTP, OVER, 5.0),
        Bar("Feast's CPU over ours, in process", BESIDE, beside_feast.PROCESS, OVER, 5.0),
        Bar("CPU ms of recommendations", REQUESTS, "recommendations", "CPU, ms", 4.0, least=False),
        Bar("CPU, last to first", "flatness", "one user's vectors", "ratio", 1.1, least=False),
        Bar("overload: neither 200 nor 429", OVERLOAD, "recommendations", "other", 0, least=False, must=True),
        Bar("overload: s to recover", OVERLOAD, "recommendations", "s to recover", 1.0, least=False),
        Bar("ms until a new item is found", FRESH, "a new item is found", "longest, ms", 1000, least=False),
        Bar(
            "p99 ms of user() in process", PROCESS, "ebbtide.connect(DIR).user()", "p99, ms", 1.0, least=False
        ),
    ),
)
