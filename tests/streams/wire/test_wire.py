"""Events on the wire: what goes in comes out, and what is wrong is turned down with a reason."""

import json
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from state.errors import InputError
from state.keys import key_of
from streams.schema import ROLES, EventBatch, concat_events
from streams.wire import arrow_form, json_form
from streams.wire.decode import decode
from streams.wire.message import (
    ARROW,
    HEADER,
    JSON,
    MAX_BYTES,
    MAX_EVENTS,
    MAX_ID_CHARS,
    NAMED_ROLES,
    Message,
)
from tests.streams.wired import batches, differing

AS_JSON, AS_ARROW = ((HEADER, JSON.encode()),), ((HEADER, ARROW.encode()),)
GOOD: dict[str, Any] = {"user": "ann", "item": 7, "time": 1_500_000_000_000}
NOTHING = pa.nulls(MAX_EVENTS + 1, pa.int8())
PLAIN = {"user": pa.int8(), "item": pa.int8(), "time": pa.int64()}
SHIPPED = Path(json_form.__file__).parent


def said(value: bytes | None, *, key: bytes | None = b"k", schema: str | None = None) -> tuple[str, str]:
    """Why the one message is turned down."""
    headers = () if schema is None else ((HEADER, schema.encode()),)
    found = decode([Message(value, key, headers, 3, 14)])
    assert len(found.events) == 0
    (one,) = found.rejected
    assert (one.partition, one.offset) == (3, 14)
    return one.reason, one.detail


def arrow(
    table: dict[str, Any], metadata: dict[str, str] | None = None, times: int = 1, **options: Any
) -> bytes:
    """An Arrow IPC stream of columns."""
    batch = pa.record_batch(table)
    if metadata:
        batch = batch.replace_schema_metadata(metadata)
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, batch.schema, options=pa.ipc.IpcWriteOptions(**options)) as writer:
        for _ in range(times):
            writer.write_batch(batch)
    return sink.getvalue().to_pybytes()


def columns(**more: Any) -> dict[str, Any]:
    """Columns of two good events, but for `more`."""
    time = pa.array([GOOD["time"], GOOD["time"] + 1], pa.int64())
    return {"user": ["ann", "bob"], "item": [7, 8], "time": time, **more}


@given(batches())
def test_json_gives_back_what_it_was_given(drawn: tuple[EventBatch, dict[int, str]]) -> None:
    events, names = drawn
    found = decode([Message(value, b"k", AS_JSON) for value in json_form.encode(events, names)])
    assert found.rejected == []
    assert differing(events, found.events) == []
    assert found.names.items() <= names.items()


@given(batches())
def test_arrow_gives_back_what_it_was_given(drawn: tuple[EventBatch, dict[int, str]]) -> None:
    events, names = drawn
    found = decode([Message(arrow_form.encode(events, names), b"k", AS_ARROW)])
    assert found.rejected == []
    assert differing(events, found.events) == []
    assert found.names.items() <= names.items()


@given(batches())
def test_an_ids_name_travels_with_it(drawn: tuple[EventBatch, dict[int, str]]) -> None:
    events, names = drawn
    used = {key for role in NAMED_ROLES for key in getattr(events, f"{role}_B").tolist()}
    values = json_form.encode(events, names)
    assert decode([Message(value, b"k") for value in values]).names == {
        key: name for key, name in names.items() if key in used
    }


@given(st.tuples(batches(), batches(), batches()))
def test_both_forms_in_one_topic_keep_their_order_and_their_source(
    drawn: tuple[tuple[EventBatch, dict[int, str]], ...],
) -> None:
    (a, a_names), (b, b_names), (c, c_names) = drawn
    values = [*json_form.encode(a, a_names), arrow_form.encode(b, b_names), *json_form.encode(c, c_names)]
    found = decode([Message(value, b"k", (), 5, 100 + i) for i, value in enumerate(values)])
    assert differing(concat_events([a, b, c]), found.events) == []
    assert found.events.partition_B.tolist() == [5] * (len(a) + len(b) + len(c))
    offsets = [*range(len(a)), *([len(a)] * len(b)), *range(len(a) + 1, len(a) + 1 + len(c))]
    assert (found.events.offset_B - 100).tolist() == offsets
    assert found.events.index_B.tolist() == [0] * len(a) + [*range(len(b))] + [0] * len(c)


