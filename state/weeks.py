"""Hours and weekdays: minutes of the week, and kernels that come round. Needs no numba.

Shape suffix: M minutes of a week.
"""

import numpy as np

from state.arrays import Doubles

WEEK_MIN = 7 * 24 * 60
DAYS_OFF = (2, 3)
"""Saturday and Sunday, by days of the epoch's week, which begins on a Thursday."""


def day_off(minute: int) -> bool:
    """Whether a minute of the week is on a Saturday or Sunday."""
    day = minute // 1440
    return bool(day == DAYS_OFF[0] or day == DAYS_OFF[1])


def minute_of_week(time_ms: int, tz_min: int) -> int:
    """Local minute, 0 .. 10,079; week and day begin wherever the epoch's did."""
    return (time_ms // 60_000 + tz_min) % WEEK_MIN


def tz_min_of(minute: int, time_ms: int) -> int:
    """The `tz_min` by which `time_ms` is at local minute `minute`, below half a week either way."""
    apart = minute - time_ms // 60_000
    return (apart + WEEK_MIN // 2) % WEEK_MIN - WEEK_MIN // 2


def periodic(width_h: float, period_h: int) -> Doubles:
    """Logarithms (M,) of the von Mises kernel, by minutes of difference within a week.

    k(d) = exp((cos(2 pi d / period) - 1) / s^2) with s = 2 pi width / period: near 0 a Gaussian whose
    standard deviation is `width_h` hours. `period_h` divides a week.

    >>> daily = periodic(1.0, 24)
    >>> bool(daily[23 * 60] == daily[60])  # 23 h apart is 1 h apart
    True
    """
    minutes_M = np.arange(WEEK_MIN) % (period_h * 60)
    folded_M = np.minimum(minutes_M, period_h * 60 - minutes_M)
    angle_M = 2.0 * np.pi * folded_M / (period_h * 60)
    return np.asarray((np.cos(angle_M) - 1.0) / (2.0 * np.pi * width_h / period_h) ** 2)
