"""A made run, published, and `ebbtide serve` for it: what benchmarks of serving ask."""

import json
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from urllib.parse import urlsplit

import msgspec
import numpy as np

from benchmarks import reader
from benchmarks.http_load import get
from benchmarks.tables import Row
from state.ids import NO_KEY, key_of
from state.store.contract import RunInfo, UserRows
from state.store.copy_score import AMONG, LEADING
from state.store.records import MEMORY_ENTRY
from state.store.redis import RedisStore

USERS, INTERESTS, MEMORY = 1000, 5, 100
NOW_MS = 1_780_000_000_000


@dataclass(frozen=True)
class Server:
    address: tuple[str, int]
    pid: int


def publish(store: RedisStore, catalogue: int) -> None:
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
def served(source: str) -> Iterator[Server]:
    words = [sys.executable, "-m", "ebbtide", "serve", "--from", source, "--port", "0", "--json"]
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


def user_id(number: int) -> str:
    """One user after the other, and round again."""
    return f"user {number * 7 % USERS}"


def of_user(number: int) -> bytes:
    """The request for their vectors."""
    return get(f"/users/{user_id(number).replace(' ', '%20')}")


def timed(what: str, ask: Callable[[str], object], ids: list[str]) -> Row:
    """CPU of this process and quantiles, a call."""
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
