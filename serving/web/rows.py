"""Rows of users and items: what is asked most, and so answered before the framework has a look.

The framework declares these routes, and answers whatever else is asked of them.
"""

import asyncio
import time
from collections.abc import Callable
from typing import NamedTuple

from serving.run import item_answer, user_answer
from serving.said import Answer, encoded
from serving.web import problems
from serving.web.asgi import App, Headers, Receive, Scope, Send
from serving.web.forms import identifier_of
from serving.web.metrics import Metrics
from serving.web.problems import SINGULAR
from state.store.contract import Kind
from state.store.records import Record, unpack

Question = Callable[[Kind, str], "asyncio.Future[bytes | None]"]


class Route(NamedTuple):
    """What is asked for below a path."""

    path: str
    kind: Kind
    answer: Callable[[str, Record], Answer]


USER = Route("/users/{id}", "users", user_answer)
ITEM = Route("/items/{id}", "items", item_answer)
_BELOW = {"/users/": USER, "/items/": ITEM}
_LONG = 7
"""Characters of either."""


class RowRoutes:
    """An ASGI application before another; `quick` asks it without ASGI."""

    def __init__(self, app: App, question: Question, metrics: Metrics) -> None:
        """`question` asks the store for a row."""
        self._app, self.question, self.metrics = app, question, metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Raises Problem, and as `question` does."""
        path: str = scope["path"] if scope["type"] == "http" and scope["method"] == "GET" else ""
        route = asked(path)
        if route is None:
            await self._app(scope, receive, send)
            return
        scope["route"] = route
        identifier = id_of(path)
        headers, body = self.told(route, identifier, await self.question(route.kind, identifier))
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    def told(self, route: Route, identifier: str, row: bytes | None) -> tuple[Headers, bytes]:
        """What is answered of it. Raises Problem where there is none."""
        self.metrics.looked_up(SINGULAR[route.kind], row is not None)
        if row is None:
            raise problems.unknown(SINGULAR[route.kind], identifier)
        record = unpack(row)
        body = encoded(route.answer(identifier, record))
        age_s = max(0, int(time.time() - record.event_time_ms / 1000))
        headers = [
            (b"content-type", b"application/json"),
            (b"content-length", b"%d" % len(body)),
            (b"age", b"%d" % age_s),
        ]
        return headers, body


def asked(path: str) -> Route | None:
    """What a path asks for, if that is a row: of `id_of`."""
    route = _BELOW.get(path[:_LONG])
    return None if route is None or len(path) == _LONG or path.find("/", _LONG) > 0 else route


def id_of(path: str) -> str:
    """Of a path that asks for a row. Raises Problem."""
    return identifier_of(path[_LONG:])
