"""What `data inspect` says of a log."""

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from ebbtide.commands.app import app
from replay.inspect import inspect, known_logs
from replay.log import Log
from replay.meaning.mapping import Mapping
from tests.replay.events import START_S, write_csv


def test_it_proposes_a_mapping_that_works(tmp_path: Path) -> None:
    rows = [f"u{i % 7},{i % 5},{START_S + 60 * i},{i % 5}" for i in range(300)]
    path = write_csv(tmp_path / "a.csv", "userId,movieId,timestamp,rating", [*rows, "broken"])
    seen = inspect(Log.open(path))
    assert seen.map_flags == ["user=userId", "item=movieId", "time=timestamp", "rating=rating"]
    (tmp_path / "m.toml").write_text(seen.mapping_toml)
    assert Mapping.read(tmp_path / "m.toml") == Log.open(path).mapping
    lines = dict(seen.rows())
    assert lines["events"] == "300 of 301 rows"
    assert lines["time"] == "2017-07-14 02:40:00 to 2017-07-14 07:39:00 UTC (0.2 days; unit s)"
    assert lines["label"] == "rating>=4: 20.0% positive"
    assert lines["dead letters"] == "1 x wrong number of fields"
    report = json.loads(json.dumps(seen.report(), allow_nan=False))
    assert report["survey"]["first"] == "2017-07-14 02:40:00"
    assert report["survey"]["session_item_repeat"] is None


def test_it_warns_of_what_would_mislead(tmp_path: Path) -> None:
    rows = [f"u{t},{i},{START_S + 86400 * t},1" for t in (*range(30), *range(60, 90)) for i in range(6)]
    path = write_csv(tmp_path / "a.csv", "user,item,time,label", [*rows, *["?"] * 50])
    said = inspect(Log.open(path)).warnings
    assert [text.split(":")[0] for text in said[:2]] == [
        "the order inside equal times looks sorted by item and would leak what comes next",
        "50 of 410 rows are no events; see the dead letters",
    ]
    assert any(text.startswith("most events tie with the one before") for text in said)
    assert any(text.startswith("all labels are the same") for text in said)
    assert "nothing happens from 2017-08-12 03:00:00 to 2017-09-12 02:00:00" in said


def test_ticks_are_shown_as_ticks(tmp_path: Path) -> None:
    seen = inspect(Log.open(write_csv(tmp_path / "a.csv", "student,skill,order", ["1,2,0", "1,3,1"])))
    assert dict(seen.rows())["time"] == "ticks 0 to 1: an order, no clock"
    assert "times give an order and no more: hours and weekdays mean nothing here" in seen.warnings


def test_side_tables_are_shown() -> None:
    seen = inspect(Log.open("planted:users=20,events=500"))
    assert seen.items == {"price": "number", "category": "category", "tags": "categories", "title": "text"}
    assert seen.users == {"group": "category"}


def test_known_logs_are_listed() -> None:
    names = [log["name"] for log in known_logs()]
    assert [name for name in names if not name.startswith("openbandit")] == [
        "completejourney",
        "movielens-100k",
        "planted",
    ]
    assert all(log["about"] and log["licence"] for log in known_logs())


@pytest.mark.parametrize("name", ["[/bold]", "a\x1b[31mb", 'say "time"', "a\\b", "tab\tbed", "日"])
def test_a_column_may_be_called_anything(tmp_path: Path, name: str) -> None:
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"user": [1, 2], "item": [1, 2], name: [START_S, START_S + 1]}), path)
    told = inspect(Log.open(path, mapping=Mapping.of([f"time={name}"])))
    (tmp_path / "m.toml").write_text(told.mapping_toml)
    assert Mapping.read(tmp_path / "m.toml").columns["time"] == name
    shown = CliRunner().invoke(app, ["data", "inspect", str(path), "--map", str(tmp_path / "m.toml")])
    assert shown.exit_code == 0, shown.output
    assert all(line.isprintable() for line in shown.output.splitlines())
