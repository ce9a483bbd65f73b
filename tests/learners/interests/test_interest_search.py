"""Scores of given candidates and the nearest items: what the whole ranking says of them, and no more."""

from dataclasses import fields, replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from learners.interests import search
from learners.interests.settings import TwoTowerSettings
from learners.systems.twotower import TwoTower
from state.examples import BY_ENTRY, ExampleBatch, Window
from state.keys import Int64s
from state.tree import digest
from streams.operator import Operator, OperatorConfig
from streams.schema import EventBatch
from tests.learners.streams import context, examples
from tests.learners.systems.test_twotower import grouped, learned, viewed


def ragged(rng: np.random.Generator, rows: int, items: int) -> tuple[Int64s, Int64s]:
    """Up to nine candidates a row."""
    start = np.concatenate([[0], np.cumsum(rng.integers(0, 10, rows))]).astype(np.int64)
    return start, rng.integers(0, items, start[-1])


@pytest.mark.parametrize("views", [False, True])
def test_candidates_score_as_in_the_whole_ranking(views: bool) -> None:
    batch = viewed(grouped())
    tower = learned(batch, TwoTowerSettings(views=views, deep=2, cold_bias=-2.0))
    tower.context.catalogue.learn(examples([1], [999], [10**7]))
    before = digest(tower.tree())
    start, item = ragged(np.random.default_rng(0), len(batch), len(tower.context.catalogue))
    got = tower.logits(tower.users(batch), start, item)
    row = np.repeat(np.arange(len(batch)), np.diff(start))
    assert got.dtype == np.float32
    assert np.allclose(got, tower.rank(batch)[row, item], atol=1e-5)
    assert (got[item == len(tower.context.catalogue) - 1] == -2.0).all()
    assert digest(tower.tree()) == before


def test_the_nearest_of_all_items_are_the_best_ranked() -> None:
    batch = grouped()
    tower = learned(batch, TwoTowerSettings())
    before = digest(tower.tree())
    last = batch.take(slice(1400, 1500))
    best = tower.nearest(tower.users(last), np.arange(len(last)), 7, among=1000)
    assert np.array_equal(best, np.argsort(-tower.rank(last), axis=1, kind="stable")[:, :7])
    assert digest(tower.tree()) == before


def test_the_nearest_are_among_the_most_popular() -> None:
    rng = np.random.default_rng(1)
    item = np.minimum(rng.geometric(0.1, 2000), 60)
    batch = examples(rng.integers(0, 9, 2000).tolist(), item.tolist(), list(range(2000)), width=10)
    tower = learned(batch, TwoTowerSettings())
    best = tower.nearest(tower.users(batch), np.arange(1900, 2000), 5, among=8)
    assert set(tower.context.catalogue.items.keys[best.ravel()].tolist()) <= set(range(1, 11))
    assert all(len(set(row)) == 5 for row in best.tolist())


def test_what_no_window_holds_is_recalled_from_its_totals() -> None:
    """Ninety items of one user at once, asked for with a window of all and with one of the newest 64."""
    item_B = np.random.default_rng(2).permutation(90)
    events = EventBatch.of(user=np.zeros(90, np.int64), item=item_B, time_ms=np.arange(90), label=np.ones(90))
    wide, narrow = (Operator(OperatorConfig(), width, width).process(events, 0) for width in (100, 64))
    tower = learned(wide, TwoTowerSettings(window=100))
    interest_BVD, narrow_BVD = tower.interests(wide), tower.interests(narrow)
    assert np.allclose(interest_BVD, narrow_BVD, atol=1e-5)
    few = TwoTower(TwoTowerSettings(window=64), tower.context)
    few.load(tower.tree())
    assert not np.allclose(few.interests(narrow)[-1], interest_BVD[-1], atol=1e-3)
    assert np.array_equal(few.interests(narrow), few.interests(wide))


def test_fewer_items_than_are_asked_for_leave_places_empty() -> None:
    batch = examples([0] * 6, [1, 2, 3] * 2, list(range(6)), width=4)
    tower = learned(batch, TwoTowerSettings(), size=2)
    new = TwoTower(TwoTowerSettings(), context())
    assert new.nearest(new.users(batch), np.arange(6), 2, among=9).tolist() == [[-1, -1]] * 6
    best = tower.nearest(tower.users(batch), np.arange(6), 5, among=9)
    assert (best[:, 3:] == -1).all()
    assert np.array_equal(np.sort(best[:, :3]), np.tile([0, 1, 2], (6, 1)))


@given(st.integers(0, 2**32 - 1), st.integers(0, 12), st.integers(0, 12))
def test_the_best_are_what_sorting_says(seed: int, size: int, count: int) -> None:
    rng = np.random.default_rng(seed)
    item_SD = rng.integers(-2, 3, (size, 4)).astype(np.float32)  # few values: many ties
    score_S = item_SD.sum(1)
    expected = np.argsort(-score_S, kind="stable")[:count].tolist()
    got = search.nearest(np.ones((2, 4), np.float32), np.ascontiguousarray(item_SD.T), size, count)
    assert got.tolist() == [expected + [-1] * (count - len(expected))] * 2


@pytest.mark.parametrize("views", [False, True])
def test_a_wider_window_changes_nothing(views: bool) -> None:
    """What the operator puts before the newest `window` entries, for another learner's sake, is not seen."""

    def widened(batch: ExampleBatch) -> ExampleBatch:
        assert batch.window is not None
        rng = np.random.default_rng(0)
        more_B = np.where(batch.window.length_B == 10, rng.integers(0, 7, len(batch)), 0)
        columns = {}
        for field in fields(Window):
            old = getattr(batch.window, field.name)
            if old.ndim == 1:
                columns[field.name] = old + more_B
                continue
            if field.name not in BY_ENTRY:
                columns[field.name] = old
                continue
            new = np.zeros((len(old), 17), old.dtype)
            for b, more in enumerate(more_B):
                new[b, :more] = 1
                new[b, more : more + 10] = old[b]
            columns[field.name] = new
        return replace(batch, window=Window(**columns))

    narrow = viewed(grouped(600))
    wide = widened(narrow)
    setting = TwoTowerSettings(window=10, views=views, deep=2)
    one, two = learned(narrow, setting), learned(wide, setting)
    assert digest(one.tree()) == digest(two.tree())
    assert np.array_equal(one.rank(narrow), two.rank(wide))
    assert np.array_equal(one.interests(narrow), two.interests(wide))
    part_BVW, wide_BVW = one.explain(narrow, narrow.item_B), two.explain(wide, wide.item_B)
    assert wide_BVW.shape == (600, part_BVW.shape[1], 17)
    assert np.allclose(part_BVW.sum(2), wide_BVW.sum(2), atol=1e-5)
