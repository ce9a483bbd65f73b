"""`ebbtide serve` on loopback: CPU and latency of a request, flatness, overload, freshness; beside redis-py.

Feast wants half a gigabyte of its own, so it is in no group of ours. `uv venv F`, `uv pip install --python
F/bin/python "feast[redis]"`, and `--feast F/bin/python` measures its read beside ours.

A made catalogue with a published score, users of five interests and a hundred remembered events, in a local
server of ours. Load comes in an open loop, from this process: on two cores it takes time from the server, so
read CPU, not percentiles, unless the machine is quiet. Five minutes; starts its servers itself; Linux.
"""

import json
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import msgspec
import numpy as np
import redis

from benchmarks import reader
from benchmarks.benchmark import Bench, Benchmark, Option
from benchmarks.http_load import Answered, cpu_s, offered
from benchmarks.tables import Bar, Row, Tables
from ebbtide import connect
from ebbtide.services.store import answers, command
from state.errors import InputError
from state.ids import NO_KEY, key_of
from state.store.contract import RunInfo, UserRows
from state.store.copy_score import AMONG, LEADING
from state.store.embedded import EmbeddedStore
from state.store.records import MEMORY_ENTRY, unpack

REQUESTS, OVERLOAD, PROCESS, FRESH = "a request", "overload", "in process", "freshness"
BESIDE = "beside Feast"
USERS, INTERESTS, MEMORY = 1000, 5, 100
NOW_MS = 1_780_000_000_000


@dataclass(frozen=True)
class Server:
    address: tuple[str, int]
    pid: int


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
        tables[BESIDE] = [
            {"what": "in process", "Feast's CPU over ours": None},
            {"what": "over HTTP", "Feast's CPU over ours": None},
        ]
        if feast is not None:
            with bench.telling.step("Feast's online read"):
                read, served_ms = _feast(Path(folder), feast, requests)
            tables[PROCESS].append(read)
            nothing = dict.fromkeys(tables[REQUESTS][0])
            tables[REQUESTS].append({**nothing, "what": "Feast's server", "CPU, ms": served_ms})
            for row, theirs in zip(tables[BESIDE], (float(str(read["CPU, ms"])), served_ms), strict=True):
                ours = tables[PROCESS if row["what"] == "in process" else REQUESTS][0]
                row["Feast's CPU over ours"] = theirs / float(str(ours["CPU, ms"]))
    return tables


def publish(store: EmbeddedStore, catalogue: int) -> None:
    random, ids = np.random.default_rng(0), [f"item {n}" for n in range(catalogue)]
    copy = reader.copy_score(ids)
    found_N = np.where(np.arange(catalogue) < min(300, catalogue), LEADING | AMONG, AMONG).astype(np.uint8)
    found_N[min(8000, catalogue) :] = 0
    place_N2 = np.column_stack([random.normal(-74, 0.3, catalogue), random.normal(40.7, 0.3, catalogue)])
    copy = copy.with_terms(copy.terms()._replace(found_N=found_N, place_N2=place_N2))
    copy = msgspec.structs.replace(copy, near=-0.3)
    names = tuple(f"interest {n}" for n in range(INTERESTS))
    store.put_info(RunInfo(log="made", learner="stim", width=reader.WIDTH, copy=copy, interests=names))
    memory = np.zeros((USERS, MEMORY), MEMORY_ENTRY)
    memory["item"] = np.array([key_of(one) for one in ids])[
        random.integers(0, min(300, catalogue), (USERS, MEMORY))
    ]
    memory["time_ms"] = memory["last_ms"] = NOW_MS - np.arange(MEMORY)[::-1] * 3_600_000
    memory["cell"], memory["strength_s"], memory["label"] = NO_KEY, 1e6, np.nan
    vectors = random.normal(size=(USERS, INTERESTS, reader.WIDTH)).astype(np.float32)
    users = UserRows(
        ids=[f"user {n}" for n in range(USERS)],
        event_time_ms_B=np.full(USERS, NOW_MS),
        interests_BKD=vectors,
        memory_B=list(memory),
    )
    store.publish(1, users, reader.rows(ids, 1))


