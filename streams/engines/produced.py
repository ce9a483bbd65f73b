"""Requests to produce, put together once: aiokafka's own copies what is sent at each of six levels.

What goes out is the same to the byte. The copies were a third of what a worker costs beside its engine.
"""

from collections.abc import Iterator
from typing import Any

from aiokafka.protocol.produce import ProduceRequestBase  # type: ignore[import-untyped]
from aiokafka.protocol.types import Array, Bytes, Int32, Schema  # type: ignore[import-untyped]


def install() -> None:
    """Let aiokafka encode its requests to produce so, in this process."""
    ProduceRequestBase.encode = encoded


def encoded(request: Any) -> bytes:
    """A request of aiokafka's in bytes."""
    return b"".join(_pieces(request.SCHEMA, [getattr(request, name) for name in request.SCHEMA.names]))


def _pieces(kind: Any, value: Any) -> Iterator[bytes]:
    if isinstance(kind, Schema):
        for field, part in zip(kind.fields, value, strict=True):
            yield from _pieces(field, part)
    elif isinstance(kind, Array) and value is not None:
        yield Int32.encode(len(value))
        for part in value:
            yield from _pieces(kind.array_of, part)
    elif kind is Bytes and value is not None:
        yield Int32.encode(len(value))
        yield value
    else:
        yield kind.encode(value)
