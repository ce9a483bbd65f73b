"""Times as people and programs write them: the one parser of files, messages and the command line.

A text is ISO 8601 or one of the other usual forms (2024/1/31 3:04 PM, 31 Jan 2024, Wed Jan 31 15:04:05 +0000
2024), in UTC unless it names a zone. Where the year stands last and the month is a number (03/04/2024), the
text does not say which of the two is the day: it is a time only for whoever knows, by `day_first`.
A number is seconds, milliseconds, microseconds or nanoseconds since 1970, whichever puts it into the years
1990 to 2099; or a date such as 20240131 or 20240131150405. What is finer than a millisecond is cut off.
"""

import re
from datetime import UTC, datetime, timedelta
from functools import lru_cache

from state.errors import InputError

SECOND_MS = 1000
PER_SECOND = {"s": 1, "ms": 1_000, "us": 1_000_000, "ns": 1_000_000_000}
UNIT_WORDS = {
    "s": "seconds",
    "ms": "milliseconds",
    "us": "microseconds",
    "ns": "nanoseconds",
    "date": "a date such as 20240131",
}
EPOCH_FROM_S, EPOCH_UNTIL_S = 631_152_000, 4_102_444_800
"""1990 and 2100, in UTC: numbers are times between them, in the unit in which they are."""

_EPOCH, _MILLISECOND = datetime(1970, 1, 1, tzinfo=UTC), timedelta(milliseconds=1)
_MONTHS = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"]
_CLOCK = (
    r"(?P<H>\d{1,2}):(?P<M>\d{2})(?::(?P<S>\d{2})(?:[.,](?P<f>\d{1,9}))?)?(?:\s?(?P<p>[AaPp])\.?[Mm]\.?)?"
)
_ZONE = r"(?:\s?(?P<z>[Zz]|UTC|GMT|[+-]\d{2}:?\d{2}))?"
_REST = rf"(?:(?:\s*,\s*|\s+|[Tt:]){_CLOCK}{_ZONE})?"
_WEEKDAY = r"(?:[A-Za-z]{3,9}\.?,?\s+)?"
_MONTH = r"(?P<B>[A-Za-z]{3,9})\.?"
_FORMS = tuple(
    re.compile(form, re.ASCII)
    for form in (
        rf"(?P<Y>\d{{4}})(?P<s>[-/. ])(?P<m>\d{{1,2}})(?P=s)(?P<d>\d{{1,2}}){_REST}",
        rf"{_WEEKDAY}(?P<d>\d{{1,2}})(?:st|nd|rd|th)?[\s/-]{_MONTH}[\s/,-]+(?P<Y>\d{{4}}){_REST}",
        rf"{_WEEKDAY}{_MONTH}\s+(?P<d>\d{{1,2}})(?:st|nd|rd|th)?,?\s+(?P<Y>\d{{4}}){_REST}",
        rf"{_WEEKDAY}{_MONTH}\s+(?P<d>\d{{1,2}})\s+{_CLOCK}{_ZONE}\s+(?P<Y>\d{{4}})",
    )
)
_YEAR_LAST = re.compile(r"(?P<a>\d{1,2})(?P<s>[-/.])(?P<b>\d{1,2})(?P=s)(?P<Y>\d{4})", re.ASCII)
_DATE_AND_REST = re.compile(r"([\d/.-]{8,10})(.*)", re.ASCII)
_CLOCK_AND_ZONE = re.compile(_REST, re.ASCII)
_KEPT = 1 << 17
_DIRECTIVES = {
    "Y": r"(?P<Y>\d{4})",
    "y": r"(?P<y>\d{2})",
    "m": r"(?P<m>\d{1,2})",
    "d": r"(?P<d>\d{1,2})",
    "H": r"(?P<H>\d{1,2})",
    "I": r"(?P<H>\d{1,2})",
    "M": r"(?P<M>\d{1,2})",
    "S": r"(?P<S>\d{1,2})",
    "f": r"(?P<f>\d{1,9})",
    "p": r"(?P<p>[AaPp])\.?[Mm]\.?",
    "b": r"(?P<B>[A-Za-z]{3,9})\.?",
    "B": r"(?P<B>[A-Za-z]{3,9})\.?",
    "a": r"[A-Za-z]{2,9}\.?",
    "A": r"[A-Za-z]{2,9}\.?",
    "z": r"(?P<z>[Zz]|[+-]\d{2}:?\d{2})",
    "Z": r"(?P<z>[Zz]|UTC|GMT)",
    "%": "%",
}
_SHORTHANDS = {"%F": "%Y-%m-%d", "%T": "%H:%M:%S", "%R": "%H:%M", "%D": "%m/%d/%y"}


