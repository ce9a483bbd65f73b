"""Running rates as log odds; shared by the floor and by features."""

import numpy as np

from state.compiled import inner
from state.examples import ITEM_RATES, Floats

SMOOTHING = 5.0
"""A rate counts as if it had come out as the base rate this many times before."""

_ALL, _ALL_POSITIVES = ITEM_RATES.index("all_count"), ITEM_RATES.index("all_positives")


@inner
def logit(p: float) -> float:
    """Log odds."""
    return float(np.log(p / (1.0 - p)))


@inner
def base_rate(item_rates_R: Floats) -> float:
    """P(action) over everything known, with one success and one failure added."""
    return (np.float64(item_rates_R[_ALL_POSITIVES]) + 1.0) / (np.float64(item_rates_R[_ALL]) + 2.0)


@inner
def deviation(positives: float, count: float, base: float) -> float:
    """Log odds of a smoothed rate, less those of `base`."""
    return logit((positives + SMOOTHING * base) / (count + SMOOTHING)) - logit(base)
