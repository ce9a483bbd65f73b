"""Cycles of co-evolution over HTTP: begun, and withdrawn, by those who have a key."""

import asyncio
from collections.abc import Mapping
from typing import Any

from fastapi import FastAPI, Request, Response

from ebbtide.live.arriving.cycle_requests import Action, answer, answers_in, ask_by
from ebbtide.live.posted import check
from serving.said import encoded
from serving.web.desk import Desk
from serving.web.forms import answers
from serving.web.problems import Problem

_ANSWERS: dict[str, Any] = {
    "responses": {
        **answers(s401="No valid key", s409="The trainer refuses"),
        200: {"description": "Done"},
        202: {"description": "Asked the trainer, which is busy; see `answers` of `GET /cycles`"},
    },
    "openapi_extra": {"security": [{"key": []}]},
}


def mount(app: FastAPI, desk: Desk, keys: Mapping[str, str]) -> None:
    """Add `POST /cycles:run` and `POST /cycles:rollback`."""

    async def asked(request: Request, action: Action) -> Response:
        check(request.headers.get("authorization"), keys)
        made = await asyncio.to_thread(ask_by, desk.store, action)
        answered = await asyncio.to_thread(answer, made, lambda: answers_in(desk.store))
        if answered is not None and answered.refused:
            raise Problem(409, f"cycle {action}: {answered.said}")
        body = {"asked": action, "request": made.identifier}
        if answered is None:
            return Response(encoded(body), 202, media_type="application/json")
        return Response(encoded({**body, "said": answered.said}), media_type="application/json")

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
