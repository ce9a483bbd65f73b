"""Waiting rows and dense rows."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from learners.tables.dense_rows import Directory
from learners.tables.fifo import Fifo


@given(st.lists(st.tuples(st.integers(0, 50), st.integers(0, 50)), max_size=40))
def test_rows_come_out_in_the_order_in_which_they_went_in(steps: list[tuple[int, int]]) -> None:
    fifo = Fifo({"one": (np.int64, 0), "two": (np.float64, 2)})
    model: list[int] = []
    number = 0
    for add, take in steps:
        place = fifo.extend(add)
        fifo.columns["one"][place : fifo.tail] = np.arange(number, number + add)
        fifo.columns["two"][place : fifo.tail, 1] = np.arange(number, number + add)
        model += range(number, number + add)
        number += add
        take = min(take, len(model))
        fifo.take(take)
        model = model[take:]
        assert fifo.tree()["one"].tolist() == model
        assert fifo.tree()["two"][:, 1].tolist() == model
    other = Fifo({"one": (np.int64, 0), "two": (np.float64, 2)})
    other.load(fifo.tree())
    assert len(other) == len(model)


@given(
    st.lists(st.tuples(st.integers(0, 20), st.integers(0, 30)), min_size=1, max_size=80), st.integers(1, 40)
)
def test_a_directory_forgets_alike_whatever_the_batch(rows: list[tuple[int, int]], size: int) -> None:
    users, items = (np.array(column, np.int64) for column in zip(*rows, strict=True))
    trees = []
    for step in (1, size):
        directory = Directory(6, 9)
        for start in range(0, len(users), step):
            at, stop = start, min(start + step, len(users))
            while at < stop:
                found, _ = directory.admit(users[at:stop], items[at:stop])
                assert directory.keys(0)[found].tolist() == users[at : at + len(found)].tolist()
                at += len(found)
                if at < stop:
                    directory.forget()
                assert len(directory.keys(0)) <= 6
                assert len(directory.keys(1)) <= 9
        trees.append(directory.tree())
    for side in ("users", "items"):
        assert trees[0][side]["used"].tolist() == trees[1][side]["used"].tolist()
        assert trees[0][side]["map"]["keys"].tolist() == trees[1][side]["map"]["keys"].tolist()


def test_the_half_used_longest_ago_is_forgotten() -> None:
    directory = Directory(4, 100)
    users = np.array([0, 1, 2, 3, 0, 9])
    found, _ = directory.admit(users, users)
    assert len(found) == 5
    kept, _ = directory.forget()
    assert kept.tolist() == [0, 3]
    assert directory.keys(0).tolist() == [0, 3]
