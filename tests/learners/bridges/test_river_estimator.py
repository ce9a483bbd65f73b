"""Gaussian rows as a river classifier: river's own checks, every one that applies.

river decides from the class which apply. For a binary classifier without mini-batches, seeds or wrapping,
that leaves out its checks of mini-batches (`*_many`), of transformers, rankers, forecasters, anomaly
detectors and model selection, of seeding (nothing is random), of mutable attributes and of `debug_one`
(there are none), and its data set for multi-class models. None of the rest is skipped.
"""

import sys
from collections.abc import Callable, Hashable
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from river import checks, datasets, evaluate, linear_model, metrics, preprocessing

from learners.bridges.river_estimator import EbbtideClassifier


def river_checks() -> list[Callable[[EbbtideClassifier], None]]:
    """river imports scikit-learn for data sets of regressors, which a classifier is not shown; it is no
    dependency of ours, so an empty module stands in for it while river makes its list."""
    missing = {name: ModuleType(name) for name in ("sklearn", "sklearn.datasets") if name not in sys.modules}
    for name, module in missing.items():
        sys.modules[name] = module
        if name == "sklearn.datasets":
            sys.modules["sklearn"].datasets = module  # type: ignore[attr-defined]
    try:
        return list(checks.yield_checks(EbbtideClassifier()))
    finally:
        for name in missing:
            del sys.modules[name]


CHECKS = river_checks()
log_loss: Callable[[], metrics.LogLoss] = metrics.LogLoss


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_river_check(check: Callable[[EbbtideClassifier], None]) -> None:
    check(EbbtideClassifier().clone())


def test_the_checks_are_all_there_and_none_is_skipped() -> None:
    names = {check.__name__ for check in CHECKS}
    assert {
        *("check_learn_one", "check_pickling", "check_shuffle_features_no_impact", "check_emerging_features"),
        *("check_disappearing_features", "check_predict_proba_one", "check_predict_proba_one_binary"),
        *("check_predict_one_pure", "check_clone_is_independent", "check_bounded_memory_growth"),
    } <= names
    assert not EbbtideClassifier()._unit_test_skips()


def test_it_does_better_than_logistic_regression() -> None:
    ours = evaluate.progressive_val_score(datasets.Phishing(), EbbtideClassifier(), log_loss())
    theirs = evaluate.progressive_val_score(
        datasets.Phishing(),
        preprocessing.StandardScaler() | linear_model.LogisticRegression(),
        log_loss(),
    )
    assert ours.get() < theirs.get()


def test_missing_and_endless_numbers_say_nothing() -> None:
    model = EbbtideClassifier()
    for i in range(50):
        model.learn_one({"x": i % 2, "y": float("nan"), "z": None}, i % 2 == 1)
    plain: dict[Hashable, Any] = {"x": 1.0}
    assert model.predict_proba_one(plain) == model.predict_proba_one(plain | {"y": np.inf, "w": np.nan})
    assert model.predict_proba_one(plain)[True] > 0.85


def test_weights_are_bounded() -> None:
    model = EbbtideClassifier(most_weights=100)
    for i in range(1000):
        model.learn_one({"id": str(i), "group": str(i % 2)}, i % 2 == 0)
    assert model.weights <= 100
    assert model.predict_one({"group": "0"})
    assert not model.predict_one({"group": "1"})
