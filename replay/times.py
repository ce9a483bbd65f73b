"""Times of a log, whatever their type and unit, as milliseconds since 1970 in UTC.

Numbers are seconds, milliseconds, microseconds or nanoseconds since 1970, dates written as 20170131, or
ticks: small numbers that give an order and no more, taken as a second each. Text is ISO 8601 or one of a few
other usual forms; without a zone it is UTC.

Shape suffix: B rows.
"""

from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np
import pyarrow as pa

from replay.arrow import Column, pc
from replay.canonical import Bools
from replay.cells import decoded, numbers
from state.errors import InputError
from state.examples import Doubles
from state.keys import Int64s

SECOND_MS = 1000
DAY_MS = 86_400_000
_EPOCH_FROM_S, _EPOCH_UNTIL_S = 631_152_000.0, 4_102_444_800.0  # 1990, 2100
_PER_SECOND = {"s": 1.0, "ms": 1e3, "us": 1e6, "ns": 1e9}
_FORMS = (
    *("%Y/%m/%d %H:%M:%S", "%Y/%m/%d %H:%M", "%Y/%m/%d", "%d.%m.%Y %H:%M:%S", "%d.%m.%Y"),
    *("%a %b %d %H:%M:%S %z %Y", "%Y-%m-%d %H:%M:%S %Z", "%m/%d/%Y %H:%M:%S", "%m/%d/%Y %H:%M", "%m/%d/%Y"),
    *("%a, %d %b %Y %H:%M:%S %z", "%d/%b/%Y:%H:%M:%S %z"),
)


@dataclass(frozen=True, slots=True)
class Clock:
    """How the log's times are read."""

    unit: str
    """One of `s ms us ns date tick`, or `timestamp` (the column says so itself) or `text`."""
    earliest_ms: int
    latest_ms: int

    @property
    def ticks(self) -> bool:
        """Whether times only give an order."""
        return self.unit == "tick"

    def read(self, column: Column) -> tuple[Int64s, Bools, Bools, Bools]:
        """Milliseconds, and which cells are missing, are no time, and lie outside the bounds."""
        time_ms_B, bad_B = self._timestamps(column) if _is_timestamp(column.type) else self._read(column)
        missing_B = np.asarray(pc.is_null(column))
        bad_B &= ~missing_B
        if self.ticks:
            outside_B = np.zeros(len(column), np.bool_)
        else:
            outside_B = (time_ms_B < self.earliest_ms) | (time_ms_B >= self.latest_ms)
        return time_ms_B, missing_B, bad_B, outside_B & ~missing_B & ~bad_B

    def _timestamps(self, column: Column) -> tuple[Int64s, Bools]:
        wide = pc.cast(pc.cast(column, pa.timestamp("ms"), safe=False), pa.int64())
        filled = pc.fill_null(wide, 0).to_numpy(zero_copy_only=False)
        return np.array(filled, np.int64), np.zeros(len(column), np.bool_)

    def _read(self, column: Column) -> tuple[Int64s, Bools]:
        if self.unit == "text":
            return _parsed(column)
        if pa.types.is_integer(column.type) and not pa.types.is_uint64(column.type):
            whole = pc.fill_null(pc.cast(column, pa.int64()), 0).to_numpy(zero_copy_only=False)
            return self._whole(np.array(whole, np.int64)), np.zeros(len(column), np.bool_)
        if pa.types.is_string(column.type) or pa.types.is_binary(column.type):
            try:
                whole = pc.fill_null(pc.cast(column, pa.int64()), 0).to_numpy(zero_copy_only=False)
                return self._whole(np.array(whole, np.int64)), np.zeros(len(column), np.bool_)
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
                return raw_B // int(_PER_SECOND[self.unit] / SECOND_MS)
            case "date":
                return _dates(raw_B)
        near = np.abs(raw_B) < 2**52
        return np.where(near, raw_B, 2**52) * SECOND_MS

    def _decimal(self, raw_B: Doubles) -> Int64s:
        if self.unit == "date":
            return _dates(raw_B.astype(np.int64))
        scaled = raw_B * (SECOND_MS / _PER_SECOND.get(self.unit, 1.0))
        return np.rint(np.clip(scaled, -(2.0**62), 2.0**62)).astype(np.int64)


