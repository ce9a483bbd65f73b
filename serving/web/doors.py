"""What stands before every route: paths as they were sent, bounds on bodies and rates, problems, times.

An id may have slashes: so routes see paths as they were sent, `%2F` and all, and take ids out of them.
"""

import asyncio
import logging
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

from serving.web import problems
from serving.web.asgi import App, Message, Receive, Scope, Send
from serving.web.metrics import Metrics
from serving.web.problems import Problem
from serving.web.rows import RowRoutes

log = logging.getLogger("ebbtide.serve")
_CLIENTS = 10_000
_OTHER = "other"


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What a client may ask of a server."""

    body_bytes: int = 1_000_000
    body_s: float = 10.0
    """For the whole body to arrive."""
    rate: float | None = None
    """Requests a second of one address, and as many at once; None: as many as can be answered."""


class Doors:
    """An ASGI application before another."""

    def __init__(self, app: App, limits: Limits, metrics: Metrics, rows: RowRoutes | None = None) -> None:
        self._app, self._limits, self._metrics = app, limits, metrics
        self._rates = None if limits.rate is None else RequestRates(limits.rate)
        self.rows = rows if self._rates is None else None
        """What may be asked past these doors, where nobody's rate is counted."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began_s, status = time.perf_counter(), 0

        async def sending(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            scope["path"] = scope["raw_path"].decode("ascii")
            self._admit(scope)
            bounded = receive if scope["method"] in ("GET", "HEAD") else Body(receive, self._limits)
            await self._app(scope, bounded, sending)
        except Exception as error:
            problem = problems.of(error)
            if problem.status == 500:
                log.exception("%s %s", scope["method"], scope["path"])
            if not status:
                await refuse(problem, sending)
        finally:
            route = getattr(scope.get("route"), "path", _OTHER)
            self._metrics.answered(route, status, time.perf_counter() - began_s)

    def _admit(self, scope: Scope) -> None:
        if self._rates is not None:
            self._rates.take((scope.get("client") or ("?",))[0])
        for name, value in scope["headers"]:
            if name == b"content-length" and int(value) > self._limits.body_bytes:
                raise _too_large(self._limits)


class Body:
    """Receives a body within bounds of size and time."""

    def __init__(self, receive: Receive, limits: Limits) -> None:
        self._receive, self._limits = receive, limits
        self._size, self._until_s = 0, time.monotonic() + limits.body_s
        self._whole = False

    async def __call__(self) -> Message:
        if self._whole:
            return await self._receive()
        try:
            async with asyncio.timeout(self._until_s - time.monotonic()):
                message = await self._receive()
        except TimeoutError:
            raise Problem(408, f"no whole body within {self._limits.body_s:g} s") from None
        self._size += len(message.get("body", b""))
        self._whole = not message.get("more_body", False)
        if self._size > self._limits.body_bytes:
            raise _too_large(self._limits)
        return message


class RequestRates:
    """A bucket of one second's requests for each address, of those that came last."""

    def __init__(self, rate: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._rate, self._clock = rate, clock
        self._left: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def take(self, address: str) -> None:
        """Raises Problem where there was more than that."""
        now_s = self._clock()
        most = max(self._rate, 1.0)
        left, at_s = self._left.pop(address, (most, now_s))
        left = min(most, left + max(0.0, now_s - at_s) * self._rate)
        self._left[address] = (left - 1.0 if left >= 1.0 else left, now_s)
        while len(self._left) > _CLIENTS:
            self._left.popitem(last=False)
        if left < 1.0:
            raise Problem(429, f"more than {self._rate:g} requests a second")


async def refuse(problem: Problem, send: Send) -> None:
    """Answer with a problem."""
    start = {"type": "http.response.start", "status": problem.status, "headers": problems.headers(problem)}
    await send(start)
    await send({"type": "http.response.body", "body": problems.body(problem)})


def _too_large(limits: Limits) -> Problem:
    return Problem(413, f"a body of more than {limits.body_bytes:,} bytes")
