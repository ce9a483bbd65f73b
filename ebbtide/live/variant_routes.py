"""Which variant wins, over HTTP: for the page."""

import asyncio
import time

import msgspec
from fastapi import FastAPI, Response

from ebbtide.live.variants import VariantTally, Verdict, read
from serving.said import encoded
from serving.web.forms import answers

_EVERY_S = 5.0


def mount(app: FastAPI, brokers: str, topic: str, names: list[str]) -> None:
    """Add `GET /variants/verdict`: the topic of events is read on at most every five seconds."""
    tally, turn = VariantTally(names), asyncio.Lock()
    newest: list[tuple[float, Verdict]] = []

    @app.get("/variants/verdict", responses=answers())
    async def verdict() -> Response:
        """Which variant wins by now, as `ebbtide variants --json` says it."""
        async with turn:
            if not newest or time.monotonic() - newest[-1][0] >= _EVERY_S:
                told = await asyncio.to_thread(read, brokers, topic, tally)
                newest[:] = [(time.monotonic(), told)]
        return Response(encoded(msgspec.structs.asdict(newest[-1][1])), media_type="application/json")
