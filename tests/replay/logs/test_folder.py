"""A folder as a log: which files are its events, what their path says, and that none goes without a word."""

import gzip
import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from replay.inspect import inspect
from replay.log import Log
from replay.meaning.mapping import Mapping
from state.errors import InputError
from state.keys import NO_KEY
from streams.times import moment_ms
from tests.replay.events import START_S, read, write_csv

HEADER = "user,item,time,rating"


def rows(first: int, count: int, more: str = "") -> list[str]:
    return [f"u{i % 5},i{i % 7},{START_S + i},{i % 5 + 1}{more}" for i in range(first, first + count)]


def months(top: Path, count: int = 3) -> Path:
    top.mkdir()
    for month in range(count):
        write_csv(top / f"2024-0{month + 1}.csv", HEADER, rows(month * 10, 10))
    return top


def test_files_with_the_columns_in_use_belong_to_the_log_whatever_else_they_have(tmp_path: Path) -> None:
    top = months(tmp_path / "log")
    write_csv(top / "2024-04.csv", f"device,{HEADER}", ["phone," + row for row in rows(30, 10)])
    log = Log.open(top)
    assert (log.rows, log.survey.dead, log.warnings) == (40, {}, [])
    assert "folder: events: 4 files" in log.notes


def test_a_column_with_a_role_that_only_some_files_have_is_named(tmp_path: Path) -> None:
    top = months(tmp_path / "log")
    write_csv(top / "2024-04.csv", f"{HEADER},category", rows(30, 10, ",a"))
    log = Log.open(top)
    assert log.rows == 40
    assert log.warnings == ["column 'category' (category) is not read: it is in 2024-04.csv only"]


def test_a_file_that_lacks_a_column_in_use_is_named_with_the_cure(tmp_path: Path) -> None:
    top = months(tmp_path / "log")
    write_csv(top / "2024-04.csv", "user,item,time", [row.rpartition(",")[0] for row in rows(30, 10)])
    log = Log.open(top)
    assert log.rows == 30
    (warning,) = log.warnings
    assert warning == (
        "2024-04.csv left out: no column 'rating', which the log's other files have and which is in use;"
        " --map rating= goes without, and takes them all"
    )
    assert warning in inspect(log).warnings
    assert Log.open(top, mapping=Mapping.of(["rating="])).rows == 40


def test_whatever_is_not_used_is_named(tmp_path: Path) -> None:
    top = months(tmp_path / "log")
    (top / "2024-04.csv").write_bytes(b"")
    (top / "2024-05.csv.gz").write_bytes(gzip.compress(b""))
    (top / "2024-06.csv").write_bytes(b"\xef\xbb\xbf")
    (top / "2024-07.json").write_bytes(b"[]\n")
    (top / "README.md").write_text("hello")
    write_csv(top / "weather.csv", "station,mm", ["a,1", "a,2"])
    write_csv(top / "items-1.csv", "item,price", ["i1,3", "i2,4"])
    write_csv(top / "items-2.csv", "item,price", ["i3,5"])
    for hidden in ("_SUCCESS", ".part.csv.crc", ".hidden.csv", "_temporary/x.csv"):
        (top / hidden).parent.mkdir(exist_ok=True)
        (top / hidden).write_text("no,data\n1,2\n")
    log = Log.open(top)
    assert log.rows == 30
    assert log.items is not None
    assert len(log.items) == 3
    assert log.notes[:3] == [
        "folder: events: 3 files; items: items-1.csv, items-2.csv",
        "folder: 2024-04.csv, 2024-05.csv.gz, 2024-06.csv, 2024-07.json: empty, passed over",
        "folder: README.md: not read, as the suffix is none of a table",
    ]
    assert log.warnings == [
        "weather.csv left out: no events (no column 'user', 'item', 'time', 'rating'),"
        " and no table of items or users"
    ]


