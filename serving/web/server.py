"""The server: a socket of our own, connections bounded in time and size, an end at a signal."""

import asyncio
import contextlib
import os
import signal
import socket
import sys
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any

import uvicorn

from serving.web.asgi import App
from serving.web.quick import Quick
from state.errors import InputError

HEAD_S = 10.0
"""For the lines before a body to arrive."""
HEAD_BYTES = 65_536
BEYOND_BYTES = 8 << 20
"""Of a body that goes on after its answer, read and dropped, so that the answer is heard; within HEAD_S."""
MOST_CONNECTIONS = 4096
_SWITCH_S = 0.0005
"""After which a thread that computes lets the event loop have its turn."""


class Guarded(Quick):
    """A connection that must say what it wants: a head in time, and not without end."""

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self._head_bytes = self._beyond_bytes = 0
        self._in_head = True
        self._dropping: asyncio.TimerHandle | None = None
        self._late: asyncio.TimerHandle | None = self.loop.call_later(HEAD_S, self._end)
        if len(self.connections) > MOST_CONNECTIONS:
            self._end()

    def data_received(self, data: bytes) -> None:
        self._head_bytes += len(data)
        super().data_received(data)
        if self._in_head:  # not often: most heads come whole
            if self._late is None:
                self._late = self.loop.call_later(HEAD_S, self._end)
            if self._head_bytes > HEAD_BYTES:
                self._end()

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._in_head = True

    def on_headers_complete(self) -> None:
        self._in_head, self._head_bytes = False, 0
        self._waited()
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        super().on_body(body)
        if self.cycle.response_complete:
            self._beyond_bytes += len(body)
            if self._dropping is None:
                self._dropping = self.loop.call_later(HEAD_S, self._end)
            if self._beyond_bytes > BEYOND_BYTES:
                self._end()

    def on_message_complete(self) -> None:
        super().on_message_complete()
        self._beyond_bytes = 0
        self._waited()

    def connection_lost(self, exc: Exception | None) -> None:
        self._waited()
        super().connection_lost(exc)

    def _waited(self) -> None:
        for timer in (self._late, self._dropping):
            if timer is not None:
                timer.cancel()
        self._late = self._dropping = None

    def _end(self) -> None:
        self._waited()
        self.transport.abort()


class _Server(uvicorn.Server):
    """Ends at SIGTERM and Ctrl-C as everything here does: with what is being answered, and exit code 0.

    `ending` is called first: answers without an end are to find theirs.
    """

    def __init__(self, config: uvicorn.Config, ending: Callable[[], None] = lambda: None) -> None:
        super().__init__(config)
        self._ending = ending

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        self._ending()
        super().handle_exit(sig, frame)

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self.handle_exit, number, None)
        yield


def listening(host: str, port: int) -> socket.socket:
    """A socket that listens; port 0 takes a free one. Raises InputError."""
    try:
        family, kind, proto, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        held = socket.socket(family, kind, proto)
        held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        held.bind(address)
        held.listen(2048)
    except (OSError, OverflowError) as error:
        why = os.strerror(error.errno) if isinstance(error, OSError) and error.errno else str(error)
        raise InputError(
            f"serve at {host}:{port}: cannot listen there ({why}); name another --port, or 0 for a free one"
        ) from error
    return held


def url_of(held: socket.socket) -> str:
    """Where a socket is reached."""
    host, port = held.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def run(
    app: App, held: socket.socket, started: Callable[[], None], ending: Callable[[], None] = lambda: None
) -> None:
    """Serve until a signal; `started` is called once requests are taken, `ending` when it comes."""
    sys.setswitchinterval(_SWITCH_S)
    config = uvicorn.Config(
        app,
        http=Guarded,
        ws="none",
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=5,
    )
    server = _Server(config, ending)

    async def serve() -> None:
        task = asyncio.create_task(server.serve(sockets=[held]))
        while not server.started and not task.done():
            await asyncio.sleep(0.01)
        started()
        await task

    with contextlib.closing(held), asyncio.Runner(loop_factory=config.get_loop_factory()) as runner:
        runner.run(serve())
