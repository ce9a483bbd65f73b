"""Times of a log, whatever their type and unit, as milliseconds since 1970 in UTC.

Numbers are seconds, milliseconds, microseconds or nanoseconds since 1970, dates written as 20170131, or
ticks: small numbers that give an order and no more, taken as a second each. Text is read by `streams.times`,
or in the form that was said. Its parts may stand in several columns, mapped as `time=DATE+CLOCK`.

Shape suffix: B rows.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from replay.reading.arrow import Column, pc
from replay.reading.canonical import Bools
from replay.reading.cells import numbers
from state.errors import InputError
from state.examples import Doubles
from state.keys import Int64s
from streams.times import (
    EPOCH_FROM_S,
    EPOCH_UNTIL_S,
    PER_SECOND,
    SECOND_MS,
    UNIT_WORDS,
    TimeFormat,
    moment_ms,
    time_ms,
)
from streams.wire import reasons

DAY_MS = 86_400_000
_ISO = tuple(pa.timestamp(unit, zone) for unit in ("ms", "us") for zone in (None, "UTC"))
_MOST_TICK_MS = 1 << 52
"""A store's rows carry their times as doubles."""
Fault = tuple[Bools, str, str]
"""Rows (B,), the reason, and the details."""


@dataclass(frozen=True, slots=True)
class TimeReader:
    """How the log's times are read."""

    unit: str
    """One of `s ms us ns date tick`, or `timestamp` (the column says so itself) or `text`."""
    earliest_ms: int
    latest_ms: int
    day_first: bool | None = None
    """What 03/04/2024 means, where the log has such times."""
    form: TimeFormat | None = None
    """The form of texts, where it was said."""
    near_ms: tuple[int, int] | None = None
    """The first and the last time of the log without those that are alone, far from all others."""

    @property
    def ticks(self) -> bool:
        """Whether times only give an order."""
        return self.unit == "tick"

    def read(self, column: Column) -> tuple[Int64s, list[Fault]]:
        """Milliseconds (B,), and what is wrong with which cells, the first that fits counts."""
        if is_timestamp(column.type):
            time_ms_B, bad_B = _timestamps(column), np.zeros(len(column), np.bool_)
        elif self.unit == "text":
            time_ms_B, bad_B = self._texts(column)
        else:
            time_ms_B, bad_B = self._numbers(column)
        faults = [(np.asarray(pc.is_null(column)), reasons.missing("time"), "")]
        earliest_ms, latest_ms = (
            (-_MOST_TICK_MS, _MOST_TICK_MS) if self.ticks else (self.earliest_ms, self.latest_ms)
        )
        outside_B = (time_ms_B < earliest_ms) | (time_ms_B >= latest_ms)
        if not is_timestamp(column.type) and (bad_B | outside_B).any():
            faults += self._in_another_unit(column, bad_B | outside_B)
        faults.append((bad_B, reasons.bad("time"), f"expected {self._expected()}"))
        bounds = f"expected fewer than {_MOST_TICK_MS // SECOND_MS:,} ticks"
        if not self.ticks:
            bounds = (
                f"expected {shown(self.earliest_ms)} to {shown(self.latest_ms)}; "
                "--map earliest=... and latest=... move it"
            )
        faults.append((outside_B, reasons.OUT_OF_BOUNDS, bounds))
        if self.near_ms is not None:
            first_ms, last_ms = self.near_ms
            far_B = (time_ms_B < first_ms) | (time_ms_B > last_ms)
            all_others = f"all others are from {shown(first_ms)} to {shown(last_ms)}"
            faults.append((far_B, reasons.FAR_OFF, all_others))
        return time_ms_B, faults

    def said_ms(self, text: str, option: str) -> int:
        """A time of this log as a person writes it. Raises InputError."""
        if self.ticks:
            try:
                return round(float(text) * SECOND_MS)
            except (ValueError, OverflowError):
                raise InputError(f"{option}: expected a number of ticks, got {text!r}") from None
        moment = self.form.ms(text) if self.form is not None else None
        return time_ms(text, option, self.day_first) if moment is None else moment

    def _texts(self, column: Column) -> tuple[Int64s, Bools]:
        """Text as times, and which cells are none: ISO 8601 throughout at once, all else text by text."""
        times = iso(column) if self.form is None else None
        if times is not None:
            return times, np.zeros(len(column), np.bool_)
        texts, index_B = distinct(column)
        moments = [moment_ms(t, self.day_first) if self.form is None else self.form.ms(t) for t in texts]
        time_ms_U = np.array([*(0 if moment is None else moment for moment in moments), 0], np.int64)
        bad_U = np.array([*(moment is None for moment in moments), False])
        return time_ms_U[index_B], bad_U[index_B]

    def _expected(self) -> str:
        if self.form is not None:
            return f"a time of the form {self.form.text}"
        return UNIT_WORDS.get(self.unit, {"tick": "a number"}.get(self.unit, "a time"))

    def _in_another_unit(self, column: Column, wrong_B: Bools) -> list[Fault]:
        """Cells that are a time in a unit which is not that of the log."""
        if self.ticks:
            return []
        value_B = np.full(len(column), np.nan)
        value_B[wrong_B] = numbers(column.filter(pa.array(wrong_B))).value_B
        expected = f"the log's times are {self._expected()}"
        return [
            (in_unit_B & wrong_B, reasons.looks_like(UNIT_WORDS[unit]), expected)
            for unit, in_unit_B in plausible(value_B).items()
            if unit != self.unit
        ]

    def _numbers(self, column: Column) -> tuple[Int64s, Bools]:
        nothing_B = np.zeros(len(column), np.bool_)
        if pa.types.is_integer(column.type) and not pa.types.is_uint64(column.type):
            whole = pc.fill_null(pc.cast(column, pa.int64()), 0).to_numpy(zero_copy_only=False)
            return self._whole(np.array(whole, np.int64)), nothing_B
        if pa.types.is_string(column.type) or pa.types.is_binary(column.type):
            try:
                whole = pc.fill_null(pc.cast(column, pa.int64()), 0).to_numpy(zero_copy_only=False)
                return self._whole(np.array(whole, np.int64)), nothing_B
            except pa.ArrowInvalid:
                pass  # decimals, or junk among the numbers
        cells = numbers(column)
        bad_B = np.isnan(cells.value_B) | (np.abs(cells.value_B) > 9e18)
        return self._decimal(np.where(bad_B, 0.0, cells.value_B)), bad_B

    def _whole(self, raw_B: Int64s) -> Int64s:
        match self.unit:
            case "ms":
                return raw_B
            case "us" | "ns":
                return raw_B // (PER_SECOND[self.unit] // SECOND_MS)
            case "date":
                return _dates(raw_B.astype(np.float64))
        near = (raw_B < 2**52) & (raw_B > -(2**52))
        return np.where(near, raw_B, 2**52) * SECOND_MS

    def _decimal(self, raw_B: Doubles) -> Int64s:
        if self.unit == "date":
            return _dates(raw_B)
        scaled = raw_B * (SECOND_MS / PER_SECOND.get(self.unit, 1.0))
        return np.rint(np.clip(scaled, -(2.0**62), 2.0**62)).astype(np.int64)


