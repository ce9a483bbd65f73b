"""Columns kept between batches are those that a fresh start writes, whatever came in between."""

import numpy as np
import pytest

from learners.interests.settings import TwoTowerSettings
from learners.systems.twotower import TwoTower
from learners.tables.item_columns import ItemColumns
from state.examples import Floats
from tests.learners.streams import HOUR_MS, context, examples, steps


def kept(tower: TwoTower) -> Floats:
    items = tower.context.catalogue.items
    return tower.columns.refresh(items, tower.table)[:, : len(items)]


def fresh(tower: TwoTower) -> Floats:
    """The columns from scratch: item by item."""
    items = tower.context.catalogue.items
    item_DN = np.zeros((len(tower.columns.item_DN), len(items)), np.float32)
    item_DN[: tower.settings.width + 1] = tower.item_vectors(items.keys[: len(items)]).T
    return item_DN


@pytest.mark.parametrize("device", ["cpu", "cpu:0"])
def test_kept_columns_are_fresh_as_items_come_change_and_expire(device: str) -> None:
    rng = np.random.default_rng(0)
    item = (np.arange(600) // 3 + rng.integers(0, 12, 600)).tolist()
    batch = examples([0] * 600, item, (np.arange(600) * HOUR_MS).tolist(), width=5)
    setting = context()
    tower = TwoTower(
        TwoTowerSettings(width=6, cold_bias=-1.0, draws=4, expire_days=5.0, device=device), setting
    )
    sizes = []
    for step in steps(batch, setting.catalogue, 20):
        tower.step(step)
        assert np.array_equal(kept(tower), fresh(tower))
        sizes.append(len(tower.table))
    assert max(sizes) < len(setting.catalogue) / 2
    assert (kept(tower)[6] == -1.0).any()


def test_loading_leaves_nothing_of_the_columns_before() -> None:
    setting = context()
    tower = TwoTower(TwoTowerSettings(width=6), setting)
    batch = examples([0, 1] * 50, (np.arange(100) % 20).tolist(), list(range(100)), width=5)
    trees = [tower.tree()]
    for step in steps(batch, setting.catalogue, 25):
        tower.step(step)
        kept(tower)
        trees.append(tower.tree())
    for tree in reversed(trees):
        tower.load(tree)
        assert np.array_equal(kept(tower), fresh(tower))


def test_an_item_met_before_the_catalogue_knows_it_has_its_column_later() -> None:
    setting = context()
    tower = TwoTower(TwoTowerSettings(width=6), setting)
    batch = examples([0, 1], [5, 6], [0, 1])
    tower.learn(batch)
    assert kept(tower).shape == (8, 0)
    setting.catalogue.learn(batch)
    assert np.array_equal(kept(tower), fresh(tower))
    assert kept(tower)[:6].any(0).all()


def test_columns_without_rows_are_cold() -> None:
    setting = context()
    tower = TwoTower(TwoTowerSettings(width=6), setting)
    setting.catalogue.learn(examples([0, 0, 0], [5, 6, 7], [0, 1, 2]))
    item_DN = ItemColumns(6, -2.0).refresh(setting.catalogue.items, tower.table)[:, :3]
    assert not item_DN[[0, 1, 2, 3, 4, 5, 7]].any()
    assert item_DN[6].tolist() == [-2.0] * 3
