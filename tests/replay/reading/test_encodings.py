"""How a table is stored never decides what it means: in every encoding it is one log, bit for bit."""

import json
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from replay.log import Log
from replay.meaning.sides import side_of
from replay.reading.files import open_file
from replay.reading.tables import MemoryFile
from state.keys import Names
from state.side import SideTable
from streams.schema import EventBatch
from streams.wire.decode import decode
from streams.wire.message import Message
from tests.replay.encodings import (
    STORED,
    Table,
    iso,
    side_tables,
    tables,
    write_arrow,
    write_json,
    write_parquet,
    write_separated,
)
from tests.replay.events import read, same

WIRED = ("partition_B", "offset_B", "index_B")


def plainly(table: Table, folder: Path) -> Log:
    """The table in the first, plainest way to store each column."""
    arrays = {name: STORED[kind][0](table.cells[name]) for name, kind in table.kinds.items()}
    pq.write_table(pa.table(arrays), folder / "plain.parquet")
    return Log.open(folder / "plain.parquet")


def assert_one_log(a: Log, b: Log) -> None:
    first, second = read(a), read(b)
    differing = [name for name in EventBatch.__slots__ if not same_column(first, second, name)]
    assert differing == []
    assert dict(a.names.items()) == dict(b.names.items())
    assert repr(replace(a.survey, unit="")) == repr(replace(b.survey, unit=""))


def same_column(a: EventBatch, b: EventBatch, name: str) -> bool:
    return bool(getattr(a, name).tobytes() == getattr(b, name).tobytes())


@given(tables(), st.sampled_from([write_arrow, write_parquet, write_separated, write_json]), st.data())
@settings(max_examples=50)
def test_a_table_in_any_file_is_one_log(table: Table, write: Any, data: st.DataObject) -> None:
    with TemporaryDirectory() as folder:
        assert_one_log(plainly(table, Path(folder)), Log.open(write(data.draw, table, Path(folder))))


def described(side: SideTable, names: Names) -> dict[str, Any]:
    """All that a side table holds, by name."""
    categories = {
        name: [
            [names[int(key)] for key in column.keys[start:end]] for start, end in pairwise(column.start_N1)
        ]
        for name, column in side.categories.items()
    }
    numbers = {name: column.tolist() for name, column in side.numbers.items()}
    return {
        "id": side.id_N.tolist(),
        "texts": side.texts,
        "categories": categories,
        "numbers": repr(sorted(numbers.items())),
    }


@given(side_tables(), st.sampled_from([write_arrow, write_parquet, write_separated, write_json]), st.data())
@settings(max_examples=40)
def test_a_side_table_in_any_file_says_the_same(table: Table, write: Any, data: st.DataObject) -> None:
    with TemporaryDirectory() as folder:
        arrays = {name: STORED[kind][0](table.cells[name]) for name, kind in table.kinds.items()}
        names, others = Names(), Names()
        plain = side_of([MemoryFile("plain", pa.table(arrays))], "item", names)
        stored = side_of([open_file(write(data.draw, table, Path(folder)))], "item", others)
    assert described(plain.table, names) == described(stored.table, others)
    assert dict(names.items()) == dict(others.items())


@given(tables(), st.booleans(), st.booleans())
@settings(max_examples=25)
def test_a_table_on_the_wire_is_the_same_events(table: Table, in_words: bool, as_texts: bool) -> None:
    assume(
        all("7.0" not in cells for cells in table.cells.values())
    )  # a message alone cannot tell how a column is written

    def written(name: str, cell: Any) -> Any:
        match table.kinds[name]:
            case "truth":
                return float(cell)
            case "time":
                return iso(cell) if in_words else cell
            case "whole" if not as_texts:
                return cell
            case "number" | "place":
                return cell
        return str(cell)

    with TemporaryDirectory() as folder:
        expected = read(plainly(table, Path(folder)))
    rows = [
        {name: written(name, cell) for name, cell in row.items() if cell is not None}
        for row in table.rows()
        if row["item"] is not None and row["label"] is not None
    ]
    in_json = decode([Message(json.dumps(row).encode(), b"key") for row in rows])
    assert (in_json.rejected, same(in_json.events, expected, WIRED)) == ([], True)
    columns = {name: [row.get(name) for row in rows] for name in table.kinds}
    if in_words:
        columns["time"] = pa.array([row["time"] for row in rows]).cast(pa.timestamp("us", "UTC"))
    batch = pa.record_batch(columns)
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, batch.schema) as writer:
        writer.write_batch(batch)
    in_arrow = decode([Message(sink.getvalue().to_pybytes(), b"key")])
    assert (in_arrow.rejected, same(in_arrow.events, expected, WIRED)) == ([], True)