@given(st.binary(max_size=300), st.sampled_from([None, JSON, ARROW]))
def test_no_message_raises(value: bytes, schema: str | None) -> None:
    headers = () if schema is None else ((HEADER, schema.encode()),)
    found = decode([Message(value, b"k", headers)])
    assert len(found.events) + len(found.rejected) == 1


@given(batches(), st.data())
def test_no_damage_to_a_batch_raises(drawn: tuple[EventBatch, dict[int, str]], data: st.DataObject) -> None:
    value = bytearray(arrow_form.encode(*drawn))
    for at in data.draw(st.lists(st.integers(0, len(value) - 1), min_size=1, max_size=4)):
        value[at] = data.draw(st.integers(0, 255))
    decode([Message(bytes(value), b"k", AS_ARROW)])


@given(batches(), st.data())
def test_a_truncated_batch_is_turned_down(
    drawn: tuple[EventBatch, dict[int, str]], data: st.DataObject
) -> None:
    value = arrow_form.encode(*drawn)
    end_of_stream = 8
    cut = data.draw(st.integers(0, len(value) - end_of_stream - 1))
    assert said(value[:cut], schema=ARROW)[0] == "malformed arrow"


@pytest.mark.parametrize(
    ("time", "time_ms"),
    [
        (1_500_000_000_123, 1_500_000_000_123),
        (1_500_000_000_123.0, 1_500_000_000_123),
        ("1969-12-31T23:59:59.999Z", -1),
        ("2017-07-14T02:40:00Z", 1_500_000_000_000),
        ("2017-07-14T04:40:00.5+02:00", 1_500_000_000_500),
        ("2017-07-14T02:40", 1_500_000_000_000),
        ("2017-07-14", 1_499_990_400_000),
    ],
)
def test_a_time_is_epoch_milliseconds_or_iso_8601(time: int | str, time_ms: int) -> None:
    found = decode([Message(json.dumps(GOOD | {"time": time}).encode(), b"ann")])
    assert found.events.time_ms_B.tolist() == [time_ms]


@pytest.mark.parametrize(
    ("value", "reason", "detail"),
    [
        (b"", "malformed json", "truncated"),
        (b"{", "malformed json", "truncated"),
        (b"\xff\xfe", "malformed json", "invalid"),
        (b'{"user": 1} {"user": 2}', "no item", "missing required field `item`"),
        (b"[1]", "not an event", "Expected `object`, got `array`"),
        ({"user": None}, "bad user", "got `null` - at `$.user`"),
        ({"user": ""}, "bad user", "length >= 1"),
        ({"user": "x" * (MAX_ID_CHARS + 1)}, "bad user", "length <= 2048"),
        ({"user": 1.5}, "bad user", "got `float`"),
        ({"item": {"key": 7}}, "bad item", "`$.item.key`"),
        ({"item": True}, "bad item", "got `bool`"),
        ({"time": "yesterday"}, "bad time", "expected epoch milliseconds or ISO 8601, got 'yesterday'"),
        ({"time": 10**15}, "bad time: looks like microseconds", "expected epoch milliseconds"),
        ({"time": 10**18}, "bad time: looks like nanoseconds", "expected epoch milliseconds"),
        ({"time": 1_500_000_000}, "bad time: looks like seconds", "expected epoch milliseconds"),
        ({"time": 1_500_000_000.25}, "bad time: looks like seconds", "expected epoch milliseconds"),
        ({"time": -1}, "bad time: looks like seconds", "expected epoch milliseconds"),
        ({"time": 1_500_000_000_000.5}, "bad time", "expected whole milliseconds, got 1500000000000.5"),
        ({"time": True}, "bad time", "got `bool`"),
        ({"lat": 91}, "bad lat", "`float` <= 90.0"),
        ({"lon": "east"}, "bad lon", "got `str`"),
        ({"label": 2}, "bad label", "`float` <= 1.0"),
        ({"rating": 1e31}, "bad rating", "`float` <= 1e+30"),
        ({"propensity": 0}, "bad propensity", "`float` >= 9.09"),
        ({"tz": 1441}, "bad tz", "`int` <= 1440"),
    ],
)
def test_an_object_that_is_no_event_is_turned_down(value: Any, reason: str, detail: str) -> None:
    sent = value if isinstance(value, bytes) else json.dumps(GOOD | value).encode()
    found = said(sent)
    assert found[0] == reason
    assert detail in found[1]


@pytest.mark.parametrize("role", ["user", "item", "time"])
def test_an_event_has_a_user_an_item_and_a_time(role: str) -> None:
    rest = {name: value for name, value in GOOD.items() if name != role}
    assert said(json.dumps(rest).encode())[0] == f"no {role}"
    assert (
        said(arrow({name: column for name, column in columns().items() if name != role}))[0] == f"no {role}"
    )


