"""Routes of what is going on now: for a page that watches, and for scripts."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any

import msgspec
from fastapi import FastAPI, Response
from fastapi.responses import StreamingResponse

from serving.said import encoded
from serving.web.desk import Desk
from serving.web.forms import answers
from state.store.pipelined import BusyError

EVENT_STREAM = "text/event-stream"
MOST_STREAMS = 64
_EVERY_S = 1.0


def mount(app: FastAPI, desk: Desk) -> None:
    """Add `/status`, `/status/stream`, `/drift` and `/cycles`."""
    streams = 0

    @app.get("/status", responses=answers())
    async def status() -> Response:
        """What the server and the trainer that feeds it are doing; `history` has up to ten minutes."""
        report: dict[str, Any] = msgspec.structs.asdict(desk.status())
        return _json(encoded({**report, "history": desk.watched.history}))

    @app.get("/status/stream", include_in_schema=False)  # it has no end: who tries all routes would wait
    async def stream() -> Response:
        """The same without its history, every second, as server-sent events."""
        if streams >= MOST_STREAMS:
            raise BusyError(f"{MOST_STREAMS} others are watching; ask again in a moment")

        async def events() -> AsyncIterator[bytes]:
            nonlocal streams
            streams += 1
            try:
                while not desk.ending.is_set():
                    yield b"data: " + encoded(msgspec.structs.asdict(desk.status())) + b"\n\n"
                    with suppress(TimeoutError):
                        await asyncio.wait_for(desk.ending.wait(), _EVERY_S)
            finally:
                streams -= 1

        return StreamingResponse(events(), media_type=EVENT_STREAM, headers={"cache-control": "no-store"})

    @app.get("/drift", responses=answers(s404="Nobody has watched"))
    async def drift() -> Response:
        """Alarms of drift and what was done about them, as `ebbtide monitor --once --json` has them."""
        return _json(encoded(msgspec.structs.asdict(await asyncio.to_thread(desk.watched.drift))))

    @app.get("/cycles", responses=answers())
    async def cycles() -> Response:
        """Cycles of co-evolution, as `ebbtide cycle list --json` has them; null of a learner without any."""
        evolved = await desk.ask(lambda run: run.info.coevolution)
        return _json(b"null" if evolved is None else encoded(evolved))


def _json(body: bytes) -> Response:
    return Response(body, media_type="application/json", headers={"cache-control": "no-store"})
