"""Health of embeddings: spread, movement, neighbours; a collapse is an alarm until it is over."""

import numpy as np
import pytest

from monitor.drift import DriftMonitor
from monitor.embeddings import EVERY, SAMPLE, Embeddings
from state.examples import Floats
from state.keys import Int64s

KEYS = np.arange(600, dtype=np.int64)


def spread(rank: int, seed: int = 0, width: int = 16) -> Floats:
    """A vector a key, over so many directions."""
    draw = np.random.default_rng(seed)
    plane, _ = np.linalg.qr(draw.normal(size=(width, rank)))
    return np.asarray(draw.normal(size=(len(KEYS), rank)) @ plane.T, np.float32)


def looked(*each: Floats) -> Embeddings:
    one = Embeddings()
    for n, vectors in enumerate(each):
        one.look(KEYS, lambda keys, v=vectors: v[keys], n * EVERY, n)  # type: ignore[misc]
    return one


@pytest.mark.parametrize("rank", [1, 4, 16])
def test_the_effective_rank_is_the_number_of_directions(rank: int) -> None:
    (health,) = looked(spread(rank)).looks
    assert health.effective_rank == pytest.approx(rank, rel=0.02)
    assert (health.items, health.width, health.covered) == (600, 16, 1.0)


def test_what_stays_has_not_moved_and_what_turns_keeps_its_neighbours() -> None:
    first = spread(16) + np.float32(1.0)
    turn, _ = np.linalg.qr(np.random.default_rng(5).normal(size=(16, 16)))
    still, turned, other = looked(first, first, (first @ turn).astype(np.float32), spread(16, 9)).looks[1:]
    assert (still.centroid_shift, still.neighbour_churn) == (0.0, 0.0)
    assert turned.neighbour_churn == pytest.approx(0.0, abs=0.01)
    assert turned.centroid_shift is not None
    assert turned.centroid_shift > 0.3
    assert other.neighbour_churn is not None
    assert other.neighbour_churn > 0.9


def test_items_without_a_vector_count_as_not_covered() -> None:
    vectors = spread(8)
    vectors[::2], vectors[1::4] = 0.0, np.nan
    (health,) = looked(vectors).looks
    assert health.covered == pytest.approx(0.25, abs=0.05)
    assert np.isfinite(health.effective_rank)


def test_a_learner_without_vectors_and_one_with_few_are_not_looked_at() -> None:
    one = Embeddings()
    assert one.look(KEYS, lambda _: None, 1, 1) is None
    assert one.look(KEYS[:5], lambda keys: spread(8)[keys], 1, 1) is None
    assert one.looks == []


def test_the_sample_is_the_same_whatever_the_order_of_items() -> None:
    vectors, asked = spread(8), []

    def tell(keys: Int64s) -> Floats:
        asked.append(set(keys.tolist()))
        return vectors[keys]

    one = Embeddings()
    one.look(KEYS, tell, 0, 0)
    one.look(KEYS[::-1].copy(), tell, EVERY, 1)
    assert asked[0] == asked[1]
    assert len(asked[0]) == SAMPLE


def test_vectors_that_collapse_are_an_alarm_until_they_are_back_also_after_a_restart() -> None:
    heard: list[str] = []
    monitor = DriftMonitor([lambda alarm: heard.append(alarm.signal)])
    for seed in range(6):
        monitor.look(KEYS, lambda keys, s=seed: spread(12, s)[keys])  # type: ignore[misc]
    assert monitor.alarms == []
    monitor.look(KEYS, lambda keys: spread(2)[keys])
    (alarm,) = monitor.alarms
    assert heard == ["effective_rank"]
    assert alarm.open
    assert (alarm.mean_before, alarm.mean_after) == pytest.approx((12, 2), rel=0.05)
    again = DriftMonitor()
    again.load(monitor.tree())
    for seed in range(30):
        again.look(KEYS, lambda keys, s=seed: spread(2, s)[keys])  # type: ignore[misc]
    assert [one.open for one in again.alarms] == [True], "however long it lasts"
    again.look(KEYS, lambda keys: spread(11)[keys])
    assert [one.open for one in again.alarms] == [False]
