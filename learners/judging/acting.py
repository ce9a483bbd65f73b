"""What a policy would have done on a log: said before a micro-batch is learned from.

The reward that is expected of an item is its own rate of rewards so far, shrunk to that of all.

Shape suffixes: B rows, R rows at hand, N catalogue items.
"""

from typing import NamedTuple, Protocol

import numpy as np

from learners.tables.catalogue import COUNT, POSITIVES, Catalogue
from state.arrays import Doubles
from state.examples import ExampleBatch
from state.keys import Int64s

_PRIOR = 20.0
"""Events of an item at which its own rate weighs as much as that of all."""
_CHUNK = 64


class ShowingPolicy(Protocol):
    """Shows one item."""

    def shares(self, rows: ExampleBatch) -> Doubles:
        """With which probability it shows each item of the catalogue (R, N)."""
        ...

    def of_shown(self, rows: ExampleBatch, share_RN: Doubles, at_R: Int64s) -> Doubles:
        """The same of the row's own item (R,), in catalogue row `at_R` or, as -1, in none; NaN where it shows
        nothing at all."""
        ...


class Acted(NamedTuple):
    """What a policy does with each row; NaN in a row without a propensity, and where it shows nothing."""

    propensity_B: Doubles
    target_B: Doubles
    """With which probability it shows what was shown."""
    predicted_B: Doubles
    """The reward that is expected of what was shown,"""
    expected_B: Doubles
    """and of what the policy shows."""


def act(policy: ShowingPolicy, catalogue: Catalogue, batch: ExampleBatch) -> Acted:
    """To be called before anything of the micro-batch is learned."""
    propensity_B = batch.propensity_B.astype(np.float64)
    acted = Acted(propensity_B, *np.full((3, len(batch)), np.nan))
    rate, rate_N = _rates(catalogue)
    shown = np.flatnonzero(~np.isnan(propensity_B))
    for start in range(0, len(shown), _CHUNK):
        row_R = shown[start : start + _CHUNK]
        rows = batch.take(row_R)
        share_RN, at_R = policy.shares(rows), catalogue.items.rows(rows.item_B)
        acted.target_B[row_R] = policy.of_shown(rows, share_RN, at_R)
        acted.predicted_B[row_R] = np.append(rate_N, rate)[at_R]  # row -1 is the last
        acted.expected_B[row_R] = share_RN @ rate_N + (1.0 - share_RN.sum(1)) * rate
    return acted


def _rates(catalogue: Catalogue) -> tuple[float, Doubles]:
    """The reward of all items together, and of each (N,)."""
    count, positives = catalogue.all_R[[COUNT, POSITIVES]]
    rate, total_NR = float(positives / count) if count else 0.0, catalogue.total_NR[: len(catalogue)]
    return rate, (total_NR[:, POSITIVES] + _PRIOR * rate) / (total_NR[:, COUNT] + _PRIOR)
