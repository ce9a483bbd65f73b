"""The one parser of times: files, messages and the command line read the same text as the same moment."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from state.errors import InputError
from streams.times import TimeFormat, moment_ms, time_ms, unit_of, year_last

MOMENT_MS = 1_500_000_000_000


@pytest.mark.parametrize(
    "text",
    [
        "2017-07-14T02:40",
        "2017-07-14 02:40:00.000Z",
        "2017-07-14T04:40:00+02:00",
        "2017-07-14 02:40:00 UTC",
        "2017/07/14 2:40",
        "2017.7.14 2:40 am",
        "14 Jul 2017, 02:40",
        "14/Jul/2017:02:40:00 +0000",
        "Fri, 14 Jul 2017 02:40:00 GMT",
        "July 14th, 2017 2:40:00 A.M.",
        "Fri Jul 14 02:40:00 +0000 2017",
        "Fri Jul 14 02:40:00 2017",
    ],
)
def test_usual_forms(text: str) -> None:
    assert moment_ms(text) == time_ms(text, "--at") == MOMENT_MS


@pytest.mark.parametrize(
    ("text", "day_first", "month_first"),
    [
        ("03/04/2024", "2024-04-03", "2024-03-04"),
        ("3-4-2024 3:04 PM", "2024-04-03T15:04", "2024-03-04T15:04"),
        ("29-01-2021", "2021-01-29", None),
        ("01/31/2021 10:00:00.5", None, "2021-01-31T10:00:00.5"),
        ("12.12.2021T12:12 AM", "2021-12-12T00:12", "2021-12-12T00:12"),
        ("30/02/2021", None, None),
    ],
)
def test_what_has_the_year_last_is_read_by_who_knows_the_day(
    text: str, day_first: str | None, month_first: str | None
) -> None:
    expected = tuple(None if one is None else moment_ms(one) for one in (day_first, month_first))
    assert year_last(text) == expected
    assert (moment_ms(text, day_first=True), moment_ms(text, day_first=False)) == expected
    assert moment_ms(text) is None


@pytest.mark.parametrize(
    "text",
    [
        "",
        "soon",
        "2024-02-30",
        "13:00",
        "2024-01-01 25:00",
        "2024-01-01 13:00 PM",
        "31 Foo 2024",
        "Jan 2024",
        "nan",
    ],
)
def test_what_is_no_time(text: str) -> None:
    assert moment_ms(text, day_first=True) is None
    with pytest.raises(InputError, match="--until: expected a time such as 2017-10-02T18:00, or seconds"):
        time_ms(text, "--until")


@pytest.mark.parametrize(
    "text",
    ["1500000000", "1500000000.0", "1500000000000", "1500000000000000", "1500000000000000000", "1.5e9"],
)
def test_numbers_are_since_1970_in_whatever_unit_makes_sense(text: str) -> None:
    assert time_ms(text, "--from") == MOMENT_MS


def test_a_date_may_be_a_number() -> None:
    assert time_ms("20170714", "--from") == moment_ms("2017-07-14") == time_ms("2017/07/14", "--from")
    assert time_ms("20170714024000", "--from") == time_ms("201707140240", "--from") == MOMENT_MS
    assert [unit_of(number) for number in (20170714, 20171314, 5, float("nan"), float("inf"))] == [
        "date",
        *[None] * 4,
    ]


@pytest.mark.parametrize("text", ["50000000000", "0", "-1", "inf", "9" * 5000])
def test_a_number_that_is_no_time_in_any_unit_is_refused(text: str) -> None:
    with pytest.raises(
        InputError, match=r"--from: expected a time .* since 1970, in the years 1990 to 2099; got"
    ):
        time_ms(text, "--from")


def test_who_says_a_day_and_a_month_without_an_order_is_told() -> None:
    with pytest.raises(
        InputError, match="--at: expected the year first, as in 2017-10-02: nothing says which"
    ):
        time_ms("03/04/2024", "--at")
    assert time_ms("03/04/2024", "--at", day_first=True) == moment_ms("2024-04-03")


@given(moment=st.datetimes(datetime(1900, 1, 1), datetime(2200, 1, 1)), zone_min=st.integers(-720, 720))
def test_iso_text_is_cut_to_milliseconds(moment: datetime, zone_min: int) -> None:
    exact = (moment - datetime(1970, 1, 1)) // timedelta(milliseconds=1)
    assert moment_ms(moment.isoformat()) == exact
    there = moment.replace(tzinfo=UTC) + timedelta(minutes=zone_min)
    sign, minutes = "-" if zone_min < 0 else "+", abs(zone_min)
    text = f"{there.replace(tzinfo=None).isoformat()}{sign}{minutes // 60:02}:{minutes % 60:02}"
    assert moment_ms(text) == exact


@given(moment=st.datetimes(datetime(1990, 1, 1), datetime(2100, 1, 1)))
@pytest.mark.parametrize(
    "form",
    ["%d/%m/%Y %H:%M:%S.%f", "%m-%d-%Y %I:%M:%S %p", "%A, %d. %B %Y um %H:%M", "%Y%m%d%H%M%S", "%d.%m.%y"],
)
def test_a_form_that_is_said_reads_what_it_writes(form: str, moment: datetime) -> None:
    if "%y" in form and moment.year > 2068:
        return
    written = moment.strftime(form)
    expected = datetime.strptime(written, form).replace(tzinfo=UTC)
    assert TimeFormat(form).ms(written) == (expected - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(
        milliseconds=1
    )


def test_a_date_alone_takes_a_clock_behind_it() -> None:
    form = TimeFormat("%d/%m/%Y")
    assert form.ms("03/04/2024 9:05 PM") == moment_ms("2024-04-03T21:05")
    assert form.ms("03/04/2024") == moment_ms("2024-04-03")
    assert form.ms("2024-04-03") is None


@pytest.mark.parametrize(
    ("form", "message"),
    [
        ("%d/%m/%Y %Q", "--time-format '%d/%m/%Y %Q': no directive %Q; there are %Y %y"),
        ("%H:%M", "--time-format '%H:%M': expected a year, a month and a day"),
        ("%d %d %m %Y", "a part of the time stands there twice"),
        ("dd/mm/yyyy", "expected a year, a month and a day, as in %d/%m/%Y %H:%M"),
    ],
)
def test_a_form_that_is_none(form: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        TimeFormat(form)


@pytest.mark.parametrize("text", ["1712110912345", "898504200000000", "1712110912"])
def test_a_number_is_no_date_of_another_century(text: str) -> None:
    assert moment_ms(text) is None
