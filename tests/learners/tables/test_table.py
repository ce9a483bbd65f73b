"""The embedding table: rows by id, the same start whenever an id comes, nothing lost, nothing shared."""

import numpy as np

from learners.tables.embedding import CHECKPOINT, EmbeddingTable, Slot
from state.keys import Int64s
from state.tree import digest


def keys(*values: int) -> Int64s:
    return np.array(values, np.int64)


def table(admit: int = 1, seed: int = 0) -> EmbeddingTable:
    return EmbeddingTable({"item": Slot(8), "bias": Slot(1, 0.0, -2.0)}, seed=seed, admit=admit)


def start(t: EmbeddingTable, key: int) -> list[float]:
    row = int(t.rows(keys(key))[0])
    return [float(x) for x in t.weight["item"][row]]


def test_a_new_row_depends_on_key_and_seed_alone() -> None:
    one, other, seeded = table(), table(), table(seed=1)
    one.admit(keys(5, 6, 7), keys(0, 0, 0))
    other.admit(keys(7), keys(9))
    other.admit(keys(5), keys(9))
    seeded.admit(keys(5), keys(0))
    assert start(one, 5) == start(other, 5)
    assert start(one, 7) == start(other, 7)
    assert start(one, 5) != start(one, 6)
    assert start(one, 5) != start(seeded, 5)


def test_first_weights_have_the_slots_mean_and_spread() -> None:
    t = EmbeddingTable({"item": Slot(50, 0.3), "bias": Slot(1, 0.0, -2.0)}, accumulator=0.5)
    t.admit(np.arange(2000), np.zeros(2000, np.int64))
    item_ND = t.weight["item"][:2000]
    assert abs(item_ND.mean()) < 0.003
    assert abs(item_ND.std() - 0.3) < 0.003
    assert (t.weight["bias"][:2000] == -2.0).all()
    assert (t.square["item"][:2000] == 0.5).all()


def test_ids_below_the_threshold_get_no_row() -> None:
    t = table(admit=3)
    assert t.admit(keys(1, 2, 1), keys(0, 0, 0)).tolist() == [-1, -1, -1]
    assert t.admit(keys(2, 1), keys(0, 0)).tolist() == [-1, 0]
    assert t.rows(keys(1, 2, 3)).tolist() == [0, -1, -1]


def test_an_id_admitted_within_a_call_has_its_row_throughout() -> None:
    assert table(admit=2).admit(keys(4, 4), keys(0, 0)).tolist() == [0, 0]


def test_expiry_closes_the_gaps_and_keeps_the_weights() -> None:
    t = table()
    t.admit(keys(10, 11, 12, 13), keys(100, 500, 100, 500))
    t.admit(keys(10), keys(600))
    vectors = {key: start(t, key) for key in (10, 11, 13)}
    assert t.expire(400).tolist() == [12]
    assert t.rows(keys(10, 11, 12, 13)).tolist() == [0, 1, -1, 2]
    assert {key: start(t, key) for key in vectors} == vectors
    t.admit(keys(12), keys(700))
    assert t.rows(keys(12)).tolist() == [3]


def test_waiting_ids_are_forgotten_too() -> None:
    t = table(admit=2)
    t.admit(keys(1), keys(100))
    t.expire(200)
    assert t.admit(keys(1), keys(300)).tolist() == [-1]


def test_each_reader_sees_every_change_once() -> None:
    t = table()
    t.admit(keys(3, 4), keys(0, 0))
    assert t.changed().tolist() == [3, 4]
    assert t.changed().tolist() == []
    assert t.changed(CHECKPOINT).tolist() == [3, 4]
    t.stale_N[1] |= CHECKPOINT
    assert t.changed().tolist() == []
    assert t.changed(CHECKPOINT).tolist() == [4]


def test_saved_and_loaded_it_goes_on_the_same() -> None:
    one, two = table(admit=2), table(admit=2)
    one.admit(keys(1, 2, 1), keys(5, 6, 7))
    two.load(one.tree())
    for t in (one, two):
        t.admit(keys(2, 3), keys(8, 9))
    assert digest(one.tree()) == digest(two.tree())
