"""A log as what happens now: its past by whole weeks, the rest as it is sent, each event under one id."""

import time
from pathlib import Path

import numpy as np
import pytest

from replay.log import Log
from replay.moved import MovedLog
from state.errors import InputError
from streams.schema import EventBatch, concat_events

ROWS, PAST, WEEK_MS = 200, 120, 7 * 86_400_000
FIRST_MS = 1_500_000_000_000


@pytest.fixture
def log(tmp_path: Path) -> Log:
    path = tmp_path / "log.csv"
    path.write_text(
        "user,item,time\n" + "".join(f"a,i{n},{FIRST_MS // 1000 + 3600 * n}\n" for n in range(ROWS))
    )
    return Log.open(path)


def sent(moved: MovedLog, most: int = ROWS) -> EventBatch:
    """What falls due, of so many events at least."""
    lots: list[EventBatch] = []
    for events in moved.due(lambda: sum(map(len, lots)) >= most):
        lots.append(events)
    return concat_events(lots)


def test_times_are_of_now_and_hours_and_weekdays_of_the_past_stay(log: Log) -> None:
    before_ms = time.time() * 1000
    events = sent(MovedLog(log, 400.0, PAST, None))
    after_ms = time.time() * 1000
    recorded_ms = FIRST_MS + 3_600_000 * np.arange(ROWS)
    moved_ms = events.time_ms_B[:PAST] - recorded_ms[:PAST]
    assert len({*moved_ms.tolist()}) == 1
    assert moved_ms[0] % WEEK_MS == 0
    assert before_ms - WEEK_MS < events.time_ms_B[PAST - 1] <= after_ms
    live_ms = events.time_ms_B[PAST:]
    assert before_ms - 1 <= live_ms[0] <= live_ms[-1] <= after_ms
    assert np.abs(np.diff(live_ms) - 2.5).max() <= 1.0
    assert len({*events.event_id_B.tolist()}) == ROWS


def test_who_goes_on_sends_what_was_not_noted_under_the_same_ids(log: Log, tmp_path: Path) -> None:
    file = tmp_path / "sent.json"
    first = MovedLog(log, 1e6, PAST, file)
    whole = sent(first)
    first.note(50)
    again = MovedLog(log, 1e6, 7, file)  # how much is past was decided at the beginning
    rest = sent(again)
    np.testing.assert_array_equal(rest.event_id_B, whole.event_id_B[50:])
    np.testing.assert_array_equal(rest.time_ms_B[: PAST - 50], whole.time_ms_B[50:PAST])
    again.note(ROWS)
    assert not [*MovedLog(log, 1e6, PAST, file).due(lambda: False)]


def test_a_quarter_of_a_short_log_is_to_come_unless_somebody_says_otherwise(log: Log) -> None:
    events = sent(MovedLog(log, 1e6, None, None))
    recorded_ms = FIRST_MS + 3_600_000 * np.arange(ROWS)
    assert len({*(events.time_ms_B - recorded_ms)[: 3 * ROWS // 4].tolist()}) == 1
    assert events.time_ms_B[3 * ROWS // 4] - events.time_ms_B[3 * ROWS // 4 - 1] != 3_600_000


def test_a_note_of_another_log_is_refused(log: Log, tmp_path: Path) -> None:
    file, other = tmp_path / "sent.json", tmp_path / "other.csv"
    MovedLog(log, 1.0, 0, file).note(3)
    other.write_text("user,item,time\na,b,2020-01-01\n")
    with pytest.raises(InputError, match=r"--sent .*: is of .* with 200 events, got .* with 1"):
        MovedLog(Log.open(other), 1.0, 0, file)
    file.write_text("{")
    with pytest.raises(InputError, match=r"--sent .*: expected what was sent, got .*; remove the file"):
        MovedLog(log, 1.0, 0, file)
