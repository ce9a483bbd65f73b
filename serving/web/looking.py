"""Routes for who looks around: what is known of items, some users, what a user remembers."""

import asyncio
from typing import Annotated

from fastapi import FastAPI, Query, Response

from serving.run import Run
from serving.said import encoded
from serving.web import problems
from serving.web.forms import (
    MOST_NAMED,
    POSTED,
    Count,
    Items,
    Named,
    Presence,
    TimeMs,
    answers,
    identifier_of,
)
from serving.web.variants import Variants
from state.store.records import Record


def mount(app: FastAPI, variants: Variants, time_ms: TimeMs) -> None:
    """Add them; items, and users to look at, are those of the first variant."""
    desk = variants.base

    @app.get("/items", responses=answers("ItemsAnswer"))
    async def items(named: Annotated[Named, Query()]) -> Response:
        """Items by words of title and id; without words what is popular."""
        return _json(await desk.ask(lambda run: encoded(run.items(named.q, named.k))))

    @app.post("/items:batch", responses=answers("ItemsAnswer", **POSTED))
    async def batch(body: Items) -> Response:
        """What is known of these items, in their order; of one that nobody knows, nothing."""
        return _json(await desk.ask(lambda run: encoded(run.facts(body.items))))

    @app.get("/users", responses=answers())
    async def users(k: Annotated[Count, Query(le=MOST_NAMED)] = 10) -> Response:
        """Some users, drawn at random."""
        return _json(encoded({"users": await asyncio.to_thread(desk.store.some, "users", k)}))

    @app.get("/users/{id}/memory", responses=answers("MemoryAnswer", s404="Nobody knows this user"))
    async def memory(id: str, presence: Annotated[Presence, Query()]) -> Response:
        """What is remembered of a user, event by event, at a time and a place; where interests point."""
        identifier, asked = identifier_of(id), presence.moment(time_ms)

        def answered(run: Run, records: list[Record | None]) -> bytes:
            if records[0] is None:
                raise problems.unknown("user", identifier)
            return encoded(run.memory(identifier, records[0], presence.k, **asked))

        return _json(await variants.of(identifier).ask_of([identifier], answered))


def _json(body: bytes) -> Response:
    return Response(body, media_type="application/json")
