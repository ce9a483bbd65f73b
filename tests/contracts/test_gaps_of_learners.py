"""No gap between two events, however long and in whichever direction, breaks or poisons a learner."""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from learners.contract import Context, Learner
from learners.registry import learner, names
from learners.tables.catalogue import Catalogue, negatives
from learners.tables.expiry import Expiry
from learners.tables.leaveout import Had
from learners.training.trainer import Scored, Trainer
from state.examples import ITEM_RATES
from state.keys import Int64s
from state.memory.memory_config import MemoryConfig
from state.tree import Tree, digest
from streams.operator import Operator, OperatorConfig
from streams.schema import EventBatch
from tests.gapped import ANY_LATENESS_MS, DAY_MS, YEAR_MS, events, times

LEARNERS = {name: learner(name) for name in names()}
SIZE = 40
SEQUENTIAL = [name for name, cls in LEARNERS.items() if cls.floor or name in ("gaussian", "stack")]
"""Those that follow `due_B` row by row."""
EACH = [(name, with_) for name, cls in LEARNERS.items() for with_ in (True, False) if with_ or cls.ranks]
UNKNOWN = ("label", "rating", "propensity", "lat", "lon", "km_N3", "residual_NH", "kept")
"""What may be missing, and then is no number."""


class Bench:
    """One learner behind an operator for which nothing is late."""

    def __init__(self, name: str, labelled: bool, delay_ms: int = 0, expire_ms: int | None = None) -> None:
        cls = LEARNERS[name]
        self.catalogue = Catalogue()
        roles = frozenset({"user", "item", "time", "category", "session", "lat", "lon", "clock", "here"})
        roles |= {"label"} if labelled else set()
        self.learner: Learner = cls(
            cls.Config(), Context(labelled=labelled, roles=roles, catalogue=self.catalogue)
        )
        needs = self.learner.needs
        memory = MemoryConfig(expire_ms=expire_ms)
        config = OperatorConfig(label_delay_ms=delay_ms, lateness_ms=ANY_LATENESS_MS, memory=memory)
        expiry = None if expire_ms is None else Expiry(expire_ms, every=8)
        self.operator = Operator(config, needs.window, needs.newest)
        self.scored: list[Scored] = []
        self.trainer = Trainer(
            {name: self.learner},
            self.catalogue,
            Had("session"),
            listeners=(self.scored.append,),
            expiry=expiry,
        )

    def run(self, log: EventBatch, size: int) -> "Bench":
        for at in range(0, len(log), size):
            self.trainer.step(self.operator.process(log.take(slice(at, at + size)), 0))
        return self

    def answers(self) -> list[list[float]]:
        """P(action) of every row, then ranks."""
        outcomes = [outcome for part in self.scored for outcome in part.outcomes.values()]
        return [
            [x for o in outcomes if o.p_B is not None for x in o.p_B.tolist()],
            [x for o in outcomes if o.rank_R is not None for x in o.rank_R.tolist()],
        ]


def numbers(tree: Tree, path: str = "") -> Iterator[tuple[str, np.ndarray]]:
    """Every array of floats in a tree, with its path."""
    for name, value in tree.items():
        if isinstance(value, dict):
            yield from numbers(value, f"{path}/{name}")
        elif isinstance(value, float) or (isinstance(value, np.ndarray) and value.dtype.kind == "f"):
            yield f"{path}/{name}", np.asarray(value)


def assert_finite(tree: Tree) -> None:
    for path, value in numbers(tree):
        name = path.rsplit("/")[-1].removesuffix("_B").removesuffix("_BW")
        assert not np.isinf(value).any(), path
        assert name in UNKNOWN or not np.isnan(value).any(), path


@pytest.mark.parametrize(("name", "labelled"), EACH)
@settings(max_examples=12)
@given(
    time_ms=times(SIZE),
    seed=st.integers(0, 99),
    delay_ms=st.sampled_from([0, 0, DAY_MS, 20 * YEAR_MS]),
    expire_ms=st.sampled_from([None, DAY_MS, 30 * YEAR_MS]),
)
def test_no_gap_breaks_a_learner(
    name: str, labelled: bool, time_ms: Int64s, seed: int, delay_ms: int, expire_ms: int | None
) -> None:
    bench = Bench(name, labelled, delay_ms, expire_ms).run(events(time_ms, seed, labelled=labelled), 7)
    learner, last = bench.learner, bench.scored[-1].batch
    for part in bench.scored:
        assert_finite(part.batch.tree())
        assert (part.batch.user_rates_BR[:, :-1] >= 0).all()
        assert ((part.batch.item_rates_BR[:, -1] >= 0) & (part.batch.item_rates_BR[:, -1] <= 1.0)).all()
    p, rank = bench.answers()
    assert all(0.0 < x < 1.0 for x in p)
    assert all(x >= 1 for x in rank)
    if learner.predicting:
        score_B = learner.score(last)
        assert ((score_B > 0.0) & (score_B < 1.0)).all()
    if learner.ranks:
        score_BN = learner.rank(last)
        assert not np.isnan(score_BN).any()
        assert (score_BN < np.inf).all()
    bench.trainer.finish()
    for made in (
        learner.interests(last),
        learner.item_vectors(bench.catalogue.items.keys[: len(bench.catalogue)]),
    ):
        assert made is None or np.isfinite(made).all()
    copy = learner.copy_score()
    if copy is not None:
        assert np.isfinite([copy.overlap, copy.r2, copy.near, copy.base, copy.interest]).all()
        assert np.isfinite([*copy.memory.values(), *copy.past.values()]).all()
        terms = copy.terms()
        assert np.isfinite(terms.prior_N).all()
        assert np.isfinite(terms.crowd_N).all()
    learner.insight()
    if learner.saved:
        assert_finite(bench.trainer.tree())


