"""The torch twin says and learns what the kernels do."""

import numpy as np
import pytest

from learners.mixing.layers import BLOCK
from state.errors import InputError
from tests.learners.mixing.test_mixture import DAY_AND_NIGHT, SHAPE, hits, planted, rows, shaken

SIZES = [20, 1, 0, 33, 100, BLOCK + 7, 16, 5, 64, 2]


@pytest.mark.parametrize("hidden", [0, 5])
def test_torch_says_what_the_kernels_say(hidden: int) -> None:
    evidence = SHAPE.evidence(SIZES * 3)
    kernel, twin = (shaken(SHAPE.mixture(hidden=hidden, device=device)) for device in ("cpu", "cpu:0"))
    assert np.allclose(kernel.score(evidence), twin.score(evidence), rtol=1e-5, atol=1e-4)
    assert np.allclose(kernel.score_and_gates(evidence)[1], twin.score_and_gates(evidence)[1], atol=1e-5)
    assert kernel.score(rows(evidence, 0, 0)).shape == twin.score(rows(evidence, 0, 0)).shape == (0,)


@pytest.mark.parametrize("hidden", [0, 5])
@pytest.mark.parametrize("balance", [0.0, 3.0])
def test_the_gradient_is_what_autograd_says(hidden: int, balance: float) -> None:
    evidence = SHAPE.evidence(SIZES)
    kernel, twin = (
        shaken(SHAPE.mixture(hidden=hidden, balance=balance, batch=100, device=device))
        for device in ("cpu", "cpu:0")
    )
    for mixture in (kernel, twin):
        mixture.learn(evidence)
    for name, part in kernel._state.gradient._asdict().items():
        assert np.allclose(part, getattr(twin._state.gradient, name), rtol=1e-4, atol=1e-4), name
    assert np.allclose(kernel._state.routed_E, twin._state.routed_E)
    assert kernel._state.chosen_E.tolist() == twin._state.chosen_E.tolist()


def test_weights_agree_after_some_updates() -> None:
    evidence = SHAPE.evidence(SIZES * 30)
    kernel, twin = (SHAPE.mixture(device=device) for device in ("cpu", "cpu:0"))
    for mixture in (kernel, twin):
        for start in range(0, 300, 50):
            mixture.learn(rows(evidence, start, start + 50))
    assert kernel._state.counts.tolist() == twin._state.counts.tolist()
    assert kernel._state.counts[1] > 5
    assert np.allclose(kernel._state.flat_4P[0], twin._state.flat_4P[0], atol=1e-4)
    assert np.allclose(kernel._state.load_E, twin._state.load_E, atol=1e-3)


def test_torch_learns_whom_to_ask() -> None:
    mixture = DAY_AND_NIGHT.mixture(lr=0.01, device="cpu:0")
    mixture.learn(planted(6000))
    unseen = planted(500, seed=1)
    assert hits(mixture.score(unseen), unseen) > 0.85


def test_a_device_that_is_not_there_is_refused() -> None:
    mixture = SHAPE.mixture(device="cuda:99")
    with pytest.raises(InputError, match=r"mixture.device: .* got 'cuda:99'; use 'cpu'"):
        mixture.learn(SHAPE.evidence([3]))
