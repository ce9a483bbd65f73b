"""Side tables: how columns are taken, which row holds when, and what events borrow."""

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from replay.log import Log
from replay.meaning.places import fill_places, single_category
from replay.meaning.side_columns import column_kinds
from replay.meaning.sides import ReadSide, find_id, side_of
from replay.reading.canonical import canonical
from replay.reading.files import open_file
from replay.reading.tables import MemoryFile
from state.errors import InputError
from state.keys import NO_KEY, Names, key_of
from state.side import ALWAYS, SideTable
from streams.schema import EventBatch
from tests.replay.events import START_S, read, write_csv

FILMS = [
    "1,Toy Story,1995,Animation|Comedy,7.5,G,10001",
    "2,Golden Eye,1995,Action,,PG,10002",
    "3,Four Rooms,,Thriller|Comedy,5.25,PG,",
    "4,Get Shorty,1996,,6.5,G,00004",
]


def read_side(path: Path, kind: str, names: Names) -> ReadSide:
    return side_of([open_file(path)], kind, names)


def keys(side: SideTable, column: str, row: int, names: Names) -> list[str]:
    found = side.categories[column]
    return [names[int(k)] for k in found.keys[found.start_N1[row] : found.start_N1[row + 1]]]


def test_columns_become_numbers_categories_and_text(tmp_path: Path) -> None:
    names = Names()
    path = write_csv(tmp_path / "films.csv", "movieId,title,year,genres,score,rated,zip_code", FILMS)
    side = read_side(path, "item", names).table
    assert side.id_N.tolist() == [1, 2, 3, 4]
    assert set(side.since_ms_N.tolist()) == {ALWAYS}
    np.testing.assert_array_equal(side.numbers["year"], [1995, 1995, np.nan, 1996])
    np.testing.assert_array_equal(side.numbers["score"], [7.5, np.nan, 5.25, 6.5])
    assert keys(side, "genres", 0, names) == ["Animation", "Comedy"]
    assert keys(side, "genres", 3, names) == []
    assert keys(side, "rated", 1, names) == ["PG"]
    assert side.texts["title"][3] == "Get Shorty"
    assert "zip_code" not in side.numbers | side.categories | side.texts
    assert side.lat_N is None


@pytest.mark.parametrize(
    ("name", "cells", "kind"),
    [
        ("age", ["31", "40", None], "number"),
        ("age", [31, 40, 31], "number"),
        ("active", [True, False, True], "number"),
        ("maker_id", [1, 1, 2, 2], "category"),
        ("maker_id", [1, 2, 3, 4], "ignored"),
        ("zip", ["10001", "10001", "10002", "10002"], "category"),
        ("group", ["007", "007", "012", "012"], "category"),
        ("tags", ["a;b", "a", "b;c", "a;c", "c;b"], "categories"),
        ("tags", ["red, round", "round", "red", "flat, red", "flat"], "categories"),
        ("maker", ["Smith, Ann", "Jones, Bob", "Smith, Ann", "Jones, Bob"], "category"),
        ("class", [f"{a} {b} {c}" for a in "wxyz" for b in "stuv" for c in "opqr"], "categories"),
        ("title", ["A first one", "Another thing", "Something else"], "text"),
        ("venue", ["3fd66200", "4b1e", "99ab"], "ignored"),
        ("empty", [None, None], "ignored"),
        ("released", [np.datetime64("2017-01-01", "ms"), None], "number"),
    ],
)
def test_a_column_is_taken_for_what_it_looks_like(name: str, cells: list[object], kind: str) -> None:
    column, _ = canonical(pa.array(cells))
    assert column_kinds({name: column}, {})[name][0] == kind
    assert column_kinds({name: column}, {name: "text"})[name][0] == "text"


def test_recbole_and_camel_case_headers() -> None:
    assert find_id(["item_id:token", "class:token_seq"], "item") == "item_id:token"
    assert find_id(["title", "movieId"], "item") == "movieId"
    assert find_id(["id", "name"], "user") == "id"
    assert find_id(["problem", "sku"], "item", like="sku") == "sku"


def test_rows_that_carry_a_time_hold_from_then(tmp_path: Path) -> None:
    rows = ["i1,10,2017-02-01", "i1,5,", "i1,20,2017-03-01", "i2,7,2017-01-01"]
    side = read_side(write_csv(tmp_path / "prices.csv", "item,price,valid_from", rows), "item", Names()).table
    moments = np.array(["2016-12-31", "2017-02-01", "2017-06-01"], "M8[ms]").astype(np.int64)
    first = side.rows(np.full(3, key_of("i1")), moments)
    assert side.numbers["price"][first].tolist() == [5, 10, 20]
    assert side.rows(np.array([key_of("i2"), key_of("i3")]), moments[:2]).tolist() == [-1, -1]