def moment_ms(text: str, day_first: bool | None = None) -> int | None:
    """A text as epoch milliseconds, or None where it is no time.

    >>> moment_ms("2024-01-31T15:04:05Z") == moment_ms("Jan 31, 2024 3:04:05 PM") == 1706713445000
    True
    >>> moment_ms("03/04/2024"), moment_ms("03/04/2024", day_first=True) == moment_ms("2024-04-03")
    (None, True)
    """
    text = text.strip()
    if (
        len(text) == 8 or not text[:9].isdigit()
    ):  # else a digit would be taken for what divides date and clock
        try:
            moment = datetime.fromisoformat(text)
            return _since_1970(moment if moment.tzinfo else moment.replace(tzinfo=UTC))
        except (ValueError, OverflowError):
            pass
    for form in _FORMS:
        match = form.fullmatch(text)
        if match is not None:
            return _of(match.groupdict())
    return None if day_first is None else year_last(text)[0 if day_first else 1]


def year_last(text: str) -> tuple[int | None, int | None]:
    """A text such as 03/04/2024 as epoch milliseconds, read day first and month first.

    None where it cannot be read so; both, where it is no such text.
    """
    parts = _DATE_AND_REST.fullmatch(text.strip())
    after_ms = None if parts is None else _after_midnight_ms(parts[2])
    if parts is None or after_ms is None:
        return None, None
    day_ms, month_ms = _midnights_ms(parts[1])
    return None if day_ms is None else day_ms + after_ms, None if month_ms is None else month_ms + after_ms


@lru_cache(_KEPT)
def _midnights_ms(date: str) -> tuple[int | None, int | None]:
    match = _YEAR_LAST.fullmatch(date)
    if match is None:
        return None, None
    a, b, year = match["a"], match["b"], match["Y"]
    return _of({"Y": year, "d": a, "m": b}), _of({"Y": year, "d": b, "m": a})


@lru_cache(_KEPT)
def _after_midnight_ms(rest: str) -> int | None:
    """What stands behind a date; nothing is midnight."""
    match = _CLOCK_AND_ZONE.fullmatch(rest)
    return None if match is None else _of({"Y": "1970", "m": "1", "d": "1", **match.groupdict()})


def is_clock(text: str) -> bool:
    """Whether a text is a time of day.

    >>> is_clock("9:30"), is_clock("09:30:00.5 PM"), is_clock("2024-01-31")
    (True, True, False)
    """
    return _after_midnight_ms(f" {text.strip()}") is not None and ":" in text


class TimeFormat:
    """A form of times given by hand, with strptime's directives; any usual clock may follow a date alone.

    >>> TimeFormat("%d-%m-%y %I.%M %p").ms("31-01-24 3.04 PM") == moment_ms("2024-01-31T15:04")
    True
    """

    def __init__(self, text: str) -> None:
        """Raises InputError on a directive that is not known, or a form without a date."""
        self.text = text
        whole = text.strip()
        for short, long in _SHORTHANDS.items():
            whole = whole.replace(short, long)
        pieces = re.split(r"%(.)", whole)
        pattern = ""
        for literal, directive in zip(pieces[::2], [*pieces[1::2], ""], strict=True):
            pattern += re.sub(r"\s+", r"\\s+", re.escape(literal).replace(r"\ ", " "))
            if directive and directive not in _DIRECTIVES:
                known = " ".join(f"%{name}" for name in _DIRECTIVES)
                raise InputError(f"--time-format {text!r}: no directive %{directive}; there are {known}")
            pattern += _DIRECTIVES.get(directive, "")
        if not re.search(r"%[HIMSfpzZ]", whole):
            pattern += _REST
        try:
            self._pattern = re.compile(pattern, re.ASCII)
        except re.error:
            raise InputError(f"--time-format {text!r}: a part of the time stands there twice") from None
        parts = self._pattern.groupindex
        if not ({"Y", "y"} & parts.keys() and {"m", "B"} & parts.keys() and "d" in parts):
            raise InputError(
                f"--time-format {text!r}: expected a year, a month and a day, as in %d/%m/%Y %H:%M"
            )

    @property
    def day_first(self) -> bool:
        """Whether the day stands before the month."""
        return self._pattern.groupindex["d"] < min(self._pattern.groupindex.get(month, 99) for month in "mB")

    def ms(self, text: str) -> int | None:
        """A text as epoch milliseconds, or None where it has another form."""
        match = self._pattern.fullmatch(text.strip())
        return None if match is None else _of(match.groupdict())


