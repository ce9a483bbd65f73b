"""The forgetting curve with spacing, decayed sums at a bank of rates, and kernels that come round.

The curves are the reconstruction of STIM (arXiv:2508.02451) in its simplest form: the paper's abstract
names forgetting, reinforcement and periodicity; every equation below is ours.

Shape suffixes: K sums, T time constants, M minutes of a week.
"""

import math

import numpy as np
from numpy.typing import NDArray

from state.compiled import compiled

Doubles = NDArray[np.float64]

WEEK_MIN = 7 * 24 * 60


@compiled
def retention(gap_ms: float, strength_ms: float) -> float:
    """What is left in (0, 1] of something last met `gap_ms` ago: exp(-gap / strength), 1 for a negative gap.

    >>> retention(0.0, 1000.0)
    1.0
    """
    return math.exp(-max(gap_ms, 0.0) / strength_ms)


@compiled
def strengthened(strength_ms: float, retained: float, gain: float, cap_ms: float) -> float:
    """The strength after a repeat: a late repeat strengthens most, and no strength exceeds the cap.

    >>> strengthened(10.0, 0.5, 0.7, 100.0)
    13.5
    """
    return min(cap_ms, strength_ms * (1.0 + gain * (1.0 - retained)))


@compiled
def fold(sums_K: Doubles, as_of_ms: int, time_ms: int, amount: float, bank_ms_T: Doubles) -> int:
    """Add one event to T decayed counts and T decayed amounts, in place; returns what they are now as of.

    Decay is lazy: K = 2 T sums hold their value as of `as_of_ms`. An event that is older than that is
    added with the decay it has had since, so the sums are those of a full replay in any order.
    """
    constants = bank_ms_T.shape[0]
    for k in range(constants):
        fade = math.exp(-abs(time_ms - as_of_ms) / bank_ms_T[k])
        if time_ms >= as_of_ms:
            sums_K[k] = sums_K[k] * fade + 1.0
            sums_K[constants + k] = sums_K[constants + k] * fade + amount
        else:
            sums_K[k] += fade
            sums_K[constants + k] += amount * fade
    return max(as_of_ms, time_ms)


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


DAYS_OFF = (2, 3)
"""Saturday and Sunday, by days of the epoch's week, which begins on a Thursday."""


@compiled
def day_off(minute: int) -> bool:
    """Whether a minute of the week is on a Saturday or Sunday."""
    day = minute // 1440
    return bool(day == DAYS_OFF[0] or day == DAYS_OFF[1])


@compiled
def minute_of_week(time_ms: int, tz_min: int) -> int:
    """Local minute, 0 .. 10,079; week and day begin wherever the epoch's did."""
    return (time_ms // 60_000 + tz_min) % WEEK_MIN


@compiled
def tz_min_of(minute: int, time_ms: int) -> int:
    """The `tz_min` by which `time_ms` is at local minute `minute`, below half a week either way."""
    apart = minute - time_ms // 60_000
    return (apart + WEEK_MIN // 2) % WEEK_MIN - WEEK_MIN // 2
