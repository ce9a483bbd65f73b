"""The page at `/`: files of `serving/page`, which ask the routes beside them, and nobody else."""

import hashlib
from collections.abc import Awaitable, Callable
from importlib.resources import files
from typing import NamedTuple

from fastapi import FastAPI, Request, Response

CSP = "default-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; object-src 'none'"
"""Scripts, styles, images and connections of this server alone, and none inline."""
_TYPES = {
    "html": "text/html; charset=utf-8",
    "css": "text/css; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "svg": "image/svg+xml",
}
_HEADERS = {
    "content-security-policy": CSP,
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cache-control": "no-cache",
}


class File(NamedTuple):
    body: bytes
    media: str
    etag: str


def read() -> dict[str, File]:
    """Every file of the page, by name."""
    file_of = {}
    for file in files("serving").joinpath("page").iterdir():
        media = _TYPES.get(file.name.rpartition(".")[2])
        if media is not None:
            body = file.read_bytes()
            file_of[file.name] = File(body, media, f'"{hashlib.blake2b(body, digest_size=8).hexdigest()}"')
    return file_of


def mount(app: FastAPI) -> None:
    """Add `/` and `/page/NAME`; they are no part of the declared API."""
    for name, file in read().items():
        path = "/" if name == "index.html" else f"/page/{name}"
        app.get(path, include_in_schema=False)(_route(file))


def _route(file: File) -> Callable[[Request], Awaitable[Response]]:
    async def answer(request: Request) -> Response:
        headers = {**_HEADERS, "etag": file.etag}
        if request.headers.get("if-none-match") == file.etag:
            return Response(status_code=304, headers=headers)
        return Response(file.body, headers={**headers, "content-type": file.media})

    return answer
