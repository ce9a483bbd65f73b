"""`event+json/1`: one event a message, a JSON object whose keys are roles.

    {"user": "ann", "item": 42, "time": "2026-11-27T18:00:00Z", "label": 1}

An id is a text or a whole number; `7` and `"7"` are the same. An id whose text is not at hand is
`{"key": 4611686018427387905}`, its 64-bit key (`state.keys`). `time` is epoch milliseconds or ISO 8601, in
UTC unless it says otherwise. What is null or left out is missing. A key that is no role is passed over and
counted. The schema is `event.schema.json`.

Shape suffix: B events.
"""

import re
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from operator import attrgetter
from typing import Annotated, Any

import msgspec
import numpy as np
import pyarrow as pa
from msgspec import Meta
from numpy.typing import NDArray

from state.keys import HASHED, NO_KEY, Int64s, known_key_of
from state.name_table import NameTable
from streams.schema import EventBatch
from streams.times import moment_ms
from streams.wire import reasons
from streams.wire.message import (
    BOUNDS,
    JSON,
    KEY_ROLES,
    MAX_ID_CHARS,
    NAMED_ROLES,
    OTHER_UNITS,
    Fault,
    Names,
    check_times,
    expected_ms,
    iso,
    looks_like,
    text_of,
)
from streams.wire.texts import keys_of

_LEAST_MS, _MOST_MS = OTHER_UNITS[0][2], OTHER_UNITS[1][1]
_ROLE = re.compile(r"`\$\.(\w+)|field `(\w+)`")