@contextmanager
def served(folder: str) -> Iterator[Server]:
    words = [sys.executable, "-m", "ebbtide", "serve", "--from", folder, "--port", "0", "--json"]
    process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    assert process.stdout is not None
    try:
        url = json.loads(process.stdout.readline())["url"]
        while _status(f"{url}/readyz") != 200:
            time.sleep(0.1)
        parts = urlsplit(url)
        yield Server((str(parts.hostname), int(parts.port or 0)), process.pid)
    finally:
        process.terminate()
        process.wait()
        process.stdout.close()


def _status(url: str) -> int:
    try:
        with urllib.request.urlopen(url) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return int(error.code)


def _user(number: int) -> str:
    return f"/users/user%20{number * 7 % USERS}"


def _recommendations(number: int) -> str:
    return f"{_user(number)}/recommendations"


def _requests(
    bench: Bench, server: Server, catalogue: int, requests: int, rate: int, recommendations: int
) -> Iterator[Row]:
    ways = (
        ("one user's vectors", _user, requests, float(rate)),
        (
            "recommendations",
            _recommendations,
            recommendations,
            40.0,
        ),
        ("items alike", lambda n: f"/items/item%20{n}/similar", recommendations, 40.0),
    )
    for what, path_of, count, asked_s in ways:
        with bench.telling.step(f"{what}, {count:,} at {asked_s:,.0f}/s"):
            offered(server.address, path_of, min(count, 100), asked_s)
            before_s = cpu_s(server.pid)
            answered = offered(server.address, path_of, count, asked_s)
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
        offered(server.address, _user, part, float(rate))
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
        while offered(server.address, lambda _: f"/items/new%20{n}/similar", 1, 1.0, 1).status[200] != 1:  # noqa: B023
            time.sleep(0.005)
        waited_ms.append(1000 * (time.perf_counter() - began_s))
    return {
        "what": "a new item is found",
        "median, ms": round(float(np.median(waited_ms))),
        "longest, ms": round(max(waited_ms)),
    }


def _in_process(folder: str, store: EmbeddedStore, count: int) -> Iterator[Row]:
    ids = [f"user {n * 7 % USERS}" for n in range(count)]
    with connect(folder) as run:
        yield _timed("ebbtide.connect(DIR).user()", lambda one: run.user(one), ids)
    client = redis.Redis.from_url(store.address())
    key = store.key_of("users").decode()
    yield _timed("redis-py HGET, unpacked", lambda one: _plain(client, key, one), ids)
    client.close()


def _plain(client: redis.Redis, key: str, identifier: str) -> list[list[float]]:
    value = client.hget(key, identifier)
    assert isinstance(value, bytes)
    found: list[list[float]] = unpack(value).vectors_KD.tolist()
    return found


def _feast(folder: Path, python: str, reads: int) -> tuple[Row, float]:
    """A read, and CPU ms of a request: as many numbers of as many users, from a Valkey of its own."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    server = subprocess.Popen(command(folder, port), cwd=folder, stdout=subprocess.DEVNULL)
    try:
        while not answers(port, server.pid):
            time.sleep(0.05)
        script = Path(__file__).with_name("feast_read.py")
        words = [python, str(script), f"127.0.0.1:{port}", str(reads), str(INTERESTS * reader.WIDTH)]
        done = subprocess.run(words, capture_output=True, text=True)
    finally:
        server.terminate()
        server.wait()
    if done.returncode:
        raise InputError(f"--feast {python}: {(done.stderr.strip().splitlines() or ['it has ended'])[-1]}")
    said = json.loads(done.stdout.splitlines()[-1])
    row: Row = {
        "what": "Feast, get_online_features",
        "CPU, ms": round(said["cpu_ms"], 3),
        "p50, ms": round(said["p50_ms"], 3),
        "p99, ms": round(said["p99_ms"], 3),
    }
    return row, round(said["served_cpu_ms"], 3)


def _timed(what: str, ask: Callable[[str], object], ids: list[str]) -> Row:
    took_ms = []
    before_s = time.process_time()
    for one in ids:
        began_s = time.perf_counter()
        ask(one)
        took_ms.append(1000 * (time.perf_counter() - began_s))
    cpu_ms = 1000 * (time.process_time() - before_s) / len(ids)
    p50, p99 = np.percentile(took_ms, [50, 99])
    return {
        "what": what,
        "CPU, ms": round(cpu_ms, 3),
        "p50, ms": round(float(p50), 3),
        "p99, ms": round(float(p99), 3),
    }


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
        Bar("Feast's CPU over ours, a request", BESIDE, "over HTTP", "Feast's CPU over ours", 5.0),
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
