"""Each metric against its definition, written for reading."""

import math
from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from learners.judging.metrics import BINS, CLIP, PREDICTION, RANKING, Predictions, Ranks, standard_error
from state.examples import Doubles
from state.keys import Int64s

events = st.lists(
    st.tuples(
        st.sampled_from([0.0, 0.125, 0.25, 0.5, 0.875, 1.0]) | st.floats(0, 1, width=32), st.booleans()
    ),
    min_size=1,
    max_size=60,
)


def sample(p: list[float], label: list[float], user: list[int] | None = None) -> Predictions:
    users = np.array(user if user is not None else [0] * len(p), np.int64)
    return Predictions.of(np.array(p, np.float32), np.array(label, np.float32), users)


def ranks(rank: list[int], user: list[int] | None = None) -> Ranks:
    users = np.array(user if user is not None else [0] * len(rank), np.int32)
    return Ranks.of(np.array(rank, np.int32), np.ones(len(rank), np.bool_), users)


def plain_auc(p: list[float], label: list[float]) -> float | None:
    """The share of (positive, negative) pairs in the right order; a tie counts one half."""
    pairs = [
        (p[i] > p[j]) + 0.5 * (p[i] == p[j])
        for i, j in product(range(len(p)), repeat=2)
        if label[i] > 0.5 >= label[j]
    ]
    return sum(pairs) / len(pairs) if pairs else None


def plain_user_auc(p: list[float], label: list[float], user: list[int]) -> float | None:
    total, weight = 0.0, 0
    for u in set(user):
        own = [i for i in range(len(p)) if user[i] == u]
        auc = plain_auc([p[i] for i in own], [label[i] for i in own])
        if auc is not None:
            total, weight = total + len(own) * auc, weight + len(own)
    return total / weight if weight else None


def plain_log_loss(p: list[float], label: list[float]) -> float:
    kept = [min(max(q, CLIP), 1 - CLIP) for q in p]
    return -sum(math.log(q) if y else math.log1p(-q) for q, y in zip(kept, label, strict=True)) / len(p)