def test_what_is_no_event_at_all_is_turned_down() -> None:
    good = json.dumps(GOOD).encode()
    assert said(None)[0] == "tombstone"
    assert said(good, key=None)[0] == "no key"
    assert said(good[:-1] + b" " * MAX_BYTES + b"}")[0] == "oversized"
    assert said(good, schema="event+json/2") == (
        "unknown schema",
        "expected event+json/1 or event+arrow/1 in the header ebbtide-schema, got 'event+json/2'",
    )


def test_after_a_bad_message_the_next_is_read() -> None:
    good = Message(json.dumps(GOOD).encode(), b"ann")
    found = decode(
        [good, Message(b"{", b"x", (), 0, 1), good, Message(b"\xff\xff\xff\xff", b"x", (), 0, 3), good]
    )
    assert len(found.events) == 3
    assert [one.offset for one in found.rejected] == [1, 3]


@pytest.mark.parametrize(
    ("value", "reason", "detail"),
    [
        (arrow(columns(), compression="lz4"), "compressed arrow", "got compressed ones"),
        (arrow(columns(), compression="zstd"), "compressed arrow", "got compressed ones"),
        (arrow(columns(), {HEADER: "event+arrow/2"}), "unknown schema", "got event+arrow/2"),
        (arrow(columns(item=[0.5, 1])), "bad item", "has type double, expected text or whole numbers"),
        (arrow(columns(time=["a", "b"])), "bad time", "has type string, expected a timestamp or int64"),
        (arrow(columns(tz=[0.5, 1])), "bad tz", "expected whole numbers"),
        (arrow(columns(label=["a", "b"])), "bad label", "expected numbers"),
        (arrow(columns(text=[1, 2])), "bad text", "expected text"),
        (arrow(columns(user=pa.array(["a", "b"]).dictionary_encode())), "bad user", "dictionary"),
        (arrow({name: NOTHING.cast(kind) for name, kind in PLAIN.items()}), "oversized", "at most 65536"),
        (arrow_form.SCHEMA.serialize().to_pybytes(), "malformed arrow", ""),
        (arrow(columns(), times=2), "malformed arrow", "expected one record batch, got more"),
    ],
)  # fmt: skip
def test_a_batch_that_is_none_of_events_is_turned_down(value: bytes, reason: str, detail: str) -> None:
    found = said(value, schema=ARROW)
    assert found[0] == reason
    assert detail in found[1]


def test_bad_rows_of_a_batch_are_turned_down_one_by_one() -> None:
    nan = float("nan")
    table = {
        "user": ["a", None, "", "b", "c", "d", "e"],
        "item": [1, 2, 3, None, 5, 6, 2**62 + 9],
        "time": pa.array([1, 2, 3, 4, None, 6_000_000_000_000_000, 7], pa.timestamp("ms")),
        "lat": [1.0, 2, 3, 4, 5, 6, nan],
        "lon": [1.0, 2, 3, 4, 5, 6, 7],
        "label": [1.0, 0, 0, 0, 0, 0, None],
    }
    found = decode([Message(arrow(table), b"k", AS_ARROW, 1, 2)])
    assert [(one.index, one.reason) for one in found.rejected] == [
        (1, "no user"),
        (2, "no user"),
        (3, "no item"),
        (4, "no time"),
        (5, "bad time"),
    ]
    events = found.events
    assert events.index_B.tolist() == [0, 6]
    assert events.item_B.tolist() == [1, key_of(2**62 + 9)]
    assert np.isnan(events.lat_B).tolist() == np.isnan(events.lon_B).tolist() == [False, True]
    assert found.names[key_of(2**62 + 9)] == str(2**62 + 9)
    worse = decode([Message(arrow(columns(lat=[91.0, 1.0], lon=[0.0, float("inf")])), b"k")])
    assert [(one.index, one.reason, one.detail) for one in worse.rejected] == [
        (0, "bad lat", "expected -90 to 90, got 91"),
        (1, "bad lon", "expected -180 to 180, got inf"),
    ]


