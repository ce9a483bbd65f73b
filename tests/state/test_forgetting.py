"""Forgetting: lazy decay is replay, spaced repeats last, kernels come round."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from state.examples import BANK_S
from state.forgetting import WEEK_MIN, fold, minute_of_week, periodic, retention, strengthened, tz_min_of

BANK_MS = np.array(BANK_S) * 1000.0
DAY_MS = 86_400_000

events = st.lists(st.tuples(st.integers(0, 100 * DAY_MS), st.floats(0, 1)), min_size=1, max_size=30)


@given(events)
def test_lazy_decay_equals_full_replay_in_any_order(events: list[tuple[int, float]]) -> None:
    sums_K, as_of_ms = np.zeros(8), events[0][0]
    for time_ms, amount in events:
        as_of_ms = fold(sums_K, as_of_ms, time_ms, amount, BANK_MS)
    assert as_of_ms == max(time_ms for time_ms, _ in events)
    for k, constant_ms in enumerate(BANK_MS):
        fades = [math.exp(-(as_of_ms - time_ms) / constant_ms) for time_ms, _ in events]
        assert sums_K[k] == pytest.approx(sum(fades), rel=1e-9, abs=1e-300)
        worth = sum(f * amount for f, (_, amount) in zip(fades, events, strict=True))
        assert sums_K[4 + k] == pytest.approx(worth, rel=1e-9, abs=1e-300)


@given(st.integers(1, 30), st.integers(2, 10))
def test_spaced_repeats_retain_more_than_massed(gap_days: int, repeats: int) -> None:
    def strength(gap_ms: float) -> float:
        strength_ms = 3.0 * DAY_MS
        for _ in range(repeats):
            strength_ms = strengthened(strength_ms, retention(gap_ms, strength_ms), 0.7, 1e18)
        return strength_ms

    later_ms = 10.0 * DAY_MS
    assert retention(later_ms, strength(gap_days * DAY_MS)) > retention(later_ms, strength(60_000))


def test_retention_is_one_at_once_and_never_more() -> None:
    assert retention(0, 1000) == 1.0
    assert retention(-5, 1000) == 1.0
    assert retention(1000, 1000) == pytest.approx(math.exp(-1))


def test_strength_has_a_cap() -> None:
    assert strengthened(50.0, 0.0, 0.7, 60.0) == 60.0


def test_the_hour_kernel_puts_23_h_next_to_0_h() -> None:
    daily = periodic(1.0, 24)
    assert daily[23 * 60] == daily[60] > daily[2 * 60] > daily[12 * 60]
    assert daily[0] == 0.0
    assert math.exp(daily[60]) == pytest.approx(math.exp(-0.5), rel=0.01)


def test_the_week_kernel_tells_the_days_apart_and_the_hour_kernel_does_not() -> None:
    daily, weekly = periodic(1.0, 24), periodic(1.5, 168)
    assert daily[24 * 60] == 0.0
    assert weekly[24 * 60] < -50
    assert weekly[WEEK_MIN - 30] == weekly[30]


def test_minutes_of_the_week_are_local() -> None:
    assert minute_of_week(0, 0) == 0
    assert minute_of_week(0, -60) == WEEK_MIN - 60
    assert minute_of_week(59_999, 90) == 90


@given(st.integers(-(10**13), 10**13), st.integers(-1440, 1440))
def test_local_time_gives_back_its_zone(time_ms: int, tz_min: int) -> None:
    assert tz_min_of(minute_of_week(time_ms, tz_min), time_ms) == tz_min
