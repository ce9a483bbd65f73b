"""Times of every usual kind, as milliseconds."""

from datetime import date, datetime
from typing import Any

import pyarrow as pa
import pytest

from replay.times import Clock, find_unit, time_ms
from replay.zones import Zone
from state.errors import InputError

MOMENT_MS = 1_500_000_000_000
BOUNDS = (time_ms("1990-01-01"), time_ms("2100-01-01"))


@pytest.mark.parametrize(
    ("cells", "unit", "expected_ms"),
    [
        ([1_500_000_000], "s", MOMENT_MS),
        ([1_500_000_000.25], "s", MOMENT_MS + 250),
        (["1500000000"], "s", MOMENT_MS),
        ([b"1500000000.25"], "s", MOMENT_MS + 250),
        ([MOMENT_MS], "ms", MOMENT_MS),
        ([MOMENT_MS * 1000 + 999], "us", MOMENT_MS),
        ([MOMENT_MS * 1_000_000], "ns", MOMENT_MS),
        ([20170714], "date", 1_499_990_400_000),
        ([3], "tick", 3000),
        ([0.5], "tick", 500),
        ([datetime(2017, 7, 14, 2, 40)], "timestamp", MOMENT_MS),
        ([date(2017, 7, 14)], "timestamp", 1_499_990_400_000),
        (["2017-07-14T02:40:00Z"], "text", MOMENT_MS),
        (["2017-07-14 02:40:00"], "text", MOMENT_MS),
        (["2017-07-14T02:40:00.5"], "text", MOMENT_MS + 500),
        (["2017-07-14T04:40:00+02:00"], "text", MOMENT_MS),
        (["2017-07-14"], "text", 1_499_990_400_000),
        (["2017/07/14 02:40:00"], "text", MOMENT_MS),
        (["Fri Jul 14 02:40:00 +0000 2017"], "text", MOMENT_MS),
        (["2017-07-14 02:40:00 UTC"], "text", MOMENT_MS),
    ],
)
def test_units_are_found_and_read(cells: list[Any], unit: str, expected_ms: int) -> None:
    column = pa.array(cells)
    assert find_unit(column, "time") == unit
    times, missing, bad, outside = Clock(unit, *BOUNDS).read(column)
    assert times.tolist() == [expected_ms]
    assert [missing.any(), bad.any(), outside.any()] == [False] * 3


def test_missing_bad_and_outside_are_told_apart() -> None:
    column = pa.array(["1500000000", None, "soon", "12", "99999999999", "1e400"])
    _, missing, bad, outside = Clock("s", *BOUNDS).read(column)
    assert missing.tolist() == [False, True, False, False, False, False]
    assert bad.tolist() == [False, False, True, False, False, True]
    assert outside.tolist() == [False, False, False, True, True, False]


def test_bad_text_among_good() -> None:
    column = pa.array(["2017-07-14T02:40:00", "yesterday", None, "2017-07-14"])
    times, missing, bad, _ = Clock("text", *BOUNDS).read(column)
    assert times[[0, 3]].tolist() == [MOMENT_MS, 1_499_990_400_000]
    assert (missing.tolist(), bad.tolist()) == ([False, False, True, False], [False, True, False, False])


def test_ticks_have_no_bounds() -> None:
    assert not Clock("tick", *BOUNDS).read(pa.array([-5, 0, 7]))[3].any()


def test_the_majority_says_the_unit() -> None:
    assert find_unit(pa.array([1_500_000_000, 3, 1_500_000_001]), "time") == "s"
    with pytest.raises(InputError, match="time holds no times, but 'a', 'b'; map another"):
        find_unit(pa.array(["a", "b"]), "time")


@pytest.mark.parametrize("text", ["2017-07-14T02:40", "1500000000", "1500000000000"])
def test_times_said_by_hand(text: str) -> None:
    assert time_ms(text) == MOMENT_MS


def test_no_time_said_by_hand() -> None:
    with pytest.raises(InputError, match="time 'noon': expected a date such as"):
        time_ms("noon")
    with pytest.raises(InputError, match="expected a number of ticks"):
        time_ms("2017-07-14", ticks=True)


def test_zones_know_summer_time() -> None:
    winter, summer = time_ms("2017-03-12T06:59"), time_ms("2017-03-12T07:00")
    times = pa.array([winter, summer]).to_numpy()
    assert Zone.of("America/New_York").offset_min(times).tolist() == [-300, -240]
    assert Zone.of("60").offset_min(times).tolist() == [60, 60]
    for wrong in ("Mars/Olympus", "9999"):
        with pytest.raises(InputError, match=f"tz='{wrong}'"):
            Zone.of(wrong)
