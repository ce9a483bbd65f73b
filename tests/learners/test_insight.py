"""What a learner tells of itself: means by the clock, what views hold, curves on one scale, and no NaN."""

from datetime import UTC, datetime

import msgspec
import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from learners.insight import AGES_S, GateLedger, Insight, age_curves, hour_of_week, kernel
from state.examples import Doubles
from state.keys import Int64s
from state.tree import digest

HOUR_MS = 3_600_000


def ms(day: int, hour: int) -> int:
    """A UTC time in June 2026, which began on a Monday."""
    return int(datetime(2026, 6, day, hour, tzinfo=UTC).timestamp() * 1000)


def rows(count: int, seed: int = 0) -> tuple[Int64s, Int64s, Doubles, Int64s]:
    rng = np.random.default_rng(seed)
    time_ms_B = ms(1, 0) + rng.integers(0, 30 * 24, count) * HOUR_MS
    return time_ms_B, np.full(count, 120), rng.random((count, 3)), rng.integers(0, 4, (count, 2))


@given(st.integers(-(10**13), 10**13), st.integers(-14 * 60, 14 * 60))
def test_the_hour_of_the_week_is_the_calendars(time_ms: int, tz_min: int) -> None:
    local = datetime.fromtimestamp((time_ms // 60_000 + tz_min) * 60, UTC)
    found = hour_of_week(np.array([time_ms]), np.array([tz_min]))
    assert found.tolist() == [local.weekday() * 24 + local.hour]


def test_gates_are_averaged_by_local_hour_and_weekday() -> None:
    ledger = GateLedger(["own", "crowd"])
    time_ms = np.array([ms(1, 9), ms(2, 9), ms(2, 23)])
    ledger.add(time_ms, np.array([0, 0, 60]), np.array([[0.75, 0.25], [0.25, 0.75], [1.0, 0.0]]))
    insight = ledger.insight()
    assert insight.experts == ["own", "crowd"]
    assert insight.gate_by_hour[9] == [0.5, 0.5]
    assert insight.gate_by_hour[0] == [1.0, 0.0]
    assert [(h, n) for h, n in enumerate(insight.rows_by_hour) if n] == [(0, 1), (9, 2)]
    assert insight.gate_by_weekday[:3] == [[0.75, 0.25], [0.25, 0.75], [1.0, 0.0]]
    assert insight.rows_by_weekday == [1, 1, 1, 0, 0, 0, 0]


def test_an_hour_without_rows_has_no_mean() -> None:
    insight = GateLedger(["own"], ["own"]).insight()
    assert insight.gate_by_hour == [[None]] * 24
    assert (insight.views[0].empty, insight.views[0].entries, insight.views[0].gate) == (None, None, None)


def test_views_tell_how_often_they_are_empty_and_what_they_hold() -> None:
    ledger = GateLedger(["own", "crowd"], ["own", "near"])
    gate = np.array([[0.5, 0.5], [0.7, 0.3]])
    ledger.add(np.full(2, ms(1, 9)), np.zeros(2, np.int64), gate, np.array([[3, 0], [0, 0]]))
    own, near = ledger.insight().views
    assert (own.name, own.empty, own.entries, own.gate) == ("own", 0.5, 1.5, 0.6)
    assert (near.name, near.empty, near.entries, near.gate) == ("near", 1.0, 0.0, None)


@settings(max_examples=25)
@given(st.integers(1, 60), st.integers(1, 60), st.integers(0, 99))
def test_batches_equal_singles_bit_for_bit(count: int, size: int, seed: int) -> None:
    time_ms_B, tz_B, gate_BE, held_BV = rows(count, seed)
    whole, parts = (GateLedger("abc", "ab") for _ in range(2))
    for start in range(0, count, size):
        part = slice(start, start + size)
        whole.add(time_ms_B[part], tz_B[part], gate_BE[part], held_BV[part])
    for b in range(count):
        part = slice(b, b + 1)
        parts.add(time_ms_B[part], tz_B[part], gate_BE[part], held_BV[part])
    assert digest(whole.tree()) == digest(parts.tree())


def test_saved_and_loaded_it_goes_on_as_if_nothing_had_happened() -> None:
    first, again = GateLedger("abc", "ab"), GateLedger("abc", "ab")
    first.add(*rows(50))
    saved = first.tree()
    first.add(*rows(50, seed=1))
    again.load(saved)
    again.add(*rows(50, seed=1))
    assert first.insight() == again.insight()
    assert digest(first.tree()) == digest(again.tree()) != digest(saved)


def test_curves_share_one_scale_and_may_fall_below_zero() -> None:
    own, hour = age_curves({"own": ([60, 3600], [-2.0, 4.0]), "hour": ([86_400], [1.0])})
    assert (own.weight, hour.weight) == ([-0.5, 1.0], [0.25])
    assert (own.age_s, hour.age_s) == ([60.0, 3600.0], [86_400.0])


def test_a_curve_of_nothing_stays_nothing() -> None:
    assert age_curves({"own": ([1.0, 2.0, 3.0], np.zeros(3))})[0].weight == [0.0, 0.0, 0.0]
    assert age_curves({}) == []


def test_a_number_that_could_not_be_had_is_none() -> None:
    spoilt = np.array([np.nan, 2.0, np.inf])
    assert age_curves({"own": ([1.0, 2.0, 3.0], spoilt)})[0].weight == [None, 1.0, None]
    assert kernel("own", [-1, 0, 1], spoilt, period_h=24).weight == [None, 1.0, None]
    ledger = GateLedger(["own"])
    ledger.add(np.array([ms(1, 9)]), np.array([0]), np.array([[np.nan]]))
    insight = ledger.insight()
    assert insight.gate_by_hour[9] == [None]
    assert msgspec.json.decode(msgspec.json.encode(insight), type=Insight) == insight


def test_a_log_without_a_clock_is_told_of_ages_and_views_only() -> None:
    ledger = GateLedger(["own"], ["own"])
    ledger.add(np.array([ms(1, 9)]), np.array([0]), np.array([[1.0]]), np.array([[2]]))
    curves = age_curves({"own": (AGES_S, np.ones(len(AGES_S)))})
    told = ledger.insight(curves, [kernel("own", [0], [1.0], period_h=24)])
    timeless = told.timeless()
    assert (timeless.curves, timeless.views, timeless.experts) == (told.curves, told.views, told.experts)
    assert not timeless.kernels
    assert timeless.gate_by_hour == timeless.gate_by_weekday == []
