"""Whatever type a column has, it is read as what it means, or its rows are set aside with a reason."""

import json
import uuid
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from replay.log import Log
from replay.meaning.mapping import Mapping
from replay.reading.canonical import canonical, joined, one_value
from replay.reading.files import open_file
from replay.reading.separated import SeparatedFile
from replay.reading.tables import MemoryFile
from replay.reading.writing import write_table
from state.errors import InputError
from state.keys import key_of
from streams.schema import ROLES
from tests.replay.events import START_S, read, write_csv

UUID = uuid.UUID("550e8400-e29b-41d4-a716-446655440000")
NOON = datetime(2017, 7, 14, 12, tzinfo=UTC)
TYPES: list[tuple[Any, Any, Any, Any]] = [
    (pa.null(), None, pa.string(), None),
    (pa.bool_(), True, pa.string(), "true"),
    (pa.bool8(), 0, pa.string(), "false"),
    (pa.uint64(), 7, pa.int64(), 7),
    (pa.uint64(), 2**64 - 1, pa.string(), str(2**64 - 1)),
    (pa.int8(), -7, pa.int64(), -7),
    (pa.float16(), np.float16(0.1), pa.float64(), 0.1),
    (pa.float32(), 48.1, pa.float64(), 48.1),
    (pa.float64(), float("nan"), pa.float64(), None),
    (pa.decimal128(38, 0), Decimal(7), pa.int64(), 7),
    (pa.decimal128(38, 0), Decimal(10**30), pa.string(), str(10**30)),
    (pa.decimal128(9, 2), Decimal("7.50"), pa.string(), "7.50"),
    (pa.decimal256(60, -2), Decimal(700), pa.int64(), 700),
    (pa.binary(), "café".encode(), pa.string(), "café"),
    (pa.binary(4), b"u1\0\0", pa.string(), "u1"),
    (pa.binary(16), UUID.bytes, pa.string(), str(UUID)),
    (pa.binary(16), b"sixteen letters.", pa.string(), "sixteen letters."),
    (pa.uuid(), UUID.bytes, pa.string(), str(UUID)),
    (pa.uuid(), b"sixteen letters.", pa.string(), str(uuid.UUID(bytes=b"sixteen letters."))),
    (pa.json_(), '{"a": 1}', pa.string(), '{"a": 1}'),
    (pa.date32(), date(2017, 7, 14), pa.timestamp("ms"), datetime(2017, 7, 14)),
    (pa.date64(), date(2017, 7, 14), pa.timestamp("ms"), datetime(2017, 7, 14)),
    (pa.timestamp("s"), NOON, pa.timestamp("ms"), NOON.replace(tzinfo=None)),
    (pa.timestamp("ns", "Asia/Tokyo"), NOON, pa.timestamp("ms"), NOON.replace(tzinfo=None)),
    (pa.time32("s"), time(1, 2, 3), pa.string(), "01:02:03"),
    (pa.time64("us"), time(1, 2, 3), pa.string(), "01:02:03.000000"),
    (pa.duration("ms"), timedelta(seconds=1.5), pa.float64(), 1.5),
    (pa.list_(pa.int32()), [1, None], pa.list_(pa.string()), ["1", None]),
    (pa.large_list(pa.string()), ["a", "b"], pa.list_(pa.string()), ["a", "b"]),
    (pa.list_(pa.float32(), 2), [0.5, 7.0], pa.list_(pa.string()), ["0.5", "7"]),
    (pa.list_view(pa.string_view()), ["a"], pa.list_(pa.string()), ["a"]),
    (pa.dictionary(pa.int8(), pa.binary(16)), UUID.bytes, pa.string(), str(UUID)),
]
UNREADABLE: list[tuple[Any, Any, Any]] = [
    (pa.binary(), b"\xff\x00", "0xff00"),
    (pa.binary(3), b"\xff\xfe\xfd", "0xfffefd"),
    (pa.struct([("id", pa.int64())]), {"id": 7}, '{"id": 7}'),
    (pa.map_(pa.string(), pa.int64()), [("a", 1)], '[["a", 1]]'),
    (pa.list_(pa.list_(pa.string())), [["a"]], '[["a"]]'),
    (pa.list_(pa.struct([("a", pa.binary())])), [{"a": b"\xff"}], ['{"a": "0xff"}']),
    (pa.month_day_nano_interval(), (1, 2, 3), "[1, 2, 3]"),
]


