"""Gaps in arrival: told where one is much longer than any lately, whatever the batches."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitor.alarms import Alarm
from monitor.drift import DriftMonitor
from monitor.gaps import LEAST_MS, STRETCH, STRETCHES, TIMES
from state.keys import Int64s
from tests.monitor.made import Made, made

KNOWN = STRETCH * STRETCHES
SIZE = KNOWN + 3000


def stream(gap_s: int, at: int = KNOWN + 1500) -> Made:
    """Events a second apart; before event `at` nothing comes for a while."""
    one = made(0, SIZE)
    time_ms = one.batch.time_ms_B + 1000 * gap_s * (np.arange(SIZE) >= at)
    return Made(replace(one.batch, time_ms_B=time_ms, known_ms_B=time_ms), one.scores)


def gaps(one: Made, cuts: list[int], monitor: DriftMonitor | None = None) -> list[Alarm]:
    watching = DriftMonitor() if monitor is None else monitor
    return [a for part, said in one.parts(cuts) for a in watching.update(part, said) if a.signal == "gap"]


def test_a_gap_is_told_with_what_was_usual() -> None:
    (alarm,) = gaps(stream(3600), [5000])
    assert (alarm.mean_before, alarm.mean_after) == (1.0, 3601.0)
    assert (alarm.event, alarm.since_event) == (KNOWN + 1501, KNOWN + 1500)
    assert alarm.time_ms - (alarm.since_ms or 0) == 3_601_000
    assert not alarm.open


@pytest.mark.parametrize("gap_s", [0, TIMES - 2, LEAST_MS // 1000 - 2])
def test_what_is_short_or_usual_is_none(gap_s: int) -> None:
    assert gaps(stream(gap_s), []) == []


def test_before_anything_is_usual_there_is_none() -> None:
    assert gaps(stream(3600, at=KNOWN - 10), []) == []


def test_nights_are_usual() -> None:
    one = made(0, SIZE)
    time_ms = one.batch.time_ms_B + 36_000_000 * (np.arange(SIZE) // 700)
    assert gaps(Made(replace(one.batch, time_ms_B=time_ms, known_ms_B=time_ms), one.scores), []) == []


def test_a_clock_that_jumps_back_makes_none() -> None:
    one = made(0, SIZE)
    time_ms: Int64s = np.where(np.arange(SIZE) % 2000 < 50, 0, one.batch.time_ms_B)
    assert gaps(Made(replace(one.batch, time_ms_B=time_ms, known_ms_B=time_ms), one.scores), [900]) == []


@given(st.lists(st.integers(1, SIZE - 1), max_size=6, unique=True), st.integers(1, SIZE - 1))
def test_neither_batches_nor_a_restart_change_them(cuts: list[int], at: int) -> None:
    one = stream(3600)
    before, after = DriftMonitor(), DriftMonitor()
    found = gaps(one.until(at), [cut for cut in cuts if cut < at], before)
    after.load(before.tree())
    found += gaps(one.from_(at), sorted({cut - at for cut in cuts if cut > at}), after)
    assert found == WHOLE


WHOLE = gaps(stream(3600), [])