def find_unit(head: Column, where: str) -> str:
    """The unit of a log's times, by what most of its first rows look like.

    Raises InputError where they look like no time at all.
    """
    if _is_timestamp(head.type):
        return "timestamp"
    value_B = numbers(head).value_B
    value_B = value_B[np.isfinite(value_B)]
    present = len(head) - head.null_count
    if 2 * len(value_B) < present or present == 0:
        _, bad_B = _parsed(head) if present else (None, np.zeros(0, np.bool_))
        if present and 2 * (int(bad_B.sum()) - head.null_count) < present:
            return "text"
        shown = [decoded(cell) if isinstance(cell, bytes) else str(cell) for cell in head[:3].to_pylist()]
        raise InputError(
            f"{where} holds no times, but {', '.join(map(repr, shown)) if present else 'nothing'}; "
            "map another: --map time=COLUMN"
        )
    in_unit = {
        unit: int(np.sum((value_B >= _EPOCH_FROM_S * per_s) & (value_B < _EPOCH_UNTIL_S * per_s)))
        for unit, per_s in _PER_SECOND.items()
    }
    in_unit["date"] = int(np.sum(_looks_like_date(value_B)))
    best = max(in_unit, key=lambda unit: in_unit[unit])
    return best if 2 * in_unit[best] > len(value_B) else "tick"


def time_ms(text: str, ticks: bool = False) -> int:
    """A time as a person writes it: a date, seconds or milliseconds since 1970, or a tick.

    Raises InputError.
    """
    try:
        number = float(text)
        return round(number if abs(number) > _EPOCH_UNTIL_S * 10 and not ticks else number * SECOND_MS)
    except (ValueError, OverflowError):
        pass
    moment = None if ticks else _moment(text)
    if moment is None:
        expected = "a number of ticks" if ticks else "a date such as 2017-05-01T12:00, or seconds since 1970"
        raise InputError(f"time {text!r}: expected {expected}")
    return moment


def _is_timestamp(kind: pa.DataType) -> bool:
    return bool(pa.types.is_timestamp(kind) or pa.types.is_date(kind))


def _looks_like_date(value_B: Doubles) -> Bools:
    month_B, day_B = value_B // 100 % 100, value_B % 100
    year_B = value_B // 10000
    sound = (month_B >= 1) & (month_B <= 12) & (day_B >= 1) & (day_B <= 31)
    return np.asarray((year_B >= 1990) & (year_B < 2100) & sound)


def _dates(raw_B: Int64s) -> Int64s:
    """20170131 -> its midnight; a number that is no date goes far outside every bound."""
    month_B = (raw_B // 10000 - 1970) * 12 + raw_B // 100 % 100 - 1
    first = np.clip(month_B, -20000, 20000).astype("M8[M]").astype("M8[D]").astype(np.int64)
    sound = _looks_like_date(raw_B.astype(np.float64))
    return np.where(sound, (first + raw_B % 100 - 1) * DAY_MS, -(2**62))


def _parsed(column: Column) -> tuple[Int64s, Bools]:
    """Text as times, and which cells are none (missing ones among them)."""
    for kind in (
        pa.timestamp("ms"),
        pa.timestamp("ms", "UTC"),
        pa.timestamp("us"),
        pa.timestamp("us", "UTC"),
    ):
        try:
            return _arrow_parsed(column, kind), np.asarray(pc.is_null(column))
        except pa.ArrowInvalid:
            continue
    coded = pc.dictionary_encode(column)
    moments = [_moment(decoded(cell)) for cell in coded.dictionary.to_pylist()] + [None]
    index_B = pc.fill_null(coded.indices, len(moments) - 1).to_numpy(zero_copy_only=False)
    time_ms_U = np.array([0 if moment is None else moment for moment in moments], np.int64)
    bad_U = np.array([moment is None for moment in moments])
    return time_ms_U[index_B], bad_U[index_B]


def _arrow_parsed(column: Column, kind: pa.DataType) -> Int64s:
    text = column if pa.types.is_string(column.type) else pc.cast(column, pa.string())
    moments = pc.cast(pc.cast(pc.cast(text, kind), pa.timestamp("ms"), safe=False), pa.int64())
    return np.array(pc.fill_null(moments, 0).to_numpy(zero_copy_only=False), np.int64)


def _moment(text: str) -> int | None:
    text = text.strip().removesuffix(" UTC")
    try:
        return _milliseconds(datetime.fromisoformat(text))
    except ValueError:
        pass
    for form in _FORMS:
        try:
            return _milliseconds(datetime.strptime(text, form))
        except ValueError:
            continue
    return None


def _milliseconds(moment: datetime) -> int:
    aware = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return round(aware.timestamp() * SECOND_MS)
