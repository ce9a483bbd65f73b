"""The Kalman logistic regression against the formulas with matrices."""

import numpy as np
import pytest

from learners.gaussian_rows.kalman import Kalman


def planted(size: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    x_BF, offset_B = rng.normal(size=(size, 3)), rng.normal(size=size)
    p_B = 1 / (1 + np.exp(-(offset_B + x_BF @ [1.0, -0.5, 0.0])))
    return x_BF, offset_B, (rng.random(size) < p_B).astype(np.float64)


def test_it_is_the_extended_kalman_filter() -> None:
    x_BF, offset_B, y_B = planted(80)
    y_B[7] = np.nan
    mean, p = np.zeros(3), 0.5 * np.eye(3)
    expected = []
    for x, offset, y in zip(x_BF, offset_B, y_B, strict=True):
        m, s = offset + x @ mean, x @ p @ x
        q = 1 / (1 + np.exp(-m))
        said = 1 / (1 + np.exp(-m / np.sqrt(1 + np.pi / 8 * s)))
        expected.append(said)
        if not np.isnan(y):
            d = 1 / (1 + q * (1 - q) * s)
            mean = mean + p @ x * (y - said) * d
            p = p - np.outer(p @ x, p @ x) * q * (1 - q) * d + 1e-4 * np.eye(3)
    kalman = Kalman(3, variance=0.5, forget=1e-4)
    said_B = kalman.step(x_BF, offset_B, np.arange(80), x_BF, offset_B, y_B)
    assert said_B == pytest.approx(expected)
    assert kalman.belief.mean_F == pytest.approx(mean)
    assert kalman.belief.covariance_FF == pytest.approx(p)


def test_it_finds_the_weights_beyond_the_offset() -> None:
    x_BF, offset_B, y_B = planted(20_000)
    kalman = Kalman(3, variance=0.5, forget=1e-7)
    kalman.step(x_BF, offset_B, np.arange(20_000), x_BF, offset_B, y_B)
    assert kalman.belief.mean_F == pytest.approx([1.0, -0.5, 0.0], abs=0.08)


def test_without_evidence_it_says_what_the_offset_says() -> None:
    kalman = Kalman(3, variance=0.5, forget=0.0)
    p_B = kalman.peek(np.zeros((2, 3)), np.array([0.0, 2.0]))
    assert p_B == pytest.approx([0.5, 1 / (1 + np.exp(-2.0))])
