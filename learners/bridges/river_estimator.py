"""Gaussian rows as a river classifier, for river's pipelines, metrics and benchmarks."""

from collections.abc import Hashable
from typing import Any

import numpy as np
from river import base

from learners.gaussian_rows.kernels import (
    MEAN,
    USED,
    VARIANCE,
    Store,
    learn_row,
    moments,
    probability,
    rescale,
    standard,
)
from learners.gaussian_rows.state import WaitingFeatures, WeightTable, store_of
from state.examples import Doubles
from state.keys import key_of, pair

_CONSTANT, _CATEGORY, _NUMBER = 0, 1, 2


class EbbtideClassifier(base.Classifier):
    """Binary logistic regression with a mean and a variance per weight, updated in closed form.

    A feature that is text or a bool is a category with a weight per value; a number, standardised as the
    stream goes, has a slope. Missing features, and numbers that are NaN, say nothing. See
    `learners.gaussian_rows.kernels` for the updates.

    Parameters
    ----------
    category_variance
        Prior variance of a category's weight, in squared log odds.
    number_variance
        Prior variance of a slope, per standard deviation of the number.
    forget
        What a weight's variance grows by at each use, up to its prior.
    most_weights
        Bound on the number of weights; at it, the half that was used longest ago is dropped.

    Examples
    --------
    >>> model = EbbtideClassifier()
    >>> for hour in range(100):
    ...     model.learn_one({"weekday": "sunday" if hour % 2 else "monday"}, hour % 2 == 1)
    >>> model.predict_one({"weekday": "sunday"}), model.predict_one({"weekday": "monday"})
    (True, False)
    """

    def __init__(
        self,
        category_variance: float = 0.5,
        number_variance: float = 0.5,
        forget: float = 1e-4,
        most_weights: int = 1 << 20,
    ) -> None:
        self.category_variance = category_variance
        self.number_variance = number_variance
        self.forget = forget
        self.most_weights = most_weights
        prior_K = np.array([1.0, category_variance, number_variance])
        self._weights = WeightTable(prior_K, np.full(len(prior_K), forget), most_weights)
        self._scales: dict[Hashable, Doubles] = {}
        self._serial = 0

    @property
    def weights(self) -> int:
        """Weights in use."""
        return len(self._weights)

    @property
    def _multiclass(self) -> bool:
        return False

    def learn_one(self, x: dict[Hashable, Any], y: base.typing.ClfTarget) -> None:
        """Learn that features `x` came with outcome `y`."""
        store = self._features(x, grow=True)
        learn_row(store, 0, float(bool(y)), self._weights.view())
        for name, value in _numbers(x):
            rescale(value, self._scales.setdefault(name, np.zeros(3)))
        self._serial += 1

    def predict_proba_one(self, x: dict[Hashable, Any], **kwargs: Any) -> dict[base.typing.ClfTarget, float]:
        """P(False) and P(True)."""
        p = probability(*moments(self._features(x, grow=False), 0, self._weights.view()))
        return {False: 1.0 - p, True: p}

    def _features(self, x: dict[Hashable, Any], *, grow: bool) -> Store:
        entries = [(0, _CONSTANT, 1.0)]
        for name, value in x.items():
            if isinstance(value, str | bool | np.bool_):
                entries.append((pair(key_of(str(name)), key_of(str(value))), _CATEGORY, 1.0))
        for name, value in _numbers(x):
            scale = self._scales.get(name)
            slope = 0.0 if scale is None else standard(value, scale)
            entries.append((pair(key_of(str(name)), 0), _NUMBER, slope))
        keys, kinds, values = (np.array(column) for column in zip(*entries, strict=True))
        store = store_of(1, len(entries))
        store.start_P1[1] = len(entries)
        store.kind_L[:], store.x_L[:] = kinds, values
        weights = self._weights
        if grow:
            if weights.room < len(weights) + len(entries):
                weights.make_room(len(entries), len(entries), WaitingFeatures())
            known = len(weights)
            rows = weights.map.rows(keys, grow=True)
            new = rows >= known
            weights.weight_N3[rows[new], MEAN] = 0.0
            weights.weight_N3[rows[new], VARIANCE] = weights.prior_K[kinds[new]]
            weights.weight_N3[rows, USED] = self._serial
        else:
            rows = weights.map.rows(keys)
        store.row_L[:] = rows
        return store


def _numbers(x: dict[Hashable, Any]) -> list[tuple[Hashable, float]]:
    return [
        (name, float(value))
        for name, value in x.items()
        if isinstance(value, int | float | np.number) and not isinstance(value, bool) and np.isfinite(value)
    ]
