"""A server whose store is away, empty, slow, or asked too much: it says so, and gets over it by itself."""

import asyncio
import os
import re
import signal
import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
import uvloop

from serving.run import Run
from serving.web import desk as desks
from serving.web.desk import Desk
from serving.web.problems import of
from state.store import pipelined
from state.store.pipelined import BusyError, PipelinedReader
from state.store.records import unpack
from state.store.redis import RedisStore
from state.store.redis_refusals import UnreachableError
from state.store.server import EmbeddedServer
from tests.contracts.test_every_store import items
from tests.contracts.test_every_store import server as server
from tests.patience import until
from tests.serving.server import Served, served
from tests.serving.test_answers import published
from tests.valkeys import free_port, serving


def says(web: Served, path: str, status: int, said: str = "") -> bool:
    reply = web.ask(path)
    if reply.status == 503:
        assert reply.headers["retry-after"] == "1"
        assert b"Traceback" not in reply.body
    return reply.status == status and said in reply.body.decode()


def test_it_waits_for_its_store_and_for_what_is_published_and_survives_both(tmp_path: Path) -> None:
    port = free_port()
    url = f"redis://127.0.0.1:{port}/0"
    with served(url, ready=False) as web:
        until(lambda: says(web, "/readyz", 503, "cannot be reached"))
        until(lambda: says(web, "/users/ann", 503, "cannot be reached"))
        assert says(web, "/users/ann/recommendations", 503)
        assert says(web, "/healthz", 200)
        process = serving(tmp_path, port)
        until(lambda: says(web, "/readyz", 503, "nothing was published"))
        with RedisStore(url) as store:
            published(store)
        until(lambda: says(web, "/readyz", 200))
        assert says(web, "/users/ann", 200)
        assert says(web, "/items/tea/similar", 200)
        process.kill()
        process.wait()
        until(lambda: says(web, "/users/ann", 503))
        assert says(web, "/users/ann/recommendations", 503)
        until(lambda: says(web, "/items/tea/similar", 200))  # what is in memory is answered
        process = serving(tmp_path, port)
        with RedisStore(url) as store:
            published(store)
        until(lambda: says(web, "/readyz", 200))
        until(lambda: says(web, "/users/ann/recommendations", 200))
        os.kill(process.pid, signal.SIGSTOP)
        until(lambda: says(web, "/users/ann", 503))
        os.kill(process.pid, signal.SIGCONT)
        until(lambda: says(web, "/users/ann", 200))
        process.kill()
        process.wait()
        until(lambda: says(web, "/readyz", 503))
        web.process.terminate()
        assert web.process.stderr is not None
        told = re.findall(
            "answered: .* cannot be reached|nothing was published|can be answered, version",
            web.process.stderr.read().decode(),
        )
        assert {line.split()[-1] for line in told} == {"reached", "published", "version"}
        assert told[-1].endswith("reached")


def test_questions_beyond_the_bound_are_refused_and_the_others_answered(server: EmbeddedServer) -> None:
    async def asked(store: RedisStore) -> None:
        desk, held = Desk(store, most=2), threading.Event()
        await desk.open()
        while not desk.ready:
            await asyncio.sleep(0.01)

        def slow(run: Run) -> int:
            held.wait()
            return run.version

        waiting = [asyncio.create_task(desk.ask(slow)) for _ in range(2)]
        await asyncio.sleep(0)
        with pytest.raises(BusyError, match="2 questions wait for an answer") as refused:
            await desk.ask(slow)
        assert of(refused.value).status == 429
        held.set()
        assert await asyncio.gather(*waiting) == [4, 4]
        assert await desk.ask(slow) == 4
        await desk.close()

    with RedisStore(f"unix://{server.ensure()}?run=overload") as store:
        published(store)
        asyncio.run(asked(store))


def test_many_ask_over_one_connection_and_everybody_gets_their_own(server: EmbeddedServer) -> None:
    ids = [f"item {n}" for n in range(500)] + ["nul\0", "\ud800", "", "x" * 100_000]

    async def asked(store: RedisStore) -> None:
        reader = PipelinedReader(store, most=600)
        with pytest.raises(UnreachableError, match="not connected yet"):
            reader.row("items", "a")
        keeping = asyncio.create_task(reader.keep())
        while reader.trouble:
            await asyncio.sleep(0.01)
        found = await asyncio.gather(*(reader.row("items", one) for one in ids), reader.row("items", "no"))
        assert found.pop() is None
        assert [unpack(row).vectors_KD[0, 0] for row in found if row is not None] == list(range(len(ids)))
        with pytest.raises(BusyError):
            await asyncio.gather(*(reader.row("items", "a") for _ in range(601)))
        keeping.cancel()
        await asyncio.gather(keeping, return_exceptions=True)

    with RedisStore(f"unix://{server.ensure()}?run=many") as store:
        store.put_items(1, items(*((one, 1, float(n)) for n, one in enumerate(ids))))
        asyncio.run(asked(store))


@pytest.mark.parametrize("loop", [asyncio.new_event_loop, uvloop.new_event_loop])
def test_a_process_that_was_kept_from_its_work_does_not_take_its_store_for_gone(
    server: EmbeddedServer, monkeypatch: pytest.MonkeyPatch, loop: Callable[[], asyncio.AbstractEventLoop]
) -> None:
    """At ten times too much one run answered 503 for seconds: nobody had read what the store had said."""
    monkeypatch.setattr(pipelined, "_LOOK_S", 0.01)

    async def asked(store: RedisStore) -> None:
        near, far = socket.socketpair()
        _, writer = await asyncio.open_connection(sock=near)
        pipe = pipelined._Pipe(writer, store)  # to stand where the store does
        ended = asyncio.create_task(pipe.ended())
        await asyncio.sleep(0)
        for _ in range(3):
            answer = pipe.ask(b"question")
            assert far.recv(100) == b"question"
            far.sendall(b"$6\r\nanswer\r\n")
            time.sleep(10 * pipelined._LOOKS * pipelined._LOOK_S)  # all is late, and this loop alone is
            assert await answer == b"answer"
            assert not ended.done()
        silence = pipe.ask(b"question")
        await ended
        pipe.abort()
        with pytest.raises(UnreachableError, match="does not answer"):
            await silence
        far.close()

    with (
        RedisStore(f"unix://{server.ensure()}?run=late") as store,
        asyncio.Runner(loop_factory=loop) as runner,
    ):
        runner.run(asked(store))


def test_who_waits_too_long_for_others_is_one_too_many(
    server: EmbeddedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(desks, "PATIENCE_S", 0.01)

    async def asked(store: RedisStore) -> None:
        desk, held = Desk(store), threading.Event()
        await desk.open()
        while not desk.ready:
            await asyncio.sleep(0.01)
        slow = asyncio.create_task(desk.ask(lambda _: held.wait()))
        await asyncio.sleep(0)
        try:
            with pytest.raises(BusyError, match="so much is asked") as refused:
                await desk.ask(lambda run: run.version)
        finally:
            held.set()
        assert of(refused.value).status == 429
        with suppress(BusyError):
            await slow
        while desk._waiting:
            await asyncio.sleep(0.01)
        monkeypatch.undo()
        assert await desk.ask(lambda run: run.version) == 4
        await desk.close()

    with RedisStore(f"unix://{server.ensure()}?run=long") as store:
        published(store)
        asyncio.run(asked(store))
