"""DIN: the activation unit is the paper's, it learns tastes from windows, and asks for torch when built."""

import sys
from dataclasses import replace

import msgspec
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from learners.blocks.attention import ActivationUnit
from learners.registry import learner
from learners.systems.din import DIN, DINSettings
from learners.training.network_inputs import Candidates, InputReader
from learners.training.network_numbers import own_rates
from state.errors import InputError
from state.examples import (
    ITEM_RATES,
    USER_RATES,
    ExampleBatch,
    Floats,
    empty_examples,
    empty_window,
    window_of,
)
from state.keys import NO_KEY, Int64s
from state.side import ALWAYS, SideTable
from state.tree import digest
from tests.learners import labelled
from tests.learners.labelled import Drive, auc, full_context, planted_log
from tests.learners.streams import HOUR_MS, context

GROUPS, EACH, STAY, WIDTH = 4, 6, 25, 10
QUICK = DINSettings(lr=0.005, lr_steps=1e9, embedding_lr=0.2, sd=0.3, minibatch=64, window=WIDTH)


def newcomers(size: int, seed: int = 0) -> ExampleBatch:
    """Every 25 events a new user comes, who likes the items of one group: only a window can tell which."""
    rng = np.random.default_rng(seed)
    user = np.arange(size) // STAY
    item = rng.integers(0, GROUPS * EACH, size)
    liked = rng.integers(0, GROUPS, size // STAY + 1)[user] == item // EACH
    label = (rng.random(size) < np.where(liked, 0.95, 0.05)).astype(np.float32)
    return windowed(user, item, label, np.minimum(np.arange(size) % STAY, WIDTH))


def groups(size: int) -> ExampleBatch:
    """Users come for 25 events each and take items of one group; a log without labels."""
    rng = np.random.default_rng(0)
    user = np.arange(size) // STAY
    item = user % GROUPS * EACH + rng.integers(0, EACH, size)
    nothing = np.full(size, np.nan, np.float32)
    return windowed(user, item, nothing, np.minimum(np.arange(size) % STAY, WIDTH))


def windowed(user: Int64s, item: Int64s, label: Floats, length: Int64s) -> ExampleBatch:
    """One event a second; the window of an event is the `length` events before it."""
    row_B1, w = np.arange(len(user))[:, None], np.arange(WIDTH)
    real_BW = w < length[:, None]
    past_BW = np.where(real_BW, row_B1 - length[:, None] + w, 0)
    window = replace(
        empty_window(len(user), WIDTH),
        length_B=length,
        item_BW=np.where(real_BW, item[past_BW], NO_KEY),
        age_s_BW=np.where(real_BW, row_B1 - past_BW, 0).astype(np.float32),
        label_BW=np.where(real_BW, label[past_BW], 0).astype(np.float32),
    )
    time_ms = np.arange(len(user)) * 1000
    return replace(
        empty_examples(len(user)),
        offset_B=np.arange(len(user)),
        time_ms_B=time_ms,
        known_ms_B=time_ms,
        user_B=user,
        item_B=item,
        label_B=label,
        window=window,
    )


def taught_by(batch: ExampleBatch, config: DINSettings = QUICK) -> DIN:
    """DIN after one pass over all rows, catalogue and all."""
    din = DIN(config, context(labelled=batch.labelled))
    for start in range(0, len(batch), 128):
        part = batch.take(slice(start, start + 128))
        rates_BR, _ = din.context.catalogue.step(part, part.take(slice(0, 0)), np.zeros(len(part), np.int64))
        din.context.catalogue.learn(part)
        din.learn(part.with_item_rates(rates_BR))
    return din


def scored_rows(batch: ExampleBatch, din: DIN) -> ExampleBatch:
    """The rows with the item rates of now."""
    rates_BR, _ = din.context.catalogue.step(batch, batch.take(slice(0, 0)), np.zeros(len(batch), np.int64))
    return batch.with_item_rates(rates_BR)


@pytest.fixture(scope="module")
def taught() -> tuple[DIN, ExampleBatch]:
    batch = newcomers(16_000)
    return taught_by(batch), batch


@pytest.fixture(scope="module")
def ranker() -> tuple[DIN, ExampleBatch]:
    batch = groups(4000)
    return taught_by(batch, msgspec.structs.replace(QUICK, draws=5)), batch


def test_one_matrix_a_candidate_is_the_papers_layer_on_entry_candidate_and_product() -> None:
    torch.manual_seed(0)
    item, numbers, hidden = 6, 2, 5
    unit = ActivationUnit(item + numbers, item, hidden)
    for weight in (unit.candidate.bias, unit.out.bias):
        torch.nn.init.normal_(weight)
    entry_BWD, candidate_BCV = torch.randn(3, 4, item + numbers), torch.randn(3, 2, item)
    real_BW = torch.tensor([[1.0, 1, 1, 1], [1, 1, 0, 0], [0, 0, 0, 0]])
    layer = torch.cat([unit.entry.T, unit.candidate.weight, unit.product.T], 1)
    for b, c in np.ndindex(3, 2):
        weighed = torch.zeros(item + numbers)
        for w in range(4):
            entry_D, candidate_V = entry_BWD[b, w], candidate_BCV[b, c]
            layer_in = torch.cat([entry_D, candidate_V, entry_D[:item] * candidate_V])
            bent = unit.bend((layer @ layer_in + unit.candidate.bias)[None])[0]
            weighed += real_BW[b, w] * unit.out(bent) * entry_D
        expected = weighed / (real_BW[b].sum() + 1.0).sqrt()
        torch.testing.assert_close(unit(entry_BWD, real_BW, candidate_BCV)[b, c], expected)


def test_what_a_window_shows_of_a_new_user_is_used(taught: tuple[DIN, ExampleBatch]) -> None:
    din, _ = taught
    fresh = newcomers(2000, seed=1).take(np.flatnonzero(np.arange(2000) % STAY >= WIDTH))
    fresh = scored_rows(replace(fresh, user_B=fresh.user_B + 10**6), din)
    blind = replace(fresh, window=replace(window_of(fresh), length_B=np.zeros(len(fresh), np.int64)))
    assert auc(fresh.label_B, din.score(fresh)) > 0.8
    assert auc(fresh.label_B, din.score(blind)) < 0.6


def test_side_tables_and_ids_are_learned_without_a_window() -> None:
    log = planted_log(8000)
    log.user_rates_BR[:] = 0.0
    drive = Drive(DIN(QUICK, full_context())).run(log)
    assert auc(log.label_B[6000:], np.array(drive.p)[6000:]) > 0.75


def test_an_item_that_is_new_is_known_by_its_vector() -> None:
    """Every item comes once; those with a vector on one side are liked."""
    size, rng = 3000, np.random.default_rng(0)
    vector_NV = rng.normal(size=(size, 6)).astype(np.float32)
    nothing, liked_B = np.zeros(size, np.int64), (vector_NV[:, 0] > 0).astype(np.float32)
    log = windowed(nothing, np.arange(size), liked_B, nothing)
    known, unknown = (
        Drive(DIN(QUICK, labelled.context(SideTable(np.arange(size), np.full(size, ALWAYS), vectors=made))))
        for made in ({"picture": vector_NV}, {})
    )
    assert auc(log.label_B[2000:], np.array(known.run(log).p)[2000:]) > 0.9
    assert auc(log.label_B[2000:], np.array(unknown.run(log).p)[2000:]) < 0.6


def test_it_ranks_what_goes_together(ranker: tuple[DIN, ExampleBatch]) -> None:
    din, batch = ranker
    last = batch.take(np.flatnonzero(np.arange(len(batch)) % STAY == STAY - 1)[-20:])
    top = din.rank(last).argsort(1)[:, -EACH:]
    group = din.context.catalogue.items.keys[top] // EACH
    assert (group == (last.user_B % GROUPS)[:, None]).mean() > 0.8


def test_on_a_log_with_labels_the_catalogue_is_ordered_by_p(taught: tuple[DIN, ExampleBatch]) -> None:
    din, batch = taught
    rows = batch.take(np.flatnonzero(np.arange(len(batch)) % STAY == STAY - 1)[-20:])
    liked = [np.flatnonzero((batch.user_B == user) & (batch.label_B > 0.5)) for user in rows.user_B]
    taste = np.array([np.bincount(batch.item_B[mine] // EACH, minlength=GROUPS).argmax() for mine in liked])
    top = din.rank(rows).argsort(1)[:, -EACH:]
    group = din.context.catalogue.items.keys[top] // EACH
    assert (group == taste[:, None]).mean() > 0.7


def test_candidates_are_the_popular_and_those_of_the_window(ranker: tuple[DIN, ExampleBatch]) -> None:
    din, batch = ranker
    row = batch.take(slice(3999, 4000))
    catalogue = din.context.catalogue
    few = DIN(msgspec.structs.replace(QUICK, candidates=3), din.context)
    few.load(din.tree())
    popular = np.argsort(-catalogue.popularity(int(row.time_ms_B[0])))[:3]
    own = catalogue.items.rows(window_of(row).item_BW[0])
    score_N = few.rank(row)[0]
    assert np.flatnonzero(score_N > -np.inf).tolist() == sorted({*popular.tolist(), *own.tolist()})
    np.testing.assert_allclose(score_N[popular], din.rank(row)[0, popular], rtol=1e-5)
    whole = DIN(msgspec.structs.replace(QUICK, candidates=0), din.context)
    assert (whole.rank(row) > -np.inf).all()


@pytest.mark.parametrize("size", [1, 63, 64, 65, 300])
def test_a_score_does_not_depend_on_how_many_are_asked_for(
    taught: tuple[DIN, ExampleBatch], size: int
) -> None:
    din, batch = taught
    rows = batch.take(slice(2000, 2000 + size))
    alone = np.concatenate([din.score(rows.take(slice(i, i + 1))) for i in range(0, size, 17)])
    assert din.score(rows)[::17].tolist() == alone.tolist()


def test_only_embeddings_of_ids_at_hand_move(taught: tuple[DIN, ExampleBatch]) -> None:
    din = DIN(QUICK, context(labelled=True))
    batch = newcomers(200)
    din.learn(batch)
    before = din.table.weight["vector"].copy()
    rows = batch.take(slice(190, 200))
    at_hand = din.table.rows(din.reader.read(rows, Candidates.own(rows)).id_I)
    din.learn(rows)
    moved_N = (din.table.weight["vector"][: len(before)] != before).any(1)
    assert moved_N.any()
    assert set(np.flatnonzero(moved_N).tolist()) <= set(at_hand.tolist())


def test_rows_without_an_outcome_are_not_learned() -> None:
    batch = newcomers(200)
    din, other = (DIN(QUICK, context(labelled=True)) for _ in range(2))
    din.learn(batch.take(slice(0, 100)))
    other.learn(batch.take(slice(0, 100)))
    other.learn(replace(batch, label_B=np.full(200, np.nan, np.float32)).take(slice(100, 200)))
    assert digest(din.table.tree()) == digest(other.table.tree())
    assert digest(din.model.tree()) == digest(other.model.tree())


def test_ids_that_are_gone_lose_their_embedding() -> None:
    din = taught_by(newcomers(200), msgspec.structs.replace(QUICK, expire_days=30.0))
    ninety_days = 90 * 24 * HOUR_MS
    late = newcomers(201).take(slice(200, 201))
    late = replace(late, time_ms_B=late.time_ms_B + ninety_days)
    din.learn(late)
    assert sorted(din.table.ids) == sorted(din.reader.read(late, Candidates.own(late)).id_I)
    assert np.isfinite(din.score(newcomers(50))).all()


def test_what_it_says_stays_in_range_whatever_comes() -> None:
    batch = newcomers(600)
    window = replace(window_of(batch), age_s_BW=np.full_like(window_of(batch).age_s_BW, 1e30))
    din = taught_by(replace(batch, window=window), DINSettings(window=WIDTH, lr=0.1, embedding_lr=10.0))
    p_B = din.score(batch)
    assert ((p_B > 0.0) & (p_B < 1.0)).all()


@settings(max_examples=20, deadline=None)
@given(st.lists(st.integers(1, 90), min_size=1, max_size=5), st.integers(0, 100))
def test_the_scale_of_numbers_is_that_of_all_rows_learned(sizes: list[int], seed: int) -> None:
    log = planted_log(sum(sizes), seed)
    parts, whole = InputReader(full_context()), InputReader(full_context())
    start = 0
    for size in sizes:
        part = log.take(slice(start, start + size))
        parts.read(part, Candidates.own(part), rescale=True)
        start += size
    number_BX = whole.features.of(log).number_BX
    whole.read(log, Candidates.own(log), rescale=True)
    cut, once = parts.numbers, whole.numbers
    assert cut.seen_X.tolist() == once.seen_X.tolist()
    np.testing.assert_allclose(cut.mean_X, once.mean_X, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(cut.square_X, once.square_X, rtol=1e-7, atol=1e-9)
    for x in range(number_BX.shape[1]):
        known = number_BX[~np.isnan(number_BX[:, x]), x]
        assert once.seen_X[x] == len(known)
        if len(known):
            np.testing.assert_allclose(once.mean_X[x], known.mean(), atol=1e-9)
            np.testing.assert_allclose(once.square_X[x], ((known - known.mean()) ** 2).sum(), atol=1e-6)


def test_rates_are_numbers_and_time_of_day_too_where_there_is_one() -> None:
    plain = InputReader(labelled.context())
    local = InputReader(labelled.context(roles=labelled.ROLES | {"tz"}))
    assert local.sizes.numbers - plain.sizes.numbers == 4
    assert plain.sizes.numbers == 5 + len(USER_RATES) + len(ITEM_RATES)


def test_own_rates_of_another_item_come_from_the_window() -> None:
    batch = newcomers(60)
    window = window_of(batch)
    owner_C, item_C = np.repeat(np.arange(60), 2), np.tile([3, 8], 60)
    found_CR = own_rates(window, owner_C, item_C, np.full(120, NO_KEY))
    assert not found_CR[:, 2:].any()
    for c, (b, item) in enumerate(zip(owner_C, item_C, strict=True)):
        same = [w for w in range(window.length_B[b]) if window.item_BW[b, w] == item]
        fade = np.exp(-window.age_s_BW[b, same] / (30 * 86400.0))
        expected = [fade.sum(), (fade * window.label_BW[b, same]).sum()]
        np.testing.assert_allclose(found_CR[c, :2], expected, rtol=1e-5)


def test_a_device_that_is_not_there_is_refused() -> None:
    with pytest.raises(InputError, match=r"din.device: .* got 'cuda:99'; use 'cpu'"):
        DIN(DINSettings(device="cuda:99"), context())


def test_without_torch_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    monkeypatch.delitem(sys.modules, "learners.systems.din")
    with pytest.raises(InputError, match=r"'din' needs torch; `make setup`, or `pip install '.\[torch\]'`"):
        learner("din")


def test_a_checkpoint_from_before_slots_goes_on() -> None:
    """Its network has other names for the same weights."""
    batch = newcomers(600)
    din, resumed = taught_by(batch.take(slice(0, 400))), DIN(QUICK, context(labelled=True))
    names = {
        **{"head.attention": "attention", "head.top.layers.0": "first", "head.top.layers.1": "second"},
        **{"head.top.bends.0": "bend_first", "head.top.bends.1": "bend_second", "head.top.out": "out"},
    }
    tree = din.tree()
    model = {"steps": tree["model"]["steps"]}
    for name, saved in tree["model"].items():
        for new, old in names.items():
            if name.startswith(new):
                model[name.replace(new, old)] = saved
    assert len(model) == len(tree["model"]) - 1
    resumed.load(tree | {"model": model})
    assert resumed.score(batch).tolist() == din.score(batch).tolist()
    assert digest(resumed.tree()) == digest(tree)