class Key(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An id of which only the key is known."""

    key: Annotated[int, Meta(ge=2**62, le=2**63 - 1)]


def _within(role: str) -> Meta:
    least, most = BOUNDS[role]
    return Meta(ge=least, le=most)


Text = Annotated[str, Meta(min_length=1, max_length=MAX_ID_CHARS)]
Id = Text | int | Key
Milliseconds = Annotated[float, Meta(description="Epoch milliseconds, a whole number from 1e11 to 1e14")]
Time = int | Milliseconds | Annotated[str, Meta(max_length=64, description="ISO 8601")]


class JsonEvent(msgspec.Struct, omit_defaults=True):
    """An event; the fields are the roles, in their order."""

    user: Id
    item: Id
    time: Time
    label: Annotated[float, _within("label")] | None = None
    rating: Annotated[float, _within("rating")] | None = None
    action: Id | None = None
    category: Id | None = None
    lat: Annotated[float, _within("lat")] | None = None
    lon: Annotated[float, _within("lon")] | None = None
    place: Id | None = None
    tz: (
        Annotated[int, Meta(ge=-1440, le=1440, description="Minutes that local time is ahead of UTC")] | None
    ) = None
    session: Id | None = None
    scene: Id | None = None
    source: Id | None = None
    propensity: Annotated[float, _within("propensity")] | None = None
    text: str | None = None
    event_id: Id | None = None


class _OfRoles(JsonEvent, forbid_unknown_fields=True):
    """An event that says no more than roles: most do, and this is as quick as not to look."""


_DECODER, _TOLERANT = msgspec.json.Decoder(_OfRoles), msgspec.json.Decoder(JsonEvent)
_KEYS = msgspec.json.Decoder(dict[str, msgspec.Raw])
_ENCODER = msgspec.json.Encoder()
_NUMBERS = ("label", "rating", "propensity", "lat", "lon")
_COLUMNS = {role: attrgetter(role) for role in (*KEY_ROLES, *_NUMBERS, "tz")}


def schema() -> dict[str, Any]:
    """The JSON Schema of an event."""
    made = msgspec.json.schema(JsonEvent)
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": JSON, **made}


def parse(value: bytes, unknown: Counter[str]) -> tuple[JsonEvent, int]:
    """An event and its epoch milliseconds; keys that are no roles are counted. Raises Fault."""
    try:
        try:
            event: JsonEvent = _DECODER.decode(value)
        except msgspec.ValidationError as error:
            if "unknown field" not in str(error):
                raise
            event = _TOLERANT.decode(value)
            unknown.update(key for key in _KEYS.decode(value) if key not in JsonEvent.__struct_fields__)
    except msgspec.ValidationError as error:
        raise _invalid(str(error)) from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Fault(reasons.MALFORMED_JSON, str(error)) from error
    return event, _milliseconds(event.time)


def columns(events: Sequence[JsonEvent], time_ms: Sequence[int], names: NameTable) -> EventBatch:
    """Events as columns; what hashed ids were called goes to `names`."""
    made: dict[str, NDArray[Any]] = {}
    said = {role: list(map(of, events)) for role, of in _COLUMNS.items()}
    nothing = [None] * len(events)
    for role in KEY_ROLES:
        if said[role] != nothing:
            made[role] = _keys(said[role], names if role in NAMED_ROLES else None)
    for role in _NUMBERS:
        known = said[role] != nothing
        made[role] = np.array(said[role], np.float64) if known else np.full(len(events), np.nan)
    nowhere_B = np.isnan(made["lat"]) | np.isnan(made["lon"])
    made["lat"][nowhere_B] = made["lon"][nowhere_B] = np.nan
    tz_min = np.array([minutes or 0 for minutes in said["tz"]], np.int64)
    empty = np.zeros(0, np.int64)
    user, item = made.pop("user", empty), made.pop("item", empty)
    return EventBatch.of(user=user, item=item, time_ms=np.array(time_ms, np.int64), tz_min=tz_min, **made)


def encode(events: EventBatch, names: Names) -> list[bytes]:
    """One message's value an event. Raises InputError where a time cannot be said."""
    check_times(events.time_ms_B)

    def ids(role: str) -> list[Id | None]:
        key_B = getattr(events, f"{role}_B")
        if role not in ("user", "item") and (key_B == NO_KEY).all():
            return nothing
        return [None if key == NO_KEY else _id(key, names) for key in key_B.tolist()]

    def numbers(role: str) -> list[float | None]:
        value_B = getattr(events, f"{role}_B")
        if np.isnan(value_B).all():
            return nothing
        return [None if value != value else value for value in value_B.tolist()]

    nothing: list[Any] = [None] * len(events)
    given: dict[str, list[Any]] = {
        **{role: ids(role) for role in KEY_ROLES},
        **{role: numbers(role) for role in _NUMBERS},
        "time": [iso(time_ms) if looks_like(time_ms) else time_ms for time_ms in events.time_ms_B.tolist()],
        "tz": [minutes or None for minutes in events.tz_min_B.tolist()],
        "text": nothing,
    }
    rows = zip(*(given[role] for role in JsonEvent.__struct_fields__), strict=True)
    return [_ENCODER.encode(JsonEvent(*row)) for row in rows]


def _id(key: int, names: Names) -> Id:
    text = text_of(key, names)
    return Key(key) if text is None else text


def _keys(ids: Sequence[Id | None], names: NameTable | None) -> Int64s:
    kinds = set(map(type, ids))
    if kinds <= {str, type(None)}:
        with suppress(ValueError):  # half of a surrogate pair, which Arrow's texts cannot have
            return keys_of(pa.array(ids, pa.string()), names)
    if kinds == {int} and max(ids) < HASHED and min(ids) > -HASHED:  # type: ignore[type-var,operator]
        return np.array(ids, np.int64)
    made = []
    for one in ids:
        if one is None:
            key = NO_KEY
        elif isinstance(one, Key):
            key = one.key
        elif isinstance(one, int) and -HASHED < one < HASHED:
            key = one
        else:
            key = known_key_of(one)
            if names is not None and key >= HASHED:
                names.add_text(key, str(one))
        made.append(key)
    return np.array(made, np.int64)


def _milliseconds(time: int | float | str) -> int:
    if type(time) is int and _LEAST_MS <= time < _MOST_MS:
        return time
    if not isinstance(time, str):
        unit = looks_like(time)
        if unit is not None:
            raise Fault(reasons.looks_like(unit), expected_ms(time))
        if time != int(time):
            raise Fault(reasons.bad("time"), f"expected whole milliseconds, got {time}")
        return int(time)
    moment = moment_ms(time)
    if moment is None:
        raise Fault(reasons.bad("time"), f"expected epoch milliseconds or ISO 8601, got {time!r}")
    return moment


def _invalid(said: str) -> Fault:
    found = _ROLE.search(said)
    role = (found[1] or found[2]) if found else ""
    if "missing required field" in said:
        return Fault(reasons.missing(role), said)
    return Fault(reasons.bad(role) if role else reasons.NOT_AN_EVENT, said)
