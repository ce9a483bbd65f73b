"""What a whole log says of how it is to be read: unit and form of its times, scale of its ratings.

Both are first decided by the head of a log, and again by all of it: the same question, asked of more.

Shape suffixes: B rows, U distinct texts.
"""

from collections import Counter
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from replay.meaning.times import distinct, is_timestamp, iso, plausible
from replay.reading.arrow import Column
from replay.reading.cells import numbers
from state.errors import InputError
from state.keys import Int64s
from streams.times import TimeFormat, moment_ms, year_last

_STRAY = 0.01
"""Share of the cells that a form need not fit."""
_SHOWN = 3
_MOST_RATINGS = 4096


@dataclass(frozen=True, slots=True)
class TimeReading:
    """How times are to be read, and why, where there was a choice."""

    unit: str
    day_first: bool | None = None
    why: str = ""


class TimeEvidence:
    """Of a column of times, chunk after chunk."""

    def __init__(self, form: TimeFormat | None = None) -> None:
        self._form = form
        self._present = self._stamps = self._numbers = self._texts = 0
        self._in_unit: Counter[str] = Counter()
        self._year_last = 0
        self._only = [0, 0]
        """Cells that can only be read day first, and only month first."""
        self._example = ["", ""]
        self._steps = np.zeros((2, 2), np.int64)
        """Of both readings: how often time falls, and how often it rises, from one cell to the next."""
        self._last: list[int | None] = [None, None]
        self._first: list[str] = []
        self._dotted, self._alike = True, True
        """Whether dots separate all of them, and whether both readings give the same times."""

    def new_file(self) -> None:
        """The next cells are another file's, which has an order of its own."""
        self._last = [None, None]

    def add(self, column: Column) -> None:
        """Take the cells of more rows."""
        self._present += len(column) - column.null_count
        if is_timestamp(column.type):
            self._stamps += len(column) - column.null_count
            return
        if len(self._first) < _SHOWN:
            cells = [cell for cell in column[:100].to_pylist() if cell is not None]
            self._first += [str(cell) for cell in cells[:_SHOWN]]
        if self._form is None and not _is_numeric(column.type) and iso(column) is not None:
            self._texts += len(column) - column.null_count
            return
        if self._form is None:
            value_B = numbers(column).value_B
            self._numbers += int(np.isfinite(value_B).sum())
            self._in_unit.update({unit: int(in_B.sum()) for unit, in_B in plausible(value_B).items()})
            if _is_numeric(column.type) or np.isfinite(value_B).sum() == len(column) - column.null_count:
                return
        self._add_texts(column)

    def _add_texts(self, column: Column) -> None:
        texts, index_B = distinct(column)
        number_U = np.bincount(index_B, minlength=len(texts) + 1)[:-1]
        if self._form is not None:
            is_time_U = np.array([self._form.ms(text) is not None for text in texts], np.bool_)
            self._texts += int(number_U[is_time_U].sum())
            return
        both = [year_last(text) for text in texts]
        open_U = np.array([pair != (None, None) for pair in both], np.bool_)
        is_time_U = open_U | np.array(
            [is_open or moment_ms(text) is not None for is_open, text in zip(open_U, texts, strict=True)],
            np.bool_,
        )
        self._texts += int(number_U[is_time_U].sum())
        if not open_U.any():
            return
        self._year_last += int(number_U[open_U].sum())
        for u in np.flatnonzero(open_U).tolist():
            self._dotted &= "." in texts[u].strip()[:6]
            self._alike &= both[u][0] == both[u][1]
            for side in (0, 1):
                if both[u][1 - side] is None:
                    self._only[side] += int(number_U[u])
                    self._example[side] = self._example[side] or texts[u]
        for side in (0, 1):
            time_ms_U = np.array([*(pair[side] or 0 for pair in both), 0], np.int64)
            there_U = np.array([*(pair[side] is not None for pair in both), False])
            self._look_at_order(side, time_ms_U[index_B][there_U[index_B]])

    def _look_at_order(self, side: int, time_ms_B: Int64s) -> None:
        if len(time_ms_B) == 0:
            return
        last_ms = self._last[side]
        before = time_ms_B[:1] if last_ms is None else np.array([last_ms])
        step_B = np.diff(np.concatenate((before, time_ms_B)))
        self._steps[side] += int((step_B < 0).sum()), int((step_B > 0).sum())
        self._last[side] = int(time_ms_B[-1])

    def reading(
        self, where: str, unit: str | None = None, *, usual: bool | None = None, final: bool = True
    ) -> TimeReading:
        """How the times are to be read; `unit` where it was said.

        Unless `final`, more is to come, and what is open may be left open; where nothing tells, the day is
        first if `usual` says so. Raises InputError where the cells look like no time at all, or the caller
        has to say what they mean.
        """
        if unit is None:
            unit = self._unit(where, final)
        if unit != "text" or self._form is not None or not self._year_last:
            return TimeReading(unit)
        day_first, why = self._day_first(where, usual, final)
        return TimeReading(unit, day_first, why)

    def _unit(self, where: str, final: bool) -> str:
        counted = self._present - self._stamps
        if self._stamps and counted == 0:
            return "timestamp"
        if self._form is not None:
            if 2 * self._texts >= counted > 0 or not final:
                return "text"
            raise InputError(
                f"{where} holds {self._cells()}, which --time-format {self._form.text!r} does not fit"
            )
        if counted and 2 * self._numbers >= counted:
            best = max(self._in_unit, key=lambda unit: self._in_unit[unit])
            return best if 2 * self._in_unit.total() > self._numbers else "tick"
        if (counted and 2 * self._texts >= counted) or not final:
            return "text"
        raise InputError(
            f"{where} holds no times, but {self._cells()}; map another: --map time=COLUMN (or DATE+CLOCK),"
            " or say their form: --time-format '%d/%m/%Y %H:%M'"
        )

    def _cells(self) -> str:
        return ", ".join(map(repr, self._first[:_SHOWN])) or "nothing"

    def _day_first(self, where: str, usual: bool | None, final: bool) -> tuple[bool, str]:
        day, month = (self._form_of(day_first) for day_first in (True, False))
        which = {True: f"day first ({day})", False: f"month first ({month})"}
        cure = f"say which: --time-format {day!r} or --time-format {month!r}"
        if any(self._only):
            day_first = self._only[0] >= self._only[1]
            fitting, stray = max(self._only), min(self._only)
            why = f"{which[day_first]}, as {fitting:,} can be nothing else ({self._example[not day_first]})"
            if stray == 0:
                return day_first, why
            if stray <= _STRAY * fitting or not final:
                return day_first, f"{why}; {stray:,} are no such time ({self._example[day_first]})"
            only_day_first, only_month_first = self._example
            raise InputError(
                f"{where} is neither day first throughout, as {only_month_first!r} is not, "
                f"nor month first, as {only_day_first!r} is not; write it in one form, or {cure}"
            )
        if self._alike:
            return True, ""
        if self._dotted:
            return True, f"{which[True]}, as is usual with dots"
        ordered = [bool(self._steps[side].min() == 0) for side in (0, 1)]
        if ordered[0] != ordered[1] or not final:
            return ordered[0], f"{which[ordered[0]]}, as the log is in order of time so"
        if usual is not None:
            return usual, f"{which[usual]}, as elsewhere"
        raise InputError(
            f"{where} may be day first or month first, such as {self._cells()}: neither the values nor their"
            f" order tell; {cure}"
        )

    def _form_of(self, day_first: bool) -> str:
        text = self._first[0] if self._first else ""
        separator = next((letter for letter in text if letter in "-/."), "/")
        return separator.join(("%d", "%m", "%Y") if day_first else ("%m", "%d", "%Y"))


class RatingEvidence:
    """Of a column of ratings: how often there is which value."""

    def __init__(self) -> None:
        self._counts: Counter[float] = Counter()

    def add(self, column: Column) -> None:
        """Take the cells of more rows."""
        value_B = numbers(column).value_B
        value_U, number_U = np.unique(value_B[~np.isnan(value_B)], return_counts=True)
        self._counts.update(dict(zip(value_U.tolist(), number_U.tolist(), strict=True)))
        if len(self._counts) > _MOST_RATINGS:
            least, most = min(self._counts), max(self._counts)
            kept = dict(self._counts.most_common(_MOST_RATINGS // 2))
            self._counts = Counter({**kept, least: self._counts[least], most: self._counts[most]})

    @property
    def values(self) -> Column:
        """The different values, but those that hardly ever occur."""
        few = 1e-3 * self._counts.total()
        return pa.array(
            sorted(value for value, number in self._counts.items() if number >= few), pa.float64()
        )


def _is_numeric(kind: pa.DataType) -> bool:
    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind))
