"""Local time where the log does not say it: a fixed offset, or a zone with its summer time.

Shape suffix: B rows.
"""

from datetime import UTC, datetime
from typing import Self
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import numpy as np

from state.errors import InputError
from state.keys import Int64s

_QUARTER_MS = 900_000
_FIRST, _LAST = (edge.replace(tzinfo=UTC) for edge in (datetime(1, 1, 2), datetime(9999, 12, 30)))
"""Local times are within what a date holds."""


class Zone:
    """Minutes that local time is ahead of UTC, at any time."""

    def __init__(self, fixed_min: int | None, zone: ZoneInfo | None) -> None:
        self._fixed_min = fixed_min
        self._zone = zone
        self._known: dict[int, int] = {}

    @classmethod
    def of(cls, text: str) -> Self:
        """From a number of minutes or the name of a zone. Raises InputError.

        >>> Zone.of("-300").offset_min(np.zeros(2, np.int64)).tolist()
        [-300, -300]
        """
        try:
            minutes = int(text)
        except ValueError:
            try:
                return cls(None, ZoneInfo(text))
            except (ZoneInfoNotFoundError, ValueError, OSError) as error:
                raise InputError(
                    f"tz={text!r}: expected a column, minutes ahead of UTC (-300), or a zone "
                    "(America/New_York) that this machine knows; the package tzdata brings them all"
                ) from error
        if abs(minutes) > 1440:
            raise InputError(f"tz={text!r}: an offset has at most 1440 minutes")
        return cls(minutes, None)

    def offset_min(self, time_ms_B: Int64s) -> Int64s:
        """The offset at each time; offsets change on quarters of an hour only."""
        if self._fixed_min is not None:
            return np.full(len(time_ms_B), self._fixed_min, np.int64)
        quarters, index_B = np.unique(time_ms_B // _QUARTER_MS, return_inverse=True)
        offsets = np.array([self._offset(quarter) for quarter in quarters.tolist()], np.int64)
        return offsets[index_B]

    def _offset(self, quarter: int) -> int:
        if quarter not in self._known:
            utc = datetime.fromtimestamp(quarter * _QUARTER_MS / 1000, UTC)
            offset = min(max(utc, _FIRST), _LAST).astimezone(self._zone).utcoffset()
            self._known[quarter] = 0 if offset is None else round(offset.total_seconds() / 60)
        return self._known[quarter]
