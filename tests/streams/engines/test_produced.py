"""Requests to produce are what aiokafka makes of them."""

import pytest
from aiokafka.protocol.produce import ProduceRequest  # type: ignore[import-untyped]
from aiokafka.protocol.struct import Struct  # type: ignore[import-untyped]

from streams.engines import produced

TOPICS = [("examples", [(0, bytearray(b"records")), (3, b"")]), ("dead-letters", [(0, None)]), ("none", [])]


@pytest.mark.parametrize("kind", ProduceRequest, ids=lambda kind: f"v{kind.API_VERSION}")
@pytest.mark.parametrize("transactional_id", ["ingest-events-0", None])
def test_a_request_is_the_same_to_the_byte(kind: type, transactional_id: str | None) -> None:
    given = {"transactional_id": transactional_id, "required_acks": -1, "timeout": 40_000, "topics": TOPICS}
    request = kind(**{name: given[name] for name in kind.SCHEMA.names})  # type: ignore[attr-defined]
    assert produced.encoded(request) == Struct.encode(request)
