"""Examples of a planted log as workers send them, for the trainer's tests."""

from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from typing import Any

import msgspec
import numpy as np

from ebbtide import api
from replay.log import Log
from state import example_wire
from state.examples import ExampleBatch
from streams.kafka.client import Producer, ensure_topic
from streams.operator import Operator, OperatorConfig
from streams.wire.message import Message

LOG = "planted:users=40,items=60,events=6000"
WINDOW = 128


def made_by(**other: Any) -> dict[str, Any]:
    """Settings of workers."""
    operator = msgspec.to_builtins(OperatorConfig(own_place=False))
    return {"operator": operator, "join": {"window_ms": 0}, "window": WINDOW, **other}


@cache
def log(name: str = LOG) -> Log:
    return api.open_log(name)


@cache
def batches(partitions: int, rows: int, name: str = LOG) -> tuple[ExampleBatch, ...]:
    """All examples of a log, users spread over partitions, in messages of about so many rows."""
    operators = [Operator(OperatorConfig(own_place=False), WINDOW) for _ in range(partitions)]
    sent = np.zeros(partitions, np.int64)
    made: list[ExampleBatch] = []
    for events in log(name).batches(rows * partitions):
        for partition in range(partitions):
            own = events.take(np.flatnonzero(events.user_B % partitions == partition))
            if not len(own):
                continue
            own = replace(
                own,
                partition_B=np.full(len(own), partition),
                offset_B=np.full(len(own), sent[partition]),
                index_B=np.arange(len(own)),
            )
            sent[partition] += 1
            made.append(operators[partition].process(own, 0))
    return tuple(made)


def messages(
    made: tuple[ExampleBatch, ...], produced_ms: int = 0, settings: dict[str, Any] | None = None
) -> Iterator[Message]:
    """A message a batch; more where one would be too large."""
    names = dict(log().names.items())
    headers = [(example_wire.HEADER, example_wire.SCHEMA.encode())]
    for batch in made:
        produced_ms_B = np.full(len(batch), produced_ms, np.int64)
        for _, value in example_wire.encode(batch, produced_ms_B, names, settings or made_by()):
            yield Message(value, None, headers, int(batch.partition_B[0]))


def send(
    brokers: str,
    topic: str,
    made: tuple[ExampleBatch, ...],
    *,
    partitions: int = 2,
    produced_ms: int = 0,
    settings: dict[str, Any] | None = None,
) -> None:
    """Send batches, and wait until they are there."""
    ensure_topic(brokers, topic, partitions)
    with Producer(brokers, topic) as producer:
        for message in messages(made, produced_ms, settings):
            producer.send(message, message.partition)
    assert producer.failure is None
