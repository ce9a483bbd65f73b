"""Messages about items: each is the row that a file with the same object would have."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from replay.meaning.side_changes import change_of, rows_of, unknown
from replay.meaning.sides import ReadSide, side_of
from replay.reading.files import open_file
from state.keys import Names
from state.side import ALWAYS, SideTable
from streams.wire.message import Fault

WORDS = st.sampled_from(["red", "blue", "Ärger", "x y", "7", "1.5", "007"])
OBJECTS = st.fixed_dictionaries(
    {},
    optional={
        "price": st.none() | st.integers(-9, 9) | st.floats(-1e6, 1e6) | st.sampled_from(["3", "1e3", "nan"]),
        "colour": st.none() | WORDS | st.integers(0, 3),
        "genres": st.none() | st.lists(WORDS, max_size=4),
        "tags": st.none() | st.sampled_from(["a|b", "b", "c|a|b", "a | c"]),
        "title": st.none() | st.sampled_from(["The Third Man", "A Film, or Two", "Alien 3 again"]),
        "photo": st.none() | st.lists(st.integers(-3, 3) | st.floats(-1, 1), min_size=3, max_size=3),
        "lat": st.none() | st.floats(-100, 100),
        "lon": st.none() | st.floats(-180, 180),
        "released": st.none() | st.sampled_from(["1995-01-01", "2017-03-04T10:00:00"]),
    },
)
FIRST = [
    {
        **{"item": f"i{i}", "price": i, "colour": ["red", "blue"][i % 2], "genres": ["x y", "red"][: i % 3]},
        **{"tags": ["a|b", "b|c", "c"][i % 3], "title": f"The film number {i}", "photo": [i, 0.5, -1]},
        **{"lat": i / 2, "lon": -i, "released": f"19{70 + i}-01-01"},
    }
    for i in range(24)
]


def written(rows: list[dict[str, Any]], folder: Path, names: Names) -> ReadSide:
    path = folder / "items.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return side_of([open_file(path)], "item", names)


def row_of(table: SideTable, row: int, names: Names) -> dict[str, Any]:
    """All that a row says, NaN as None."""
    numbers = {name: value_N[row] for name, value_N in table.numbers.items()}
    if table.lat_N is not None and table.lon_N is not None:
        numbers |= {"lat": table.lat_N[row], "lon": table.lon_N[row]}
    return {
        **{name: None if np.isnan(value) else float(value) for name, value in numbers.items()},
        **{name: text_N[row] for name, text_N in table.texts.items()},
        **{name: vector_NV[row].tolist() for name, vector_NV in table.vectors.items()},
        **{
            name: [names[int(key)] for key in column.keys[column.start_N1[row] : column.start_N1[row + 1]]]
            for name, column in table.categories.items()
        },
    }


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
@given(said=OBJECTS)
def test_a_message_is_the_row_of_a_file_with_the_same_object(said: dict[str, Any], tmp_path: Path) -> None:
    names = Names()
    first = written(FIRST, tmp_path, names)
    assert first.kinds == {
        **{"price": "number", "colour": "category", "genres": "categories", "tags": "categories"},
        **{"title": "text", "photo": "vector", "lat": "place", "lon": "place", "released": "number"},
    }
    whole = written([*FIRST, {"item": "new", **said}], tmp_path, names)
    assert whole.columns == first.columns
    change = change_of(b"new", json.dumps(said).encode(), first.columns)
    alone = rows_of([change], np.array([ALWAYS]), first.columns, names)
    [row] = whole.table.rows(alone.id_N, np.zeros(1, np.int64)).tolist()
    assert row_of(alone, 0, names) == row_of(whole.table, row, names)


def test_a_message_may_say_from_when_it_holds(tmp_path: Path) -> None:
    columns = written(FIRST, tmp_path, Names()).columns
    for since in ("2017-03-04", 1_488_585_600_000):
        said = json.dumps({"since": since, "price": 1}).encode()
        assert change_of(b"i1", said, columns).since_ms == 1_488_585_600_000
    assert change_of(b"i1", b'{"price": 1}', columns).since_ms is None


def test_what_is_no_column_is_named(tmp_path: Path) -> None:
    columns = written(FIRST, tmp_path, Names()).columns
    change = change_of(b"i1", b'{"item": "i1", "since": null, "Price": 1, "stock": 3, "old": null}', columns)
    assert unknown([change], columns) == {"stock"}


@pytest.mark.parametrize(
    ("key", "value", "reason"),
    [
        (None, b"{}", "no key"),
        (b"\xff", b"{}", "bad item"),
        (b"x" * 3000, b"{}", "bad item"),
        (b"i", b"{", "malformed json"),
        (b"i", b'{"a": "\xff"}', "malformed json"),
        (b"i", b"[" * 100_000, "malformed json"),
        (b"i", b"[]", "not an item"),
        (b"i", b" " * 1_000_001, "oversized"),
        (b"i", b'{"since": "yesterday"}', "bad time"),
        (b"i", b'{"since": 1500000000}', "bad time: looks like seconds"),
    ],
)
def test_what_is_no_message_about_an_item_says_why(key: bytes | None, value: bytes, reason: str) -> None:
    with pytest.raises(Fault) as fault:
        change_of(key, value)
    assert fault.value.reason == reason
