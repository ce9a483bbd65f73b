"""`event+arrow/1`: many events a message, an Arrow IPC stream with one record batch whose columns are roles.

Ids are whole numbers or texts, as in JSON. An int64 column whose field says `ebbtide: key` holds the 64-bit
keys themselves (`state.keys`). `time` is a timestamp, UTC unless it has a zone, or int64 epoch milliseconds.
Other columns are numbers. A null is missing, so is a NaN, so is an empty text. A column that is no role is
passed over and counted. Dictionaries and compressed
bodies are turned down: a small message must not unpack to a large one. `SCHEMA` is the whole schema.

Shape suffix: B rows of a batch, K those kept.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute
from numpy.typing import NDArray

from state.keys import HASHED, NO_KEY, Int64s, known_key_of
from state.name_table import NameTable
from streams.schema import REQUIRED_ROLES, ROLES, EventBatch
from streams.wire import reasons
from streams.wire.arrow_checked import read
from streams.wire.message import (
    ARROW,
    BOUNDS,
    HEADER,
    KEY_ROLES,
    MAX_ID_CHARS,
    NAMED_ROLES,
    OTHER_UNITS,
    Names,
    check_times,
    expected_ms,
    text_of,
)
from streams.wire.texts import keys_of, longer

pc: Any = pyarrow.compute

_AS_KEYS = {b"ebbtide": b"key"}
_NUMBERS: dict[str, Any] = {
    **dict.fromkeys(("label", "rating", "propensity"), pa.float32()),
    **dict.fromkeys(("lat", "lon"), pa.float64()),
}
_TIME: Any = pa.timestamp("ms", "UTC")
_WHERE = {"time": "time_ms_B", "tz": "tz_min_B"}


def _type(role: str) -> Any:
    if role in KEY_ROLES or role == "text":
        return pa.string()
    return _TIME if role == "time" else _NUMBERS.get(role, pa.int32())


SCHEMA: Any = pa.schema(
    [pa.field(role, _type(role), nullable=role not in REQUIRED_ROLES) for role in ROLES],
    metadata={HEADER: ARROW},
)
"""Every role, ids as texts. A message has the columns that its events need."""


def encode(events: EventBatch, names: Names) -> bytes:
    """One message's value with all events. Raises InputError where a time cannot be said."""
    check_times(events.time_ms_B)
    fields, arrays = [], []
    for role in ROLES:
        found = _column(events, role, names)
        if found is not None:
            array, metadata = found
            fields.append(pa.field(role, array.type, role not in REQUIRED_ROLES, metadata))
            arrays.append(array)
    made = pa.schema(fields, metadata={HEADER: ARROW})
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, made) as writer:
        writer.write_batch(pa.record_batch(arrays, schema=made))
    return sink.getvalue().to_pybytes()


def decode(
    value: bytes, names: NameTable, unknown: Counter[str]
) -> tuple[EventBatch, list[tuple[int, str, str]]]:
    """The good events, `index_B` their rows, and (row, reason, detail) of the others. Raises Fault.

    What hashed ids were called goes to `names`; columns that are no roles are counted, once a row.
    """
    batch = read(value)
    rows = _Rows(len(batch))
    made: dict[str, NDArray[Any]] = {}
    for role, field, array in zip(batch.schema.names, batch.schema, batch.columns, strict=True):
        if pa.types.is_null(array.type) and role in ROLES:
            array = array.cast(_type(role))
        if role in KEY_ROLES:
            made[role] = _keys(role, field, array, rows, names if role in NAMED_ROLES else None)
        elif role == "time":
            made["time_ms"] = _times(array, rows)
        elif role == "tz":
            made["tz_min"] = np.nan_to_num(_within(role, array, rows)).astype(np.int64)
        elif role not in ROLES:
            unknown[role] += len(batch)
        elif role != "text":
            made[role] = _within(role, array, rows)
    lat_B, lon_B = (made.get(role, np.full(len(batch), np.nan)) for role in ("lat", "lon"))
    nowhere_B = np.isnan(lat_B) | np.isnan(lon_B)
    made["lat"], made["lon"] = (np.where(nowhere_B, np.nan, column_B) for column_B in (lat_B, lon_B))
    user, item, time_ms = (made.pop(role) for role in ("user", "item", "time_ms"))
    events = EventBatch.of(user=user, item=item, time_ms=time_ms, index=np.arange(len(batch)), **made)
    return (events if rows.all_good else events.take(rows.good_K)), rows.faults


def is_arrow(value: bytes) -> bool:
    """Whether a value looks like an Arrow IPC stream; no JSON begins so."""
    return value.startswith(b"\xff\xff\xff\xff")


def rows(value: bytes, index_K: Sequence[int]) -> bytes:
    """Some rows of a batch that `decode` has read, as a batch of their own."""
    with pa.ipc.open_stream(value) as reader:
        batch: Any = reader.read_next_batch()
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, batch.schema) as writer:
        writer.write_batch(batch.take(pa.array(index_K)))
    return sink.getvalue().to_pybytes()