@pytest.mark.parametrize(("kind", "cell", "canonical_kind", "expected"), TYPES, ids=str)
def test_every_type_becomes_one_of_few(kind: Any, cell: Any, canonical_kind: Any, expected: Any) -> None:
    column = pa.array([cell, None, cell], kind)
    for part in (column, column[1:], column[:0]):
        made, unreadable = canonical(part)
        assert unreadable is None
        if len(part) == 3:
            assert made.type == canonical_kind
        assert made.to_pylist() == [expected, None, expected][3 - len(part) :]


@pytest.mark.parametrize(("kind", "cell", "shown"), UNREADABLE, ids=str)
def test_what_is_neither_text_nor_number_is_shown_and_marked(kind: Any, cell: Any, shown: str) -> None:
    made, unreadable = canonical(pa.array([None, cell], kind))
    assert unreadable is not None
    assert (made.to_pylist(), unreadable.tolist()) == ([None, shown], [False, True])


def test_text_that_is_none_is_found_out() -> None:
    said_to_be_text = pa.Array.from_buffers(pa.string(), 2, pa.array([b"ok", b"\xff"]).buffers())
    made, unreadable = canonical(said_to_be_text)
    assert unreadable is not None
    assert (made.to_pylist(), unreadable.tolist()) == (["ok", "0xff"], [False, True])


def test_a_list_of_one_is_its_value() -> None:
    column, several = one_value(pa.array([["a"], [], None, ["b", "c"], ["d"]]))
    assert several is not None
    assert column.to_pylist() == ["a", None, None, '["b", "c"]', "d"]
    assert several.tolist() == [False, False, False, True, False]


def test_columns_of_unlike_types_are_joined_as_texts_or_as_lists() -> None:
    whole, part, empty = pa.array([1, None]), pa.array([7.0, 1e12, 0.5]), pa.array([None], pa.string())
    assert joined([whole, part, empty]).to_pylist() == ["1", None, "7", "1000000000000", "0.5", None]
    assert joined([whole, empty]).to_pylist() == [1, None, None]
    lists = pa.array([["a", "b"], None], pa.list_(pa.string()))
    assert joined([lists, pa.array(["c"]), empty]).to_pylist() == [["a", "b"], None, ["c"], None]


COLUMNS = [pa.array([cell, None, cell], kind) for kind, cell, *_ in [*TYPES, *UNREADABLE]]


@pytest.mark.parametrize("role", [*ROLES, "label rule"])
def test_no_type_in_any_role_ends_in_a_traceback(tmp_path: Path, role: str) -> None:
    plain = {"user": [1, 2, 3], "item": [4, 5, 6], "time": [START_S, START_S + 1, START_S + 2]}
    for number, column in enumerate(COLUMNS):
        table = pa.table(plain | {role.split()[0]: column})
        path = tmp_path / f"{number}.arrow"
        with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, table.schema) as writer:
            writer.write_table(table)
        try:
            log = Log.open(path, items=path, label="label==a" if role == "label rule" else None)
        except InputError:
            continue
        assert len(read(log)) + len(log.dead) == 3


def test_a_cell_that_is_no_value_is_a_dead_letter_that_shows_it(tmp_path: Path) -> None:
    users = [b"ann", b"\xff\xfe", b"bob"]
    table = pa.table({"user": users, "item": [1, 2, 3], "time": [START_S] * 3})
    pq.write_table(table, tmp_path / "a.parquet")
    log = Log.open(tmp_path / "a.parquet")
    events = list(log.batches(8, dead_letters=tmp_path))
    assert [log.names[key] for batch in events for key in batch.user_B.tolist()] == ["ann", "bob"]
    letter = json.loads((tmp_path / "dead_letters.jsonl").read_text())
    assert (letter["reason"], letter["row_number"], letter["row"]["user"]) == ("wrong type", 2, "0xfffe")
    assert letter["detail"] == "column 'user': expected one text or number"


def test_missing_words_and_nan_are_missing_numbers(tmp_path: Path) -> None:
    numbers = pa.table({"lat": [float("nan"), 48.5, None], "lon": [2.5] * 3})
    words = pa.table({"lat": ["nan", "48.5", "NULL"], "lon": ["2.5"] * 3})
    plain = pa.table({"user": [1, 2, 3], "item": [4, 5, 6], "time": [START_S] * 3})
    for table in (numbers, words):
        for name in plain.column_names:
            table = table.append_column(name, plain[name])
        pq.write_table(table, tmp_path / "a.parquet")
        events = read(Log.open(tmp_path / "a.parquet"))
        assert np.isnan(events.lat_B).tolist() == np.isnan(events.lon_B).tolist() == [True, False, True]


