"""What is decided by the head of a log is checked by all of it, and every row is accounted for."""

import json
from pathlib import Path

import pytest

from replay.log import Log
from replay.logs.opening import HEAD_ROWS
from replay.meaning.mapping import Mapping
from state.errors import InputError
from streams.times import moment_ms
from tests.replay.events import START_S, read, write_csv


def open_csv(tmp_path: Path, header: str, rows: list[str], **options: object) -> Log:
    return Log.open(write_csv(tmp_path / "log.csv", header, rows), **options)  # type: ignore[arg-type]


def test_the_unit_is_that_of_most_of_the_log(tmp_path: Path) -> None:
    """The first rows are in seconds; then the sender was mended, and says milliseconds."""
    seconds = [f"u{i % 5},i{i % 7},{START_S + i}" for i in range(HEAD_ROWS)]
    milliseconds = [f"u{i % 5},i{i % 7},{(START_S + HEAD_ROWS + i) * 1000}" for i in range(HEAD_ROWS + 1)]
    log = open_csv(tmp_path, "user,item,time", seconds + milliseconds)
    assert (log.survey.unit, log.rows) == ("ms", HEAD_ROWS + 1)
    assert log.survey.dead == {"bad time: looks like seconds": HEAD_ROWS}
    assert "times are milliseconds by the whole log; its head looked like seconds" in log.notes


def test_the_scale_of_ratings_is_that_of_the_whole_log(tmp_path: Path) -> None:
    rows = [
        f"u{i % 5},i{i % 7},{START_S + i},{i % 5 + 1 + (5 if i > HEAD_ROWS else 0)}"
        for i in range(2 * HEAD_ROWS)
    ]
    log = open_csv(tmp_path, "user,item,time,rating", rows)
    assert log.label_rule == "rating>=8"
    assert "label: rating>=8, as the ratings go up to 10; another by --label" in log.notes


def test_a_few_strange_ratings_do_not_change_the_scale(tmp_path: Path) -> None:
    rows = [f"u{i % 5},i{i % 7},{START_S + i},{i % 5 + 1 if i != 4000 else 99}" for i in range(5000)]
    assert open_csv(tmp_path, "user,item,time,rating", rows).label_rule == "rating>=4"


def dated(days: list[str]) -> list[str]:
    return [f"u{i % 5},i{i % 7},{day} 09:00" for i, day in enumerate(days)]


def test_dates_of_forty_days_in_a_row_can_only_be_day_first(tmp_path: Path) -> None:
    days = [f"{i % 31 + 1:02}/{i // 31 + 1:02}/2024" for i in range(40)]
    log = open_csv(tmp_path, "user,item,time", dated(days))
    assert (log.rows, log.survey.dead, log.survey.in_order) == (40, {}, True)
    assert log.survey.last_ms == moment_ms("2024-02-09T09:00")
    assert "times: day first (%d/%m/%Y), as 19 can be nothing else (13/01/2024 09:00)" in log.notes


