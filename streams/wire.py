"""Events as messages: what a message is, which schemas there are, and why one is turned down.

Two forms, told apart by the header `ebbtide-schema` or, without it, by the first bytes: `event+json/1`, one
JSON object an event (`streams.wire_json`), and `event+arrow/1`, an Arrow IPC stream with one record batch
(`streams.wire_arrow`). The keys of an object and the columns of a batch are the roles of `streams.schema`.
`docs/events.md` says the rest.

Messages are data from elsewhere: sizes are bounded before anything is read, and whatever is wrong with one
is an answer (`Rejected`), never an exception.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from state.errors import InputError
from state.keys import Int64s

HEADER = "ebbtide-schema"
JSON, ARROW = "event+json/1", "event+arrow/1"
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
    "propensity": (0.0, 1.0),
    "lat": (-90.0, 90.0),
    "lon": (-180.0, 180.0),
    "tz": (-1440, 1440),
    "time": (-62_135_596_800_000, 253_402_300_799_999),
}
"""Least and most of a number; of `time` in epoch milliseconds, the years 1 to 9999."""

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
    if -(2**62) < key < 2**62:
        return key
    text = names.get(key)
    if text is None or len(text) > MAX_ID_CHARS:
        return None
    try:
        text.encode()
    except UnicodeEncodeError:
        return None
    return text