@pytest.mark.parametrize(("name", "labelled"), [one for one in EACH if one[0] in SEQUENTIAL])
@settings(max_examples=10)
@given(time_ms=times(SIZE), seed=st.integers(0, 99), delay_ms=st.sampled_from([0, DAY_MS, 20 * YEAR_MS]))
def test_a_batch_across_a_gap_is_its_rows_one_by_one(
    name: str, labelled: bool, time_ms: Int64s, seed: int, delay_ms: int
) -> None:
    log = events(time_ms, seed, labelled=labelled)
    whole, singles = (Bench(name, labelled, delay_ms).run(log, size) for size in (SIZE, 1))
    assert whole.answers() == singles.answers()
    assert digest(whole.trainer.tree()) == digest(singles.trainer.tree())


def repeats(gap_ms: int, labelled: bool) -> EventBatch:
    """Thirty events of many items; after a gap thirty of item 7, each of another user."""
    number = np.arange(60)
    old = number < 30
    return EventBatch.of(
        user=np.where(old, number % 5, number),
        item=np.where(old, number % 6, 7),
        time_ms=1_500_000_000_000 + number * 60_000 + np.where(old, 0, gap_ms),
        category=np.where(old, number % 3, 4),
        **({"label": np.where(old, number % 2, 1).astype(np.float32)} if labelled else {}),
    )


TOO_FEW = dict.fromkeys(
    ("din", "mirrn"),
    "thirty rows turn a network's weights only so far, once a gap has moved all of its numbers",
)
"""Learners whose ranking need not follow what repeats, and why."""
AHEAD_MS = [30 * YEAR_MS, 900 * YEAR_MS, 7900 * YEAR_MS]


@pytest.mark.parametrize("gap_ms", [*AHEAD_MS, -30 * YEAR_MS, -1900 * YEAR_MS])
def test_what_repeats_after_a_gap_is_counted(gap_ms: int) -> None:
    bench = Bench("rates", True).run(repeats(gap_ms, True), 6)
    rates = dict(zip(ITEM_RATES, bench.scored[-1].batch.item_rates_BR[-1].tolist(), strict=True))
    assert rates["count"] == rates["positives"] == 29
    assert rates["count_1h"] > 20
    if gap_ms > 0:
        assert rates["popularity"] == pytest.approx(1.0)


@pytest.mark.parametrize("gap_ms", AHEAD_MS)
@pytest.mark.parametrize(("name", "labelled"), EACH)
def test_a_learner_goes_on_learning_after_a_gap(name: str, labelled: bool, gap_ms: int) -> None:
    log = repeats(gap_ms, labelled)
    bench = Bench(name, labelled).run(log.take(slice(0, 33)), 3)
    probe, learner = bench.scored[-1].batch.take(slice(2, 3)), bench.learner
    before_p = learner.score(probe)[0] if learner.predicting else 0.0
    bench.run(log.take(slice(33, None)), 3)
    if learner.predicting:
        probe.item_rates_BR[:] = bench.scored[-1].batch.item_rates_BR[-1]
        assert learner.score(probe)[0] > before_p
    if learner.ranks and name not in TOO_FEW:
        score_N = learner.rank(bench.scored[-1].batch.take(slice(2, 3)))[0]
        assert np.argmax(score_N) == bench.catalogue.items.row(7)


def test_negatives_are_drawn_by_what_was_popular_before_the_gap() -> None:
    bench = Bench("rates", True).run(repeats(0, True), 6)
    rows = bench.scored[-1].batch
    draws_BS, log_q_N = negatives(bench.catalogue, rows, 50, seed=1)
    for years in (30, 7900):
        late = replace(rows, time_ms_B=rows.time_ms_B + years * YEAR_MS)
        later_BS, later_q_N = negatives(bench.catalogue, late, 50, seed=1)
        np.testing.assert_allclose(later_q_N, log_q_N, rtol=1e-9)
        assert later_BS.tolist() == draws_BS.tolist()


def test_what_happened_before_1970_is_forgotten_no_sooner() -> None:
    bench = Bench("popular", True, expire_ms=30 * DAY_MS).run(
        repeats(-60 * YEAR_MS, True).take(slice(30, 60)), 6
    )
    assert bench.catalogue.items.row(7) == 0
    assert bench.learner.rank(bench.scored[-1].batch.take(slice(0, 1)))[0, 0] == 1.0