class _Rows:
    """The first thing wrong with each row of a batch."""

    def __init__(self, size: int) -> None:
        self._good_B = np.ones(size, np.bool_)
        self.faults: list[tuple[int, str, str]] = []

    @property
    def all_good(self) -> bool:
        return not self.faults

    @property
    def good_K(self) -> Int64s:
        return np.flatnonzero(self._good_B)

    def mark(self, bad_B: NDArray[np.bool_], reason: str, detail: Callable[[int], str]) -> None:
        for b in np.flatnonzero(bad_B & self._good_B).tolist():
            self.faults.append((b, reason, detail(b)))
        self._good_B &= ~bad_B


def _keys(role: str, field: Any, array: Any, rows: _Rows, names: NameTable | None) -> Int64s:
    if pa.types.is_integer(array.type):
        key_B = _numbers(array, pa.int64(), NO_KEY)
        there_B = np.asarray(array.is_valid())
        wide_B = there_B & ((key_B <= -HASHED) | (key_B >= HASHED))
        if (field.metadata or {}).items() >= _AS_KEYS.items():
            bad_B = there_B & (key_B <= -HASHED)
            rows.mark(bad_B, reasons.bad(role), lambda b: f"{key_B[b]} is no key")
        else:
            for b in np.flatnonzero(wide_B).tolist():
                key_B[b] = _named(str(int(key_B[b])), names)
    else:
        key_B = keys_of(array, names)
        long_B = longer(array, MAX_ID_CHARS)
        if long_B is not None:
            key_B[long_B] = NO_KEY
            rows.mark(long_B, reasons.bad(role), lambda b: f"expected at most {MAX_ID_CHARS} characters")
    if role in REQUIRED_ROLES:
        rows.mark(key_B == NO_KEY, reasons.missing(role), lambda b: "expected an id, got none")
    return key_B


def _named(text: str, names: NameTable | None) -> int:
    key = known_key_of(text)
    if names is not None and key >= HASHED:
        names.add_text(key, text)
    return key


def _times(array: Any, rows: _Rows) -> Int64s:
    rows.mark(np.asarray(array.is_null()), reasons.missing("time"), lambda b: "expected a time, got none")
    if pa.types.is_timestamp(array.type):
        unit = array.type.unit
        ticks_B = _numbers(array, pa.int64(), 0)
        if unit == "s":
            far_B = (ticks_B > 2**52) | (ticks_B < -(2**52))
            time_ms_B = np.where(far_B, 2**62, np.where(far_B, 0, ticks_B) * 1000)
        else:
            time_ms_B = ticks_B // {"ms": 1, "us": 1000, "ns": 1_000_000}[unit]
    else:
        time_ms_B = _numbers(array, pa.int64(), 0)
        for unit, least, most in OTHER_UNITS:
            size_B = np.abs(time_ms_B)
            rows.mark(
                (size_B >= least) & (size_B < most),
                reasons.looks_like(unit),
                lambda b: expected_ms(int(time_ms_B[b])),
            )
    least, most = BOUNDS["time"]
    outside_B = (time_ms_B < least) | (time_ms_B > most)
    rows.mark(outside_B, reasons.bad("time"), lambda b: f"{time_ms_B[b]} ms is not in the years 1 to 9999")
    return time_ms_B


def _within(role: str, array: Any, rows: _Rows) -> NDArray[np.float64]:
    value_B = _numbers(array, pa.float64(), np.nan)
    least, most = BOUNDS[role]
    bad_B = (value_B < least) | (value_B > most)
    rows.mark(bad_B, reasons.bad(role), lambda b: f"expected {least:g} to {most:g}, got {value_B[b]:g}")
    value_B[bad_B] = np.nan
    return value_B


def _numbers(array: Any, kind: Any, missing: float) -> NDArray[Any]:
    """A copy (B,) as `kind`. Arrow is asked only for what changes something: each call is dear."""
    cast = array if array.type == kind else array.cast(kind, safe=False)
    full = cast.fill_null(missing) if cast.null_count else cast
    return np.array(full.to_numpy(zero_copy_only=False))


def _column(events: EventBatch, role: str, names: Names) -> tuple[Any, dict[bytes, bytes] | None] | None:
    """A role's column and its field's metadata, or None where no event has it."""
    if role == "text":
        return None
    value_B = getattr(events, _WHERE.get(role, f"{role}_B"))
    if role == "time":
        return pa.array(value_B, pa.int64()).cast(_TIME), None
    if role == "tz":
        return (pa.array(value_B.astype(np.int32)), None) if value_B.any() else None
    if role in KEY_ROLES:
        return _ids(value_B, role in REQUIRED_ROLES, names)
    missing_B = np.isnan(value_B)
    return None if missing_B.all() else (pa.array(value_B, _NUMBERS[role], mask=missing_B), None)


def _ids(key_B: Int64s, required: bool, names: Names) -> tuple[Any, dict[bytes, bytes] | None] | None:
    missing_B = key_B == NO_KEY
    if missing_B.all() and not required:
        return None
    hashed_U, at_B = np.unique(key_B, return_inverse=True)
    if hashed_U[-1] < HASHED:
        return pa.array(key_B, pa.int64(), mask=missing_B), None
    texts = [None if key == NO_KEY else text_of(key, names) for key in hashed_U.tolist()]
    if any(text is None and key != NO_KEY for text, key in zip(texts, hashed_U.tolist(), strict=True)):
        return pa.array(key_B, pa.int64(), mask=missing_B), _AS_KEYS
    text_U: Any = pa.array([None if text is None else str(text) for text in texts], pa.string())
    return text_U.take(pa.array(at_B)), None