def plain_calibration_error(p: list[float], label: list[float]) -> float:
    bins: dict[int, list[int]] = {}
    for i, q in enumerate(p):
        below, upto = sum(x < q for x in p), sum(x <= q for x in p)
        bins.setdefault(BINS * (below + upto) // (2 * len(p)), []).append(i)
    gaps = [abs(sum(p[i] for i in own) - sum(label[i] for i in own)) for own in bins.values()]
    return sum(gaps) / len(p)


@given(events, st.data())
def test_prediction_metrics_are_what_they_say(drawn: list[tuple[float, bool]], data: st.DataObject) -> None:
    p, label = [q for q, _ in drawn], [float(y) for _, y in drawn]
    user = data.draw(st.lists(st.integers(0, 4), min_size=len(p), max_size=len(p)))
    got = sample(p, label, user).values(5)
    assert list(got) == list(PREDICTION)
    base = sum(label) / len(label)
    loss = plain_log_loss(p, label)
    entropy = 0.0 if base in (0, 1) else -base * math.log(base) - (1 - base) * math.log(1 - base)
    expected = {
        "auc": plain_auc(p, label),
        "user_auc": plain_user_auc(p, label, user),
        "log_loss": loss,
        "normalized_entropy": loss / entropy if entropy else None,
        "calibration_error": plain_calibration_error(p, label),
    }
    for metric, value in expected.items():
        assert got[metric] == (None if value is None else pytest.approx(value, abs=1e-6)), metric


def test_by_hand() -> None:
    got = sample([0.1, 0.4, 0.35, 0.8], [0, 0, 1, 1]).values(1)
    assert got["auc"] == got["user_auc"] == 0.75
    half = sample([0.5, 0.5], [0, 1])
    assert half.values(1) == pytest.approx(
        {
            "auc": 0.5,
            "user_auc": 0.5,
            "log_loss": math.log(2),
            "normalized_entropy": 1,
            "calibration_error": 0,
        }
    )


def test_users_count_by_their_events_and_need_both_classes() -> None:
    p = [0.9, 0.1, 0.1, 0.9, 0.9, 0.9, 0.3]
    label = [1.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0]
    assert sample(p, label, [0, 0, 1, 1, 1, 1, 2]).values(3)["user_auc"] == pytest.approx(2 / 6)


def test_one_class_gives_no_auc_and_no_entropy_but_a_loss() -> None:
    got = sample([0.2, 0.6], [1, 1]).values(1)
    assert got["auc"] is got["user_auc"] is got["normalized_entropy"] is None
    assert got["log_loss"] == pytest.approx(-(math.log(0.2) + math.log(0.6)) / 2)


def test_nothing_gives_nothing() -> None:
    assert set(sample([], []).values(0).values()) == {None}
    none = ranks([])
    assert none.values(0) == dict.fromkeys(RANKING)
    assert sample([], []).influence(0) == none.influence(0) == {}


def test_a_certain_mistake_costs_a_finite_loss() -> None:
    assert sample([1.0, 0.0], [0, 1]).values(1)["log_loss"] == pytest.approx(-math.log(CLIP), rel=1e-4)


def test_unlabelled_events_are_left_out() -> None:
    kept = sample([0.1, 0.7, 0.9], [0, math.nan, 1])
    assert kept.event_E.tolist() == [0, 2]
    assert kept.values(1)["auc"] == 1.0


def test_a_constant_is_calibrated_when_it_is_the_base_rate_whatever_the_order() -> None:
    label = [1.0] * 30 + [0.0] * 70
    assert sample([0.3] * 100, label).calibration_error() == pytest.approx(0, abs=1e-7)


def test_calibration_bins_hold_equal_numbers_of_events() -> None:
    p = np.linspace(0.01, 0.99, 1000)
    bins_K3 = sample(p.tolist(), (p > 0.5).astype(float).tolist()).calibration()
    assert bins_K3[:, 2].tolist() == [1000 / BINS] * BINS
    assert (np.diff(bins_K3[:, 0]) > 0).all()


@given(events, st.data())
def test_parts_of_a_sample_are_samples_of_the_parts(
    drawn: list[tuple[float, bool]], data: st.DataObject
) -> None:
    p, label = [q for q, _ in drawn], [float(y) for _, y in drawn]
    part = np.array(data.draw(st.lists(st.integers(-1, 3), min_size=len(p), max_size=len(p))), np.int16)
    whole = sample(p, label)
    for number, piece in enumerate(whole.split(part[whole.event_E], 4)):
        own = np.flatnonzero(part == number)
        alone = sample([p[i] for i in own], [label[i] for i in own])
        assert own[alone.event_E].tolist() == piece.event_E.tolist()
        assert piece.values(1) == alone.values(1)


@given(st.lists(st.integers(1, 300), min_size=1, max_size=50))
def test_ranking_metrics_are_what_they_say(drawn: list[int]) -> None:
    size = len(drawn)
    got = ranks(drawn).values(1)
    assert got == pytest.approx(
        {
            **{f"recall@{k}": sum(r <= k for r in drawn) / size for k in (1, 10, 50)},
            "ndcg@10": sum(1 / math.log2(1 + r) for r in drawn if r <= 10) / size,
            "mrr": sum(1 / r for r in drawn) / size,
        }
    )


def planted(seed: int, users: int = 300) -> tuple[Doubles, Doubles, Doubles, Int64s]:
    """A good and a worse prediction of labels that users share a taste in."""
    random = np.random.default_rng(seed)
    user = np.repeat(np.arange(users), random.integers(1, 30, users))
    logit = random.normal(0, 1, users)[user] + random.normal(0, 1, len(user))
    label = (random.random(len(user)) < 1 / (1 + np.exp(-logit))).astype(np.float64)
    good, worse = (1 / (1 + np.exp(-logit + random.normal(0, noise, len(user)))) for noise in (0.3, 1.0))
    return good, worse, label, user


@pytest.mark.parametrize("metric", ["auc", "user_auc", "log_loss", "normalized_entropy"])
def test_the_interval_of_a_difference_is_what_a_bootstrap_over_users_gives(metric: str) -> None:
    good, worse, label, user = planted(7)
    users = int(user.max()) + 1
    influence = [Predictions.of(p, label, user).influence(users)[metric] for p in (good, worse)]
    error = standard_error(influence[0] - influence[1], users)

    random = np.random.default_rng(8)
    rows = [np.flatnonzero(user == u) for u in range(users)]
    drawn = []
    for _ in range(200):
        picked = [rows[u] for u in random.integers(0, users, users)]
        index = np.concatenate(picked)
        renamed = np.repeat(np.arange(users), [len(own) for own in picked])
        pair = [Predictions.of(p[index], label[index], renamed).values(users)[metric] for p in (good, worse)]
        assert pair[0] is not None
        assert pair[1] is not None
        drawn.append(pair[0] - pair[1])
    assert error == pytest.approx(float(np.std(drawn)), rel=0.2)


def test_users_are_what_is_independent_not_events() -> None:
    """The same events ten times over say no more than once."""
    rank, user = [1, 5, 20, 60, 3, 9] * 10, [i % 30 for i in range(60)]
    once = ranks(rank, user).influence(30)["recall@10"]
    again = ranks(rank * 10, user * 10).influence(30)["recall@10"]
    assert standard_error(once, 30) == pytest.approx(standard_error(again, 30))


def test_what_was_not_ranked_or_does_not_count_is_left_out() -> None:
    rank = np.array([3, 0, 7], np.int32)
    kept = Ranks.of(rank, np.array([True, True, False]), np.array([4, 5, 6]))
    assert (kept.event_E.tolist(), kept.user_E.tolist(), kept.rank_E.tolist()) == ([0], [4], [3])
