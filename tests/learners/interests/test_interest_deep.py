"""The deep level: attention as written, gradients as autograd says, and entries found wherever they are."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from learners.interests import deep
from learners.interests.settings import TwoTowerSettings
from learners.systems.twotower import TwoTower
from state.examples import Floats
from state.tree import digest
from tests.learners.systems.test_twotower import grouped, learned


def made(seed: int, interests: int, entries: int, width: int) -> tuple[deep.Queries, deep.Attention, Floats]:
    """Queries, an event with `entries` of at most 9 entries, and a shallow interest."""
    rng = np.random.default_rng(seed)
    queries = deep.first_queries(interests, width, 0.5, seed)
    queries.query_IQ[:] += rng.normal(0, 0.3, queries.query_IQ.shape)
    at = deep.room(interests, 9, width)
    at.hidden_SK[:] = rng.normal(size=at.hidden_SK.shape)
    at.log_retention_S[:] = np.log(rng.uniform(1e-3, 1.0, 9))
    return queries, at, rng.normal(size=width).astype(np.float32)


@settings(deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 4), st.integers(0, 9), st.integers(1, 6))
def test_a_deep_interest_is_the_softmax_mean_of_what_its_query_finds(
    seed: int, interests: int, entries: int, width: int
) -> None:
    queries, at, shallow_K = made(seed, interests, entries, width)
    deep_IK = np.full((interests, width), np.float32(np.nan))
    deep.attend(queries.query_IQ, shallow_K, at, entries, deep_IK)
    for query_Q, got_K in zip(queries.query_IQ.astype(np.float64), deep_IK, strict=True):
        query_K = query_Q[:width] + query_Q[width : 2 * width] * shallow_K
        hidden_SK, log_retention_S = at.hidden_SK[:entries], at.log_retention_S[:entries]
        weight_S = np.exp(hidden_SK @ query_K / np.sqrt(width) + query_Q[-2] * log_retention_S)
        share_S = weight_S / weight_S.sum() if entries else weight_S
        assert np.allclose(got_K, query_Q[-1] * share_S @ hidden_SK, atol=1e-4)


@pytest.mark.parametrize("entries", [0, 1, 9])
def test_gradients_are_autograds(entries: int) -> None:
    queries, at, shallow_K = made(3, 3, entries, 5)
    upstream_K = np.random.default_rng(4).normal(size=5).astype(np.float32)
    query, hidden, shallow = (
        torch.tensor(value, requires_grad=True)
        for value in (queries.query_IQ, at.hidden_SK[:entries], shallow_K)
    )
    logit = (query[:, :5] + query[:, 5:10] * shallow) @ hidden.T / 5**0.5
    logit = logit + query[:, 10, None] * torch.tensor(at.log_retention_S[:entries])
    found = query[:, 11, None] * (torch.softmax(logit, 1) @ hidden)
    loss = found.sum(0) @ torch.tensor(upstream_K)
    query_grad, hidden_grad, shallow_grad = torch.autograd.grad(loss, (query, hidden, shallow))

    deep.attend(queries.query_IQ, shallow_K, at, entries, np.empty((3, 5), np.float32))
    at.shallow_K[:] = 0.0
    before_IQ, before_square_IQ = queries.query_IQ.copy(), queries.square_IQ.copy()
    deep.attend_back(queries, shallow_K, at, entries, upstream_K, np.float32(0.1))
    assert np.allclose(at.gradient_SK[:entries], hidden_grad, atol=1e-5)
    assert np.allclose(at.shallow_K, shallow_grad, atol=1e-5)
    gradient_IQ = query_grad.numpy()
    assert np.allclose(queries.square_IQ, before_square_IQ + gradient_IQ**2, atol=1e-5)
    step_IQ = 0.1 * gradient_IQ / np.sqrt(queries.square_IQ)
    assert np.allclose(queries.query_IQ, before_IQ - step_IQ, atol=1e-5)


def test_the_forgetting_curve_masks_softly() -> None:
    queries, at, shallow_K = made(0, 2, 9, 5)
    queries.query_IQ[:, 10] = 1.0
    at.log_retention_S[4] = np.log(deep.FAINT)
    deep.attend(queries.query_IQ, shallow_K, at, 9, np.empty((2, 5), np.float32))
    assert (at.weight_IS[:, 4] < 1e-3).all()
    assert np.allclose(at.weight_IS.sum(1), 1.0, atol=1e-5)


@pytest.mark.parametrize(
    ("config", "names"),
    [
        (TwoTowerSettings(deep=2), ("recent", "long", "deep 1", "deep 2")),
        (TwoTowerSettings(), ("recent", "long")),
        (TwoTowerSettings(shallow=False, deep=2), ("recent",)),
    ],
    ids=str,
)
def test_levels_are_named_and_can_be_switched_off(config: TwoTowerSettings, names: tuple[str, ...]) -> None:
    batch = grouped(100)
    tower = learned(batch, config)
    assert tower.interest_names == names
    assert tower.interests(batch).shape == (100, len(names), 33)


def test_only_the_newest_entries_are_attended_to() -> None:
    batch = grouped(300)
    tower: TwoTower = learned(batch, TwoTowerSettings(deep=2, attended=3))
    before = digest(tower.tree())
    part_BVW = tower.explain(batch, batch.item_B)
    assert digest(tower.tree()) == before
    assert batch.window is not None
    place_W = np.arange(part_BVW.shape[2])
    new_BW = (place_W >= batch.window.length_B[:, None] - 3) & (place_W < batch.window.length_B[:, None])
    reached_BW = np.abs(part_BVW[:, 2:]).sum(1) > 0.0
    assert not (reached_BW & ~new_BW).any()
    assert (reached_BW & new_BW).sum() > 0.9 * new_BW.sum()
