"""A log, opened: filters, labels, order, dead letters, and what is said about them."""

import json
from pathlib import Path

import numpy as np
import pytest

from replay.log import Log
from replay.meaning.mapping import Mapping
from state.errors import InputError
from state.keys import NO_KEY, key_of
from tests.replay.events import START_S, read, same, write_csv

HEADER = "user_id,item_id,timestamp,rating"


def ratings(count: int = 500) -> list[str]:
    return [f"u{i % 7},i{i % 11},{START_S + i},{i % 5 + 1}" for i in range(count)]


def test_a_log_with_usual_names_needs_nothing(tmp_path: Path) -> None:
    log = Log.open(write_csv(tmp_path / "a.csv", HEADER, ratings()))
    events = read(log)
    assert (log.rows, len(events), log.label_rule, log.labelled) == (500, 500, "rating>=4", True)
    assert log.roles == {"user", "item", "time", "rating", "label"}
    assert events.user_B[0] == key_of("u0")
    assert log.names[int(events.item_B[12])] == "i1"
    assert events.time_ms_B[:2].tolist() == [START_S * 1000, START_S * 1000 + 1000]
    assert events.label_B[:5].tolist() == [0, 0, 0, 1, 1]
    assert events.offset_B.tolist() == list(range(500))
    assert set(events.place_B.tolist()) == {NO_KEY}
    assert "label: rating>=4, as the ratings go up to 5; another by --label" in log.notes


@pytest.mark.parametrize(
    ("label", "rule", "positives"),
    [("rating>=2", "rating>=2", 400), ("rating==5", "rating==5", 100), ("none", None, 0)],
)
def test_a_rule_may_be_given(tmp_path: Path, label: str, rule: str | None, positives: int) -> None:
    log = Log.open(write_csv(tmp_path / "a.csv", HEADER, ratings()), label=label)
    assert log.label_rule == rule
    assert np.nansum(read(log).label_B) == positives
    assert log.labelled == ("label" in log.roles) == (rule is not None)


def test_a_rule_may_name_a_column_without_a_role(tmp_path: Path) -> None:
    path = write_csv(tmp_path / "a.csv", "user,item,time,dwell", [f"1,2,{START_S},10", f"1,3,{START_S},40"])
    assert read(Log.open(path, label="dwell>30")).label_B.tolist() == [0, 1]
    with pytest.raises(InputError, match="no role or column 'watched'; there are user, item, time, dwell"):
        Log.open(path, label="watched>30")


def test_time_and_number_are_limits(tmp_path: Path) -> None:
    path = write_csv(tmp_path / "a.csv", HEADER, ratings())
    log = Log.open(path, between=(str(START_S + 100), str(START_S + 300)), limit=50)
    events = read(log)
    assert (log.rows, len(events), log.survey.rows) == (50, 50, 200)
    assert events.time_ms_B[0] == (START_S + 100) * 1000
    assert events.offset_B.tolist() == list(range(50))
    with pytest.raises(InputError, match="no event between --from and --until"):
        Log.open(path, between=("2030-01-01", None))
    with pytest.raises(InputError, match="--limit 0: expected at least 1"):
        Log.open(path, limit=0)


@pytest.mark.parametrize("memory_mb", [256, 0])
def test_a_log_out_of_order_is_sorted_and_says_so(tmp_path: Path, memory_mb: int) -> None:
    rows = ratings(2000)
    mixed = [rows[i] for i in np.random.default_rng(0).permutation(2000)]
    log = Log.open(write_csv(tmp_path / "a.csv", HEADER, mixed), memory_mb=memory_mb)
    straight = Log.open(write_csv(tmp_path / "b.csv", HEADER, rows))
    assert not log.survey.in_order
    assert "sorted by time: the log was not in time order" in log.notes
    assert same(read(log), read(straight))


def test_ties_sorted_by_item_are_shuffled_by_seed(tmp_path: Path) -> None:
    rows = [f"u{t},{i},{START_S + t}" for t in range(200) for i in range(6)]
    path = write_csv(tmp_path / "a.csv", "user,item,time", rows)
    log, again, other = Log.open(path), Log.open(path), Log.open(path, seed=1)
    assert log.survey.ties_sorted
    assert any(note.startswith("equal times shuffled by seed: 100%") for note in log.notes)
    items = read(log).item_B.reshape(200, 6)
    assert {tuple(sorted(row)) for row in items.tolist()} == {tuple(range(6))}
    assert 0.4 < np.mean(np.diff(items) > 0) < 0.6
    assert same(read(log), read(again, size=17))
    assert not same(read(log), read(other))
    assert same(read(log, skip=333), read(log).take(slice(333, None)))


def test_ties_that_say_nothing_stay_as_they_are(tmp_path: Path) -> None:
    draw = np.random.default_rng(0).integers(50, size=1200).tolist()
    rows = [f"u,{item},{START_S + i // 6}" for i, item in enumerate(draw)]
    log = Log.open(write_csv(tmp_path / "a.csv", "user,item,time", rows))
    assert not log.survey.ties_sorted
    assert read(log).item_B.tolist() == draw


def test_sessions_stand_in_for_users_and_rows_for_the_clock(tmp_path: Path) -> None:
    path = write_csv(tmp_path / "a.csv", "session_id,item_id,tz", ["s,1,120", "s,2,", "t,3,60"])
    log = Log.open(path, mapping=Mapping.of(["time=@row"]))
    events = read(log)
    assert events.user_B.tolist() == [key_of("s"), key_of("s"), key_of("t")]
    assert events.time_ms_B.tolist() == [0, 1000, 2000]
    assert events.tz_min_B.tolist() == [120, 0, 60]
    assert log.survey.unit == "tick"


