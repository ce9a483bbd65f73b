"""Times of every usual kind, as milliseconds."""

from datetime import date, datetime
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from replay.meaning.evidence import TimeEvidence, TimeReading
from replay.meaning.times import TimeReader
from replay.meaning.zones import Zone
from replay.reading.arrow import Column
from state.errors import InputError
from streams.times import moment_ms
from tests.gapped import YEAR_1_MS, YEAR_9999_MS

MOMENT_MS = 1_500_000_000_000
BOUNDS = (631_152_000_000, 4_102_444_800_000)
"""1990 and 2100."""


def reading(*columns: Column, final: bool = True) -> TimeReading:
    """How a log's times are read that come in these chunks."""
    evidence = TimeEvidence()
    for column in columns:
        evidence.add(column)
    return evidence.reading("time", final=final)


def reasons_of(clock: TimeReader, column: Column) -> list[str]:
    """What is wrong with each cell, nothing where it is a time."""
    found = [""] * len(column)
    for bad_B, reason, _ in reversed(clock.read(column)[1]):
        found = [reason if bad else one for one, bad in zip(found, bad_B.tolist(), strict=True)]
    return found


@pytest.mark.parametrize(
    ("cells", "unit", "expected_ms"),
    [
        ([1_500_000_000], "s", MOMENT_MS),
        ([1_500_000_000.25], "s", MOMENT_MS + 250),
        (["1500000000"], "s", MOMENT_MS),
        (["1500000000.25"], "s", MOMENT_MS + 250),
        ([MOMENT_MS], "ms", MOMENT_MS),
        ([MOMENT_MS * 1000 + 999], "us", MOMENT_MS),
        ([MOMENT_MS * 1_000_000], "ns", MOMENT_MS),
        ([20170714], "date", 1_499_990_400_000),
        ([201707140240], "date", MOMENT_MS),
        (["20170714024000"], "date", MOMENT_MS),
        ([20170714024000.0], "date", MOMENT_MS),
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
    assert reading(column) == TimeReading(unit)
    clock = TimeReader(unit, *BOUNDS)
    assert clock.read(column)[0].tolist() == [expected_ms]
    assert reasons_of(clock, column) == [""]


def test_missing_bad_and_outside_are_told_apart() -> None:
    column = pa.array(["1500000000", None, "soon", "12", "99999999999", "1e400"])
    assert reasons_of(TimeReader("s", *BOUNDS), column) == [
        "",
        "no time",
        "bad time",
        "bad time: out of bounds",
        "bad time: out of bounds",
        "bad time",
    ]


@pytest.mark.parametrize(
    ("unit", "cells", "expected"),
    [
        ("s", [1_500_000_000, 1_500_000_000_000], "bad time: looks like milliseconds"),
        ("s", [1_500_000_000, 1_500_000_000_000_000], "bad time: looks like microseconds"),
        ("s", [1_500_000_000, 1_500_000_000_000_000_000], "bad time: looks like nanoseconds"),
        ("ms", [1_500_000_000_000, 1_500_000_000], "bad time: looks like seconds"),
        ("ms", ["1500000000000", "1500000000.5"], "bad time: looks like seconds"),
        ("s", [1_500_000_000.5, 20170714.0], "bad time: looks like a date such as 20240131"),
        ("date", [20170714, 1_500_000_000], "bad time: looks like seconds"),
        ("text", ["2017-07-14", "1500000000"], "bad time: looks like seconds"),
        ("s", [1_500_000_000, 0], "bad time: out of bounds"),
        ("text", ["2017-07-14", "1970-01-01"], "bad time: out of bounds"),
    ],
)
def test_a_row_in_another_unit_says_which(unit: str, cells: list[Any], expected: str) -> None:
    assert reading(pa.array(cells * 2 + cells[:1])).unit == unit
    assert reasons_of(TimeReader(unit, *BOUNDS), pa.array(cells)) == ["", expected]


def test_a_date_with_a_clock_that_no_day_has_is_bad() -> None:
    column = pa.array([20170714024000, 20170714250000, 20171314024000])
    assert reasons_of(TimeReader("date", *BOUNDS), column) == ["", *["bad time: out of bounds"] * 2]


def test_bad_text_among_good() -> None:
    column = pa.array(["2017-07-14T02:40:00", "yesterday", None, "2017-07-14"])
    clock = TimeReader("text", *BOUNDS)
    assert clock.read(column)[0][[0, 3]].tolist() == [MOMENT_MS, 1_499_990_400_000]
    assert reasons_of(clock, column) == ["", "bad time", "no time", ""]


def test_ticks_are_bounded_by_what_a_store_can_hold_alone() -> None:
    ticks = pa.array([-5, 0, 7, 10**12, 10**15, -(2**63), 2**63 - 1])
    assert reasons_of(TimeReader("tick", *BOUNDS), ticks) == [""] * 4 + ["bad time: out of bounds"] * 3


def test_the_majority_of_the_whole_says_the_unit() -> None:
    assert reading(pa.array([1_500_000_000, 3, 1_500_000_001])).unit == "s"
    assert reading(pa.array([1] * 10), pa.array([1_500_000_000_000] * 11)).unit == "ms"
    with pytest.raises(InputError, match="time holds no times, but 'a', 'b'; map another"):
        reading(pa.array(["a", "b"]))


DAY_FIRST, MONTH_FIRST = "day first", "month first"


@pytest.mark.parametrize(
    ("cells", "form"),
    [
        (["01/02/2024", "13/02/2024"], DAY_FIRST),
        (["02/13/2024", "02/01/2024"], MONTH_FIRST),
        (["29-01-2021 10:00", "01-02-2021 10:00"], DAY_FIRST),
        (["1/2/2024 3:04 PM", "1/13/2024 12:00 AM"], MONTH_FIRST),
        (["01/03/2024", "01/05/2024", "02/02/2024"], MONTH_FIRST),
        (["02/01/2024", "03/01/2024", "01/02/2024"], DAY_FIRST),
        (["01/02/2024", "03/01/2024", "02/01/2024"], DAY_FIRST),
        (["05.01.2024", "04.01.2024", "07.03.2024"], DAY_FIRST),
        (["01.31.2024", "02.01.2024"], MONTH_FIRST),
        (["01/03/2024T00:00:00.5", "01/05/2024T00:00:00.5", "02/02/2024T00:00:00.5"], MONTH_FIRST),
        (["01/02/2024"] * 200 + ["13/02/2024"] * 200 + ["02/14/2024"], DAY_FIRST),
    ],
)
def test_the_form_of_dates_is_one_that_fits_all_of_them(cells: list[str], form: str) -> None:
    for cut in (1, len(cells) // 2):
        found = reading(pa.array(cells[:cut]), pa.array(cells[cut:]))
        assert (found.unit, found.day_first) == ("text", form == DAY_FIRST)
        assert found.why.startswith(form)


def test_who_cannot_tell_day_from_month_asks() -> None:
    undecided = pa.array(["03/02/2024", "02/01/2024", "02/03/2024"])
    with pytest.raises(
        InputError,
        match="time may be day first or month first, such as '03/02/2024', '02/01/2024', '02/03/2024': "
        "neither the values nor their order tell; "
        "say which: --time-format '%d/%m/%Y' or --time-format '%m/%d/%Y'",
    ):
        reading(undecided)
    assert reading(undecided, final=False).unit == "text"
    with pytest.raises(
        InputError, match="neither day first throughout, as '02-14-2024' is not, nor month first, "
    ):
        reading(pa.array(["13-02-2024", "02-14-2024", "01-02-2024"]))


def test_dates_that_are_the_same_both_ways_need_no_answer() -> None:
    assert reading(pa.array(["02/02/2024", "01/01/2024", "03/03/2024"])).why == ""


@pytest.mark.parametrize("zone", ["Europe/Berlin", "America/New_York"])
def test_zones_go_to_both_ends_of_the_calendar(zone: str) -> None:
    offsets = Zone.of(zone).offset_min(np.array([YEAR_1_MS, YEAR_9999_MS]))
    assert (np.abs(offsets) <= 300).all()


def test_zones_know_summer_time() -> None:
    winter, summer = moment_ms("2017-03-12T06:59"), moment_ms("2017-03-12T07:00")
    times = pa.array([winter, summer]).to_numpy()
    assert Zone.of("America/New_York").offset_min(times).tolist() == [-300, -240]
    assert Zone.of("60").offset_min(times).tolist() == [60, 60]
    for wrong in ("Mars/Olympus", "9999"):
        with pytest.raises(InputError, match=f"tz='{wrong}'"):
            Zone.of(wrong)
