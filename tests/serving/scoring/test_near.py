"""The few of most worth around a point are those that looking at all would find."""

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from serving.run import Run
from serving.scoring import near
from serving.scoring.near import Around
from state.ids import NO_KEY, key_of
from state.store.contract import ItemRows, RunInfo, UserRows
from state.store.copy_score import AMONG, LEADING, ItemTerms
from state.store.in_memory import DictStore
from state.store.records import MEMORY_ENTRY
from tests.serving.scoring.test_scoring import copy_score


@settings(max_examples=60, deadline=None)
@given(
    st.integers(0, 2**32 - 1),
    st.sampled_from([0.001, 0.5, 40.0]),
    st.sampled_from([1, 7, 300]),
    st.sampled_from([0, 2, 60]),
)
def test_blocks_find_what_all_would(seed: int, spread: float, count: int, apart: int) -> None:
    random = np.random.default_rng(seed)
    size = int(random.integers(257, 3000))
    place_P2 = np.column_stack(
        [random.normal(-74, spread, size), np.clip(random.normal(60, spread, size), -90, 90)]
    )
    worth_P = random.exponential(size=size) ** 3
    equal = random.integers(0, size, size // 3)  # places and worths that are there twice
    place_P2[equal], worth_P[equal] = place_P2[0], worth_P[0]
    here = np.array([-74 + random.normal(0, spread) + apart, 60 - apart])
    plain, blocks = (Around(place_P2, worth_P, 0.01, many) for many in (size, 0))
    np.testing.assert_array_equal(blocks.best(here, count), plain.best(here, count))


@pytest.mark.parametrize("size", [0, 1, 3])
def test_few_places_are_all(size: int) -> None:
    around = Around(np.zeros((size, 2)), np.arange(size, dtype=np.float64), 0.01)
    assert around.best(np.zeros(2), 5).tolist() == list(range(size))[::-1]


def test_few_blocks_are_looked_at() -> None:
    random = np.random.default_rng(0)
    place_P2 = random.uniform(-60, 60, (100_000, 2))
    around = Around(place_P2, np.ones(100_000), 0.01, many=0)
    assert around._blocks is not None
    looked_at: list[int] = []
    rows = around._blocks.rows

    def counted(block_B: np.ndarray) -> np.ndarray:
        looked_at.append(len(block_B))
        return rows(block_B)

    around._blocks.rows = counted  # type: ignore[method-assign]  # counts
    around.best(np.array([10.0, 20.0]), 16)
    assert sum(looked_at) < 100, "of 391"


@settings(max_examples=20, deadline=None)
@given(
    st.integers(0, 2**32 - 1),
    st.booleans(),
    st.sampled_from([0.0, 0.3, 1.0]),
    st.sampled_from([1, 10, 45, 200]),
    st.sampled_from([None, True]),
)
def test_the_best_of_the_candidates_are_the_best_of_all(
    seed: int, repeats: bool, placed: float, k: int, exclude_seen: bool | None
) -> None:
    """However many there are of each kind: scores are of few items where few are enough."""
    random, size, kept = np.random.default_rng(seed), 600, 30
    ids = [f"i{n}" for n in range(size)]
    place_N2 = np.column_stack([random.normal(-74, 0.1, size), random.normal(40, 0.1, size)])
    place_N2[random.random(size) >= placed] = np.nan
    found_N = random.choice(np.array([0, AMONG, AMONG | LEADING], np.uint8), size, p=[0.6, 0.35, 0.05])
    keys = np.array([key_of(one) for one in ids])
    terms = ItemTerms(keys, random.normal(size=size), random.random(size) / size, place_N2, found_N)
    copy = msgspec.structs.replace(copy_score(interest=0.7, near=-0.3), repeats=repeats, brought=7)
    store, memory = DictStore(), np.zeros(kept, MEMORY_ENTRY)
    memory["item"] = random.choice(keys, kept)
    memory["time_ms"] = memory["last_ms"] = 1_500_000_000_000 - np.arange(kept)[::-1] * 3_600_000
    memory["cell"], memory["strength_s"], memory["label"] = NO_KEY, 1e6, np.nan
    store.put_info(RunInfo(log="made", learner="stim", width=5, copy=copy.with_terms(terms)))
    vectors = random.normal(size=(size + 2, 5)).astype(np.float32)
    now_ms = np.array([1_500_000_000_000])
    users = UserRows(
        ids=["u"], event_time_ms_B=now_ms, interests_BKD=vectors[np.newaxis, size:], memory_B=[memory]
    )
    rows = ItemRows(ids=ids, event_time_ms_B=now_ms.repeat(size), vectors_BD=vectors[:size])
    store.publish(1, users, rows)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(near, "MANY", 0)
        run = Run(store)
        few = run.recommend("u", k, exclude_seen=exclude_seen)
    whole = Run(store).recommend("u", k, exclude_seen=exclude_seen, page=0)
    assert [one.item for one in few.items] == [one.item for one in whole.items]
    for one, other in zip(few.items, whole.items, strict=True):
        assert one.score == pytest.approx(other.score, abs=1e-5)
        assert one.why == other.why
