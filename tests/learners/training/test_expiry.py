"""A trainer forgets users and items at fixed rows, whatever the batches; and what is left is right."""

from collections.abc import Iterable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from learners.registry import learner
from learners.tables.catalogue import Catalogue
from learners.tables.expiry import Expiry, Forgotten, renumber_rings
from learners.tables.followers import START, USED, Pairs, bump
from learners.tables.leaveout import Had
from learners.tables.visits import VisitArrays, Visits, append
from learners.training.trainer import Scored, Trainer
from state.compiled import compiled
from state.examples import ExampleBatch
from state.memory.memory_config import MemoryConfig
from state.tree import digest
from streams.operator import Operator, OperatorConfig
from streams.schema import EventBatch
from tests.contracts.test_every_learner import context

HOUR_MS = 3_600_000
EXACT = ("popular", "habits", "successors", "gaussian")
"""Learners whose answers do not depend on the micro-batch."""


def forgotten(moved: Iterable[int], users: Iterable[int] = (), items: Iterable[int] = ()) -> Forgotten:
    keys = (np.array(list(one), np.int64) for one in (users, items, moved))
    return Forgotten(0, 0, 0, *keys)


def closed_up(keep: list[bool]) -> list[int]:
    """Where each row is once those that are not kept have left."""
    return [sum(keep[:n]) if kept else -1 for n, kept in enumerate(keep)]


def rows(size: int = 700, seed: int = 0) -> EventBatch:
    """Users and items that come, stay for a day or so, and some of which come back much later."""
    random = np.random.default_rng(seed)
    step = np.arange(size)
    item = step // 20 + random.integers(0, 8, size) - 20 * (random.random(size) < 0.03)
    return EventBatch.of(
        user=step // 15 + random.integers(0, 6, size),
        item=100 + item,
        time_ms=-2_000_000_000_000 + np.cumsum(random.integers(0, 2 * HOUR_MS, size)),
        label=(random.random(size) < 0.6).astype(np.float32),
        category=item % 5,
    )


class Run:
    def __init__(self, names: tuple[str, ...] = EXACT, delay_ms: int = 0, every: int = 64) -> None:
        self.catalogue = Catalogue()
        made = {name: learner(name)(learner(name).Config(), context(True, self.catalogue)) for name in names}
        memory = MemoryConfig(expire_ms=24 * HOUR_MS)
        self.operator = Operator(OperatorConfig(label_delay_ms=delay_ms, memory=memory), 8)
        expiry = Expiry(24 * HOUR_MS, every)
        self.trainer = Trainer(made, self.catalogue, Had("user"), expiry=expiry)
        self.scored: list[Scored] = []

    def go(self, events: EventBatch, batch: int) -> "Run":
        for start in range(0, len(events), batch):
            part = events.take(slice(start, start + batch))
            self.scored.append(self.trainer.step(self.operator.process(part, 0)))
        return self

    def answers(self) -> dict[str, list[float]]:
        found: dict[str, list[float]] = {}
        for scored in self.scored:
            for name, outcome in scored.outcomes.items():
                for values in (outcome.p_B, outcome.rank_R):
                    found.setdefault(name, []).extend([] if values is None else values.tolist())
        return found

    def digest(self) -> str:
        return digest(self.trainer.tree())


@pytest.mark.parametrize("batch", [1, 50, 64, 300])
@pytest.mark.parametrize("delay_ms", [0, 5 * HOUR_MS])
def test_what_is_forgotten_and_said_does_not_depend_on_the_batches(batch: int, delay_ms: int) -> None:
    one, other = Run(delay_ms=delay_ms).go(rows(), 37), Run(delay_ms=delay_ms).go(rows(), batch)
    assert one.answers() == other.answers()
    assert one.digest() == other.digest()
    assert one.trainer.expiry is not None
    assert one.trainer.expiry.forgotten > 20
    assert 5 < len(one.catalogue) < 25


def test_a_request_that_a_sweep_cuts_is_of_the_rows_it_was_of() -> None:
    whole, parts = Run().go(rows(192), 192), Run().go(rows(192), 64)
    [scored] = whole.scored
    assert len(scored.forgotten) == 3
    true_item_R = scored.batch.item_B[scored.request.rows_R]
    offset = 0
    for part in parts.scored:
        many = len(part.request.rows_R)
        assert part.batch.item_B[part.request.rows_R].tolist() == true_item_R[offset : offset + many].tolist()
        offset += many
    assert offset == len(scored.request.rows_R)
    assert np.diff(scored.request.left_start_R1).tolist() == [
        left for part in parts.scored for left in np.diff(part.request.left_start_R1).tolist()
    ]


@pytest.mark.parametrize("stop", [64, 200, 333])
def test_a_restart_changes_nothing(stop: int) -> None:
    through, resumed, events = Run(delay_ms=HOUR_MS), Run(delay_ms=HOUR_MS), rows()
    through.go(events.take(slice(0, stop)), 50)
    resumed.trainer.load(through.trainer.tree())
    resumed.operator.load(through.operator.tree())
    through.scored.clear()
    rest = events.take(slice(stop, None))
    assert through.go(rest, 50).answers() == resumed.go(rest, 50).answers()
    assert through.digest() == resumed.digest()


def test_a_trainer_that_forgot_nobody_goes_on_and_forgets() -> None:
    before, after = Run(), Run()
    before.trainer.expiry = None
    before.go(rows(300), 50)
    after.trainer.load(before.trainer.tree())
    after.operator.load(before.operator.tree())
    after.go(rows().take(slice(300, None)), 50)
    assert len(after.catalogue) < 25 < len(before.catalogue)


