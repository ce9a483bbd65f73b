"""Times that are alone, far from all others of a log: somebody's clock was wrong.

A log ends in 2024, and one row is stamped 2099. Such a row would move the clock of the stream, and the end of
the log, by 75 years. It is told from a real gap, as of a log that was kept in 1998 and again in 2026, by how
few rows lie beyond the gap, and by how long the gap is beside everything else:

- on one side of the longest silence lies at most one row in a thousand (one row, from 20 rows on),
- the silence is longer than all that is on the other side together, and longer than five years.

Both must hold; what is taken away so is looked at no more, and the rest is asked again. More rows than that
are left where they are, also when a whole month is far off: who is wrong cannot be told then, and the silence
is warned of. Bounds that were said (`--map earliest=...`, `latest=...`) are taken as said.

Shape suffix: H hours in which something happened.
"""

import numpy as np

from state.keys import Int64s

HOUR_MS = 3_600_000
_LONELY = 1000
"""Rows on one of which another may be far off."""
_FEWEST = 20
"""Rows of which one may be far off."""
_LEAST_H = 5 * 8766


class Hours:
    """In which hours something happens, and how often."""

    def __init__(self) -> None:
        self.hour_H: Int64s = np.zeros(0, np.int64)
        """Numbers since 1970, in order."""
        self.number_H: Int64s = np.zeros(0, np.int64)

    def add(self, time_ms_B: Int64s) -> None:
        """Take more rows."""
        hour_P, number_P = np.unique(time_ms_B // HOUR_MS, return_counts=True)
        self.hour_H, at = np.unique(np.concatenate((self.hour_H, hour_P)), return_inverse=True)
        number = np.bincount(at, np.concatenate((self.number_H, number_P)), len(self.hour_H))
        self.number_H = number.astype(np.int64)

    @property
    def near_ms(self) -> tuple[int, int] | None:
        """The first and the last time that are not far off; None where all are near."""
        if len(self.hour_H) == 0:
            return None
        first, last = near(self.hour_H, self.number_H)
        if (first, last) == (self.hour_H[0], self.hour_H[-1]):
            return None
        return first * HOUR_MS, (last + 1) * HOUR_MS - 1


def near(hour_H: Int64s, number_H: Int64s) -> tuple[int, int]:
    """The first and the last hour (a number since 1970) that are not far off, of hours in order.

    `number_H` is how many rows each has.

    >>> near(np.array([0, 5, 9, 9 + 8766 * 6]), np.array([10, 10, 10, 1]))
    (0, 9)
    >>> near(np.array([0, 5, 9, 9 + 8766 * 6]), np.array([10, 10, 10, 10]))
    (0, 52605)
    """
    start, end = 0, len(hour_H)
    while end - start > 1:
        hours, numbers = hour_H[start:end], number_H[start:end]
        rows = int(numbers.sum())
        most = max(rows // _LONELY, 1 if rows >= _FEWEST else 0)
        gaps = np.diff(hours)
        at = int(np.argmax(gaps)) + 1
        gap = int(gaps[at - 1])
        before, after = int(numbers[:at].sum()), int(numbers[at:].sum())
        if gap < _LEAST_H:
            break
        if after <= most and gap > hours[at - 1] - hours[0]:
            end = start + at
        elif before <= most and gap > hours[-1] - hours[at]:
            start += at
        else:
            break
    return int(hour_H[start]), int(hour_H[end - 1])
