"""A logged file becomes live traffic: events to a Kafka topic, at recorded speed, a multiple or a fixed rate.

Every event of a user goes to the same partition, the one where Kafka's default partitioner puts the user's
id, whatever the form of the messages; so events of a user stay in order, also beside other senders.

Shape suffix: B events.
"""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from replay.log import Log
from replay.moved import MovedLog
from state.errors import InputError
from state.keys import Int64s, KeyMap
from streams.kafka.client import Producer, ensure_topic, partition_of
from streams.kafka.target import target
from streams.schema import EventBatch
from streams.wire import arrow_form, json_form
from streams.wire.message import ARROW, HEADER, JSON, MAX_BYTES, Message, Names, text_of

Form = Literal["json", "arrow"]
Progress = Callable[[int, int], None]
"""Called with (events acknowledged, events in all)."""

_HEADERS = {"json": ((HEADER, JSON.encode()),), "arrow": ((HEADER, ARROW.encode()),)}
_READ, _BATCH = 4096, 1024
_TICK_S = 0.02
"""Least pause of a paced sender; what falls due in it goes out together."""
_LOOK_S = 0.5
_NOTE_S = 1.0


@dataclass(frozen=True, slots=True)
class Sent:
    """What became of a log's events; those not acknowledged are errors."""

    topic: str
    partitions: int
    format: str
    events: int
    messages: int
    bytes: int
    seconds: float
    errors: int
    failure: str | None
    read: int
    """Rows of the log: its events, dead letters, and what was left out by --from, --until or --limit."""
    dead_letters: dict[str, int]
    """Reason -> rows that are no events and were not sent."""
    left_out: int
    warnings: list[str]


def send(
    log: Log,
    to: str,
    *,
    form: Form = "json",
    partitions: int | None = None,
    speed: float | None = None,
    rate: float | None = None,
    batch: int | None = None,
    request_timeout_ms: int = 30_000,
    progress: Progress | None = None,
) -> Sent:
    """Send every event of `log`, in order, to the topic that the URL `to` names.

    With `speed` at that multiple of recorded time, with `rate` at so many events a second, else as fast as
    the broker takes them. `batch` (or 1024) is the most events of an Arrow message. The topic is created with
    `partitions` (or 4) where there is none. Stops at the first event that is not acknowledged. Raises
    InputError.
    """
    if speed is not None and rate is not None:
        raise InputError("--speed and --rate: expected one of them, got both; leave one out")
    brokers, topic = target(to)
    partitions = ensure_topic(brokers, topic, partitions)
    names = dict(log.names.items())
    router = _Router(partitions, names)
    begun = time.monotonic()
    with Producer(brokers, topic, request_timeout_ms=request_timeout_ms) as producer:
        for events in _paced(log, speed, rate, lambda: producer.failure is not None):
            if form == "json":
                _send_json(producer, events, router)
            else:
                _send_arrow(producer, events, router, batch or _BATCH)
            if progress is not None:
                progress(producer.events, log.rows)
    return _sent(log, producer, topic, partitions, form, begun)


def send_now(moved: MovedLog, to: str, *, progress: Progress | None = None) -> Sent:
    """Send a log as what happens now: its past at once, then as many events a second as `moved` says.

    `events` of the answer includes what was sent before. Raises InputError.
    """
    brokers, topic = target(to)
    partitions = ensure_topic(brokers, topic, None)
    log, before, begun = moved.log, moved.done, time.monotonic()
    router, noted_s = _Router(partitions, dict(log.names.items())), begun
    with Producer(brokers, topic) as producer:
        for events in moved.due(lambda: producer.failure is not None):
            _send_json(producer, events, router)
            if time.monotonic() - noted_s > _NOTE_S:
                producer.flush()
                noted_s = time.monotonic()
                if producer.failure is None:
                    moved.note(before + producer.events)
            if progress is not None:
                progress(before + producer.events, log.rows)
    if producer.failure is None:
        moved.note(before + producer.events)
    return _sent(log, producer, topic, partitions, "json", begun, before)


