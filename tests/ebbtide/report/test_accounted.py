"""Every row of a log is accounted for, in the report and on the terminal."""

import io
import json
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

import ebbtide
from ebbtide.config import RunConfig
from ebbtide.report import page as html
from ebbtide.report import terminal
from ebbtide.running.run import ReplayRun
from replay.log import Log
from state.store.in_memory import DictStore
from tests.replay.events import START_S, write_csv

HEADER = "event_id,user,item,time,rating"


def rows(count: int) -> list[str]:
    return [f"e{i},u{i % 9},i{i % 7},{START_S + 60 * i},{i % 5 + 1}" for i in range(count)]


@pytest.mark.parametrize("years_off", [-25, 65])
def test_rows_read_are_used_dead_duplicates_or_left_out(tmp_path: Path, years_off: int) -> None:
    good = rows(600)
    bad = ["e,,i1,1500000000,3", "e,u1,i1,soon,3", f"e,u1,i1,{START_S * 1000},3", f"e,u1,i1,{START_S},great"]
    stray = f"e,u1,i1,{START_S + years_off * 31_557_600},3"
    log = write_csv(tmp_path / "log.csv", HEADER, [*good[:300], *good[200:210], *bad, *good[300:], stray])
    last = str(START_S + 60 * 500)
    report = ebbtide.replay(log, tmp_path / "out", until=last, limit=450, learner="popular", floors=False)
    events = report.events
    assert events.read == 600 + 10 + 4 + 1
    assert (events.dead_letters, events.duplicates, events.late, events.left_out) == (5, 10, 0, 160)
    assert (
        events.read == events.used + events.dead_letters + events.duplicates + events.late + events.left_out
    )
    assert report.dead_letters == {
        "no user": 1,
        "bad time": 1,
        "bad time: looks like milliseconds": 1,
        "bad rating": 1,
        "bad time: far from all others": 1,
    }
    letters = (tmp_path / "out" / "dead_letters.jsonl").read_text().splitlines()
    assert len(letters) == events.dead_letters
    (warning,) = report.warnings
    assert warning.startswith("1 of 615 rows are years from all others")
    shown = io.StringIO()
    terminal.summary(Console(file=shown, width=200), report, tmp_path / "out")
    assert (
        "440 of 615 rows, 5 dead letters, 10 duplicates, 160 left out by --from, --until or --limit"
        in shown.getvalue()
    )
    page = html.render(report)
    for text in (shown.getvalue(), page):
        assert "years from all others" in text
    assert "left out by --from, --until or --limit" in page


def test_late_events_of_a_replay_are_dead_letters_and_counted_as_late(tmp_path: Path) -> None:
    """A log is sorted, so nothing of it is late; whoever hands events on otherwise sees them again."""
    log = Log.open(write_csv(tmp_path / "log.csv", HEADER, rows(200)))
    run = ReplayRun(
        log, RunConfig(learner="popular", floors=False, drift=False), DictStore(), tmp_path / "out"
    )
    batches = log.batches(100, dead_letters=tmp_path)
    first = next(batches)
    run.step(first)
    some = first.take(slice(3, 5))
    late = replace(some, time_ms_B=some.time_ms_B - 2 * 86_400_000, event_id_B=some.event_id_B + 1)
    run.step(late)
    for events in batches:
        run.step(events)
    run.close()
    counts = run.operator.counts
    assert (counts.used, counts.late, counts.duplicates) == (200, 2, 0)
    letters = [json.loads(line) for line in (tmp_path / "dead_letters.jsonl").read_text().splitlines()]
    assert [letter["reason"] for letter in letters] == ["late"] * 2
    assert letters[0]["row"] == {"user": "u3", "item": "i3", "time": "2017-07-12 02:43:00"}
    assert letters[0]["detail"] == "its time lies behind the clock of the log"
    assert log.dead.counts == {}
