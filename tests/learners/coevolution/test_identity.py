"""DSIE: what comes next by history, and what group identity adds to it, learned apart."""

import numpy as np
import pytest

from learners.coevolution.entries import DAY_MS
from learners.coevolution.history import History, codes_of
from learners.coevolution.identity import Branches, Online, Told
from state.arrays import Int64s
from state.tree import Tree

CLUSTERS, USERS, SIZES = 8, 60, (2,)
BOOK = (np.repeat(np.eye(2), CLUSTERS // 2, axis=1),)
"""One likes the first half of the clusters, the other the second."""


def online(sizes: tuple[int, ...], *, history: bool = True) -> Online:
    return Online(CLUSTERS, sizes, width=4, lr=0.1, branches=Branches(history, history), seed=3)


class Stream:
    """Users who each like one half of the clusters, and take another of it every day."""

    def __init__(self) -> None:
        self.rng = np.random.default_rng(0)
        self.half_U = np.arange(USERS) % 2
        self.history = History(CLUSTERS)
        self.day = 0
        self.next_day()

    def next_day(self) -> None:
        user_U, cluster_U = np.arange(USERS), self.taken()
        self.history.add(user_U, cluster_U, np.ones(USERS, np.bool_), np.full(USERS, self.day * DAY_MS))
        self.day += 1

    def taken(self) -> Int64s:
        half = CLUSTERS // 2
        return np.asarray(self.half_U * half + self.rng.integers(half, size=USERS))

    def told(self, sizes: tuple[int, ...]) -> Told:
        book = BOOK if sizes else ()
        now_ms = self.day * DAY_MS
        past = self.history.look(np.arange(USERS), np.full(USERS, now_ms))
        codes = codes_of(past, CLUSTERS, book)
        return Told(past, codes, self.history.shares(book, now_ms), CLUSTERS)


def test_what_is_learned_without_group_identity_is_the_same_with_it_and_it_adds_to_that() -> None:
    stream, alone, grouped = Stream(), online((), history=False), online(SIZES, history=False)
    for _ in range(6):
        cluster_U = stream.taken()
        alone.learn(stream.told(()), cluster_U)
        grouped.learn(stream.told(SIZES), cluster_U)
        stream.next_day()
    without_UC = alone.log_p(stream.told(()))
    with_UC = grouped.log_p(stream.told(SIZES))
    assert np.array_equal(grouped.net(stream.told(SIZES))[0].log_p().detach().numpy(), without_UC)
    assert np.exp(with_UC).sum(1) == pytest.approx(1.0, abs=1e-5)
    cluster_U = stream.taken()
    gain_U = with_UC[np.arange(USERS), cluster_U] - without_UC[np.arange(USERS), cluster_U]
    assert gain_U.mean() > 0.05


def test_a_checkpoint_of_one_table_for_both_says_what_it_said() -> None:
    stream, old = Stream(), online(SIZES)
    for _ in range(3):
        old.learn(stream.told(SIZES), stream.taken())
        stream.next_day()
    tree = old.tree()
    for part in tree.values():
        part |= {f"{head}_by_group": part[head] for head in ("first", "again")}
    old.load(tree)
    before: Tree = {name: {**part} for name, part in tree.items()}
    for part in before.values():
        for head in ("first", "again"):
            group_L = part.pop(f"{head}_group")
            part[f"{head}_share"] = np.concatenate([[part[f"{head}_share"]], group_L])
            del part[f"{head}_by_group"]
    loaded = online(SIZES)
    loaded.load(before)
    assert np.array_equal(loaded.log_p(stream.told(SIZES)), old.log_p(stream.told(SIZES)))
