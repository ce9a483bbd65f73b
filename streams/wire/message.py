"""Events as messages: what a message is, which schemas there are, and why one is turned down.

Two forms, told apart by the header `ebbtide-schema` or, without it, by the first bytes: `event+json/1`, one
JSON object an event (`streams.wire.json_form`), and `event+arrow/1`, an Arrow IPC stream with one record
batch (`streams.wire.arrow_form`). The keys of an object and the columns of a batch are the roles of
`streams.schema`. Confluent's five bytes before JSON are passed over. `docs/events.md` says the rest.

Messages are data from elsewhere: sizes are bounded before anything is read, and whatever is wrong with one
is an answer (`Rejected`), never an exception.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import inf
from typing import Any, NamedTuple

import numpy as np

from state.errors import InputError
from state.keys import HASHED, Int64s

HEADER = "ebbtide-schema"
JSON, ARROW = "event+json/1", "event+arrow/1"
FRAME_BYTES = 5
"""Of Confluent's serialisers before what they have written: a zero, then a schema's id in their registry."""
MAX_BYTES = 1_000_000
"""Of a message's value; a broker takes 1 MiB with everything around it unless it is told otherwise."""
MAX_EVENTS = 65_536
"""In one Arrow batch."""
MAX_ID_CHARS = 2_048
KEY_ROLES = ("user", "item", "action", "category", "place", "session", "scene", "source", "event_id")
NAMED_ROLES = frozenset(KEY_ROLES) - {"session", "event_id"}
"""Roles whose ids are remembered by name; sessions and event ids are too many and never shown."""
BOUNDS: dict[str, tuple[float, float]] = {
    "label": (0.0, 1.0),
    "rating": (-1e30, 1e30),
    "propensity": (2.0**-40, 1.0),
    "lat": (-90.0, 90.0),
    "lon": (-180.0, 180.0),
    "tz": (-1440, 1440),
    "time": (-62_135_596_800_000, 253_402_300_799_999),
}
"""Least and most of a number; of `time` in epoch milliseconds, the years 1 to 9999. What was shown had some
chance to be: a propensity of 0 is a mistake."""

OTHER_UNITS = (("seconds", 0.0, 1e11), ("microseconds", 1e14, 1e17), ("nanoseconds", 1e17, inf))
"""What a number of either sign looks like that is no time in milliseconds: from one size to below another."""

Names = Mapping[int, str]
"""Key -> the text it was hashed from."""


class Message(NamedTuple):
    """A Kafka record, as far as it concerns us."""

    value: bytes | None
    key: bytes | None = None
    headers: Sequence[tuple[str, bytes]] = ()
    partition: int = 0
    offset: int = 0
    produced_ms: int = 0
    """When it was produced, in epoch ms, as the broker has it."""


def message_of(record: Any) -> Message:
    """A record as Kafka's clients give it."""
    return Message(
        record.value, record.key, record.headers, record.partition, record.offset, record.timestamp
    )


@dataclass(frozen=True, slots=True)
class Rejected:
    """Why a message, or one event of a batch, is no event."""

    partition: int
    offset: int
    index: int | None
    """The event's place in its batch; None where it is the whole message."""
    reason: str
    """A short phrase to count by."""
    detail: str


class Fault(Exception):
    """What is wrong with a whole message."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason, self.detail = reason, detail


def looks_like(number: float) -> str | None:
    """The unit of a number that is no plausible time in milliseconds (1973 to 5138, or before 1966).

    Other years are said by a text or a typed timestamp, which cannot be misread.

    >>> looks_like(1_700_000_000), looks_like(1_700_000_000_000), looks_like(1_700_000_000_000_000)
    ('seconds', None, 'microseconds')
    """
    size = abs(number)
    for unit, least, most in OTHER_UNITS:
        if size < least:
            return None
        if size < most:
            return unit
    return None


def expected_ms(number: float) -> str:
    """The details of a number that `looks_like` another unit."""
    return (
        f"expected epoch milliseconds or ISO 8601, got {number}; a time in 1966 to 1973, or after 5138, "
        "is to be sent as a text or a typed timestamp"
    )


def iso(time_ms: int) -> str:
    """ISO 8601 in UTC, to the millisecond.

    >>> iso(1_700_000_000_123)
    '2023-11-14T22:13:20.123Z'
    """
    return f"{np.datetime64(int(time_ms), 'ms')}Z"


def check_times(time_ms_B: Int64s) -> None:
    """Raises InputError where events to be sent are out of bounds: they would be turned down."""
    least, most = BOUNDS["time"]
    bad_B = (time_ms_B < least) | (time_ms_B > most)
    if bad_B.any():
        raise InputError(
            f"time {time_ms_B[bad_B][0]}: expected milliseconds in the years 1 to 9999; "
            "leave such events out with --from and --until"
        )


def text_of(key: int, names: Names) -> str | int | None:
    """The id that has `key`: a whole number, or a text that can be sent; None if only the key is left."""
    if -HASHED < key < HASHED:
        return key
    text = names.get(key)
    if text is None or len(text) > MAX_ID_CHARS:
        return None
    try:
        text.encode()
    except UnicodeEncodeError:
        return None
    return text