def test_a_zone_gives_local_time(tmp_path: Path) -> None:
    path = write_csv(tmp_path / "a.csv", "user,item,time", ["1,2,2017-01-15", "1,2,2017-07-15"])
    log = Log.open(path, mapping=Mapping.of(["tz=America/New_York"]))
    assert read(log).tz_min_B.tolist() == [-300, -240]
    assert "tz" in log.roles


BAD_ROWS = {
    f"u1,i1,{START_S}": ("wrong number of fields", "u1,i1,1500000000"),
    f"u1,i1,{START_S},5,48,2,9": ("wrong number of fields", "u1,i1,1500000000,5,48,2,9"),
    f",i1,{START_S},5,48,2": ("no user", None),
    f"u1,NaN,{START_S},5,48,2": ("no item", "NaN"),
    "u1,i1,,5,48,2": ("no time", None),
    "u1,i1,soon,5,48,2": ("bad time", "soon"),
    "u1,i1,nan,5,48,2": ("bad time", "nan"),
    "u1,i1,86400,5,48,2": ("bad time: out of bounds", "86400"),
    "u1,i1,9999999999,5,48,2": ("bad time: out of bounds", "9999999999"),
    f"u1,i1,{START_S},five,48,2": ("bad rating", "five"),
    f"u1,i1,{START_S},nan,48,2": ("no label", "nan"),
    f"u1,i1,{START_S},,48,2": ("no label", None),
    f"u1,i1,{START_S},5,north,2": ("bad lat", "north"),
    f"u1,i1,{START_S},5,90.5,2": ("bad lat", "90.5"),
    f"u1,i1,{START_S},5,48,-181": ("bad lon", "-181"),
}


@pytest.mark.parametrize("suffix", ["csv", "tsv"])
def test_bad_rows_are_written_down_and_stop_nothing(tmp_path: Path, suffix: str) -> None:
    good = [f"u{i % 7},i{i % 11},{START_S + i},{i % 5 + 1},48.5,2.5" for i in range(200)]
    lines = [*good[:100], *BAD_ROWS, "", *good[100:]]
    separator = "," if suffix == "csv" else "\t"
    path = write_csv(tmp_path / f"a.{suffix}", f"{HEADER},lat,lon".replace(",", separator), [])
    path.write_text(path.read_text() + "\n".join(lines).replace(",", separator))
    log = Log.open(path)
    events = list(log.batches(64, dead_letters=tmp_path / "out"))
    assert sum(map(len, events)) == log.rows == 200
    letters = [
        json.loads(line) for line in (tmp_path / "out" / "dead_letters.jsonl").read_text().splitlines()
    ]
    assert [letter["reason"] for letter in letters] == [reason for reason, _ in BAD_ROWS.values()]
    assert [letter["row_number"] for letter in letters] == list(range(102, 102 + len(BAD_ROWS)))
    assert {letter["file"] for letter in letters} == {str(path)}
    for letter, (_, shown) in zip(letters, BAD_ROWS.values(), strict=True):
        cells = letter["row"]
        if isinstance(cells, dict):
            assert shown in cells.values()
        else:
            assert cells == str(shown).replace(",", separator)
    assert sum(log.dead.counts.values()) == sum(log.survey.dead.values()) == len(BAD_ROWS)


def test_bad_json_rows_cost_themselves_only(tmp_path: Path) -> None:
    good = [f'{{"user_id": "u{i % 7}", "item_id": {i % 11}, "timestamp": {START_S + i}}}' for i in range(100)]
    bad = {
        '{"user_id": "u1", "item_': "malformed json",
        "hello": "malformed json",
        "[1, 2]": "wrong type",
        f'{{"user_id": ["u", "v"], "item_id": 3, "timestamp": {START_S}}}': "wrong type",
        f'{{"user_id": null, "item_id": 3, "timestamp": {START_S}}}': "no user",
        f'{{"user_id": "u", "timestamp": {START_S}}}': "no item",
    }
    (tmp_path / "a.jsonl").write_text("\n".join([*good[:50], *bad, *good[50:]]))
    log = Log.open(tmp_path / "a.jsonl")
    events = read(log)
    assert len(events) == 100
    assert set(events.item_B.tolist()) == set(range(11))
    assert log.dead.counts == {"malformed json": 2, "wrong type": 2, "no user": 1, "no item": 1}


def test_dead_letters_after_the_last_event_are_read_too(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.mkdir()
    write_csv(log / "a.csv", "user,item,time", [f"1,2,{START_S}", f"1,3,{START_S + 1}"])
    write_csv(log / "b.csv", "user,item,time", [f"1,,{START_S + 2}", "torn"])
    opened = Log.open(log)
    assert len(read(opened)) == 2
    assert opened.dead.counts == opened.survey.dead == {"no item": 1, "wrong number of fields": 1}


def test_bounds_of_time_may_be_moved(tmp_path: Path) -> None:
    path = write_csv(tmp_path / "a.csv", "user,item,time", ["1,2,1980-05-01", "1,2,2000-05-01"])
    assert Log.open(path).rows == 1
    assert Log.open(path, mapping=Mapping.of(["earliest=1970-01-01"])).rows == 2


def test_parts_with_other_columns_are_refused(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.mkdir()
    write_csv(log / "a.csv", "user,item,time,rating", [f"1,2,{START_S},{r}" for r in (1, 3, 5)])
    write_csv(log / "b.csv", "user,item,time", [f"1,2,{START_S}"])
    assert Log.open(log).rows == 3