def test_the_head_may_fit_both_forms_and_the_rest_tell(tmp_path: Path) -> None:
    days = ["03/02/2024", "02/01/2024", "02/03/2024"] * (HEAD_ROWS // 3 + 1) + ["01/31/2024"]
    log = open_csv(tmp_path, "user,item,time", dated(days))
    assert (log.rows, log.survey.dead) == (len(days), {})
    assert log.survey.last_ms == moment_ms("2024-03-02T09:00")


def test_where_both_forms_fit_the_order_of_the_log_tells(tmp_path: Path) -> None:
    days = [f"{day:02}/{month:02}/2024" for month in range(1, 6) for day in range(1, 9)]
    for order in (days, days[::-1]):
        log = open_csv(tmp_path, "user,item,time", dated(order))
        assert (log.survey.first_ms, log.survey.last_ms) == (
            moment_ms("2024-01-01T09:00"),
            moment_ms("2024-05-08T09:00"),
        )
        assert "times: day first (%d/%m/%Y), as the log is in order of time so" in log.notes


UNDECIDED = ["03/02/2024", "02/01/2024", "02/03/2024", "01/04/2024"]


def test_where_nothing_tells_the_caller_is_asked(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="say which: --time-format '%d/%m/%Y' or --time-format '%m/%d/%Y'"):
        open_csv(tmp_path, "user,item,time", dated(UNDECIDED))
    for form, first in (("%d/%m/%Y", "2024-01-02"), ("%m/%d/%Y %H:%M", "2024-01-04")):
        log = open_csv(tmp_path, "user,item,time", dated(UNDECIDED), mapping=Mapping(time_format=form))
        assert (log.rows, log.survey.first_ms) == (4, moment_ms(f"{first}T09:00"))


def test_a_form_that_is_said_must_fit(tmp_path: Path) -> None:
    with pytest.raises(
        InputError, match=r"holds '03/02/2024 09:00', .*, which --time-format '%Y.%m.%d' does not fit"
    ):
        open_csv(tmp_path, "user,item,time", dated(UNDECIDED), mapping=Mapping(time_format="%Y.%m.%d"))


def test_bounds_are_said_as_the_log_says_its_times(tmp_path: Path) -> None:
    days = [f"{i + 10:02}/01/2024" for i in range(20)]
    log = open_csv(tmp_path, "user,item,time", dated(days), between=("12/01/2024", "2024-01-20"))
    assert (log.survey.first_ms, log.survey.last_ms) == (
        moment_ms("2024-01-12T09:00"),
        moment_ms("2024-01-19T09:00"),
    )


@pytest.mark.parametrize(
    ("header", "cells"),
    [
        ("user,item,date,clock", ["31/01/2024,09:30", "01/02/2024,9:45 PM"]),
        ("user,item,date,clock", ["2024-01-31,09:30:00", "2024-02-01,21:45:00"]),
        ("user,item,date,clock", ["20240131,09:30:00", "20240201,21:45"]),
    ],
)
def test_a_date_and_a_clock_may_stand_in_two_columns(tmp_path: Path, header: str, cells: list[str]) -> None:
    rows = [f"u{i},i{i},{cell}" for i, cell in enumerate(cells)]
    log = open_csv(tmp_path, header, [*rows, "u,i,2024-02-01,"], mapping=Mapping.of(["time=date+clock"]))
    assert read(log).time_ms_B.tolist() == [moment_ms("2024-01-31T09:30"), moment_ms("2024-02-01T21:45")]
    assert log.survey.dead == {"no time": 1}
    assert "time=date+clock" in log.mapping.flags()
    with pytest.raises(
        InputError, match="no column 'hour' for the role 'time'; there are user, item, date, clock"
    ):
        open_csv(tmp_path, header, rows, mapping=Mapping.of(["time=date+hour"]))


def test_a_column_of_clocks_goes_with_the_one_of_dates(tmp_path: Path) -> None:
    header, rows = "user,item,date,time", ["u,i,2024-01-31,09:30", "u,j,2024-02-01,9:45 PM"]
    log = open_csv(tmp_path, header, rows)
    assert log.mapping.columns["time"] == "date+time"
    assert "times: the columns 'date', 'time' together" in log.notes
    assert read(log).time_ms_B.tolist() == [moment_ms("2024-01-31T09:30"), moment_ms("2024-02-01T21:45")]
    with pytest.raises(InputError, match="holds no times, but '09:30', '9:45 PM'; map another"):
        open_csv(tmp_path, header, rows, mapping=Mapping.of(["time=time"]))
    whole = open_csv(tmp_path, header, ["u,i,2024-01-31,2024-01-31T09:30"])
    assert whole.mapping.columns["time"] == "time"


@pytest.mark.parametrize("cell", ["", "unknown"])
def test_times_may_begin_after_the_head(tmp_path: Path, cell: str) -> None:
    rows = [f"u{i % 5},i{i % 7},{cell if i < HEAD_ROWS else START_S + i}" for i in range(2 * HEAD_ROWS + 1)]
    log = open_csv(tmp_path, "user,item,time", rows)
    assert (log.survey.unit, log.rows) == ("s", HEAD_ROWS + 1)
    assert log.survey.dead == {"bad time" if cell else "no time": HEAD_ROWS}


def test_a_day_goes_with_its_month_and_year(tmp_path: Path) -> None:
    for day in (5, 6):
        folder = tmp_path / "log" / "year=2024" / "month=1" / f"day={day}"
        folder.mkdir(parents=True)
        write_csv(folder / "part.csv", "user,item", ["u,i", "v,j"])
    log = Log.open(tmp_path / "log")
    assert log.mapping.columns["time"] == "year+month+day"
    assert read(log).time_ms_B.tolist() == [moment_ms(f"2024-01-0{day}") for day in (5, 5, 6, 6)]


def test_a_log_out_of_bounds_is_told_how_to_move_them(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"not one of its rows is an event .* --map earliest"):
        open_csv(tmp_path, "user,item,time", ["u,i,1960-01-01", "u,j,1961-01-01"])


def test_rows_read_are_used_or_dead_or_left_out(tmp_path: Path) -> None:
    """Whatever comes after the limit: the last rows are bad, and are dead letters all the same."""
    good = [f"u{i % 5},i{i % 7},{START_S + i}" for i in range(500)]
    rows = [*good[:250], ",i1,1500000000", *good[250:], "u1,i1,soon", f"u1,,{START_S}"]
    log = open_csv(
        tmp_path, "user,item,time", rows, between=(str(START_S + 100), str(START_S + 400)), limit=200
    )
    used = sum(len(batch) for batch in log.batches(64, dead_letters=tmp_path))
    letters = [json.loads(line) for line in (tmp_path / "dead_letters.jsonl").read_text().splitlines()]
    assert (used, log.left_out, len(letters)) == (200, 300, 3)
    assert log.dead.counts == log.survey.dead == {"no user": 1, "bad time": 1, "no item": 1}


@pytest.mark.parametrize("as_array", [False, True])
def test_a_key_that_comes_late_is_a_column(tmp_path: Path, as_array: bool) -> None:
    """Feedback was logged from some day on."""
    rows = [
        {
            "user": f"u{i % 5}",
            "item": f"i{i % 7}",
            "time": START_S + i,
            **({"label": i % 2} if i >= 1100 else {}),
        }
        for i in range(1200)
    ]
    lines = [json.dumps(row) for row in rows]
    text = f"[{', '.join(lines)}]" if as_array else "\n".join(lines)
    (tmp_path / "log.json").write_text(text)
    log = Log.open(tmp_path / "log.json")
    assert (log.labelled, log.rows, log.survey.dead) == (True, 100, {"no label": 1100})
    assert log.warnings == [
        "1,100 of 1,200 rows have no label: dead letters; --label none takes every event as a positive"
    ]


def test_a_key_of_a_line_among_broken_ones_is_a_column(tmp_path: Path) -> None:
    lines = [f'{{"user": "u", "item": {i}, "time": {START_S + i}}}' for i in range(1500)]
    lines[1200] = '{"user": '
    lines[1300] = lines[1300].replace("}", ', "category": "new"}')
    (tmp_path / "log.jsonl").write_text("\n".join(lines))
    assert "category" in Log.open(tmp_path / "log.jsonl").roles