def test_tables_of_items_in_several_files(tmp_path: Path) -> None:
    """One of films with a column more since this year, and another one beside it."""
    top = months(tmp_path / "log")
    write_csv(top / "films-1.csv", "item,title,year", [f"i{i},A film of {i},199{i}" for i in range(5)])
    write_csv(
        top / "films-2.csv", "item,year,title,length", ["i5,2024,A new one,90", "i6,2024,Another one,80"]
    )
    write_csv(top / "links.csv", "item,imdb", [f"i{i},{i}" for i in range(7)])
    log = Log.open(top)
    assert log.items is not None
    assert len(log.items) == 7
    assert {"A film of 0", "Another one"} < set(log.items.texts["title"])
    assert log.warnings == [
        "links.csv left out: another table of items, with other columns; join them to one",
        "column 'length' is not read: it is in films-2.csv only",
    ]


def test_an_empty_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes(b"")
    with pytest.raises(
        InputError, match="no Parquet, CSV, JSON-lines or Arrow file in this folder, or empty ones only"
    ):
        Log.open(tmp_path)


def partition(top: Path, folder: str, first: int, kind: str = "parquet") -> None:
    (top / folder).mkdir(parents=True, exist_ok=True)
    columns = {
        "user": [f"u{i % 5}" for i in range(first, first + 10)],
        "item": [f"i{i % 7}" for i in range(first, first + 10)],
        "time": [START_S + i for i in range(first, first + 10)],
    }
    if kind == "parquet":
        pq.write_table(pa.table(columns), top / folder / "part-0.parquet")
    elif kind == "csv":
        cells = zip(*columns.values(), strict=True)
        write_csv(top / folder / "part-0.csv", ",".join(columns), [",".join(map(str, row)) for row in cells])
    else:
        made = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
        (top / folder / "part-0.jsonl").write_text("".join(json.dumps(row) + "\n" for row in made))


@pytest.mark.parametrize("kind", ["parquet", "csv", "jsonl"])
def test_name_value_folders_are_columns(tmp_path: Path, kind: str) -> None:
    partition(tmp_path, "action=buy", 0, kind)
    partition(tmp_path, "action=view", 10, kind)
    (tmp_path / "_SUCCESS").touch()
    log = Log.open(tmp_path, label="action==buy")
    events = read(log)
    assert "action" in log.roles
    assert [log.names[int(key)] for key in events.action_B[[0, 19]]] == ["buy", "view"]
    assert events.label_B.tolist() == [1] * 10 + [0] * 10


def test_values_in_a_path_are_quoted_or_missing(tmp_path: Path) -> None:
    partition(tmp_path, "scene=a%2Fb%20c/category=1", 0)
    partition(tmp_path, "scene=__HIVE_DEFAULT_PARTITION__/category=2", 10)
    log = Log.open(tmp_path)
    events = read(log)
    assert log.names[int(events.scene_B[0])] == "a/b c"
    assert set(events.scene_B[10:].tolist()) == {NO_KEY}
    assert events.category_B.tolist() == [1] * 10 + [2] * 10


def test_the_day_in_a_path_is_a_time_where_there_is_no_other(tmp_path: Path) -> None:
    for day in (1, 2):
        folder = tmp_path / f"dt=2024-01-0{day}"
        folder.mkdir()
        write_csv(folder / "part.csv", "user,item", [f"u{i},i{i}" for i in range(3)])
    log = Log.open(tmp_path)
    assert log.mapping.columns["time"] == "dt"
    assert read(log).time_ms_B.tolist() == [moment_ms("2024-01-01")] * 3 + [moment_ms("2024-01-02")] * 3
    partition(tmp_path / "other", "dt=2024-01-01", 0)
    assert Log.open(tmp_path / "other").mapping.columns["time"] == "time"


def test_a_column_of_the_file_goes_before_one_of_its_path(tmp_path: Path) -> None:
    folder = tmp_path / "user=somebody"
    folder.mkdir()
    write_csv(folder / "part.csv", HEADER, rows(0, 10))
    assert len(set(read(Log.open(tmp_path)).user_B.tolist())) == 5
