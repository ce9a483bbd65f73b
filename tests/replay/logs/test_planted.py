"""The planted log is what its truth says."""

import numpy as np
import pytest

from replay.log import Log
from replay.logs.planted import DAY_MS, HOUR_MS, START_MS, TZ_MIN, PlantedOptions, plant
from state.errors import InputError
from state.keys import key_of
from tests.replay.events import read, same

BIG = PlantedOptions(events=60_000, seed=3)


def test_the_seed_says_everything() -> None:
    assert plant(BIG).events.equals(plant(BIG).events)
    assert not plant(BIG).events.equals(plant(PlantedOptions(events=60_000, seed=4)).events)


def test_habits_keep_their_hour_weekday_place_and_item() -> None:
    made = plant(BIG)
    truth, table = made.truth, made.events
    by_habit = truth.habit_E >= 0
    assert by_habit.mean() == pytest.approx(0.5, abs=0.01)
    user, habit = truth.user_E[by_habit], truth.habit_E[by_habit]
    local = truth.time_ms_E[by_habit] + TZ_MIN * 60_000 - START_MS
    hour, weekend = local % DAY_MS / HOUR_MS, local // DAY_MS % 7 >= 5
    assert np.abs(hour - truth.habit_hour_UH[user, habit]).max() < 1.3
    assert (weekend == truth.habit_weekend_UH[user, habit]).mean() == 1
    assert (truth.item_E[by_habit] == truth.habit_item_UH[user, habit]).all()
    place = np.array(table["place_id"].to_pylist())[by_habit]
    assert (place == [f"p{p}" for p in truth.habit_place_UH[user, habit]]).all()


def test_interests_fade_return_and_drift() -> None:
    truth = plant(BIG).truth
    free = truth.habit_E < 0
    since_return = (truth.time_ms_E - START_MS + truth.phase_ms_U[truth.user_E]) % truth.return_ms
    fresh, faded = since_return < truth.fade_ms / 4, since_return > 3 * truth.fade_ms
    assert truth.of_interest_E[free & fresh].mean() > 0.8
    assert truth.of_interest_E[free & faded].mean() < 0.1
    moved = truth.of_interest_E & truth.drifts_U[truth.user_E]
    for late, topics in ((False, truth.topic_U), (True, truth.new_topic_U)):
        at = moved & ((truth.time_ms_E >= truth.drift_ms) == late)
        assert (truth.topic_N[truth.item_E[at]] == topics[truth.user_E[at]]).all()
    assert (truth.topic_U == truth.new_topic_U).tolist() == (~truth.drifts_U).tolist()


def test_items_are_not_seen_before_they_are_there() -> None:
    truth = plant(BIG).truth
    cold = truth.born_ms_N > START_MS
    assert 0.3 < cold.mean() < 0.5
    assert (truth.time_ms_E >= truth.born_ms_N[truth.item_E]).all()
    assert cold[truth.item_E].mean() > 0.05


def test_events_reach_the_file_as_they_arrive() -> None:
    truth = plant(BIG).truth
    assert (np.diff(truth.arrival_ms_E) >= 0).all()
    delay = truth.arrival_ms_E - truth.time_ms_E
    assert (delay > 0).mean() == pytest.approx(0.02, abs=0.005)
    assert delay.max() <= 2 * HOUR_MS


def test_labels_follow_their_probability() -> None:
    made = plant(BIG)
    label = np.array(made.events["label"].to_pylist())
    for low in np.arange(0.1, 0.9, 0.1):
        at = (made.truth.probability_E >= low) & (made.truth.probability_E < low + 0.1)
        assert label[at].mean() == pytest.approx(made.truth.probability_E[at].mean(), abs=0.04)


def test_it_is_a_log_like_any_other() -> None:
    log = Log.open("planted:users=20,events=500,seed=3")
    events = read(log)
    truth = plant(PlantedOptions(users=20, events=500, seed=3)).truth
    assert (log.rows, log.labelled, log.survey.in_order) == (500, True, False)
    assert events.time_ms_B.tolist() == sorted(truth.time_ms_E.tolist())
    order = np.argsort(truth.time_ms_E, kind="stable")
    assert events.item_B.tolist() == [key_of(f"i{i}") for i in truth.item_E[order].tolist()]
    assert set(events.tz_min_B.tolist()) == {TZ_MIN}
    assert log.items is not None
    assert set(log.items.categories) == {"category", "tags"}
    assert same(events, read(Log.open("planted:users=20,events=500,seed=3")))
    assert not Log.open("planted:labels=0,events=500").labelled


@pytest.mark.parametrize("text", ["usrs=3", "users=many", "users", "users=0"])
def test_bad_options(text: str) -> None:
    with pytest.raises(InputError, match=f"planted:{text}: expected"):
        PlantedOptions.of(text)
