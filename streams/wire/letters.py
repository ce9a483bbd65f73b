"""What a dead letter says of itself, in its headers; key and value are as they were."""

from streams.wire.message import HEADER, Message

REASON, DETAIL = "ebbtide-reason", "ebbtide-detail"
"""A short phrase to count by, and what exactly."""
SOURCE = "ebbtide-source"
"""TOPIC/PARTITION/OFFSET, and /INDEX where it is one event of a batch."""
OMITTED = "ebbtide-omitted"
"""Bytes of a value that is too large to be kept twice; it is still at its source."""
_MOST_BYTES, _MOST_DETAIL = 900_000, 500


def letter(message: Message, place: str, reason: str, detail: str) -> Message:
    """The dead letter of a message, for the same partition; `place` is its SOURCE."""
    value = message.value
    headers = [
        (REASON, reason.encode()),
        (DETAIL, detail[:_MOST_DETAIL].encode("utf-8", "replace")),
        (SOURCE, place.encode()),
        *((name, said) for name, said in message.headers if name == HEADER),
    ]
    if value is not None and len(value) > _MOST_BYTES:
        headers.append((OMITTED, str(len(value)).encode()))
        value = None
    return Message(value, message.key, headers, message.partition)
