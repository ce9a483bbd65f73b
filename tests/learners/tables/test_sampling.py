"""Draws come out in proportion to popularity^0.75, and depend on nothing but bits and table."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from learners.tables.popularity_draws import Sampler, alias, draw, identities
from state.keys import mix
from tests.learners.streams import examples


@given(st.lists(st.floats(1e-6, 1e6), min_size=1, max_size=50))
def test_alias_tables_add_up_to_the_shares(weights: list[float]) -> None:
    weight_M = np.array(weights)
    other_M, keep_M, share_M = alias(weight_M)
    total_M = keep_M.copy()
    np.add.at(total_M, other_M, 1.0 - keep_M)
    assert np.allclose(total_M / len(weights), weight_M / weight_M.sum(), atol=1e-9)
    assert np.allclose(share_M.sum(), 1.0)
    assert ((keep_M >= -1e-9) & (keep_M <= 1.0 + 1e-9)).all()


def test_draws_follow_the_power_of_the_counts() -> None:
    sampler = Sampler()
    sampler.rebuild(np.array([1.0, 16.0, 0.0, 81.0, 5.0]), np.array([10, 11, 12, 13, -1]))
    assert sampler.arrays.row_M.tolist() == [10, 11, 13]
    expected = np.array([1.0, 8.0, 27.0]) / 36.0
    assert np.allclose(np.exp(sampler.arrays.log_q_M), expected)
    counts = np.zeros(3)
    for i in range(40_000):
        counts[draw(sampler.arrays, int(mix(i)))] += 1
    assert np.abs(counts / 40_000 - expected).max() < 0.01


def test_rebuilds_keep_pace_with_the_tables_size() -> None:
    sampler = Sampler()
    assert sampler.due(0)
    sampler.rebuild(np.ones(100), np.arange(100))
    assert not sampler.due(49)
    assert sampler.due(1)


def test_a_rows_bits_depend_on_its_identity_and_the_seed() -> None:
    batch = examples([1, 1, 2], [1, 2, 3], [1, 2, 3])
    bits = identities(batch, 0)
    assert len(set(bits.tolist())) == 3
    assert identities(batch.take(slice(2, 3)), 0)[0] == bits[2]
    assert identities(batch, 1)[0] != bits[0]
