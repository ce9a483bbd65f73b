"""What is served is what was published, and nothing that was learned since."""

from collections.abc import Mapping

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from learners.contract import Learner, Outcome, RankRequest
from learners.tables.catalogue import Catalogue
from learners.tables.true_ranks import MISSED
from learners.training.served import Schedule, Served, clipped
from learners.training.trainer import Scored
from state.examples import ITEM_RATES
from tests.contracts.test_every_learner import LEARNERS, Bench, context

COUNT = ITEM_RATES.index("count")
SAVED = [
    pytest.param(name, labelled, id=f"{name}-{labelled}")
    for name, cls in LEARNERS.items()
    for labelled in (True, False)
    if cls.saved and (labelled or cls.ranks)
]


def served(name: str, labelled: bool, every_ms: int) -> Served:
    def make(catalogue: Catalogue) -> dict[str, Learner]:
        cls = LEARNERS[name]
        return {name: cls(cls.Config(), context(labelled, catalogue))}

    return Served(make, every_ms)


def published(bench: Bench, one: Served) -> Served:
    one.publish(bench.catalogue.tree(), {bench.learner.name: bench.learner.tree()})
    return one


def said(outcomes: Mapping[str, Outcome], name: str) -> tuple[list[float], list[int]]:
    outcome = outcomes[name]
    p_B, rank_R = outcome.p_B, outcome.rank_R
    return ([] if p_B is None else p_B.tolist()), ([] if rank_R is None else rank_R.tolist())


@given(st.lists(st.integers(0, 500), min_size=1, max_size=30), st.integers(1, 100))
def test_a_schedule_is_due_once_for_every_time_that_is_passed(gaps: list[int], every_ms: int) -> None:
    schedule, start = Schedule(every_ms), 1_000
    before = start
    for now in (start + np.cumsum([0, *gaps])).tolist():
        assert schedule.due(now) == ((now - start) // every_ms > (before - start) // every_ms)
        before = now
    assert all(Schedule(0).due(now) for now in (5, 5, 6))


@pytest.mark.parametrize(("name", "labelled"), SAVED)
def test_what_is_learned_after_a_publication_changes_nothing_that_is_served(
    name: str, labelled: bool
) -> None:
    bench = Bench(LEARNERS[name], labelled).run(stop=300)
    one = published(bench, served(name, labelled, 0))
    rows = bench.run(300, 400).scored[-1]
    first = said(one.score(rows.batch, rows.request), name)
    bench.run(400)
    assert said(one.score(rows.batch, rows.request), name) == first
    again = published(Bench(LEARNERS[name], labelled).run(stop=300), served(name, labelled, 0))
    assert said(again.score(rows.batch, rows.request), name) == first


@pytest.mark.parametrize(("name", "labelled"), SAVED)
def test_what_was_just_published_is_what_the_model_itself_would_say(name: str, labelled: bool) -> None:
    bench = Bench(LEARNERS[name], labelled).run(stop=400)
    one = published(bench, served(name, labelled, 0))
    rows = bench.rows.take(slice(350, 400))
    every = np.arange(len(rows))
    size = len(bench.catalogue)
    request = RankRequest(
        every,
        bench.catalogue.items.rows(rows.item_B),
        np.full(len(rows), size),
        np.zeros(len(rows) + 1, np.int64),
        np.zeros(0, np.int64),
    )
    p, rank = said(one.score(rows, request), name)
    rates_BR, _ = bench.catalogue.step(rows, rows.take(slice(0, 0)), np.zeros(len(rows), np.int64))
    now = rows.with_item_rates(rates_BR)
    assert p == (bench.learner.score(now).tolist() if bench.learner.predicting else [])
    assert rank == (bench.learner.ranked(now, request).tolist() if bench.learner.ranks else [])


def test_without_a_lag_a_batched_learner_is_served_as_it_is() -> None:
    """Once all items are known: the two-tower learns at the end of a micro-batch, where copies are made."""
    bench = Bench(LEARNERS["twotower"], labelled=False)
    one, compared = served("twotower", False, 0), 0

    def check(scored: Scored) -> None:
        nonlocal compared
        mine, theirs = one.score(scored.batch, scored.request), scored.outcomes
        rank_R, their_rank_R = mine["twotower"].rank_R, theirs["twotower"].rank_R
        assert rank_R is not None
        assert their_rank_R is not None
        known_R = scored.request.size_R <= len(one.copies.catalogue)
        compared += int(known_R.sum())
        assert rank_R[known_R].tolist() == their_rank_R[known_R].tolist()

    bench.run(stop=100)
    bench.trainer.listeners = (check,)
    for start in range(100, 600, 10):
        assert one.schedule.due(start)
        published(bench, one)
        bench.run(start, start + 10, size=10)
    assert compared > 200


def test_before_the_first_publication_a_copy_is_silent() -> None:
    bench = Bench(LEARNERS["popular"], labelled=False).run(stop=100)
    one = served("popular", False, 3_600_000)
    rows = bench.scored[-1]
    assert one.score(rows.batch, rows.request) == {}
    assert published(bench, one).score(rows.batch, rows.request) != {}


def test_item_rates_are_as_of_the_publication() -> None:
    """The floor of rates reads them, and nothing else."""
    bench = Bench(LEARNERS["rates"], labelled=True).run(stop=200)
    one = published(bench, served("rates", True, 0))
    bench.run(200)
    live = bench.scored[-1]
    stale_BR, _ = one.copies.catalogue.step(
        live.batch, live.batch.take(slice(0, 0)), np.zeros(len(live.batch), np.int64)
    )
    assert (stale_BR[:, COUNT] < live.batch.item_rates_BR[:, COUNT]).any()
    p_B = one.score(live.batch, live.request)["rates"].p_B
    assert p_B is not None
    assert p_B.tolist() == bench.learner.score(live.batch.with_item_rates(stale_BR)).tolist()
    assert (live.batch.item_rates_BR[:, COUNT] > 0).any(), "the batch itself is left as it was"


@given(st.integers(0, 8), st.lists(st.lists(st.integers(0, 7), max_size=5), min_size=1, max_size=5))
def test_a_clipped_request_knows_only_the_first_items(size: int, left: list[list[int]]) -> None:
    rows = np.arange(len(left))
    true_R = (rows * 3) % 8
    start_R1 = np.concatenate([[0], np.cumsum([len(one) for one in left])])
    flat = np.array([n for one in left for n in one], np.int64)
    found = clipped(RankRequest(rows, true_R, np.full(len(left), 8), start_R1, flat), size)
    assert found.rows_R.tolist() == rows.tolist()
    assert found.size_R.tolist() == [size] * len(left)
    for r, one in enumerate(left):
        part = found.left_out[found.left_start_R1[r] : found.left_start_R1[r + 1]]
        assert part.tolist() == [n for n in one if n < size]
        assert found.true_R[r] == (true_R[r] if true_R[r] < size else -1)


def test_an_item_that_the_copy_does_not_know_is_missed() -> None:
    bench = Bench(LEARNERS["popular"], labelled=False).run(stop=50)
    one = published(bench, served("popular", False, 0))
    bench.run(50)
    last = bench.scored[-1]
    rank_R = one.score(last.batch, last.request)["popular"].rank_R
    assert rank_R is not None
    unknown_R = (last.request.true_R >= len(one.copies.catalogue)) | (last.request.true_R < 0)
    assert unknown_R.any()
    assert ((rank_R == MISSED) == unknown_R).all()
