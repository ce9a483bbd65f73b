"""Axes that fall on round values."""

import re
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ebbtide.report.svg import Plot, nice_ticks, padded, time_text, time_ticks

DAY = 86_400_000
finite = st.floats(-1e6, 1e6)


@given(finite, st.floats(1e-6, 1e6), st.integers(2, 8))
def test_ticks_lie_inside_and_are_few(low: float, width: float, count: int) -> None:
    ticks = nice_ticks(low, low + width, count)
    slack = 1e-6 * (abs(low) + width)
    assert all(low - slack <= tick <= low + width + slack for tick in ticks)
    assert len(ticks) <= count + 1


@pytest.mark.parametrize(
    ("span_ms", "expected"),
    [
        (60_000, ["00:00:00", "00:00:15", "00:00:30", "00:00:45", "00:01:00"]),
        (DAY // 2, ["00:00", "03:00", "06:00", "09:00", "12:00"]),
        (9 * DAY, ["1 Jan", "3 Jan", "5 Jan", "7 Jan", "9 Jan"]),
        (150 * DAY, ["1 Jan", "1 Feb", "1 Mar", "1 Apr", "1 May"]),
        (365 * DAY, ["1 Jan 2015", "1 Apr 2015", "1 Jul 2015", "1 Oct 2015", "1 Jan 2016"]),
        (3660 * DAY, ["Jan 2015", "Jan 2020", "Jan 2025"]),
    ],
)
def test_times_fall_on_round_dates(span_ms: int, expected: list[str]) -> None:
    start = int(datetime(2015, 1, 1, tzinfo=UTC).timestamp() * 1000)
    assert [time_text(tick, span_ms) for tick in time_ticks(start, start + span_ms)] == expected


@given(st.integers(-(10**13), 10**13), st.integers(0, 10**13))
def test_any_stretch_of_time_has_ticks_inside(start: int, span: int) -> None:
    ticks = time_ticks(start, start + span)
    assert len(ticks) <= 30
    assert all(start <= tick <= start + span for tick in ticks)


@given(st.lists(finite, min_size=1, max_size=5))
def test_a_padded_domain_has_room(values: list[float]) -> None:
    low, high = padded(values)
    assert low < min(values)
    assert high > max(values)


def test_marks_stay_inside_the_frame() -> None:
    plot = Plot(
        title="t",
        x=(0, 1),
        y=(0, 1),
        x_ticks=[0, 1],
        y_ticks=[0, 1],
        x_text=str,
        y_text=str,
        x_label="x",
    )
    plot.line([(-5, -5), (0.5, None), (9, 9)], "s0")
    plot.dots([(7, -7, "far")], "s0")
    drawn = plot.render()
    pairs = re.findall(r"[ML]([\d.-]+) ([\d.-]+)", drawn) + re.findall(
        r'cx="([\d.-]+)" cy="([\d.-]+)"', drawn
    )
    assert len(pairs) == 4
    assert all(0 <= float(x) <= plot.width and 0 <= float(y) <= plot.height for x, y in pairs)


@pytest.mark.parametrize(("first", "last"), [(1, 9999), (1, 1200), (1650, 9998), (1901, 2026)])
def test_centuries_have_few_ticks_within_them(first: int, last: int) -> None:
    low, high = (datetime(year, 6, 1, tzinfo=UTC).timestamp() * 1000 for year in (first, last))
    ticks = time_ticks(low, high)
    assert 2 <= len(ticks) <= 6
    assert all(low <= tick <= high for tick in ticks)
    assert [time_text(tick, high - low)[:3] for tick in ticks] == ["Jan"] * len(ticks)


def test_an_axis_beyond_the_calendar_has_round_numbers() -> None:
    assert time_ticks(0.0, 1.7e15) == [0.0, 5e14, 1e15, 1.5e15]
