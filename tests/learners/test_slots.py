"""Networks made of slots: one host, two kinds of candidates; buffers move in `observe` alone; what SINE and
MIRRN add."""

from dataclasses import replace
from typing import Any

import msgspec
import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from learners.contract import Learner
from learners.registry import able, learner
from learners.slots import Made, Part, Seen
from learners.systems.din import DIN
from learners.systems.mirrn import MIRRN, SimHash
from learners.systems.sine import SINE, SINESettings
from learners.training.network import Network
from learners.training.network_model import packed, unpacked
from state.examples import ExampleBatch, empty_examples, empty_window, window_of
from state.keys import NO_KEY
from state.tree import digest
from tests.contracts.test_every_learner import Bench
from tests.learners.streams import context

NETWORKS = {name: learner(name) for name in able(lambda cls: issubclass(cls, Network))}
every = pytest.mark.parametrize("name", NETWORKS)


def parts(network: Learner) -> tuple[Part, ...]:
    assert isinstance(network, Network)
    return network.model.slots.parts


def state(network: Learner, which: str) -> dict[str, list[float]]:
    assert isinstance(network, Network)
    named = getattr(network.model.slots, f"named_{which}")()
    return {name: value.detach().flatten().tolist() for name, value in named}


@every
def test_buffers_move_in_observe_and_nothing_else_does(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    bench = Bench(NETWORKS[name], labelled=True).run(stop=100)
    buffers, parameters = state(bench.learner, "buffers"), state(bench.learner, "parameters")
    for part in parts(bench.learner):
        monkeypatch.setattr(part, "observe", lambda made: None)
    bench.run(100, 200)
    assert state(bench.learner, "buffers") == buffers
    if parameters:  # MMQ without a side table has rows alone
        assert state(bench.learner, "parameters") != parameters


@every
def test_a_part_keeps_nothing_but_parameters_and_buffers(name: str) -> None:
    """Loaded into new parts, what is saved says the same, whatever the old ones had learned besides."""
    bench, fresh = Bench(NETWORKS[name], labelled=True).run(stop=300), Bench(NETWORKS[name], labelled=True)
    fresh.trainer.load(bench.trainer.tree())
    rows = bench.rows.take(slice(250, 300))
    assert np.array_equal(bench.learner.rank(rows), fresh.learner.rank(rows))


@every
def test_another_seed_makes_another_network_and_leaves_the_worlds_draws_alone(name: str) -> None:
    torch.manual_seed(1)
    first = torch.rand(3)
    torch.manual_seed(1)
    one, other = (Bench(NETWORKS[name], labelled=True, seed=seed).run(stop=50).learner for seed in (1, 2))
    assert torch.equal(torch.rand(3), first)
    assert digest(one.tree()) != digest(other.tree())


@every
def test_logs_with_labels_are_predicted_where_pairs_are_read_and_ranked_by_all(name: str) -> None:
    labelled, plain = (Bench(NETWORKS[name], labelled=kind).run(stop=200) for kind in (True, False))
    assert labelled.learner.predicting == (labelled.learner.item_vectors(np.zeros(1, np.int64)) is None)
    assert len(labelled.answers()[1]) == (labelled.rows.label_B > 0.5).sum()
    assert len(plain.answers()[1]) == 200


def test_what_goes_to_a_device_is_one_piece_of_memory() -> None:
    arrays: dict[str, NDArray[Any]] = {
        "row_B": np.arange(5),
        "value_BW": np.linspace(0, 1, 6, dtype=np.float32).reshape(2, 3),
        "nothing_B0": np.zeros((4, 0), np.float32),
        "turned_WB": np.arange(6, dtype=np.float32).reshape(2, 3).T,
    }
    found = unpacked(torch.from_numpy(packed(arrays)), arrays)
    assert {name: tensor.tolist() for name, tensor in found.items()} == {
        n: a.tolist() for n, a in arrays.items()
    }
    assert {tensor.untyped_storage().data_ptr() for tensor in found.values() if tensor.numel()} == {
        found["row_B"].untyped_storage().data_ptr()
    }


def two_tastes(size: int, seed: int = 0) -> ExampleBatch:
    """Users come for 20 events and take items of two of six groups, which have nothing to do with each
    other."""
    rng = np.random.default_rng(seed)
    user = np.arange(size) // 20
    pair = np.stack([rng.permutation(6)[:2] for _ in range(size // 20 + 1)])
    item = pair[user, rng.integers(0, 2, size)] * 5 + rng.integers(0, 5, size)
    width, row_B1 = 10, np.arange(size)[:, None]
    length = np.minimum(np.arange(size) % 20, width)
    past_BW = row_B1 - length[:, None] + np.arange(width)
    real_BW = np.arange(width) < length[:, None]
    window = replace(
        empty_window(size, width), length_B=length, item_BW=np.where(real_BW, item[past_BW % size], NO_KEY)
    )
    time_ms = np.arange(size) * 1000
    return replace(
        empty_examples(size),
        offset_B=np.arange(size),
        time_ms_B=time_ms,
        known_ms_B=time_ms,
        user_B=user,
        item_B=item,
        window=window,
    )


def taught(config: SINESettings, batch: ExampleBatch) -> SINE:
    sine = SINE(config, context(labelled=False))
    for start in range(0, len(batch), 64):
        part = batch.take(slice(start, start + 64))
        sine.context.catalogue.learn(part)
        sine.learn(part)
    return sine


def test_sine_ranks_both_tastes_of_a_user_first() -> None:
    log = two_tastes(8000)
    sine = taught(SINESettings(width=16, window=10), log)
    rows = log.take(np.flatnonzero(np.arange(8000) % 20 == 19)[-50:])
    top = sine.rank(rows).argsort(1)[:, -10:]
    group_RT = sine.context.catalogue.items.keys[top] // 5
    own_RG = np.stack([np.unique(window_of(rows).item_BW[r] // 5)[-2:] for r in range(50)])
    assert (group_RT[:, :, None] == own_RG[:, None]).any(2).mean() > 0.9


def test_what_sine_publishes_is_what_its_best_interests_say() -> None:
    """With one interest, the score that readers of the store go by is the rank's own."""
    log = two_tastes(2000)
    sine = taught(SINESettings(width=16, window=10, interests=1), log)
    rows = log.take(slice(1900, 1940))
    keys_N = sine.context.catalogue.items.keys[: len(sine.context.catalogue)]
    stored_BN = sine.interests(rows).sum(1) @ sine.item_vectors(keys_N).T
    np.testing.assert_allclose(stored_BN, sine.rank(rows), rtol=1e-4, atol=1e-4)


def test_draws_stand_for_a_catalogue_too_large_to_be_taken_whole() -> None:
    log = two_tastes(8000)
    sine = taught(SINESettings(width=16, window=10, few=1, draws=20), log)
    rows = log.take(np.flatnonzero(np.arange(8000) % 20 == 19)[-50:])
    top = sine.rank(rows).argsort(1)[:, -10:]
    group_RT = sine.context.catalogue.items.keys[top] // 5
    own_RG = np.stack([np.unique(window_of(rows).item_BW[r] // 5)[-2:] for r in range(50)])
    assert (group_RT[:, :, None] == own_RG[:, None]).any(2).mean() > 0.8


def entries_that_simhash_keeps(
    search: SimHash, seen_U: torch.Tensor, entry_W: list[int], target: int
) -> list[int]:
    """In plain words: places of the entries whose codes differ least from the target's, the newer of two
    alike."""
    bits_UH = (seen_U - search.mean_D) @ search.projection_DH > 0
    differ_W = [int((bits_UH[u] != bits_UH[target]).sum()) for u in entry_W]
    nearest = sorted(range(len(entry_W)), key=lambda w: (differ_W[w], -w))[: search.kept]
    return sorted(nearest)


@pytest.mark.parametrize("seed", range(5))
def test_simhash_keeps_the_entries_whose_codes_differ_least_in_the_order_of_time(seed: int) -> None:
    torch.manual_seed(seed)
    search, item_UV = SimHash(6, 8, 5), torch.randn(12, 9)
    search.mean_D.normal_()
    entry_BW = torch.randint(0, 12, (3, 20))
    length_B, target_BC = torch.tensor([20, 7, 3]), torch.randint(0, 12, (3, 2))
    empty = torch.zeros(0)
    seen = Seen(
        vector={},
        **dict.fromkeys(("own_U", "side_K", "side_start_U", "content_UV", "number_BWA", "field_K"), empty),
        **dict.fromkeys(("field_start_N", "number_BCX", "offset_BC", "described_ULZ"), empty),
        **{"entry_BW": entry_BW, "target_BC": target_BC},
        real_BW=(torch.arange(20) < length_B[:, None]).float(),
    )
    kept_BCS = search(seen, Made(item_UV, item_UV, empty))
    for b, c in np.ndindex(3, 2):
        entry_W = entry_BW[b, : length_B[b]].tolist()
        expected = entries_that_simhash_keeps(search, item_UV[:, :6], entry_W, int(target_BC[b, c]))
        assert kept_BCS[b, c, : len(expected)].tolist() == expected


@pytest.mark.parametrize("labelled", [True, False])
def test_mirrn_that_keeps_all_entries_is_din(labelled: bool) -> None:
    mirrn, din = (
        Bench(cls, labelled, config=msgspec.structs.replace(cls.Config(), window=10, **kept)).run(stop=300)
        for cls, kept in ((MIRRN, {"kept": 10}), (DIN, {}))
    )
    assert mirrn.answers() == din.answers()
