"""The routes. What is asked most is answered as bytes, without a model of the answer in between."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from typing import Annotated, Any

from fastapi import FastAPI, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import StreamingResponse

from serving.answers import Explored, RecommendAnswer, UnknownUserError
from serving.exploring import with_tried
from serving.run import Run
from serving.said import encoded
from serving.web import live, looking, page, problems
from serving.web.asgi import App
from serving.web.changes import Form
from serving.web.desk import Desk
from serving.web.doors import Doors, Limits
from serving.web.forms import (
    POSTED,
    Batch,
    Count,
    Export,
    Question,
    Session,
    TimeMs,
    answers,
    components,
    identifier_of,
    versions_said,
)
from serving.web.metrics import CONTENT_TYPE, Metrics
from serving.web.problems import SINGULAR, Problem
from serving.web.rows import ITEM, USER, RowRoutes
from serving.web.variants import Variants
from state.errors import EbbtideError
from state.store.pipelined import BusyError
from state.store.records import Record

JSON, JSONL, PARQUET = "application/json", "application/jsonl", "application/vnd.apache.parquet"
RECOMMENDATION_ID = "recommendation-id"
MOST_EXPORTS = 2
"""At a time: each reads the store, and may read all of it."""
Mount = Callable[[FastAPI], None]
"""Adds routes of somebody else's."""


def application(
    variants: Variants, time_ms: TimeMs, limits: Limits, mounts: list[Mount] | None = None
) -> App:
    """The ASGI application; `time_ms` reads times as `ebbtide query --at` does."""
    metrics, desk = Metrics(), variants.base
    metrics.gauge("ready", "Whether everything can be answered.", lambda: float(desk.ready))
    metrics.gauge("version", "Of the catalogue that is held.", lambda: float(desk.version))
    help_text = (
        "Recall@10 of recommendations against the ranking of all items, of one question in a thousand."
    )
    metrics.gauge("recall", help_text, lambda: desk.recall)

    @asynccontextmanager
    async def life(_: FastAPI) -> AsyncIterator[None]:
        for variant in variants.desks:
            await variant.open()
        yield
        for variant in variants.desks:
            await variant.close()

    app = FastAPI(
        title="Ebbtide",
        description="The latest embeddings, and what to recommend.",
        docs_url=None,
        redoc_url=None,
        lifespan=life,
        redirect_slashes=False,
    )
    _refuse(app)
    _rows(app, desk)
    _recommendations(app, variants, metrics, time_ms)
    _state(app, variants, metrics)
    _exports(app, desk)
    live.mount(app, desk)
    looking.mount(app, variants, time_ms)
    page.mount(app)
    for mount in mounts or []:
        mount(app)
    _declare(app)
    rows = RowRoutes(app, variants.question, metrics)
    return Doors(rows, limits, metrics, rows)


def _rows(app: FastAPI, desk: Desk) -> None:
    for route, what in (
        (USER, "A user's interests. The header `Age` says how many seconds ago the last event was."),
        (ITEM, "An item's vector; the last number is its bias."),
    ):
        singular = SINGULAR[route.kind]
        declared = answers(f"{singular.title()}Answer", s404=f"Nobody knows this {singular}")
        route_of = app.get(
            route.path, name=singular, description=what, responses=declared, openapi_extra=_OF_ID
        )
        route_of(_answered_before)

    @app.get("/items/{id}/similar", responses=answers("SimilarAnswer", s404="Nobody knows this item"))
    async def similar(id: str, k: Annotated[Count, Query()] = 10) -> Response:
        """The items most like an item."""
        identifier = identifier_of(id)
        return _json(await desk.ask(lambda run: encoded(run.similar(identifier, k))))


def _answered_before() -> Response:
    raise AssertionError("RowRoutes answers this")


def _recommendations(app: FastAPI, variants: Variants, metrics: Metrics, time_ms: TimeMs) -> None:
    @app.get("/users/{id}/recommendations", responses=answers("RecommendAnswer"))
    async def recommendations(id: str, question: Annotated[Question, Query()]) -> Response:
        """What to recommend to a user, and why. To somebody unknown: what is popular, near lat and lon."""
        identifier, asked = identifier_of(id), question.asked(time_ms)
        tried: list[tuple[str, float]] = []

        def answered(run: Run, record: Record | None) -> bytes:
            metrics.looked_up("user", record is not None)
            answer = _recommended(run, identifier, record, question.k, asked)
            tried.extend((one.item, one.propensity) for one in answer.items if isinstance(one, Explored))
            return encoded(answer)

        body, made = await variants.recommend(identifier, answered)
        return _recommendation(body, with_tried(made, tried))

    @app.post("/recommendations:batch", responses=answers("BatchAnswer", **POSTED))
    async def batch(body: Batch) -> Response:
        """Recommendations for several users: one JSON object, whose `answers` are in the order of `users`."""
        asked = body.asked(time_ms)

        def answered(run: Run, user: str, record: Record | None) -> bytes:
            metrics.looked_up("user", record is not None)
            return encoded(_recommended(run, user, record, body.k, asked))

        bodies = await variants.recommend_all(body.users, answered)
        return _json(b'{"answers":[' + b",".join(bodies) + b"]}")

    @app.post("/sessions/recommendations", responses=answers("RecommendAnswer", **POSTED))
    async def session(body: Session) -> Response:
        """What to recommend to somebody without an id, after what they did. Nothing of it is kept."""
        asked, visits = body.asked(time_ms), body.visits(time_ms)
        answer = await variants.base.ask(lambda run: encoded(run.recommend_after(visits, body.k, **asked)))
        return _recommendation(answer, variants.new_id())