def _sent(
    log: Log, producer: Producer, topic: str, partitions: int, form: Form, begun: float, before: int = 0
) -> Sent:
    return Sent(
        topic=topic,
        partitions=partitions,
        format=form,
        events=before + producer.events,
        messages=producer.messages,
        bytes=producer.bytes,
        seconds=time.monotonic() - begun,
        errors=log.rows - before - producer.events,
        failure=None
        if producer.failure is None
        else f"{type(producer.failure).__name__}: {producer.failure}",
        read=log.rows + sum(log.survey.dead.values()) + log.left_out,
        dead_letters=log.survey.dead,
        left_out=log.left_out,
        warnings=log.warnings,
    )


class _Router:
    """Each user's message key and partition, worked out once."""

    def __init__(self, partitions: int, names: Names) -> None:
        self.partitions, self.names = partitions, names
        self._users = KeyMap()
        self._keys: list[bytes] = []
        self._partition_U: Int64s = np.zeros(0, np.int64)

    def of(self, user_B: Int64s) -> tuple[list[bytes], Int64s]:
        """Keys and partitions (B,)."""
        row_B = self._users.rows(user_B, grow=True)
        new = [self._key(user) for user in self._users.keys[len(self._keys) : len(self._users)].tolist()]
        if new:
            self._keys += new
            at = np.array([partition_of(key, self.partitions) for key in new], np.int64)
            self._partition_U = np.concatenate((self._partition_U, at))
        return [self._keys[row] for row in row_B.tolist()], self._partition_U[row_B]

    def _key(self, user: int) -> bytes:
        text = text_of(user, self.names)
        return str(user if text is None else text).encode()


def _send_json(producer: Producer, events: EventBatch, router: _Router) -> None:
    keys, partition_B = router.of(events.user_B)
    values = json_form.encode(events, router.names)
    for value, key, partition in zip(values, keys, partition_B.tolist(), strict=True):
        producer.send(Message(value, key, _HEADERS["json"]), partition)


def _send_arrow(producer: Producer, events: EventBatch, router: _Router, most: int) -> None:
    keys, partition_B = router.of(events.user_B)
    for partition in np.unique(partition_B).tolist():
        row_B = np.flatnonzero(partition_B == partition)
        key = keys[row_B[0]]
        for part, value in _values(events.take(row_B), router.names, most):
            producer.send(Message(value, key, _HEADERS["arrow"]), partition, part)


def _values(events: EventBatch, names: Names, most: int) -> Iterator[tuple[int, bytes]]:
    """Messages' values with their numbers of events, none above the bounds."""
    value = arrow_form.encode(events, names) if len(events) <= most else b""
    if value and len(value) <= MAX_BYTES:
        yield len(events), value
        return
    half = max(1, min(most, len(events) // 2))
    yield from _values(events.take(slice(0, half)), names, most)
    yield from _values(events.take(slice(half, None)), names, most)


def _paced(
    log: Log, speed: float | None, rate: float | None, stop: Callable[[], bool]
) -> Iterator[EventBatch]:
    """The log's events, each lot once all of it is due."""
    started, done = time.monotonic(), 0
    for events in log.batches(_READ):
        due_s_B = _due_s(events, done, log.survey.first_ms, speed, rate)
        at = 0
        while at < len(events):
            if stop():
                return
            now_s = time.monotonic() - started
            end = int(np.searchsorted(due_s_B, now_s, side="right"))
            if end > at:
                yield events if end - at == len(events) else events.take(slice(at, end))
                at = end
            if at < len(events):
                next_s = started + max(now_s + _TICK_S, float(due_s_B[at]))
                time.sleep(min(_LOOK_S, max(0.0, next_s - time.monotonic())))
        done += len(events)


def _due_s(
    events: EventBatch, done: int, first_ms: int, speed: float | None, rate: float | None
) -> NDArray[np.float64]:
    """When (B,) each event is due, in seconds from the start."""
    if rate is not None:
        return np.arange(done, done + len(events)) / rate
    if speed is not None:
        return np.maximum.accumulate((events.time_ms_B - first_ms) / 1000.0 / speed)
    return np.zeros(len(events))
