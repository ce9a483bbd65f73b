"""What went wrong, as the body of an answer: problem details (RFC 9457), and never a traceback."""

import msgspec

from state.errors import EbbtideError, InputError, UnknownIdError
from state.store.contract import Kind
from state.store.kept import VersionGoneError
from state.store.pipelined import BusyError
from state.store.redis_refusals import UnreachableError

SINGULAR: dict[Kind, str] = {"items": "item", "users": "user"}
MEDIA_TYPE = "application/problem+json"
RETRY_S = b"1"
"""When to ask again, of what passes by itself."""
TITLES = {
    400: "Bad request",
    401: "No valid key",
    404: "Not known",
    405: "No such method",
    408: "Too slow",
    409: "Not as things are",
    413: "Too large",
    422: "Not as declared",
    429: "Too much at a time",
    500: "A fault of ours",
    503: "Not now",
}


class Problem(EbbtideError):
    """Raised anywhere while a request is answered: what the client is told."""

    def __init__(self, status: int, detail: str, errors: list[str] | None = None) -> None:
        super().__init__(detail)
        self.status, self.errors = status, errors or []


def unknown(kind: str, identifier: str) -> Problem:
    """Of a user or an item of whom nothing was published."""
    return Problem(404, f"unknown {kind} {identifier[:80]!r}: nothing was published; ids are as in the log")


def of(error: Exception) -> Problem:
    """What an error is to a client. A fault of ours is named, and no more."""
    if isinstance(error, Problem):
        return error
    if isinstance(error, BusyError):
        return Problem(429, str(error))
    if isinstance(error, UnreachableError | TimeoutError):
        return Problem(503, str(error) or "the store does not answer in time")
    if isinstance(error, VersionGoneError):
        return Problem(503, f"{error}; another is about to be served")
    if isinstance(error, UnknownIdError):
        return Problem(404, str(error))
    if isinstance(error, InputError):
        return Problem(400, str(error))
    return Problem(500, f"{type(error).__name__}; what it was is in the server's log")


def body(problem: Problem) -> bytes:
    """As JSON."""
    members: dict[str, object] = {
        "type": "about:blank",
        "title": TITLES.get(problem.status, "Refused"),
        "status": problem.status,
        "detail": str(problem),
    }
    return msgspec.json.encode({**members, "errors": problem.errors} if problem.errors else members)


def headers(problem: Problem) -> list[tuple[bytes, bytes]]:
    """Of the answer. Where a body never came the connection ends."""
    fields = [(b"content-type", MEDIA_TYPE.encode()), (b"content-length", b"%d" % len(body(problem)))]
    if problem.status in (429, 503):
        fields.append((b"retry-after", RETRY_S))
    if problem.status == 408:
        fields.append((b"connection", b"close"))
    if problem.status == 401:
        fields.append((b"www-authenticate", b"Bearer"))
    return fields


def schema() -> dict[str, object]:
    """The JSON Schema of `body`."""
    text = {"type": "string"}
    return {
        "title": "Problem",
        "type": "object",
        "required": ["type", "title", "status", "detail"],
        "properties": {
            **dict.fromkeys(("type", "title", "detail"), text),
            "status": {"type": "integer"},
            "errors": {"type": "array", "items": text},
        },
    }
