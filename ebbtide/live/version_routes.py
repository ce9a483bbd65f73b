"""Rolling back over HTTP: routes for those who have a key."""

import asyncio
from collections.abc import Callable, Mapping
from typing import Annotated, Any

from fastapi import FastAPI, Path, Request, Response

from ebbtide.live.posted import check
from serving.said import encoded
from serving.web.desk import Desk
from serving.web.forms import answers, versions_said
from serving.web.problems import Problem
from state.store.kept import VersionGoneError

_KEYED: dict[str, Any] = {"security": [{"key": []}]}


def mount(app: FastAPI, desk: Desk, keys: Mapping[str, str]) -> None:
    """Add `POST /versions/{version}:rollback` and `POST /versions:resume`."""

    async def done(request: Request, what: Callable[[], None]) -> Response:
        """Answered when this server serves it."""
        check(request.headers.get("authorization"), keys)
        try:
            await asyncio.to_thread(what)
        except VersionGoneError as error:
            raise Problem(404, str(error)) from None
        return Response(encoded(await desk.ask(versions_said)), media_type="application/json")

    @app.post(
        "/versions/{version}:rollback",
        responses=answers(s401="No valid key", s404="Not kept, or not any longer"),
        openapi_extra=_KEYED,
    )
    async def rollback(request: Request, version: Annotated[int, Path(ge=1, le=2**53)]) -> Response:
        """Serve a version that was kept, until `POST /versions:resume`. Needs `Authorization: Bearer KEY`."""
        return await done(request, lambda: desk.store.rollback(version))

    @app.post("/versions:resume", responses=answers(s401="No valid key"), openapi_extra=_KEYED)
    async def resume(request: Request) -> Response:
        """Serve the newest version again. Needs `Authorization: Bearer KEY`."""
        return await done(request, desk.store.resume)
