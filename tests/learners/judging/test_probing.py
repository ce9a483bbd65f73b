"""The learned retention curve is what the learner itself says of one past event, at every age."""

import numpy as np
import pytest

from learners.insight import AgeCurve
from learners.judging import probing
from learners.judging.probing import AGES_BY_CLOCK, Probed, probe
from learners.systems.twotower import TwoTower
from learners.tables.catalogue import Catalogue
from state.examples import ExampleBatch, Floats, empty_examples
from state.memory.memory_config import MemoryConfig
from state.tree import digest
from tests.contracts.test_every_learner import Bench

HOUR_MS = 3_600_000


def catalogue(items: int = 6) -> Catalogue:
    """Items 10, 11, ..., the first the most popular."""
    rows = [10 + i for i in range(items) for _ in range(items - i)]
    known = empty_examples(len(rows))
    known.item_B[:] = rows
    known.time_ms_B[:] = 1_500_000_000_000 + np.arange(len(rows)) * HOUR_MS
    made = Catalogue()
    if rows:
        made.learn(known)
    return made


class Asked:
    """Log odds that add a weight for every remembered event to its item's, and something to all of a row."""

    def __init__(self, found: Catalogue, by_hour: float = 0.0, shift: float = 0.0) -> None:
        self.catalogue, self.by_hour, self.shift = found, by_hour, shift
        self.rows: list[ExampleBatch] = []

    def __call__(self, batch: ExampleBatch) -> Floats:
        self.rows.append(batch)
        past = batch.window
        assert past is not None
        score_BN = np.zeros((len(batch), len(self.catalogue)))
        for b in range(len(batch)):
            score_BN[b] += self.shift * b
            for w in range(past.length_B[b]):
                n = self.catalogue.items.row(int(past.item_BW[b, w]))
                score_BN[b, n] += past.retention_BW[b, w] + self.by_hour * past.hour_BW[b, w]
        return score_BN.astype(np.float32)


def ask(rank: Asked, *, clock: bool = True) -> Probed:
    return probe(rank, rank.catalogue, window=8, labelled=False, clock=clock)


def named(probed: Probed) -> dict[str, AgeCurve]:
    return {curve.name: curve for curve in probed.curves}


@pytest.mark.parametrize("shift", [0.0, 3.0])
def test_a_learner_that_adds_retention_shows_the_forgetting_curve(shift: float) -> None:
    found = named(ask(Asked(catalogue(), shift=shift)))
    assert set(found) == set(AGES_BY_CLOCK)
    scale = np.exp(-60.0 / MemoryConfig().strength_s)
    for name, curve in found.items():
        assert curve.age_s == AGES_BY_CLOCK[name].tolist()
        expected = np.exp(-AGES_BY_CLOCK[name] / MemoryConfig().strength_s) / scale
        np.testing.assert_allclose(np.array(curve.weight, np.float64), expected, atol=1e-5)


def test_a_learner_that_goes_by_the_hour_shows_it() -> None:
    probed = ask(Asked(catalogue(), by_hour=1.0))
    found = named(probed)
    other, same = found["own event"], found["same hour"]
    at = {round(age_s / 43_200): weight for age_s, weight in zip(other.age_s, other.weight, strict=True)}
    assert same.weight[0] is not None
    assert at[3] is not None
    assert same.weight[0] > at[3] + 0.3
    day, week = probed.kernels
    assert (day.period_h, day.apart_h[0], day.apart_h[-1]) == (24, -12.0, 12.0)
    assert (week.period_h, week.apart_h[0], week.apart_h[-1]) == (168, -84.0, 84.0)
    peaks = [hours for hours, weight in zip(week.apart_h, week.weight, strict=True) if (weight or 0.0) > 0.9]
    assert peaks == [-72.0, -48.0, -24.0, 0.0, 24.0, 48.0, 72.0]
    fallen = dict(zip(day.apart_h, day.weight, strict=True))
    assert fallen[0.0] == pytest.approx(1.0, abs=0.01)
    assert fallen[3.0] == pytest.approx(np.exp(-4.5), abs=0.02)


def test_without_a_clock_there_is_one_curve() -> None:
    probed = ask(Asked(catalogue()), clock=False)
    assert list(named(probed)) == ["own event"]
    assert probed.kernels == []


def test_the_event_is_never_the_users_last() -> None:
    rank = Asked(catalogue())
    ask(rank)
    for rows in rank.rows:
        past = rows.window
        assert past is not None
        for b, length in enumerate(past.length_B.tolist()):
            assert past.age_s_BW[b, length - 1] == probing._NOW_S
            assert (np.diff(past.age_s_BW[b, :length]) < 0).all()
            assert len(set(past.item_BW[b, :length].tolist())) == length


def test_an_item_that_is_no_candidate_has_no_number() -> None:
    rank = Asked(catalogue())

    def none(batch: ExampleBatch) -> Floats:
        return np.full((len(batch), len(rank.catalogue)), -np.inf, np.float32)

    curves = probe(none, rank.catalogue, window=8, labelled=True).curves
    assert {weight for curve in curves for weight in curve.weight} == {None}


@pytest.mark.parametrize("items", [0, 3])
def test_a_catalogue_that_is_too_small_is_not_asked(items: int) -> None:
    assert ask(Asked(catalogue(items))) == Probed([], [])


def test_a_learner_of_ours_answers_and_is_not_changed() -> None:
    bench = Bench(TwoTower, labelled=False).run(stop=400)
    before = digest(bench.trainer.tree())
    learner = bench.learner
    curves = probe(learner.rank, bench.catalogue, window=learner.needs.window, labelled=False).curves
    weights = np.array([weight for curve in curves for weight in curve.weight], np.float64)
    assert np.abs(weights).max() == 1.0
    assert digest(bench.trainer.tree()) == before
