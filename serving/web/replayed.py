"""What a served folder holds besides vectors: the report of the replay that wrote it."""

import asyncio
from pathlib import Path

from fastapi import FastAPI, Response

from serving.web.forms import answers
from serving.web.problems import Problem

_OF_ITSELF = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; frame-ancestors 'none'"
"""What a report says of itself: it runs nothing."""


def mount(app: FastAPI, folder: Path) -> None:
    """Add `GET /report` and the same as a page."""

    async def read(name: str, **headers: str) -> Response:
        try:
            body = await asyncio.to_thread((folder / name).read_bytes)
        except OSError as error:
            raise Problem(404, f"{name}: cannot be read ({error.strerror}); has the replay ended?") from None
        return Response(
            body, headers={"cache-control": "no-cache", "x-content-type-options": "nosniff", **headers}
        )

    @app.get("/report", responses=answers(None, "application/json", s404="The replay has left none"))
    async def report() -> Response:
        """The report of the replay whose folder is served; docs/report.md has its fields."""
        return await read("report.json", **{"content-type": "application/json"})

    @app.get("/report.html", include_in_schema=False)
    async def report_page() -> Response:
        return await read(
            "report.html",
            **{"content-type": "text/html; charset=utf-8", "content-security-policy": _OF_ITSELF},
        )
