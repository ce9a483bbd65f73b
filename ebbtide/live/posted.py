"""Events that come over HTTP, on their way to Kafka: validated as the wire is, acknowledged before accepted.

What waits is sent together: one flush of the producer for all who post at the same time.
"""

import asyncio
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Annotated, Any, NamedTuple

import msgspec
from fastapi import FastAPI, Request, Response

from ebbtide.live import api_keys
from serving.exploring import SOURCE, tried_of
from serving.web.forms import answers
from serving.web.problems import Problem
from state.errors import EbbtideError
from state.ids import key_of
from state.store.pipelined import BusyError
from streams.kafka.client import Producer, ensure_topic, partition_of
from streams.wire import json_form
from streams.wire.message import HEADER, JSON, Fault, Message

RECOMMENDATION = "ebbtide-recommendation"
"""Header of a message: the recommendation that the event came of."""
MOST_EVENTS = 1000
"""In one request."""
_MOST_WAITING = 64
_PATIENCE_MS = 10_000


class _Of(msgspec.Struct):
    recommendation_id: Annotated[str, msgspec.Meta(max_length=256)] | None = None


class Wired(NamedTuple):
    """An event as a message, without its partition."""

    message: Message
    recommendation_id: str | None


class Posted:
    """Sends to a topic, from one event loop."""

    def __init__(self, brokers: str, topic: str) -> None:
        """Creates the topic where there is none. Raises InputError where no broker is."""
        self._brokers, self._topic = brokers, topic
        self._partitions = ensure_topic(brokers, topic, None)
        self._producer: Producer | None = None
        self._waiting: list[tuple[Sequence[Message], asyncio.Future[None]]] = []
        self._thread = ThreadPoolExecutor(1, "events")
        self._sending: asyncio.Task[None] | None = None

    async def send(self, messages: Sequence[Message]) -> None:
        """Until the broker has acknowledged them. Raises BusyError, or Problem where it does not."""
        if len(self._waiting) >= _MOST_WAITING:
            raise BusyError(f"{_MOST_WAITING} requests wait for the broker; send again in a moment")
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((messages, done))
        if self._sending is None or self._sending.done():
            self._sending = asyncio.create_task(self._send_all())
        await done

    async def _send_all(self) -> None:
        while self._waiting:
            lot, self._waiting = self._waiting, []
            messages = [message for some, _ in lot for message in some]
            try:
                await asyncio.get_running_loop().run_in_executor(self._thread, self._acknowledged, messages)
                refusal = None
            except EbbtideError as error:
                refusal = error
            for _, done in lot:
                if done.done():
                    continue
                if refusal is None:
                    done.set_result(None)
                else:
                    done.set_exception(Problem(503, str(refusal)))

    def _acknowledged(self, messages: Sequence[Message]) -> None:
        if self._producer is None:
            self._producer = Producer(
                self._brokers, self._topic, request_timeout_ms=_PATIENCE_MS // 2, patience_ms=_PATIENCE_MS
            )
        failed = self._producer.failed
        for message in messages:
            self._producer.send(message, partition_of(message.key or b"", self._partitions))
        self._producer.flush()
        if self._producer.failed > failed:
            why = self._producer.failure
            self._close()
            raise Problem(
                503,
                f"not acknowledged by the broker ({why}); some may have arrived: send again, with event_id",
            )

    def close(self) -> None:
        self._thread.submit(self._close).result()
        self._thread.shutdown()

    def _close(self) -> None:
        if self._producer is not None:
            self._producer.__exit__(Problem, None, None)
            self._producer = None


def mount(app: FastAPI, posted: Posted, keys: Mapping[str, str]) -> None:
    """Add `POST /events`."""

    @app.post(
        "/events",
        status_code=202,
        responses={
            **answers(s401="No valid key", s408="Too slow", s413="Too large"),
            202: {"description": "Acknowledged by the broker"},
        },
        openapi_extra={
            "requestBody": {
                "required": True,
                "content": {
                    "application/json": {"schema": {"anyOf": [_EVENT, {"type": "array", "items": _EVENT}]}}
                },
            },
            "security": [{"key": []}],
        },
    )
    async def events(request: Request) -> Response:
        """One event, or up to 1000 in a list: to Kafka, all or none. Needs `Authorization: Bearer KEY`."""
        check(request.headers.get("authorization"), keys)
        wired = of_body(await request.body())
        await posted.send([one.message for one in wired])
        ids = [one.recommendation_id for one in wired]
        reply = {"accepted": len(wired), "recommendation_ids": ids}
        return Response(msgspec.json.encode(reply), 202, media_type="application/json")


def check(authorization: str | None, keys: Mapping[str, str]) -> None:
    """Raises Problem where it is nobody's key."""
    scheme, _, key = (authorization or "").partition(" ")
    if scheme.lower() != "bearer" or api_keys.owner(key.strip(), keys) is None:
        raise Problem(401, "expected Authorization: Bearer KEY, of a key that this server knows")


def of_body(body: bytes) -> list[Wired]:
    """The events of a request. Raises Problem, with what is wrong with each that is none."""
    try:
        given = (
            msgspec.json.decode(body, type=list[msgspec.Raw]) if _LIST.match(body) else [msgspec.Raw(body)]
        )
    except (msgspec.DecodeError, RecursionError) as error:
        raise Problem(400, f"no JSON: {error}") from None
    if not 1 <= len(given) <= MOST_EVENTS:
        raise Problem(422, f"expected 1 to {MOST_EVENTS} events, got {len(given)}")
    wired: list[Wired] = []
    wrong: list[str] = []
    for number, raw in enumerate(given):
        try:
            wired.append(_wired(bytes(raw)))
        except Fault as fault:
            wrong.append(f"event {number}: {fault.reason}: {fault.detail[:300]}")
    if wrong:
        raise Problem(422, f"{len(wrong)} of {len(given)} are no events; none was sent", wrong[:20])
    return wired


def _wired(value: bytes) -> Wired:
    unknown = Counter[str]()
    event, _ = json_form.parse(value, unknown)
    headers = [(HEADER, JSON.encode())]
    recommendation = None
    if unknown["recommendation_id"]:
        try:
            recommendation = msgspec.json.decode(value, type=_Of).recommendation_id
        except msgspec.ValidationError as error:
            raise Fault("bad recommendation_id", str(error)) from None
        fields = msgspec.json.decode(value, type=dict[str, msgspec.Raw])
        del fields["recommendation_id"]
        fields |= _tried(event, recommendation)
        value = msgspec.json.encode(fields)
        headers += [(RECOMMENDATION, recommendation.encode())] if recommendation else []
    user = event.user.key if isinstance(event.user, json_form.Key) else event.user
    return Wired(Message(value, str(user).encode(), headers), recommendation)


def _tried(event: json_form.JsonEvent, recommendation: str | None) -> dict[str, msgspec.Raw]:
    """Source and propensity of what was shown, by the recommendation's id, unless the event says them."""
    tried = None if recommendation is None else tried_of(recommendation)
    if tried is None or event.source is not None or event.propensity is not None:
        return {}
    item = event.item.key if isinstance(event.item, json_form.Key) else event.item
    p = tried.get(key_of(item))
    fields = {"source": "list"} if p is None else {"source": SOURCE, "propensity": p}
    return {name: msgspec.Raw(msgspec.json.encode(value)) for name, value in fields.items()}


_LIST = re.compile(rb"\s*\[")
_EVENT: dict[str, Any] = {
    "type": "object",
    "description": "As in docs/events.md.",
    "required": ["user", "item", "time"],
}
