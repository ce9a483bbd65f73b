"""Rows straight from the store to the connection: no task, no ASGI, one write.

Of what is asked most that is most of the work. Whatever is more than a question for one row, on a connection
on which nothing else waits, is uvicorn's.
"""

import asyncio
import logging
import time
from typing import Any

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from serving.web import problems
from serving.web.asgi import Headers
from serving.web.doors import Doors
from serving.web.problems import Problem
from serving.web.rows import Route, RowRoutes, asked, id_of

log = logging.getLogger("ebbtide.serve")
_WITH_BODIES = {b"content-length", b"transfer-encoding"}


class _Question:
    """Stands for a request where uvicorn has a cycle of its own."""

    body = bytearray()
    more_body = disconnected = response_complete = False
    keep_alive = True
    message_event = asyncio.Event()
    """Nobody waits for it."""

    def __init__(self, route: Route) -> None:
        self.route, self.identifier, self.began_s = route, "", time.perf_counter()


class Quick(HttpToolsProtocol):
    """A connection that answers for rows itself, where the application has them at hand."""

    def __init__(self, *given: Any, **named: Any) -> None:
        super().__init__(*given, **named)
        doors = self.config.app
        self._rows: RowRoutes | None = doors.rows if isinstance(doors, Doors) else None

    def on_headers_complete(self) -> None:
        path = "" if self._rows is None else self._plain()
        route = asked(path)
        if self._rows is None or route is None:
            super().on_headers_complete()
            return
        question = _Question(route)
        self.cycle = question  # type: ignore[assignment]
        try:
            question.identifier = id_of(path)
            row = self._rows.question(route.kind, question.identifier)
        except Exception as error:
            self._refuse(question, error)
        else:
            row.add_done_callback(lambda row: self._answer(question, row))

    def _plain(self) -> str:
        """The path, if there is nothing else to what is asked, and nothing before it."""
        url, waits = self.url, self.cycle is not None and not self.cycle.response_complete
        if (
            waits
            or self.flow.write_paused
            or self.parser.get_method() != b"GET"
            or self.parser.get_http_version() != "1.1"
            or not self.parser.should_keep_alive()
            or self.parser.should_upgrade()
            or self.expect_100_continue
            or b"?" in url
            or b"#" in url
            or not url.isascii()
            or any(name in _WITH_BODIES for name, _ in self.headers)
        ):
            return ""
        return url.decode()

    def _answer(self, question: _Question, row: "asyncio.Future[bytes | None]") -> None:
        assert self._rows is not None
        try:
            headers, body = self._rows.told(question.route, question.identifier, row.result())
        except Exception as error:
            self._refuse(question, error)
        else:
            self._write(question, 200, headers, body)

    def _refuse(self, question: _Question, error: Exception) -> None:
        problem: Problem = problems.of(error)
        if problem.status == 500:
            log.exception("GET %s", question.route.path, exc_info=error)
        self._write(question, problem.status, problems.headers(problem), problems.body(problem))

    def _write(self, question: _Question, status: int, headers: Headers, body: bytes) -> None:
        assert self._rows is not None
        question.response_complete = True
        self._rows.metrics.answered(question.route.path, status, time.perf_counter() - question.began_s)
        if question.disconnected or self.transport.is_closing():
            return
        lines = [STATUS_LINE[status]]
        for name, value in (*self.server_state.default_headers, *headers):
            lines += (name, b": ", value, b"\r\n")
        if not question.keep_alive:
            lines.append(b"connection: close\r\n")
        self.transport.write(b"".join((*lines, b"\r\n", body)))
        if not question.keep_alive:
            self.transport.close()
        self.on_response_complete()
