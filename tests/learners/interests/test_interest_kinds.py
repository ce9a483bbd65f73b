"""Kinds of items: an item's vector is its own plus those of its kinds, everywhere, and at once."""

from dataclasses import replace

import numpy as np
import pytest

from learners.contract import Context
from learners.interests.settings import TwoTowerSettings
from learners.systems.twotower import TwoTower
from state.examples import ExampleBatch
from state.side import ALWAYS, Categories, SideTable
from state.tree import digest
from tests.learners.streams import HOUR_MS, context, examples, steps
from tests.learners.systems.test_twotower import EACH, GROUPS, grouped, move_alike, viewed
from tests.learners.tables.test_columns import fresh

ITEMS = GROUPS * EACH + 5


def side_table() -> SideTable:
    """Items 0..44: the group as one category, a list of none to two of four others, a number."""
    lists = [[100 + n % 4, 100 + n // 7 % 4][: n % 3] for n in range(ITEMS)]
    start = np.concatenate([[0], np.cumsum([len(keys) for keys in lists])]).astype(np.int64)
    group = np.minimum(np.arange(ITEMS) // EACH, GROUPS - 1)
    return SideTable(
        id_N=np.arange(ITEMS),
        since_ms_N=np.full(ITEMS, ALWAYS),
        numbers={"year": np.where(np.arange(ITEMS) % 5 == 0, np.nan, np.arange(ITEMS) % 3)},
        categories={
            "group": Categories(np.arange(ITEMS + 1), group),
            "more": Categories(start, np.array([key for keys in lists for key in keys], np.int64)),
        },
    )


def known(seed: int = 0) -> Context:
    return replace(context(seed, roles=frozenset({"category"})), items=side_table())


def categorised(size: int = 1500) -> ExampleBatch:
    batch = viewed(grouped(size))
    return replace(batch, category_B=batch.item_B % 2)


def learned(batch: ExampleBatch, config: TwoTowerSettings, size: int = 50) -> TwoTower:
    setting = known()
    tower = TwoTower(config, setting)
    for step in steps(batch, setting.catalogue, size):
        tower.step(step)
    return tower


@pytest.mark.parametrize("softmax", ["sampled", "full"])
@pytest.mark.parametrize("spare", [0.0, 1.1])
def test_kinds_move_as_autograd_says(softmax: str, spare: float) -> None:
    batch = categorised(200)
    config = {
        "softmax": softmax,
        "spare": spare,
        "views": True,
        "draws": 12,
        "reg": 0.1,
        "width": 8,
        "deep": 3,
    }
    towers = [
        TwoTower(TwoTowerSettings(**config, attended=4, device=device), known())  # type: ignore[arg-type]
        for device in ("cpu", "cpu:0")
    ]
    move_alike(towers, batch, TwoTower.tree, atol=3e-6)
    assert towers[0].kinds.is_kind_N.sum() == GROUPS + 4 + 3 + 2


def test_an_item_never_seen_before_ranks_with_its_like() -> None:
    batch = categorised(3000)
    tower = learned(batch, TwoTowerSettings(lr=0.3, kind_rate=0.3))
    event = examples([0], [ITEMS - 1], [10**7], width=10)
    tower.context.catalogue.learn(event)
    tower.learn(event.take(slice(0, 0)))
    tower.table.admit(event.item_B, event.time_ms_B)
    tower.kinds.admit(event, tower.table, len(tower.table) - 1)
    last = batch.take(slice(2800, 3000))
    score_B = tower.rank(last)[:, -1]
    like_B = last.user_B % GROUPS == GROUPS - 1
    assert score_B[like_B].mean() > score_B[~like_B].mean() + 1.0


def test_columns_vectors_candidates_and_explanations_agree() -> None:
    batch = categorised()
    tower = learned(batch, TwoTowerSettings(cold_bias=-1.0, deep=2))
    last = batch.take(slice(1480, 1500))
    score_BN = tower.rank(last)
    size = len(tower.context.catalogue)
    keys_N = tower.context.catalogue.items.keys[:size]
    item_ND = tower.item_vectors(keys_N)
    assert np.array_equal(tower.columns.item_DN[:, :size], fresh(tower))
    assert np.allclose(tower.interests(last).sum(1) @ item_ND.T, score_BN, atol=1e-5)
    all_C, start_B1 = np.tile(np.arange(size), 20), np.arange(21) * size
    assert np.allclose(
        tower.logits(tower.users(last), start_B1, all_C).reshape(20, size), score_BN, atol=1e-5
    )
    assert np.array_equal(
        tower.nearest(tower.users(last), np.arange(20), 9, among=99),
        np.argsort(-score_BN, kind="stable")[:, :9],
    )
    part_BVW = tower.explain(last, last.item_B)
    true_B = tower.context.catalogue.items.rows(last.item_B)
    bias_B = tower.item_vectors(last.item_B)[:, -1]
    assert np.allclose(part_BVW.sum((1, 2)) + bias_B, score_BN[np.arange(20), true_B], atol=1e-5)


def test_a_kind_that_moves_moves_all_its_items_and_is_none_itself() -> None:
    batch = categorised(600)
    tower = learned(batch.take(slice(0, 500)), TwoTowerSettings(softmax="sampled", draws=2))
    assert set(tower.changed_items().tolist()) <= set(range(ITEMS))
    before = tower.item_vectors(np.arange(GROUPS * EACH))
    tower.learn(batch.take(slice(500, 501)))
    after = tower.item_vectors(np.arange(GROUPS * EACH))
    changed = tower.changed_items()
    assert np.array_equal(np.flatnonzero((before != after).any(1)), np.sort(changed))
    assert len(changed) > 3


def test_a_restart_changes_nothing_even_as_items_and_kinds_expire() -> None:
    rng = np.random.default_rng(0)
    item = (np.arange(600) // 15 + rng.integers(0, 5, 600)).tolist()
    batch = examples([0] * 600, item, (np.arange(600) * HOUR_MS).tolist(), width=5)
    batch = replace(batch, category_B=batch.item_B // 6)
    config = TwoTowerSettings(width=6, expire_days=5.0, deep=2)
    whole, rest = TwoTower(config, known()), TwoTower(config, known())
    for step in steps(batch.take(slice(0, 400)), whole.context.catalogue, 20):
        whole.step(step)
        size = len(whole.context.catalogue)
        whole.rank(step.batch)
        assert np.array_equal(whole.columns.item_DN[:, :size], fresh(whole))
    rest.load(whole.tree())
    rest.context.catalogue.load(whole.context.catalogue.tree())
    for tower in (whole, rest):
        for step in steps(batch, tower.context.catalogue, 20, start=400):
            tower.step(step)
    assert digest(whole.tree()) == digest(rest.tree())
    kept = whole.kinds.kind_NP[: len(whole.table)]
    assert kept.max() < len(whole.table)
    assert whole.kinds.is_kind_N[kept[kept >= 0]].all()
    assert len(whole.table) < len(set(item))


def test_without_semantics_there_are_no_kinds() -> None:
    tower = learned(categorised(200), TwoTowerSettings(semantics=False))
    assert tower.kinds.kind_NP.shape[1] == 0
    assert sorted(tower.table.ids) == sorted(set(categorised(200).item_B[:199].tolist()))
