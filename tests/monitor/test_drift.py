"""Drift is found where it was planted, soon; and nowhere else, whatever the batches and the restarts."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import monitor.drift
import monitor.series
from monitor.alarms import COLD, COLD_EVENTS, OUTCOMES, WARM, Alarm
from monitor.drift import DriftMonitor, Scores
from monitor.series import BLOCK, MEMORY, SHOWN, WARM_UP
from state import checkpoint
from state.keys import NO_KEY, Int64s
from state.tree import digest
from tests.monitor.made import Made, made, signals, watched

SIZE, AT = 40_000, 25_600


@pytest.mark.parametrize("seed", range(3))
def test_a_model_that_grows_worse_is_found_and_the_alarm_says_how_far_and_since_when(seed: int) -> None:
    alarms = [a for a in watched(made(seed, SIZE, worse=slice(AT, None), by=0.8)) if a.signal == "log_loss"]
    alarm = next(a for a in alarms if a.segment is None)
    assert AT < alarm.event <= AT + 40 * BLOCK
    assert alarm.time_ms == (alarm.event - 1) * 1000
    assert alarm.since_event is not None
    assert abs(alarm.since_event - AT) <= 12 * BLOCK
    assert alarm.since_ms == (alarm.since_event - 1) * 1000
    assert alarm.rose
    assert alarm.worse
    assert alarm.open
    assert alarm.size == alarm.mean_after - alarm.mean_before > 0.05
    assert alarm.values_before + alarm.values_after == alarm.event
    assert 0 < alarm.change < len(alarm.means) <= SHOWN
    before, after = alarm.means[: alarm.change], alarm.means[alarm.change :]
    assert np.mean(before) == pytest.approx(alarm.mean_before, abs=0.05)
    assert np.mean(after) == pytest.approx(alarm.mean_after, abs=0.05)


def test_the_hits_of_rankings_are_watched_too_and_fewer_are_worse() -> None:
    stream = made(0, SIZE)
    stream.scores.hit_B[AT:] *= np.random.default_rng(1).random(SIZE - AT) < 0.5
    alarms = [a for a in watched(stream) if a.segment is None]
    assert [(a.signal, a.rose, a.open) for a in alarms] == [("recall@10", False, True)]


def test_what_grows_better_is_told_and_is_not_open() -> None:
    alarms = watched(made(0, SIZE, worse=slice(0, 20_000), by=0.4))
    better = [a for a in alarms if a.signal == "log_loss" and a.segment is None]
    assert [(a.worse, a.open) for a in better] == [(False, False)]


def test_back_from_better_than_usual_is_not_worse() -> None:
    """One user who likes nothing, for a while, is easily foreseen."""
    stream = made(0, SIZE)
    stream.batch.label_B[10_000:13_000] = 0.0
    stream.scores.p_B[10_000:13_000] = 0.05
    moved = [a for a in watched(stream) if a.signal == "log_loss" and a.segment is None]
    assert [(a.rose, a.worse) for a in moved] == [(False, False), (True, False)]


def test_an_alarm_is_closed_when_the_signal_is_back() -> None:
    watcher = DriftMonitor()
    watched(made(0, SIZE, worse=slice(10_000, 20_000), by=0.5), watcher)
    first, *others = [a for a in watcher.alarms if a.signal == "log_loss" and a.segment is None]
    assert first.worse
    assert not first.open
    assert first.closed_event is not None
    assert 20_000 < first.closed_event <= 20_000 + 2 * WARM_UP * BLOCK
    assert first.closed_ms == (first.closed_event - 1) * 1000
    assert not any(a.open for a in others)


def test_a_stationary_stream_raises_no_alarm() -> None:
    alarms = [alarm for seed in range(10) for alarm in watched(made(seed, 50_000), batch=5000)]
    assert not alarms


def test_a_scene_and_a_category_drift_alone() -> None:
    scene = np.resize(np.array([7, 8, 9, NO_KEY]), 60_000)
    worse = np.flatnonzero((np.arange(60_000) >= 30_000) & (scene == 8))
    stream = made(1, 60_000, worse=worse, by=0.9, scene=scene, category=np.resize(scene, 60_000)[::-1].copy())
    found = {(a.segment, a.key) for a in watched(stream) if a.signal == "log_loss"}
    assert ("scene", 8) in found
    assert not found & {("scene", 7), ("scene", 9)}


def test_cold_and_warm_users_are_told_apart() -> None:
    stream = made(1, 60_000)
    cold = np.resize(np.array([True, False, False]), 60_000)
    stream.batch.user_rates_BR[:, 0] = np.where(cold, COLD_EVENTS - 1, COLD_EVENTS)
    turned = cold & (np.arange(60_000) >= 30_000)
    stream.scores.p_B[turned] = 1 - stream.scores.p_B[turned]
    users = {a.key for a in watched(stream) if a.signal == "log_loss" and a.segment == "users"}
    assert users == {COLD}
    assert WARM not in users


def test_segments_beyond_the_limit_count_overall(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(monitor.drift, "MAX_SEGMENTS", 2)
    stream = made(1, 60_000, worse=slice(30_000, None), by=0.9, scene=np.resize(np.array([7, 8, 9]), 60_000))
    found = [a for a in watched(stream, batch=1000) if a.signal == "log_loss" and a.segment != "users"]
    assert {a.key for a in found} == {None, 7, 8}


def test_nothing_is_watched_before_it_is_known() -> None:
    delay = 3_000
    soon, later = (
        watched(made(2, SIZE, worse=slice(AT, None), by=0.4, delay_ms=delay_ms))
        for delay_ms in (0, delay * 1000)
    )

    def first(alarms: list[Alarm]) -> Alarm:
        return next(a for a in alarms if a.signal == "log_loss" and a.segment is None)

    assert first(later).event == first(soon).event + delay
    assert first(later).since_event == first(soon).since_event


def test_expected_log_loss_tells_of_harder_events_before_their_labels_do() -> None:
    """From AT on every event is a toss-up, and the model knows it."""
    stream = made(3, SIZE, delay_ms=5_000_000)
    stream.scores.p_B[AT:] = 0.5
    draw = np.random.default_rng(3)
    stream.batch.label_B[AT:] = draw.random(SIZE - AT) < 0.5
    alarms = [a for a in watched(stream) if a.segment is None]
    early = next(a for a in alarms if a.signal == "expected_log_loss")
    true = next(a for a in alarms if a.signal == "log_loss")
    assert AT < early.event < AT + 3_000 < AT + 5_000 < true.event
    assert early.worse
    assert early.mean_after == pytest.approx(true.mean_after, abs=0.02)


def test_new_ids_and_late_events_are_watched() -> None:
    stream = made(4, SIZE)
    stream.batch.item_rates_BR[AT:, 0] = np.random.default_rng(0).random(SIZE - AT) < 0.8
    stream.batch.user_rates_BR[AT:, 0] = 100 * (np.random.default_rng(1).random(SIZE - AT) < 0.8)
    assert {"new_item", "new_user"} <= signals(watched(stream))
    late = made(4, SIZE)
    late.batch.time_ms_B[AT::3] -= 60_000
    assert signals(watched(late)) == {"late"}


def test_a_column_whose_shares_change_is_found_with_how_far_they_moved() -> None:
    draw = np.random.default_rng(5)
    before, after = draw.integers(0, 20, AT), draw.integers(5, 25, SIZE - AT)
    stream = made(5, SIZE, category=np.concatenate([before, after]).astype(np.int64))
    alarm = next(a for a in watched(stream) if a.signal == "shift of category")
    assert AT < alarm.event <= AT + 40 * BLOCK
    assert alarm.worse is None
    assert not alarm.open
    assert alarm.psi is not None
    assert alarm.psi > 0.1
    assert alarm.jensen_shannon is not None
    assert 0.01 < alarm.jensen_shannon < np.log(2)


def test_a_log_without_labels_has_fewer_signals() -> None:
    stream = made(6, SIZE)
    nothing = np.full(SIZE, np.nan)
    batch = replace(stream.batch, label_B=nothing.astype(np.float32))
    hits = np.where(np.arange(SIZE) < AT, stream.scores.hit_B, 0.0)
    assert signals(watched(Made(batch, Scores(nothing, hits)))) == {"recall@10"}


def test_values_that_are_not_there_do_not_count() -> None:
    stream = made(7, SIZE, worse=slice(AT, None), by=0.5)
    twice = np.repeat(np.arange(SIZE), 2)
    sparse = Made(stream.batch.take(twice), Scores(stream.scores.p_B[twice], stream.scores.hit_B[twice]))
    sparse.batch.label_B[1::2] = np.nan
    sparse.scores.p_B[1::2] = np.nan
    whole, thinned = ([a for a in watched(s) if a.signal == "log_loss"] for s in (stream, sparse))
    assert [(a.mean_before, a.mean_after, 2 * a.event - 1) for a in whole] == [
        (a.mean_before, a.mean_after, a.event) for a in thinned
    ]


def drifting(size: int) -> Made:
    """Worse now here, now there, in two scenes and with labels that come late."""
    scene: Int64s = np.resize(np.array([5, 5, 6, NO_KEY]), size)
    worse = np.flatnonzero(np.arange(size) // 4_000 % 2 == 1)
    stream = made(8, size, worse=worse, by=0.8, delay_ms=700_000, scene=scene, category=scene + 1)
    stream.batch.category_B[20_000:] = 9
    return stream


DRIFTING = drifting(30_000)
WHOLE = DriftMonitor()
ALARMS = watched(DRIFTING, WHOLE, batch=30_000)


@settings(max_examples=15)
@given(st.lists(st.integers(0, 30_000), max_size=12))
def test_alarms_do_not_depend_on_the_batches(cuts: list[int]) -> None:
    assert len(ALARMS) > 10
    assert signals(ALARMS) >= {*OUTCOMES} - {"recall@10", "positive", "calibration"} | {"shift of category"}
    watcher, found = DriftMonitor(), []
    for batch, said in DRIFTING.parts(cuts):
        found += watcher.update(batch, said)
    assert found == ALARMS
    assert watcher.alarms == WHOLE.alarms
    assert digest(watcher.tree()) == digest(WHOLE.tree())


@settings(max_examples=15)
@given(st.integers(0, 30_000))
def test_a_restart_changes_nothing(at: int) -> None:
    before, after = DriftMonitor(), DriftMonitor()
    watched(DRIFTING.until(at), before)
    after.load(before.tree())
    watched(DRIFTING.from_(at), after)
    assert after.alarms == WHOLE.alarms
    assert digest(after.tree()) == digest(WHOLE.tree())


def test_what_is_kept_is_bounded_and_still_restarts_exactly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(monitor.series, "MEMORY", 100)
    stream, longest = made(9, 20_000, worse=slice(14_000, None), by=0.4), 0
    whole, restarted = DriftMonitor(), DriftMonitor()
    for batch, said in stream.parts(range(500, 20_000, 500)):
        assert whole.update(batch, said) == restarted.update(batch, said)
        tree = restarted.tree()
        longest = max(longest, *(len(series["mean"]) for series in tree["series"].values()))
        restarted = DriftMonitor()
        restarted.load(tree)
    assert longest == 100
    assert "log_loss" in signals(whole.alarms)
    assert MEMORY > 2 * WARM_UP


def test_a_state_from_before_there_were_segments_keeps_its_alarms() -> None:
    alarm = '[{"detector":"adwin","signal":"log_loss","scene":null,"event":9,"time_ms":8,'
    alarm += '"mean_before":0.5,"mean_after":0.4,"values_before":64,"values_after":64}]'
    watcher = DriftMonitor()
    watcher.load({"events": 9, "scenes": np.zeros(0, np.int64), "alarms": alarm})
    assert watcher.events == 9
    assert [(a.event, a.worse, a.open) for a in watcher.alarms] == [(9, False, False)]


def test_whoever_listens_is_told() -> None:
    told: list[Alarm] = []
    watcher = DriftMonitor(on_alarm=[told.append])
    watcher.on_alarm.append(told.append)
    alarms = watched(DRIFTING, watcher)
    assert told == [alarm for alarm in alarms for _ in range(2)]


def test_no_event_is_no_news() -> None:
    watcher = DriftMonitor()
    assert watcher.update(DRIFTING.batch.take(slice(0, 0)), Scores(np.zeros(0), np.zeros(0))) == []
    assert watcher.update(DRIFTING.batch.take(slice(0, 1)), Scores(np.zeros(1), np.zeros(1))) == []


def test_a_monitor_that_has_seen_nothing_comes_back_from_a_checkpoint(tmp_path: Path) -> None:
    """A trainer that is killed at once has one, and no branch of its tree that is empty is kept."""
    fresh, again = DriftMonitor(), DriftMonitor()
    checkpoint.save(tmp_path, 0, fresh.tree())
    kept = checkpoint.load(tmp_path)
    assert kept is not None
    again.load(kept[1])
    assert digest(again.tree()) == digest(fresh.tree())