def test_rates_of_items_that_stay_are_those_of_all_their_events() -> None:
    catalogue, plain, examples = Catalogue(), Catalogue(), Operator(OperatorConfig()).process(rows(400), 0)
    for start in range(0, 400, 50):
        learned(catalogue, part := examples.take(slice(start, start + 50)))
        learned(plain, part)
        if start % 100 == 50:
            moved_N = catalogue.expire(int(part.time_ms_B.max()) - 24 * HOUR_MS)
            kept = catalogue.items.keys[: len(catalogue)]
            plain_rows = plain.items.rows(kept)
            recent = plain.last_ms_N[: len(plain)] >= part.time_ms_B.max() - 24 * HOUR_MS
            assert set(plain_rows.tolist()) == set(np.flatnonzero(recent).tolist())
            assert (moved_N >= 0).sum() == len(catalogue)
            first = plain.first_ms_N[plain_rows]
            stays = catalogue.first_ms_N[: len(catalogue)] == first
            same = catalogue.total_NR[: len(catalogue)] == plain.total_NR[plain_rows]
            assert same[stays].all()
            assert stays.mean() > 0.8, "few have come back as new"
    assert catalogue.all_R.tolist() == plain.all_R.tolist()


def learned(catalogue: Catalogue, part: ExampleBatch) -> None:
    catalogue.step(part, part, np.arange(1, len(part) + 1))


Steps = list[tuple[int, int, list[bool]]]
steps = st.lists(
    st.tuples(st.integers(0, 5), st.integers(0, 9), st.lists(st.booleans(), min_size=10, max_size=10)),
    max_size=60,
)


@settings(max_examples=100, deadline=None)
@given(steps, st.integers(2, 9))
def test_pairs_that_stay_keep_their_counts(some: Steps, every: int) -> None:
    """Against a dictionary; a row's successors are as many as it may have."""
    pairs, plain = Pairs([10.0], 64), dict[tuple[int, int], float]()
    for number, (n, j, keep) in enumerate(some):
        arrays = pairs.reserve(10, 1)
        amount = 2.0 ** (number / 240)
        bump(arrays, pairs.largest, n, j, np.array([amount]))
        plain[n, j] = plain.get((n, j), 0.0) + amount
        if number % every == 0:
            moved = closed_up(keep)
            pairs.keep(np.flatnonzero(keep), np.array(moved))
            plain = {
                (moved[a], moved[b]): weight
                for (a, b), weight in plain.items()
                if min(moved[a], moved[b]) >= 0
            }
    arrays, found = pairs.reserve(10, 0), {}
    for n in range(10):
        for place in range(arrays.home_N[n, START], arrays.home_N[n, START] + arrays.home_N[n, USED]):
            found[n, int(arrays.item_S[place])] = arrays.weight_VS[0, place]
    assert found == plain


@compiled
def visit(visits: VisitArrays, most: int, u: int, item: int, time_ms: int) -> None:
    append(visits, most, u, item, time_ms, 0)


@settings(max_examples=100, deadline=None)
@given(steps, st.integers(2, 9))
def test_visits_and_lists_that_stay_are_in_their_order(some: Steps, every: int) -> None:
    """Visits and what was had, against lists; an item that has left and comes back is had anew."""
    visits, had = Visits(10_000), Had("user")
    plain_visits, plain_had = dict[int, list[int]](), dict[int, list[int]]()
    number_of, operator = {n: n for n in range(10)}, Operator(OperatorConfig())
    for number, (user, item, keep) in enumerate(some):
        arrays = visits.reserve(1)
        [u] = visits.users.rows(np.array([user]), grow=True).tolist()
        visit(arrays, visits.most, u, number_of[item], number)
        plain_visits.setdefault(user, []).append(item)
        event = EventBatch.of(user=np.array([user]), item=np.array([item]), time_ms=np.array([number]))
        had.learn(operator.process(event, 0))
        if item not in plain_had.setdefault(user, []):
            plain_had[user].append(item)
        if number % every == 0:
            moved = closed_up(keep)
            gone = [item for item, row in number_of.items() if moved[row] < 0]
            users = [user] if keep[0] else []
            found = forgotten(moved, users, gone)
            visits.forget(found)
            had.forget(found)
            for plain in (plain_visits, plain_had):
                for one in users:
                    plain.pop(one, None)
                for one in plain:
                    plain[one] = [item for item in plain[one] if item not in gone]
            back = iter(range(sum(keep), 10))
            number_of = {
                item: moved[row] if moved[row] >= 0 else next(back) for item, row in number_of.items()
            }
    item_of = {row: item for item, row in number_of.items()}
    tree = visits.tree()
    for user, u in zip(tree["users"]["keys"].tolist(), range(len(visits.users)), strict=True):
        oldest, _, filled, blocks = tree["user_U"][u].tolist()
        seen: list[int] = []
        for block in range(blocks):
            many = filled if block == blocks - 1 else 16
            seen += [item_of[n] for n in tree["item_VE"][oldest, :many].tolist()]
            oldest = tree["next_V"][oldest]
        assert seen == plain_visits[user]
    digested = had.tree()
    assert len(digested["item_L"]) == sum(map(len, plain_had.values()))
    for user, items in plain_had.items():
        assert had.of(user).tolist() == items[::-1]


@settings(deadline=None)
@given(st.lists(st.integers(0, 9), max_size=30), st.lists(st.booleans(), min_size=10, max_size=10))
def test_rings_close_up(items: list[int], keep: list[bool]) -> None:
    ring, moved = np.zeros((1, 6), np.int32), closed_up(keep)
    for item in items:
        ring[0, 1 + ring[0, 0] % 5] = item
        ring[0, 0] += 1
    renumber_rings(ring, np.array(moved))
    kept = [moved[item] for item in items[-5:] if moved[item] >= 0]
    assert ring[0].tolist() == [len(kept), *kept, *[0] * (5 - len(kept))]