def _exports(app: FastAPI, desk: Desk) -> None:
    at_work = 0

    @app.get("/changes", response_class=Response, responses=answers(None, JSONL, PARQUET, s409=_OLDER))
    async def changes(export: Annotated[Export, Query()]) -> Response:
        """Rows newer than a version, for those who keep a copy: ask again since the header `Ebbtide-Version`.

        The header `Ebbtide-Deleted` says whether what has left is `listed`, or `unknown` since it is too long
        ago: then begin anew, with since=0.
        """
        nonlocal at_work
        if at_work >= MOST_EXPORTS:
            raise BusyError(f"{MOST_EXPORTS} others are reading changes; ask again in a moment")
        at_work += 1

        def done() -> None:
            nonlocal at_work
            at_work -= 1

        try:
            changed = await asyncio.to_thread(desk.history.since, export.kind, export.since)
            form = Form(export.kind, export.dtype, export.since)
            headers = {
                "ebbtide-version": str(changed.version),
                "ebbtide-deleted": "unknown" if changed.gone is None else "listed",
            }
            if export.form == "parquet":
                body = await asyncio.to_thread(form.parquet, changed)
                done()
                return Response(body, media_type=PARQUET, headers=headers)
        except BaseException:
            done()
            raise
        lines = _ended(form.lines(changed), done)
        next(lines)  # begun, so that it ends even where nobody stays to read
        return StreamingResponse(lines, media_type=JSONL, headers=headers)


def _ended(parts: Iterator[bytes], done: Callable[[], None]) -> Iterator[bytes]:
    """The parts, after an empty one; `done` is called at the end, or where it is dropped once begun."""
    try:
        yield b""
        yield from parts
    finally:
        done()


def _state(app: FastAPI, variants: Variants, metrics: Metrics) -> None:
    desk = variants.base

    @app.get("/variants")
    async def compared() -> Any:
        """What is compared: users are split evenly among these, by a hash of their ids."""
        return _json(encoded(variants.states()))

    @app.get("/versions", responses=answers())
    async def versions() -> Any:
        """Which version is served, and of what; the newest; and which are kept, to return to."""
        return _json(encoded(await desk.ask(versions_said)))

    @app.get("/healthz")
    async def healthz() -> Any:
        """Whether the server runs at all."""
        return {"status": "ok"}

    @app.get("/readyz", responses=answers())
    async def readyz() -> Any:
        """Whether everything can be answered at once: the catalogue is in memory, the store is there."""
        for variant in variants.desks:
            if not variant.ready:
                raise Problem(503, variant.why)
        return {"status": "ready", "version": desk.version}

    @app.get("/metrics", response_class=Response, responses=answers(None, "text/plain"))
    async def read_metrics() -> Response:
        """For Prometheus."""
        return Response(metrics.text(), headers={"content-type": CONTENT_TYPE})


def _recommended(run: Run, user: str, record: Record | None, k: int, asked: Any) -> RecommendAnswer:
    try:
        return run.recommend_to(user, record, k, **asked)
    except UnknownUserError as error:
        return error.answer


def _refuse(app: FastAPI) -> None:
    """Whatever is raised is answered as a problem."""

    async def as_problem(_: Request, error: Exception) -> Response:
        return _problem(problems.of(error))

    for kind in (EbbtideError, TimeoutError, Exception):
        app.exception_handler(kind)(as_problem)

    @app.exception_handler(RequestValidationError)
    async def not_as_declared(request: Request, error: RequestValidationError) -> Response:
        errors = [f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in error.errors()]
        sent = request.headers.get("content-type", "nothing")
        if request.method == "POST" and "json" not in sent:
            errors = [f"expected Content-Type: application/json, got {sent[:80]}"]
        return _problem(Problem(422, "the request is not as declared", errors))

    @app.exception_handler(HTTPException)
    async def no_such_route(request: Request, error: HTTPException) -> Response:
        if isinstance(error.__cause__, Problem):  # while a body was read
            return _problem(error.__cause__)
        detail = {404: f"no such route: {request.url.path[:200]}; /openapi.json lists all"}
        refused = _problem(Problem(error.status_code, detail.get(error.status_code, str(error.detail))))
        refused.headers.update(error.headers or {})
        return refused


def _problem(problem: Problem) -> Response:
    response = Response(problems.body(problem), problem.status)
    response.raw_headers = problems.headers(problem)
    return response


def _recommendation(body: bytes, identifier: str) -> Response:
    """With an id, for the events that come of it."""
    return Response(body, media_type=JSON, headers={RECOMMENDATION_ID: identifier})


def _json(body: bytes) -> Response:
    return Response(body, media_type=JSON)


def _declare(app: FastAPI) -> None:
    """The schemas of answers beside those of questions."""
    made = app.openapi

    def openapi() -> dict[str, Any]:
        schema = made()
        schema.setdefault("components", {}).setdefault("schemas", {}).update(components())
        return schema

    app.openapi = openapi  # type: ignore[method-assign]


_OF_ID = {"parameters": [{"name": "id", "in": "path", "required": True, "schema": {"type": "string"}}]}
_OLDER = "An earlier version is served again: begin anew"
