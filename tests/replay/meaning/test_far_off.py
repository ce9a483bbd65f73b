"""A lone time that is years from all others is somebody's wrong clock; a real gap is not."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from replay.inspect import inspect
from replay.log import Log
from replay.meaning.far_off import near
from replay.meaning.mapping import Mapping
from tests.replay.events import read, write_csv

FAR = "bad time: far from all others"
DAY = timedelta(days=1)
YEAR_H = 8766


def moments(start: str, count: int, apart: timedelta = DAY) -> list[datetime]:
    first = datetime.fromisoformat(start).replace(tzinfo=UTC)
    return [first + i * apart for i in range(count)]


def log_of(tmp_path: Path, times: list[datetime], *, users: int = 5, mapping: Mapping | None = None) -> Log:
    rows = [f"u{i % users},i{i % 7},{int(time.timestamp())}" for i, time in enumerate(times)]
    return Log.open(write_csv(tmp_path / "log.csv", "user,item,time", rows), mapping=mapping)


@pytest.mark.parametrize("at", [0, 17, 40])
@pytest.mark.parametrize("stray", ["2099-01-01", "1991-06-01"])
def test_one_row_decades_away_is_a_dead_letter_with_a_warning(tmp_path: Path, stray: str, at: int) -> None:
    times = moments("2024-01-01", 40)
    log = log_of(tmp_path, [*times[:at], *moments(stray, 1), *times[at:]])
    assert (log.rows, log.survey.dead, log.survey.in_order) == (40, {FAR: 1}, True)
    assert log.survey.first_ms == times[0].timestamp() * 1000
    assert log.survey.last_ms == times[-1].timestamp() * 1000
    (warning,) = log.warnings
    assert warning.startswith(
        "1 of 41 rows are years from all others (2024-01-01 00:00:00 to 2024-02-09 00:59:59)"
    )
    assert warning in inspect(log).warnings
    assert len([event for batch in log.batches(16, dead_letters=tmp_path) for event in batch.user_B]) == 40
    (letter,) = map(json.loads, (tmp_path / "dead_letters.jsonl").read_text().splitlines())
    assert (letter["reason"], letter["row_number"]) == (FAR, at + 2)
    assert letter["detail"] == "all others are from 2024-01-01 00:00:00 to 2024-02-09 00:59:59"


@pytest.mark.parametrize("users", [1, 2, 50])
def test_however_few_users_there_are(tmp_path: Path, users: int) -> None:
    log = log_of(tmp_path, [*moments("2024-01-01", 200), *moments("2060-01-01", 1)], users=users)
    assert log.survey.dead == {FAR: 1}


def test_a_real_gap_stays(tmp_path: Path) -> None:
    log = log_of(tmp_path, moments("1998-01-01", 300) + moments("2026-01-01", 300))
    assert (log.rows, log.survey.dead, log.warnings) == (600, {}, [])
    assert inspect(log).warnings == ["nothing happens from 1998-10-27 01:00:00 to 2026-01-01 00:00:00"]


def test_a_lone_row_beside_a_real_gap_is_found(tmp_path: Path) -> None:
    times = moments("1998-01-01", 300) + moments("2026-01-01", 300) + moments("2099-01-01", 1)
    assert log_of(tmp_path, times).survey.dead == {FAR: 1}


def test_a_month_that_is_far_off_is_warned_of_and_kept(tmp_path: Path) -> None:
    log = log_of(tmp_path, moments("2024-01-01", 300) + moments("2099-01-01", 30))
    assert (log.rows, log.survey.dead) == (330, {})
    assert any("nothing happens from" in warning for warning in inspect(log).warnings)


@pytest.mark.parametrize(
    "times",
    [
        moments("2024-01-01", 2) + moments("2099-01-01", 1),
        moments("2024-01-01", 18) + moments("2099-01-01", 1),
        moments("2024-01-01", 1) + moments("2090-01-01", 1),
        moments("2024-01-01", 1),
    ],
)
def test_a_tiny_log_cannot_tell(tmp_path: Path, times: list[datetime]) -> None:
    assert log_of(tmp_path, times).survey.dead == {}


def test_a_gap_shorter_than_what_is_known_of_the_log_stays(tmp_path: Path) -> None:
    monthly = moments("1995-01-01", 300, 30 * DAY)
    assert log_of(tmp_path, [*monthly, *moments("2030-01-01", 1)]).survey.dead == {}
    assert log_of(tmp_path, [*monthly, *moments("2095-01-01", 1)]).survey.dead == {FAR: 1}


def test_several_strays_on_both_sides_are_found_one_after_another(tmp_path: Path) -> None:
    strays = [moments(day, 1)[0] for day in ("1990-01-01", "2070-01-01", "2071-01-01", "2099-12-31")]
    log = log_of(tmp_path, moments("2024-01-01", 5000, timedelta(minutes=5)) + strays)
    assert (log.rows, log.survey.dead) == (5000, {FAR: 4})


def test_bounds_that_are_said_are_taken_as_said(tmp_path: Path) -> None:
    times = moments("2024-01-01", 40) + moments("2099-01-01", 1)
    log = log_of(tmp_path, times, mapping=Mapping.of(["latest=2100-01-01"]))
    assert (log.rows, log.survey.dead, log.warnings) == (41, {}, [])


@pytest.mark.parametrize("missing", ["0", "-1", "1970-01-01T00:00:00Z"])
def test_time_0_for_missing_is_out_of_bounds(tmp_path: Path, missing: str) -> None:
    as_text = "-" in missing[1:]
    cells = [time.isoformat() if as_text else int(time.timestamp()) for time in moments("2024-01-01", 30)]
    rows = [f"u{i % 3},i{i % 7},{cell}" for i, cell in enumerate([*cells, *[missing] * 20])]
    log = Log.open(write_csv(tmp_path / "log.csv", "user,item,time", rows))
    assert (log.rows, log.survey.dead) == (30, {"bad time: out of bounds": 20})


def test_ticks_are_never_far_off(tmp_path: Path) -> None:
    rows = [f"u,i{i % 7},{i}" for i in range(40)] + ["u,i,90000000"]
    assert len(read(Log.open(write_csv(tmp_path / "log.csv", "user,item,time", rows)))) == 41


@given(
    hours=st.lists(st.integers(0, 110 * YEAR_H), min_size=1, max_size=12, unique=True),
    numbers=st.lists(st.integers(1, 5000), min_size=12, max_size=12),
)
def test_nearly_all_rows_are_near(hours: list[int], numbers: list[int]) -> None:
    hour_H, number_H = np.array(sorted(hours)), np.array(numbers[: len(hours)])
    first, last = near(hour_H, number_H)
    inside = number_H[(hour_H >= first) & (hour_H <= last)].sum()
    far = number_H.sum() - inside
    assert far <= (len(hours) - 1) * max(number_H.sum() // 1000, number_H.sum() >= 20)
    assert near(
        hour_H[(hour_H >= first) & (hour_H <= last)], number_H[(hour_H >= first) & (hour_H <= last)]
    ) == (
        first,
        last,
    )
