"""What a policy would have earned, on a log whose truth is known."""

import numpy as np
import pytest

from learners.judging.off_policy import OffPolicy, Shown, Target, effective, evaluate, snips, weights
from state.arrays import Doubles
from state.errors import InputError

REWARD = np.array([0.02, 0.05, 0.10, 0.30])
"""Chance of a reward of each action."""
LOGGED = np.array([0.4, 0.3, 0.2, 0.1])
WANTED = np.array([0.1, 0.2, 0.2, 0.5])


def log(events: int, seed: int, logged: Doubles = LOGGED) -> tuple[np.ndarray, Shown]:
    """Actions, and what came of them; ten events a user."""
    rng = np.random.default_rng(seed)
    action_E = rng.choice(len(logged), events, p=logged)
    reward_E = (rng.random(events) < REWARD[action_E]).astype(np.float64)
    return action_E, Shown(reward_E, logged[action_E], np.arange(events) // 10)


def judged(events: int, seed: int, target: Doubles = WANTED, clip: float = 50.0) -> OffPolicy:
    action_E, shown = log(events, seed)
    predicted = REWARD * 0.8 + 0.01
    model = Target(target[action_E], predicted[action_E], np.full(events, float(target @ predicted)))
    return evaluate(shown, model, clip)


def test_every_estimator_covers_the_truth_as_often_as_it_says() -> None:
    truth = float(WANTED @ REWARD)
    for name in ("ips", "snips", "dr"):
        found = [getattr(judged(2_000, seed), name) for seed in range(200)]
        assert abs(np.mean([one.value for one in found]) - truth) < 0.004
        covered = np.mean([one.low <= truth <= one.high for one in found])
        assert 0.88 <= covered <= 0.99, name


def test_a_policy_that_is_the_log_s_own_earns_what_the_log_earned() -> None:
    action_E, shown = log(3_000, 0)
    found = evaluate(shown, Target(LOGGED[action_E]))
    assert found.snips == found.logged == found.ips
    assert found.difference is not None
    assert found.difference.value == 0.0
    assert found.mean_weight == 1.0
    assert found.effective_events == pytest.approx(3_000)
    assert found.verdict == "cannot tell"


def test_the_verdict_is_right_or_cannot_tell() -> None:
    worse = np.array([0.9, 0.05, 0.03, 0.02])
    assert judged(20_000, 1).verdict == "better"
    assert judged(20_000, 1, worse).verdict == "worse"
    assert judged(60, 1).verdict == "cannot tell"


def test_what_clipping_takes_away_is_said_and_ends_the_verdict() -> None:
    whole, clipped = judged(20_000, 2), judged(20_000, 2, clip=2.0)
    assert whole.clipped == 0.0
    assert clipped.clipped > 0.3
    assert clipped.mean_weight == whole.mean_weight == pytest.approx(1.0, abs=0.05)
    assert clipped.verdict == "cannot tell"


def test_weights_that_do_not_average_1_end_the_verdict() -> None:
    """Propensities that are half of what they were, and a log that could not show what the policy would."""
    action_E, shown = log(20_000, 4)
    halved = evaluate(shown._replace(propensity_E=shown.propensity_E / 2), Target(WANTED[action_E]))
    assert halved.verdict == "cannot tell"
    assert "weights average 2.0" in halved.reason
    narrow = log(20_000, 4, np.array([0.6, 0.4, 0.0, 0.0]))
    missing = evaluate(narrow[1], Target(WANTED[narrow[0]]))
    assert missing.verdict == "cannot tell"
    assert "could not show what the policy would" in missing.reason


def test_weights_that_differ_are_worth_fewer_events() -> None:
    assert effective(np.ones(50)) == pytest.approx(50)
    assert effective(np.array([1.0, 0.0, 0.0])) == pytest.approx(1)
    assert 0 < judged(2_000, 3).effective_events < 1_000


def test_one_user_has_no_interval() -> None:
    shown = Shown(np.array([0.0, 1.0]), np.array([0.5, 0.5]), np.zeros(2, np.int64))
    found = evaluate(shown, Target(np.array([0.5, 0.5]))).snips
    assert found is not None
    assert (found.value, found.low, found.high) == (0.5, None, None)


@pytest.mark.parametrize("propensity", [0.0, -0.1, 1.5, np.nan])
def test_what_is_no_propensity_is_refused(propensity: float) -> None:
    shown = Shown(np.ones(2), np.array([0.5, propensity]), np.zeros(2, np.int64))
    with pytest.raises(InputError, match=r"above 0 and at most 1, got .* \(1 of 2 events\)"):
        weights(shown, np.ones(2))


def test_a_policy_that_the_log_never_shows_cannot_be_judged() -> None:
    with pytest.raises(InputError, match="never shows"):
        snips(np.ones(3), np.zeros(3))
    _, shown = log(100, 5)
    found = evaluate(shown, Target(np.zeros(100), np.zeros(100), np.zeros(100)))
    assert (found.ips, found.snips, found.dr, found.verdict) == (None, None, None, "cannot tell")