def test_what_is_wrong_with_a_side_table_is_said(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no column holds the item's id; call it item_id"):
        read_side(write_csv(tmp_path / "a.csv", "colour,size", ["red,1"]), "item", Names())
    with pytest.raises(InputError, match="the side table has no rows"):
        read_side(write_csv(tmp_path / "b.csv", "item,size", []), "item", Names())
    with pytest.raises(InputError, match="no such file"):
        read_side(tmp_path / "c.csv", "item", Names())


def events_of(item: list[int], **columns: object) -> EventBatch:
    keys_B = np.array(item)
    return EventBatch.of(user=keys_B, item=keys_B, time_ms=keys_B * 0, **columns)  # type: ignore[arg-type]


def test_events_take_place_and_category_of_their_item() -> None:
    names = Names()
    table = pa.table({"item": [1, 2, 3, 4], "lat": [48.0, None, 50, 51], "lng": [2.0, 3, 4, 5]})
    table = table.append_column("category", pa.array(["bar", "bar", None, "park"]))
    side = side_of([MemoryFile("venues", table)], "item", names).table
    assert single_category(side) == "category"
    events = events_of(
        [1, 2, 3, 9, 4], lat=np.array([np.nan] * 4 + [1.0]), lon=np.array([np.nan] * 4 + [2.0])
    )
    filled = fill_places(events, side, "category")
    np.testing.assert_array_equal(filled.lat_B, [48, np.nan, 50, np.nan, 1])
    np.testing.assert_array_equal(filled.lon_B, [2, np.nan, 4, np.nan, 2])
    assert filled.category_B.tolist() == [key_of("bar"), key_of("bar"), NO_KEY, NO_KEY, key_of("park")]


def test_a_log_borrows_from_its_items(tmp_path: Path) -> None:
    log_file = write_csv(
        tmp_path / "log.csv", "user,venue,time", [f"1,v{i % 4},{START_S + i}" for i in range(9)]
    )
    rows = [f"v{i},4{i}.5,2.{i},{'food' if i < 2 else 'park'}" for i in range(4)]
    log = Log.open(log_file, items=write_csv(tmp_path / "venues.csv", "venue,lat,lon,category", rows))
    events = read(log)
    assert {"lat", "lon", "category"} <= log.roles
    assert events.lat_B[:4].tolist() == [40.5, 41.5, 42.5, 43.5]
    assert [log.names[int(k)] for k in events.category_B[:4]] == ["food", "food", "park", "park"]


def test_half_a_place_or_an_absurd_one_is_none() -> None:
    table = pa.table({"item": [1, 2, 3, 4], "lat": [48.0, None, 91, 1], "lon": [None, 2.0, 2, 1]})
    side = side_of([MemoryFile("venues", table)], "item", Names()).table
    filled = fill_places(events_of([1, 2, 3, 4]), side)
    np.testing.assert_array_equal(filled.lat_B, [np.nan, np.nan, np.nan, 1])
    np.testing.assert_array_equal(filled.lon_B, [np.nan, np.nan, np.nan, 1])


def test_parquet_types_are_kept(tmp_path: Path) -> None:
    table = pa.table(
        {"product_id": [5, 6, 7, 8], "aisle": pa.array(["a", "b", "a", "b"]).dictionary_encode()}
    )
    pq.write_table(table, tmp_path / "p.parquet")
    names = Names()
    side = read_side(tmp_path / "p.parquet", "item", names).table
    assert [keys(side, "aisle", row, names) for row in range(4)] == [["a"], ["b"], ["a"], ["b"]]


def test_a_list_of_texts_is_several_categories(tmp_path: Path) -> None:
    lines = [{"item": f"i{i}", "tags": ["Toys", f"c{i % 3}"], "sizes": [1.5] * i} for i in range(8)]
    (tmp_path / "items.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    pq.write_table(pa.Table.from_pylist(lines), tmp_path / "items.parquet")
    for path in (tmp_path / "items.jsonl", tmp_path / "items.parquet"):
        names = Names()
        side = read_side(path, "item", names)
        assert len(side.table) == 8
        at = side.table.rows(np.array([key_of("i4")]), np.zeros(1, np.int64))[0]
        assert keys(side.table, "tags", at, names) == ["Toys", "c1"]
        assert (side.bad, side.warnings) == ([], [])
        assert side.notes == [
            f"{path.name}: column 'sizes' is not used: it holds lists of numbers that are no vectors: ids, or"
            " of many lengths"
        ]


def test_lists_of_numbers_of_one_length_are_vectors(tmp_path: Path) -> None:
    cells: list[object] = [[0.1, -2, i] for i in range(20)]
    cells[3:6] = [None, [1.0], [1, "x", 2]]
    lines = [{"item": i, "photo": cell} for i, cell in enumerate(cells)]
    (tmp_path / "items.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    side = read_side(tmp_path / "items.jsonl", "item", Names())
    vector_NV = side.table.vectors["photo"]
    assert vector_NV.dtype == np.float32
    assert vector_NV.shape == (20, 3)
    np.testing.assert_array_equal(vector_NV[7], np.array([0.1, -2, 7], np.float32))
    assert not vector_NV[3:6].any()
    assert side.notes == [
        "items.jsonl: column 'photo': 2 of 20 cells are no vectors of 3 numbers: missing",
    ]


def test_one_dash_among_prices_is_missing_and_counted(tmp_path: Path) -> None:
    rows = [f"i{i},{'-' if i == 3 else i + 0.5}" for i in range(8)]
    side = read_side(write_csv(tmp_path / "items.csv", "item,price", rows), "item", Names())
    at = side.table.rows(np.array([key_of("i3"), key_of("i4")]), np.zeros(2, np.int64))
    np.testing.assert_array_equal(side.table.numbers["price"][at], [np.nan, 4.5])
    assert side.notes == ["items.csv: column 'price': 1 of 8 cells are no numbers of use ('-'): missing"]
    sizes = [f"i{i},{size}" for i, size in enumerate(["S", "M", "38", "40", "S", "M", "38", "40"])]
    assert (
        read_side(write_csv(tmp_path / "sizes.csv", "item,size", sizes), "item", Names()).table.numbers == {}
    )


def test_rows_that_cannot_be_used_are_dead_letters_beside_those_of_the_log(tmp_path: Path) -> None:
    rows = ["i1,5,2017-01-01", "i2", ",6,2017-01-01", "i3,7,2999-01-01", "i4,8,2017-01-01", "i4,9,2017-01-01"]
    items = write_csv(tmp_path / "items.csv", "item,price,valid_from", rows)
    events = write_csv(
        tmp_path / "log.csv", "user,item,time", [f"u,i{i % 5},{START_S + i}" for i in range(20)]
    )
    log = Log.open(events, items=items)
    assert log.items is not None
    assert len(log.items) == 3
    assert log.warnings == [
        "items.csv: 3 of 6 rows are left out (1 x wrong number of fields, 1 x no item,"
        " 1 x bad time: out of bounds); see the dead letters"
    ]
    assert "items.csv: 1 rows have the item and the time of a later one, which counts" in log.notes
    assert sum(len(batch) for batch in log.batches(64, dead_letters=tmp_path)) == 20
    letters = [json.loads(line) for line in (tmp_path / "dead_letters.jsonl").read_text().splitlines()]
    assert [(letter["file"], letter["row_number"], letter["reason"]) for letter in letters] == [
        (str(items), 3, "wrong number of fields"),
        (str(items), 4, "no item"),
        (str(items), 5, "bad time: out of bounds"),
    ]
    assert log.dead.counts == {}


def test_columns_that_are_not_used_are_named(tmp_path: Path) -> None:
    rows = [f"i{i},{i * 7919:x}z,,a,{i % 2}" for i in range(8)]
    side = read_side(write_csv(tmp_path / "items.csv", "item,foreign,empty,Kind,kind", rows), "item", Names())
    assert set(side.table.categories) == {"kind"}
    assert side.notes == [
        "items.csv: column 'kind' is not used: 'Kind' is called the same",
        "items.csv: column 'foreign' is not used: nearly every row has a word of its own",
        "items.csv: column 'empty' is not used: nothing is in it",
    ]


def test_a_second_column_from_which_a_row_might_hold_is_named(tmp_path: Path) -> None:
    rows = ["1,2024-01-01,2023-01-01", "2,2024-01-02,2023-01-02"]
    side = read_side(write_csv(tmp_path / "a.csv", "item,updated_at,valid_from", rows), "item", Names())
    assert "a.csv: column 'valid_from' is not used: rows hold from 'updated_at'" in side.notes


def test_a_table_of_others_is_warned_of(tmp_path: Path) -> None:
    events = write_csv(
        tmp_path / "log.csv", "user,item,time", [f"u{i},i{i % 5},{START_S + i}" for i in range(20)]
    )
    items = write_csv(tmp_path / "items.csv", "item,price", [f"{i},5" for i in range(5)])
    users = write_csv(tmp_path / "users.csv", "user,age", [f"u{i},5" for i in range(15)])
    log = Log.open(events, items=items, users=users)
    assert log.warnings == [
        "items.csv: describes the items of 0.0% of the events only: are its ids written as those of the log?"
    ]