def unit_of(number: float) -> str | None:
    """The unit in which a number is a time between 1990 and 2100: one of UNIT_WORDS, or None.

    >>> unit_of(1706713445), unit_of(1706713445123), unit_of(20240131), unit_of(50_000_000_000)
    ('s', 'ms', 'date', None)
    """
    for unit, per_second in PER_SECOND.items():
        if EPOCH_FROM_S * per_second <= number < EPOCH_UNTIL_S * per_second:
            return unit
    whole = number == number and abs(number) < 1e15 and number == int(number)
    return "date" if whole and moment_ms(_dashed(int(number))) is not None else None


def time_ms(text: str, where: str, day_first: bool | None = None) -> int:
    """A time that a person has written, a text or a number, in epoch milliseconds. Raises InputError.

    >>> time_ms("2017-10-02", "--from") == time_ms("1506902400", "--from") == 1506902400000
    True
    """
    moment = _number_ms(text)
    if moment is None:
        moment = moment_ms(text, day_first)
    if moment is not None:
        return moment
    expected = "expected a time such as 2017-10-02T18:00, or seconds or milliseconds since 1970"
    if year_last(text) != (None, None):
        expected = "expected the year first, as in 2017-10-02: nothing says which of the two is the day"
    elif _is_number(text):
        expected += ", in the years 1990 to 2099"
    raise InputError(f"{where}: {expected}; got {text!r}")


def _number_ms(text: str) -> int | None:
    if not _is_number(text):
        return None
    number: float = int(text) if re.fullmatch(r"\s*[+-]?\d{1,20}\s*", text, re.ASCII) else float(text)
    unit = unit_of(number)
    if unit == "date":
        return moment_ms(_dashed(int(number)))
    if unit is None:
        return None
    per_ms = PER_SECOND[unit] / SECOND_MS
    return int(number // per_ms) if per_ms >= 1 else int(number * SECOND_MS)


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _dashed(date: int) -> str:
    """20240131, 202401310930 or 20240131093000 as ISO 8601."""
    text = str(date)
    if len(text) not in (8, 12, 14) or not "1990" <= text[:4] < "2100":
        return ""
    clock = f"T{text[8:10]}:{text[10:12]}:{text[12:] or '00'}" if text[8:] else ""
    return f"{text[:4]}-{text[4:6]}-{text[6:8]}{clock}"


def _of(parts: dict[str, str | None]) -> int | None:
    """The named parts of a time in epoch milliseconds; None where there is no such day or hour."""
    month = int(parts.get("m") or 0)
    if name := parts.get("B"):
        short = name.lower()[:3]
        if short not in _MONTHS:
            return None
        month = _MONTHS.index(short) + 1
    if year := parts.get("y"):
        parts["Y"] = f"{'19' if int(year) >= 69 else '20'}{year}"
    hour = int(parts.get("H") or 0)
    if half := parts.get("p"):
        if not 1 <= hour <= 12:
            return None
        hour = hour % 12 + (12 if half in "Pp" else 0)
    micros = int((parts.get("f") or "0").ljust(6, "0")[:6])
    try:
        moment = datetime(
            int(parts["Y"] or 0),
            month,
            int(parts["d"] or 0),
            hour,
            int(parts.get("M") or 0),
            int(parts.get("S") or 0),
            micros,
            tzinfo=UTC,
        )
        return _since_1970(moment) - _ahead_ms(parts.get("z"))
    except ValueError:
        return None


def _ahead_ms(zone: str | None) -> int:
    if not zone or zone[0] not in "+-":
        return 0
    minutes = int(zone[1:3]) * 60 + int(zone[-2:])
    return (minutes if zone[0] == "+" else -minutes) * 60 * SECOND_MS


def _since_1970(moment: datetime) -> int:
    return (moment - _EPOCH) // _MILLISECOND