def joined_times(parts: Sequence[Column]) -> Column:
    """Columns of dates and of clocks, or of years, months and days, as one of times; missing where one is."""
    texts = [pc.strftime(part, "%Y-%m-%d") if is_timestamp(part.type) else _as_text(part) for part in parts]
    joined: Column = pc.binary_join_element_wise(*texts, " ")
    return joined


def plausible(value_B: Doubles) -> dict[str, Bools]:
    """Unit -> which numbers (B,) are a time between 1990 and 2100 in it; no number is in two of them."""
    fits = {
        unit: (value_B >= EPOCH_FROM_S * per_s) & (value_B < EPOCH_UNTIL_S * per_s)
        for unit, per_s in PER_SECOND.items()
    }
    return fits | {"date": _looks_like_date(value_B)}


def is_timestamp(kind: pa.DataType) -> bool:
    """Whether a column says itself that it holds times."""
    return bool(pa.types.is_timestamp(kind) or pa.types.is_date(kind))


def iso(column: Column) -> Int64s | None:
    """Text (B,) that is ISO 8601 throughout as milliseconds, 0 where it is missing; else None."""
    text = _as_text(column)
    sample = text.drop_null()[:1]
    for kind in _ISO:
        try:
            pc.cast(sample, kind)  # a whole column that is none takes long to fail
            return _timestamps(pc.cast(text, kind))
        except pa.ArrowInvalid:
            continue
    return None


def distinct(column: Column) -> tuple[list[str], Int64s]:
    """The distinct texts of a column, and the index (B,) of each cell's; a missing one has the last."""
    coded = pc.dictionary_encode(_as_text(column))
    texts = coded.dictionary.to_pylist()
    return texts, np.asarray(pc.fill_null(coded.indices, len(texts)), np.int64)


def shown(time_ms: int) -> str:
    """A time for people, in UTC."""
    return str(np.datetime64(time_ms // SECOND_MS, "s")).replace("T", " ")


def _timestamps(column: Column) -> Int64s:
    wide = pc.cast(pc.cast(column, pa.timestamp("ms"), safe=False), pa.int64())
    return np.array(pc.fill_null(wide, 0).to_numpy(zero_copy_only=False), np.int64)


def _as_text(column: Column) -> Column:
    return column if pa.types.is_string(column.type) else pc.cast(column, pa.string())


def _looks_like_date(value_B: Doubles) -> Bools:
    date_B, clock_B = _date_and_clock(value_B)
    month_B, day_B, year_B = date_B // 100 % 100, date_B % 100, date_B // 10000
    sound_B = (month_B >= 1) & (month_B <= 12) & (day_B >= 1) & (day_B <= 31) & (value_B == np.floor(value_B))
    sound_B &= (clock_B // 10000 < 24) & (clock_B // 100 % 100 < 60) & (clock_B % 100 < 60)
    return np.asarray((year_B >= 1990) & (year_B < 2100) & sound_B)


def _date_and_clock(value_B: Doubles) -> tuple[Doubles, Doubles]:
    """20240131, 202401310930 or 20240131093000 as a date and a clock with seconds."""
    seconds_B, minutes_B = value_B >= 1e13, value_B >= 1e11
    divisor_B = np.where(seconds_B, 1e6, np.where(minutes_B, 1e4, 1.0))
    date_B = np.floor(value_B / divisor_B)
    clock_B = value_B - date_B * divisor_B
    return date_B, np.where(minutes_B & ~seconds_B, clock_B * 100, np.where(seconds_B, clock_B, 0.0))


def _dates(raw_B: Doubles) -> Int64s:
    """20170131 -> its midnight; a number that is no date goes far outside every bound."""
    sound_B = _looks_like_date(raw_B)
    date_B, clock_B = (
        part.astype(np.int64) for part in _date_and_clock(np.where(sound_B, raw_B, 19900101.0))
    )
    month_B = (date_B // 10000 - 1970) * 12 + date_B // 100 % 100 - 1
    day_B = month_B.astype("M8[M]").astype("M8[D]").astype(np.int64) + date_B % 100 - 1
    second_B = clock_B // 10000 * 3600 + clock_B // 100 % 100 * 60 + clock_B % 100
    return np.where(sound_B, day_B * DAY_MS + second_B * SECOND_MS, -(2**62))
