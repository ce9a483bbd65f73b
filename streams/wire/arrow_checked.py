"""The record batch of a message of `event+arrow/1`, every buffer of it checked before it is read."""

from typing import Any

import pyarrow as pa

from streams.schema import REQUIRED_ROLES, ROLES
from streams.wire import reasons
from streams.wire.message import ARROW, HEADER, KEY_ROLES, MAX_EVENTS, Fault


def read(value: bytes) -> Any:
    """The one record batch, with all roles that an event must have. Raises Fault."""
    source = pa.BufferReader(value)
    try:
        for expected in ("schema", "record batch"):
            message: Any = pa.ipc.read_message(source)
            if message.type != expected:
                raise Fault(reasons.MALFORMED_ARROW, f"expected a {expected}, got a {message.type}")
            if expected == "schema":
                _check(pa.ipc.read_schema(message))
            elif _is_compressed(message.metadata.to_pybytes()):
                raise Fault(reasons.COMPRESSED_ARROW, "expected plain buffers, got compressed ones")
        with pa.ipc.open_stream(value) as reader:
            batch: Any = reader.read_next_batch()
            if len(batch) > MAX_EVENTS:
                raise Fault(reasons.OVERSIZED, f"expected at most {MAX_EVENTS} events, got {len(batch)}")
            batch.validate(full=True)
            if next(iter(reader), None) is not None:
                raise Fault(reasons.MALFORMED_ARROW, "expected one record batch, got more")
    except (pa.ArrowException, OSError, ValueError, EOFError, StopIteration) as error:
        raise Fault(reasons.MALFORMED_ARROW, " ".join(str(error).split())[:300]) from error
    return batch


def _check(found: Any) -> None:
    """Raises Fault where the columns are not those of events."""
    said = (found.metadata or {}).get(HEADER.encode(), ARROW.encode())
    if said != ARROW.encode():
        raise Fault(reasons.UNKNOWN_SCHEMA, f"expected {ARROW}, got {said.decode(errors='replace')}")
    for role in ROLES:
        if found.names.count(role) > 1:
            raise Fault(reasons.MALFORMED_ARROW, f"column {role!r} is there {found.names.count(role)} times")
    for role in REQUIRED_ROLES:
        if role not in found.names:
            raise Fault(
                reasons.missing(role), f"expected a column {role!r}, got {', '.join(found.names) or 'none'}"
            )
    for field in found:
        if field.name in ROLES and not _fits(field.name, field.type):
            raise Fault(
                reasons.bad(field.name),
                f"column {field.name!r} has type {field.type}, expected {_said(field.name)}",
            )


def _fits(role: str, kind: Any) -> bool:
    if pa.types.is_null(kind):
        return True
    is_text = pa.types.is_string(kind) or pa.types.is_large_string(kind)
    is_whole = pa.types.is_integer(kind) and not pa.types.is_uint64(kind)
    if role == "text":
        return is_text
    if role in KEY_ROLES:
        return is_text or is_whole
    if role == "time":
        return bool(pa.types.is_timestamp(kind) or pa.types.is_int64(kind))
    return is_whole or (role != "tz" and bool(pa.types.is_floating(kind)))


def _said(role: str) -> str:
    if role in KEY_ROLES:
        return "text or whole numbers"
    return {"time": "a timestamp or int64", "tz": "whole numbers", "text": "text"}.get(role, "numbers")


def _is_compressed(metadata: bytes) -> bool:
    """Whether a record batch's flatbuffer, which Arrow has verified, has the field `compression`."""

    def number(at: int, size: int, signed: bool = False) -> int:
        return int.from_bytes(metadata[at : at + size], "little", signed=signed)

    def field(table: int, index: int) -> int:
        """Where a table's field is, or 0."""
        layout = table - number(table, 4, signed=True)
        slot = 4 + 2 * index
        found = number(layout + slot, 2) if slot < number(layout, 2) else 0
        return table + found if found else 0

    header = field(number(0, 4), 2)
    return header == 0 or field(header + number(header, 4), 3) != 0