def test_other_arrow_types_of_the_same_columns_are_read() -> None:
    table = {
        "user": pa.array(["ann", "bob"], pa.large_string()),
        "item": pa.array([7, 8], pa.uint32()),
        "time": pa.array([1, 2], pa.timestamp("s")),
        "tz": pa.array([60, None], pa.int16()),
        "rating": pa.array([3, None], pa.int8()),
        "text": ["what it said", None],
        "scene": pa.nulls(2),
        "lat": pa.nulls(2),
    }
    events = decode([Message(arrow(table), b"k")]).events
    assert events.user_B.tolist() == [key_of("ann"), key_of("bob")]
    assert events.item_B.tolist() == [7, 8]
    assert events.time_ms_B.tolist() == [1000, 2000]
    assert events.tz_min_B.tolist() == [60, 0]
    assert events.rating_B[0] == 3
    assert np.isnan(events.rating_B[1])


@pytest.mark.parametrize(
    ("number", "unit"), [(1_500_000_000, "seconds"), (1_500_000_000_000_000, "microseconds")]
)
def test_a_whole_number_of_another_unit_is_no_time_of_a_batch(number: int, unit: str) -> None:
    found = decode([Message(arrow(columns(time=pa.array([GOOD["time"], number], pa.int64()))), b"k")])
    assert found.events.time_ms_B.tolist() == [GOOD["time"]]
    [bad] = found.rejected
    assert (bad.index, bad.reason) == (1, f"bad time: looks like {unit}")
    assert bad.detail.startswith(f"expected epoch milliseconds or ISO 8601, got {number}; a time in 1966")


def test_seconds_beyond_every_year_are_no_time_of_a_batch() -> None:
    time_s = pa.array([1_500_000_000, 2**62, -(2**62), -(2**63)], pa.int64()).view(pa.timestamp("s"))
    found = decode([Message(arrow({"user": [1] * 4, "item": [7] * 4, "time": time_s}), b"k")])
    assert found.events.time_ms_B.tolist() == [1_500_000_000_000]
    assert [(bad.index, bad.reason) for bad in found.rejected] == [(row, "bad time") for row in (1, 2, 3)]


def test_a_field_that_is_no_role_is_passed_over_and_counted() -> None:
    some = GOOD | {"lable": 1, "price": {"eur": [1, 2]}}
    values = [json.dumps(one).encode() for one in (some, GOOD, GOOD | {"lable": None}, some | {"item": None})]
    batch = arrow(columns(lable=[1, 2], shop=[["a"], []]))
    found = decode([*(Message(value, b"k") for value in values), Message(batch, b"k")])
    assert found.events.item_B.tolist() == [7, 7, 7, 7, 8]
    assert found.unknown == {"lable": 4, "price": 1, "shop": 2}
    assert [one.reason for one in found.rejected] == ["bad item"]


def test_json_behind_the_five_bytes_of_a_registry_is_read() -> None:
    good = json.dumps(GOOD).encode()
    found = decode([Message(b"\0\0\0\0\x07" + value, b"k") for value in (good, b" " + good)])
    assert found.events.item_B.tolist() == [7, 7]
    for avro in (b"\0\0\0\0\x07\x06ann\x0e", b"\0\0\0\0\x07", b"\0"):
        reason, detail = said(avro)
        assert reason == "not json"
        assert "Confluent's framing" in detail
        assert "let the sender write JSON" in detail
    assert "schema id 7)" in said(b"\0\0\0\0\x07\x06ann\x0e")[1]


def test_a_time_that_cannot_be_said_is_refused_before_it_is_sent() -> None:
    one = np.ones(1, np.int64)
    events = EventBatch.of(user=one, item=one, time_ms=one * 10**15)
    for encode in (json_form.encode, arrow_form.encode):
        with pytest.raises(InputError, match=r"time 1000000000000000: expected milliseconds in the years"):
            encode(events, {})


def test_the_shipped_schemas_are_those_of_the_code() -> None:
    assert json.loads((SHIPPED / "event.schema.json").read_text()) == json_form.schema()
    shipped = pa.ipc.read_schema(pa.py_buffer((SHIPPED / "event.schema.arrow").read_bytes()))
    assert shipped.equals(arrow_form.SCHEMA, check_metadata=True)
    assert msgspec.structs.fields(json_form.JsonEvent)[0].name == ROLES[0]
    assert json_form.JsonEvent.__struct_fields__ == ROLES
    assert tuple(arrow_form.SCHEMA.names) == ROLES


def test_a_header_without_a_value_is_as_if_it_were_not_there() -> None:
    value = json.dumps(GOOD).encode()
    for headers in (((HEADER, None),), ((HEADER, None), *AS_JSON)):
        assert len(decode([Message(value, b"ann", headers)]).events) == 1  # type: ignore[arg-type]
