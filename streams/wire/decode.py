"""Messages become events: whatever form they have, in their order, the bad ones set aside with a reason."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from state.name_table import NameTable
from streams.schema import EventBatch, concat_events
from streams.wire import arrow_form, json_form, reasons
from streams.wire.message import ARROW, FRAME_BYTES, HEADER, JSON, MAX_BYTES, Fault, Message, Rejected

_SCHEMAS = {schema.encode(): schema for schema in (JSON, ARROW)}


@dataclass(frozen=True, slots=True)
class Decoded:
    """What came out of messages."""

    events: EventBatch
    """In the messages' order; partition, offset and the place in a batch say where each is from."""
    names: NameTable
    """Key -> text of hashed ids, for people to read."""
    rejected: list[Rejected]
    unknown: Counter[str]
    """Field that is no role -> events that have it, in order of first sight."""


class _Waiting(NamedTuple):
    """Events of JSON until they become columns, which is what they are collected in: no tuple an event."""

    events: list[json_form.JsonEvent]
    time_ms: list[int]
    partition: list[int]
    offset: list[int]


def decode(messages: Sequence[Message]) -> Decoded:
    """Events of messages of either form. Never raises on what a message holds."""
    names = NameTable()
    unknown = Counter[str]()
    rejected: list[Rejected] = []
    batches: list[EventBatch] = []
    waiting = _Waiting([], [], [], [])

    def done() -> None:
        if waiting.events:
            events = json_form.columns(waiting.events, waiting.time_ms, names)
            partition_B, offset_B = np.array(waiting.partition, np.int64), np.array(waiting.offset, np.int64)
            batches.append(replace(events, partition_B=partition_B, offset_B=offset_B))
            for column in waiting:
                column.clear()

    for message in messages:
        partition, offset = message.partition, message.offset
        try:
            value = _value(message)
            if _schema(message, value) == JSON:
                event, time_ms = json_form.parse(value, unknown)
                waiting.events.append(event)
                waiting.time_ms.append(time_ms)
                waiting.partition.append(partition)
                waiting.offset.append(offset)
                continue
            done()
            events, faults = arrow_form.decode(value, names, unknown)
            whole = np.full(len(events), 1, np.int64)
            batches.append(replace(events, partition_B=whole * partition, offset_B=whole * offset))
            rejected += [Rejected(partition, offset, index, *said) for index, *said in faults]
        except Fault as fault:
            rejected.append(Rejected(partition, offset, None, fault.reason, fault.detail))
    done()
    if not batches:
        batches.append(json_form.columns([], [], names))
    return Decoded(concat_events(batches), names, rejected, unknown)


def _value(message: Message) -> bytes:
    if message.value is None:
        raise Fault(reasons.TOMBSTONE, "expected an event, got a message without a value")
    if message.key is None:
        raise Fault(
            reasons.NO_MESSAGE_KEY,
            "expected the user's id as the message's key, got none: order would be lost",
        )
    if len(message.value) > MAX_BYTES:
        raise Fault(reasons.OVERSIZED, f"expected at most {MAX_BYTES:,} bytes, got {len(message.value):,}")
    return _unframed(message.value)


def _unframed(value: bytes) -> bytes:
    """JSON without Confluent's five bytes before it."""
    if not value.startswith(b"\0"):
        return value
    said = value[FRAME_BYTES:]
    if not said.lstrip().startswith(b"{"):
        raise Fault(
            reasons.NOT_JSON,
            f"begins with Confluent's framing (schema id {int.from_bytes(value[1:FRAME_BYTES])}) and no JSON "
            "object follows, but Avro or Protobuf: let the sender write JSON (JsonSchemaSerializer, or no "
            "serialiser of a registry), or convert the topic before",
        )
    return said


def _schema(message: Message, value: bytes) -> str:
    for name, content in message.headers:
        if name == HEADER and content is not None:  # Kafka's headers may be without a value
            if content not in _SCHEMAS:
                got = content.decode(errors="replace")
                raise Fault(
                    reasons.UNKNOWN_SCHEMA, f"expected {JSON} or {ARROW} in the header {HEADER}, got {got!r}"
                )
            return _SCHEMAS[content]
    return ARROW if arrow_form.is_arrow(value) else JSON
