"""A figure over seeds: its mean, and a 95% interval by Student's t."""

from collections.abc import Sequence
from statistics import NormalDist, fmean

import msgspec
import numpy as np


class MeanOverSeeds(msgspec.Struct, frozen=True, kw_only=True):
    """A mean over seeds with its interval; no bounds of one seed."""

    mean: float
    low: float | None
    high: float | None


def figure(values: Sequence[float]) -> MeanOverSeeds:
    """Their mean and its 95% interval by Student's t."""
    mean = fmean(values)
    if len(values) < 2:
        return MeanOverSeeds(mean=mean, low=None, high=None)
    half = student(len(values) - 1) * float(np.std(values, ddof=1)) / len(values) ** 0.5
    return MeanOverSeeds(mean=mean, low=mean - half, high=mean + half)


def student(freedom: int) -> float:
    """The 97.5% quantile of Student's t.

    Beyond four degrees of freedom by the expansion in 1 / degrees (Cornish and Fisher), right to .01.

    >>> [round(student(freedom), 2) for freedom in (4, 5, 9, 30)]
    [2.78, 2.57, 2.26, 2.04]
    """
    if freedom <= len(_FEW):
        return _FEW[freedom - 1]
    z = NormalDist().inv_cdf(0.975)
    first = (z**3 + z) / 4.0
    second = (5.0 * z**5 + 16.0 * z**3 + 3.0 * z) / 96.0
    third = (3.0 * z**7 + 19.0 * z**5 + 17.0 * z**3 - 15.0 * z) / 384.0
    return z + first / freedom + second / freedom**2 + third / freedom**3


_FEW = (12.706, 4.303, 3.182, 2.776)
