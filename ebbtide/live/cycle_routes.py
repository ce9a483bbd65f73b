"""Cycles of co-evolution over HTTP: begun, and withdrawn, by those who have a key."""

import asyncio
from collections.abc import Mapping
from typing import Any

from fastapi import FastAPI, Request, Response

from ebbtide.live.arriving.cycle_requests import What, ask_by
from ebbtide.live.posted import check
from serving.said import encoded
from serving.web.desk import Desk
from serving.web.forms import answers

_ANSWERS: dict[str, Any] = {
    "status_code": 202,
    "responses": {**answers(s401="No valid key"), 202: {"description": "Asked the trainer"}},
    "openapi_extra": {"security": [{"key": []}]},
}


def mount(app: FastAPI, desk: Desk, keys: Mapping[str, str]) -> None:
    """Add `POST /cycles:run` and `POST /cycles:rollback`."""

    async def asked(request: Request, what: What) -> Response:
        check(request.headers.get("authorization"), keys)
        await asyncio.to_thread(ask_by, desk.store, what)
        return Response(encoded({"asked": what}), 202, media_type="application/json")

    @app.post("/cycles:run", **_ANSWERS)
    async def run(request: Request) -> Response:
        """Ask the trainer to begin a cycle now. Needs `Authorization: Bearer KEY`."""
        return await asked(request, "run")

    @app.post("/cycles:rollback", **_ANSWERS)
    async def rollback(request: Request) -> Response:
        """Ask the trainer to explore by the version before again, and withdraw the one that serves.

        Needs `Authorization: Bearer KEY`.
        """
        return await asked(request, "rollback")
