"""The forgetting curve with spacing, decayed sums at a bank of rates, and `state.weeks` for kernels.

The curves are the reconstruction of STIM (arXiv:2508.02451) in its simplest form: the paper's abstract
names forgetting, reinforcement and periodicity; every equation below is ours.

Shape suffixes: K sums, T time constants.
"""

import math

from state import weeks
from state.arrays import Doubles as Doubles
from state.compiled import compiled
from state.weeks import DAYS_OFF as DAYS_OFF
from state.weeks import WEEK_MIN as WEEK_MIN
from state.weeks import periodic as periodic

day_off = compiled(weeks.day_off)
minute_of_week = compiled(weeks.minute_of_week)
tz_min_of = compiled(weeks.tz_min_of)


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