MONTHS = (["7,3", "8,4", "9,5"], ["7.0,3.0", "8.0,4.0", ",5.0"])


def test_ids_that_one_month_has_as_floats_are_those_of_the_other(tmp_path: Path) -> None:
    folder = tmp_path / "log"
    folder.mkdir()
    for month, rows in enumerate(MONTHS):
        write_csv(folder / f"{month}.csv", "user,item,time", [f"{row},{START_S + month}" for row in rows])
    log = Log.open(folder)
    assert read(log).user_B.tolist() == [7, 8, 9, 7, 8]
    assert (log.survey.users, log.survey.items, log.survey.dead) == (3, 3, {"no user": 1})
    assert "user: an id such as 7.0 is read as 7, as all of them are numbers" in log.notes


def test_versions_keep_their_texts_however_late_one_shows_what_they_are(tmp_path: Path) -> None:
    rows = [f"u,{item},{START_S + i}" for i, item in enumerate(["1.0", "1.1", "1", *["2.0"] * 50, "1.10"])]
    path = write_csv(tmp_path / "log.csv", "user,item,time", rows)
    items = write_csv(tmp_path / "items.csv", "item,name", ["1.0,the first one", "2.0,the second one"])
    log = Log.open(path, items=items)
    assert log.survey.items == 5
    keys = read(log).item_B.tolist()
    assert keys[:4] == [key_of("1.0"), key_of("1.1"), 1, key_of("2.0")]
    assert log.items is not None
    assert sorted(log.items.id_N.tolist()) == sorted([key_of("1.0"), key_of("2.0")])
    without = Log.open(write_csv(path, "user,item,time", rows[:-1]), items=items)
    assert without.items is not None
    assert read(without).item_B.tolist()[:4] == [1, key_of("1.1"), 1, 2]
    assert without.items.id_N.tolist() == [1, 2]


def test_a_table_in_memory_and_a_text_file_give_columns_of_the_same_type(tmp_path: Path) -> None:
    path = write_csv(tmp_path / "a.csv", "user,item", ["a,1"])
    text = next(SeparatedFile(path).chunks(["user"]))
    memory = next(MemoryFile("a", pa.table({"user": pa.array(["a"], pa.large_string())})).chunks(["user"]))
    assert text.columns["user"] == memory.columns["user"]


def test_a_log_may_name_a_column_of_lists_for_an_id(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text(
        "".join(
            json.dumps({"who": who, "item": 1, "time": START_S}) + "\n"
            for who in (["ann"], "bob", ["ann", "bob"], {"id": 1}, [], 7)
        )
    )
    log = Log.open(tmp_path / "a.jsonl", mapping=Mapping.of(["user=who"]))
    assert [log.names[key] for key in read(log).user_B.tolist()] == ["ann", "bob", "7"]
    assert log.survey.dead == {"wrong type": 2, "no user": 1}


@pytest.mark.parametrize("name", ["a.csv", "a.parquet", "a.arrow"])
def test_a_name_that_stands_there_twice_is_named(tmp_path: Path, name: str) -> None:
    arrays = [pa.array([1, 2]), pa.array([3, 4]), pa.array([5, 6])]
    write_table(pa.Table.from_arrays(arrays, ["item", "price", "price"]), tmp_path / name)
    log = write_csv(tmp_path / "log.csv", "user,item,time", [f"1,{i},{START_S}" for i in (1, 2)])
    with pytest.raises(InputError, match=f"{name}: column 'price' stands there twice; rename one"):
        Log.open(log, items=tmp_path / name)


def test_a_column_without_a_name_is_called_by_its_place(tmp_path: Path) -> None:
    path = write_csv(tmp_path / "a.csv", ",user,item,time,", [f"{i},1,2,{START_S}," for i in range(3)])
    assert open_file(path).columns == ["column1", "user", "item", "time", "column5"]
    assert Log.open(path).rows == 3


def test_seconds_beyond_every_year_are_out_of_bounds(tmp_path: Path) -> None:
    time_s = pa.array([START_S, START_S + 1, 2**62, -(2**62), -(2**63)], pa.int64()).view(pa.timestamp("s"))
    write_table(pa.table({"user": [1] * 5, "item": [1] * 5, "time": time_s}), tmp_path / "a.arrow")
    log = Log.open(tmp_path / "a.arrow")
    assert len(read(log)) == 2
    assert log.dead.counts == {"bad time: out of bounds": 3}
