"""What a policy would have shown: its best items, or what another log shows."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from learners.contract import Context, Learner
from learners.judging.acting import act
from learners.judging.policies import LikeLog, OneOfBest, best_shares
from learners.tables.catalogue import Catalogue
from learners.tables.leaveout import Had
from state.examples import ExampleBatch, Floats, empty_examples

SCORES = st.lists(st.sampled_from([-np.inf, -1.0, 0.0, 2.0, 2.5]), min_size=1, max_size=7)


def batch(items: list[int], propensity: float = 0.25, label: float = 0.0) -> ExampleBatch:
    made = empty_examples(len(items))
    made.item_B[:] = items
    made.user_B[:] = 1
    made.scene_B[:] = np.arange(len(items)) % 2
    made.time_ms_B[:] = made.known_ms_B[:] = 1000
    made.label_B[:] = label
    made.propensity_B[:] = propensity
    return made


def catalogue(items: list[int]) -> Catalogue:
    known = Catalogue()
    known.learn(batch(items, label=1.0))
    return known


class ByNumber(Learner):
    """Ranks items by their keys."""

    name = "by-number"
    ranks = True

    def rank(self, batch: ExampleBatch) -> Floats:
        keys = self.context.catalogue.items.keys[: len(self.context.catalogue)]
        return np.tile(keys.astype(np.float32), (len(batch), 1))


@given(SCORES, st.integers(1, 9))
def test_the_best_share_all_there_is_and_nothing_else_has_any(scores: list[float], best: int) -> None:
    share_N = best_shares(np.array([scores], np.float32), best)[0]
    known = sorted((score for score in scores if score > -np.inf), reverse=True)
    assert share_N.sum() == pytest.approx(1.0 if known else 0.0)
    for score, share in zip(scores, share_N, strict=True):
        above, tied = sum(one > score for one in known), known.count(score)
        expected = min(max(min(best, len(known)) - above, 0), tied)
        assert share == pytest.approx(expected / tied / min(best, len(known)) if tied else 0.0)


def test_what_is_left_out_of_rankings_is_not_shown() -> None:
    known, had = catalogue([3, 5, 7]), Had("user")
    had.learn(batch([7]))
    policy = OneOfBest(
        ByNumber(ByNumber.Config(), Context(labelled=True, roles=frozenset(), catalogue=known)), had
    )
    acted = act(policy, known, batch([7, 5, 3, 9]))
    assert acted.target_B.tolist() == [0.0, 1.0, 0.0, 0.0]


def test_nothing_is_said_of_rows_without_a_propensity_nor_before_any_item_is_known() -> None:
    known, none = catalogue([3, 5]), Catalogue()
    for items, propensity, expected in ((known, np.nan, np.nan), (known, 0.5, 1.0), (none, 0.5, np.nan)):
        policy = OneOfBest(
            ByNumber(ByNumber.Config(), Context(labelled=True, roles=frozenset(), catalogue=items)),
            Had("none"),
        )
        target_B = act(policy, items, batch([5], propensity)).target_B
        assert np.array_equal(target_B, [expected], equal_nan=True)


def test_another_log_s_shares_go_by_scene_and_know_what_it_never_showed() -> None:
    policy = LikeLog(catalogue([3, 5, 7]))
    policy.add(np.array([0, 0, 0, 1]), np.array([3, 3, 5, 7]))
    policy.add(np.array([0]), np.array([11]))
    rows = batch([3, 7, 11, 3])
    assert policy.shares(rows)[0].tolist() == [0.5, 0.25, 0.0]
    assert act(policy, policy.catalogue, rows).target_B.tolist() == [0.5, 1.0, 0.25, 0.0]
    rows.scene_B[:] = 9
    assert np.isnan(act(policy, policy.catalogue, rows).target_B).all()


def test_an_expected_reward_is_the_mean_over_what_is_shown() -> None:
    known = Catalogue()
    known.learn(batch([3] * 80, label=1.0))
    known.learn(batch([5] * 80, label=0.0))
    policy = LikeLog(known)
    policy.add(np.array([0, 0, 0, 0]), np.array([3, 5, 5, 5]))
    acted = act(policy, known, batch([3]))
    rate = {3: (80 + 20 * 0.5) / 100, 5: (0 + 20 * 0.5) / 100}
    assert acted.predicted_B[0] == pytest.approx(rate[3])
    assert acted.expected_B[0] == pytest.approx(0.25 * rate[3] + 0.75 * rate[5])
