"""Our read of one user's vectors beside Feast's online read of the same numbers, from one server over TCP.

In process `ebbtide.connect(URL).user()` beside `get_online_features(...).to_dict()`; over HTTP
`ebbtide serve` beside `feast serve` with one worker that is never renewed: the same requests a second of
each, over as many connections, in turns, by CPU of the server's processes. Both answer with all numbers and
when they were made.
Feast lives in an environment of its own (`feast_read`).
"""

import json
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks import reader
from benchmarks.benchmark import Bench
from benchmarks.http_load import cpu_s, offered, post
from benchmarks.made_run import INTERESTS, Server, of_user, publish, served, timed, user_id
from benchmarks.tables import Row
from ebbtide import connect
from ebbtide.services.store import answers, command
from state.errors import InputError
from state.store.redis import RedisStore

HTTP, PROCESS, OVER = "over HTTP", "in process", "Feast over ours"
_ITEMS = 1000
_ROUNDS = 5


def rows(bench: Bench, python: str | None, count: int, rate: float) -> list[Row]:
    """CPU ms of a read, ours and Feast's: the median of rounds in turns. Nothing without Feast's Python."""
    if python is None:
        return [{"what": what, "ours, ms": None, "Feast, ms": None, OVER: None} for what in (PROCESS, HTTP)]
    part = max(20, count // _ROUNDS)
    with bench.telling.step("beside Feast"), tempfile.TemporaryDirectory() as folder, _valkey(folder) as port:
        url = f"redis://127.0.0.1:{port}/0"
        with RedisStore(url) as store:
            publish(store, _ITEMS)
        with _feast(python, port) as ask, served(url) as ours, connect(url) as run:
            theirs = Server(("127.0.0.1", ask(0)["port"]), ask(0)["pid"])
            ids = [user_id(n) for n in range(part)]
            ways: dict[str, tuple[Callable[[], float], Callable[[], float]]] = {
                PROCESS: (
                    lambda: float(str(timed("", run.user, ids)["CPU, ms"])),
                    lambda: ask(part)["cpu_ms"],
                ),
                HTTP: (
                    lambda: _offered(ours, of_user, part, rate),
                    lambda: _offered(theirs, _asked, part, rate),
                ),
            }
            return [_row(what, here, there) for what, (here, there) in ways.items()]


def _row(what: str, ours: Callable[[], float], feasts: Callable[[], float]) -> Row:
    spent = [(ours(), feasts()) for _ in range(1 + _ROUNDS)][1:]  # the first warms both
    here, there = (median(of) for of in zip(*spent, strict=True))
    return {"what": what, "ours, ms": round(here, 4), "Feast, ms": round(there, 4), OVER: there / here}


def _offered(server: Server, request_of: Callable[[int], bytes], count: int, rate: float) -> float:
    """CPU ms of a request."""
    before_s = cpu_s(server.pid)
    answered = offered(server.address, request_of, count, rate)
    if answered.status[200] != count:
        raise InputError(f"port {server.address[1]}: expected 200 alone, got {dict(answered.status)}")
    return 1000 * (cpu_s(server.pid) - before_s) / count


def _asked(number: int) -> bytes:
    body = {"features": ["users:vector"], "entities": {"user": [user_id(number)]}}
    return post("/get-online-features", json.dumps(body).encode())


@contextmanager
def _valkey(folder: str) -> Iterator[int]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    server = subprocess.Popen(command(Path(folder), port), cwd=folder, stdout=subprocess.DEVNULL)
    try:
        while not answers(port, server.pid):
            time.sleep(0.05)
        yield port
    finally:
        server.terminate()
        server.wait()


@contextmanager
def _feast(python: str, port: int) -> Iterator[Callable[[int], dict[str, Any]]]:
    """What Feast's process says of so many reads. Raises InputError where it has ended."""
    script = Path(__file__).with_name("feast_read.py")
    words = [python, str(script), f"127.0.0.1:{port}", str(INTERESTS * reader.WIDTH)]
    pipe = subprocess.PIPE
    process = subprocess.Popen(words, stdin=pipe, stdout=pipe, stderr=pipe, text=True)
    assert process.stdin is not None
    assert process.stdout is not None
    assert process.stderr is not None
    asks, says = process.stdin, process.stdout

    def ask(reads: int) -> dict[str, Any]:
        try:
            print(reads, file=asks, flush=True)
            found: dict[str, Any] = json.loads(says.readline())
        except (OSError, ValueError):
            process.kill()
            _, why = process.communicate()
            said = (why.strip().splitlines() or ["it has ended"])[-1]
            raise InputError(f"--feast {python}: {said}") from None
        return found

    try:
        yield ask
    finally:
        asks.close()
        process.wait()
