"""The two-tower: the kernel is autograd's update, published vectors are complete."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from learners.interests.settings import TwoTowerSettings
from learners.systems.twotower import TwoTower
from state.errors import InputError
from state.examples import ExampleBatch, Floats
from state.tree import Tree, digest, flatten
from tests.learners.streams import HOUR_MS, context, examples, steps

GROUPS, EACH = 5, 8


def grouped(size: int = 1500, seed: int = 0, width: int = 10) -> ExampleBatch:
    """Each user goes through the items of one of five groups at random; all items are equally popular."""
    rng = np.random.default_rng(seed)
    user = rng.integers(0, 40, size)
    item = user % GROUPS * EACH + rng.integers(0, EACH, size)
    return examples(user.tolist(), item.tolist(), (np.arange(size) * 1000).tolist(), width=width)


def learned(batch: ExampleBatch, config: TwoTowerSettings, seed: int = 0, size: int = 50) -> TwoTower:
    setting = context(seed)
    tower = TwoTower(config, setting)
    for step in steps(batch, setting.catalogue, size):
        tower.step(step)
    return tower


def viewed(batch: ExampleBatch) -> ExampleBatch:
    """The batch with made-up kernel values in its windows."""
    assert batch.window is not None
    rng = np.random.default_rng(3)
    real = np.arange(batch.window.item_BW.shape[1]) < batch.window.length_B[:, None]
    hour, week, place = (np.where(real, rng.random(real.shape), 0.0).astype(np.float32) for _ in range(3))
    return replace(batch, window=replace(batch.window, hour_BW=hour, week_BW=week, place_BW=place))


@pytest.mark.parametrize("softmax", ["sampled", "full"])
@pytest.mark.parametrize("spare", [0.0, 1.1])
@pytest.mark.parametrize("views", [False, True])
def test_an_event_moves_the_weights_as_autograd_says(softmax: str, spare: float, views: bool) -> None:
    batch = viewed(grouped(300))
    config = {
        "softmax": softmax,
        "spare": spare,
        "views": views,
        "draws": 12,
        "reg": 0.1,
        "width": 8,
        "deep": 2,
    }
    towers = [
        TwoTower(TwoTowerSettings(**config, device=device), context())  # type: ignore[arg-type]
        for device in ("cpu", "cpu:0")
    ]
    move_alike(towers, batch, lambda tower: tower.table.tree(), atol=2e-6)


def move_alike(
    towers: list[TwoTower], batch: ExampleBatch, tree: Callable[[TwoTower], Tree], *, atol: float
) -> None:
    """The first tower learns every event, the second every tenth from the same weights: they end up alike."""
    for b in range(len(batch)):
        event = batch.take(slice(b, b + 1))
        for tower in towers:
            tower.context.catalogue.learn(event)
        if b % 10 == 0:
            towers[1].load(towers[0].tree())
            for tower in towers:
                tower.learn(event)
            kernel, reference = (dict(flatten(tree(tower))) for tower in towers)
            assert kernel.keys() == reference.keys()
            for name, leaf in kernel.items():
                assert np.allclose(leaf, reference[name], atol=atol, rtol=1e-5), name  # type: ignore[arg-type]
        else:
            towers[0].learn(event)


@pytest.mark.parametrize(
    "config",
    [
        TwoTowerSettings(lr=0.3),
        TwoTowerSettings(lr=0.3, softmax="full"),
        TwoTowerSettings(lr=0.3, views=True),
        TwoTowerSettings(lr=0.3, admit=3),
    ],
    ids=str,
)
def test_it_learns_what_goes_together(config: TwoTowerSettings) -> None:
    batch = grouped(3000)
    tower = learned(batch, config)
    last = batch.take(slice(2800, 3000))
    top = tower.rank(last).argsort(1)[:, -EACH:]
    group = tower.context.catalogue.items.keys[top] // EACH
    assert (group == (last.user_B % GROUPS)[:, None]).mean() > 0.8


def test_torch_learns_a_micro_batch_at_a_time() -> None:
    batch = grouped(3000)
    tower = learned(batch, TwoTowerSettings(lr=0.3, device="cpu:0"), size=25)
    last = batch.take(slice(2800, 3000))
    top = tower.rank(last).argsort(1)[:, -EACH:]
    group = tower.context.catalogue.items.keys[top] // EACH
    assert (group == (last.user_B % GROUPS)[:, None]).mean() > 0.8


def test_a_device_that_is_not_there_is_refused() -> None:
    batch = grouped(10)
    tower = TwoTower(TwoTowerSettings(device="cuda:99"), context())
    tower.context.catalogue.learn(batch)
    with pytest.raises(InputError, match=r"twotower.device: .* got 'cuda:99'; use 'cpu'"):
        tower.learn(batch)


@pytest.mark.parametrize("views", [False, True])
def test_published_vectors_answer_for_the_model(views: bool) -> None:
    batch = viewed(grouped())
    tower = learned(batch, TwoTowerSettings(views=views))
    last = batch.take(slice(1480, 1500))
    keys_N = tower.context.catalogue.items.keys[: len(tower.context.catalogue)]
    interest_BVD, item_ND = tower.interests(last), tower.item_vectors(keys_N)
    assert interest_BVD.shape == (20, 5 if views else 2, 33)
    assert np.allclose(interest_BVD.sum(1) @ item_ND.T, tower.rank(last), atol=1e-5)


@pytest.mark.parametrize("views", [False, True])
def test_past_events_explain_the_score(views: bool) -> None:
    batch = viewed(grouped())
    tower = learned(batch, TwoTowerSettings(views=views))
    last = batch.take(slice(1480, 1500))
    before = digest(tower.tree())
    part_BVW = tower.explain(last, last.item_B)
    assert digest(tower.tree()) == before
    assert last.window is not None
    assert not part_BVW[:, :, last.window.length_B.max() :].any()
    rows_B = tower.context.catalogue.items.rows(last.item_B)
    score_B = tower.rank(last)[np.arange(20), rows_B]
    bias_B = tower.item_vectors(last.item_B)[:, -1]
    assert np.allclose(part_BVW.sum((1, 2)) + bias_B, score_B, atol=1e-5)


def test_a_batch_is_ranked_as_its_rows_are() -> None:
    batch = grouped()
    tower = learned(batch, TwoTowerSettings(width=30))
    before = digest(tower.tree())
    together: Floats = tower.rank(batch)
    alone = [tower.rank(batch.take(slice(b, b + 1)))[0] for b in range(len(batch))]
    assert np.array_equal(together, np.stack(alone))
    assert digest(tower.tree()) == before


def test_the_same_seed_gives_the_same_weights() -> None:
    batch = grouped(400)
    one, two, other = (learned(batch, TwoTowerSettings(), seed) for seed in (0, 0, 1))
    assert digest(one.tree()) == digest(two.tree())
    assert digest(one.tree()) != digest(other.tree())


@pytest.mark.parametrize("softmax", ["sampled", "full"])
def test_a_restart_changes_nothing(softmax: str) -> None:
    batch = grouped(1000)
    config = TwoTowerSettings(softmax=softmax, expire_days=400 / 86400)  # type: ignore[arg-type]
    whole_context, rest_context = context(), context()
    whole = TwoTower(config, whole_context)
    for step in steps(batch.take(slice(0, 500)), whole_context.catalogue, 20):
        whole.step(step)
    rest = TwoTower(config, rest_context)
    rest.load(whole.tree())
    rest_context.catalogue.load(whole_context.catalogue.tree())
    for tower, setting in ((whole, whole_context), (rest, rest_context)):
        for step in steps(batch, setting.catalogue, 20, start=500):
            tower.step(step)
    assert digest(whole.tree()) == digest(rest.tree())


def test_nothing_is_known_at_first() -> None:
    batch = grouped(20)
    tower = TwoTower(TwoTowerSettings(), context())
    assert tower.rank(batch).shape == (20, 0)
    assert tower.interests(batch)[:, 0, -1].tolist() == [1.0] * 20
    assert not tower.item_vectors(np.arange(3)).any()
    assert tower.changed_items().tolist() == []
    tower.learn(batch.take(slice(0, 0)))
    assert len(tower.table) == 0


def test_unseen_items_score_the_cold_bias() -> None:
    batch = grouped(200)
    tower = learned(batch, TwoTowerSettings(cold_bias=-3.0))
    tower.context.catalogue.learn(examples([1], [999], [10**6]))
    assert tower.rank(batch)[:, -1].tolist() == [-3.0] * 200


def test_expired_items_are_cold_again() -> None:
    batch = grouped(300)
    tower = learned(batch, TwoTowerSettings(expire_days=30.0))
    late = examples([1, 2], [1000, 1001], [90 * 24 * HOUR_MS, 90 * 24 * HOUR_MS + 1], width=10)
    tower.context.catalogue.learn(late)
    tower.learn(late)
    assert sorted(tower.table.ids) == [1000, 1001]
    assert not tower.item_vectors(batch.item_B).any()
    assert np.isfinite(tower.rank(batch)).all()


def test_only_positives_are_learned_on_a_log_with_labels() -> None:
    batch = grouped(200)
    setting = context(labelled=True)
    tower = TwoTower(TwoTowerSettings(), setting)
    setting.catalogue.learn(batch)
    tower.learn(replace(batch, label_B=np.zeros(200, np.float32)))
    untouched = TwoTower(TwoTowerSettings(), setting)
    untouched.table.admit(batch.item_B, batch.time_ms_B)
    assert digest(tower.table.tree()) == digest(untouched.table.tree())
    tower.learn(replace(batch, label_B=np.ones(200, np.float32)))
    assert digest(tower.table.tree()) != digest(untouched.table.tree())


def test_changed_items_are_named_once() -> None:
    batch = grouped(200)
    tower = learned(batch.take(slice(0, 150)), TwoTowerSettings(softmax="sampled", draws=2))
    assert sorted(tower.changed_items()) == sorted(set(batch.item_B[:149].tolist()))
    assert tower.changed_items().tolist() == []
    event = batch.take(slice(150, 151))
    tower.learn(event)
    changed = set(tower.changed_items().tolist())
    assert event.item_B[0] in changed
    assert len(changed) <= 3


def test_what_the_log_never_repeats_is_no_candidate() -> None:
    rng = np.random.default_rng(0)
    item = np.concatenate([rng.permutation(300) for _ in range(4)]).tolist()
    fresh = examples(np.repeat(np.arange(4), 300).tolist(), item, list(range(1200)), width=20)
    again = examples([0] * 300, [1, 2, 3] * 100, list(range(300)), width=20)
    assert learned(fresh, TwoTowerSettings(spare=0.02)).repeats[0] == 0
    repeated = learned(again, TwoTowerSettings()).repeats
    assert repeated[0] / repeated[1] > 0.9
