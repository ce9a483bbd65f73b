"""Drift is found where it was planted, soon; and nowhere else, whatever the batches and the restarts."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import monitor.drift
from monitor.drift import BLOCK, MEMORY, SIGNALS, WARM_UP, Alarm, DriftMonitor
from state.examples import Doubles
from state.keys import NO_KEY, Int64s
from state.tree import digest

Signals = dict[str, Doubles]


def stream(seed: int, size: int) -> Signals:
    """A learner that stays as good as it is: probabilities that are calibrated, hits at random."""
    draw = np.random.default_rng(seed)
    p = draw.beta(2.0, 2.0, size)
    happened = draw.random(size) < p
    return {
        "log_loss": np.where(happened, -np.log(p), -np.log1p(-p)),
        "calibration": p - happened,
        "recall@10": (draw.random(size) < 0.3).astype(np.float64),
    }


def watched(
    watcher: DriftMonitor, signals: Signals, scene: Int64s | None = None, batch: int = 1000, start: int = 0
) -> list[Alarm]:
    """Alarms over the stream from event `start` on, event i being at i seconds."""
    size = len(next(iter(signals.values())))
    time_ms = np.arange(size) * 1000
    scene = np.full(size, NO_KEY) if scene is None else scene
    found: list[Alarm] = []
    for first in range(start, size, batch):
        part = slice(first, first + batch)
        found += watcher.update(time_ms[part], scene[part], {k: v[part] for k, v in signals.items()})
    return found


@pytest.mark.parametrize("signal", SIGNALS)
@pytest.mark.parametrize("seed", range(3))
def test_a_planted_jump_is_found_by_both_within_40_blocks(signal: str, seed: int) -> None:
    signals, at = stream(seed, 40_000), 25_600
    signals[signal][at:] += 0.12
    watcher = DriftMonitor()
    alarms = watched(watcher, signals)
    assert {(alarm.detector, alarm.signal) for alarm in alarms} == {
        ("adwin", signal),
        ("page_hinkley", signal),
    }
    for alarm in alarms:
        assert at < alarm.event <= at + 40 * BLOCK
        assert alarm.time_ms == (alarm.event - 1) * 1000
        assert alarm.scene is None
        assert alarm.rose
        assert alarm.mean_after - alarm.mean_before == pytest.approx(0.12, abs=0.05)
        assert alarm.values_before + alarm.values_after == alarm.event
        assert abs(alarm.values_before - at) <= 12 * BLOCK
    assert watcher.alarms == alarms


def test_a_fall_is_found_too() -> None:
    signals = stream(0, 40_000)
    signals["log_loss"][20_000:] -= 0.15
    assert [alarm.rose for alarm in watched(DriftMonitor(), signals)] == [False, False]


def test_a_stationary_stream_raises_no_alarm() -> None:
    alarms = [
        alarm for seed in range(40) for alarm in watched(DriftMonitor(), stream(seed, 50_000), batch=5000)
    ]
    assert not alarms


def test_a_scene_drifts_alone() -> None:
    signals = stream(1, 60_000)
    scene = np.resize(np.array([7, 8, 9, NO_KEY]), 60_000)
    signals["recall@10"][(np.arange(60_000) >= 30_000) & (scene == 8)] = 0.0
    scenes = {alarm.scene for alarm in watched(DriftMonitor(), signals, scene)}
    assert 8 in scenes
    assert not scenes & {7, 9}


def test_scenes_beyond_the_limit_count_overall(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(monitor.drift, "MAX_SCENES", 2)
    signals = stream(1, 60_000)
    signals["log_loss"][30_000:] += 0.3
    alarms = watched(DriftMonitor(), signals, np.resize(np.array([7, 8, 9]), 60_000), batch=1)
    assert {alarm.scene for alarm in alarms} == {None, 7, 8}


def test_events_without_a_signal_do_not_count() -> None:
    signals = stream(2, 40_000)
    signals["log_loss"][20_000:] += 0.2
    gaps = {name: np.full(80_000, np.nan) for name in signals}
    for name, values in signals.items():
        gaps[name][::2] = values
    dense, sparse = watched(DriftMonitor(), signals), watched(DriftMonitor(), gaps)
    assert [(a.mean_before, a.mean_after, 2 * a.event - 1) for a in dense] == [
        (a.mean_before, a.mean_after, a.event) for a in sparse
    ]


def test_a_log_without_labels_has_fewer_signals() -> None:
    recall = {"recall@10": np.where(np.arange(40_000) < 20_000, 1.0, 0.0)}
    assert {alarm.signal for alarm in watched(DriftMonitor(), recall)} == {"recall@10"}


def test_a_signal_that_nobody_watches_is_refused() -> None:
    with pytest.raises(ValueError, match=r"signals \['loss'\] are not watched"):
        DriftMonitor().update(np.zeros(1, np.int64), np.zeros(1, np.int64), {"loss": np.zeros(1)})


def drifting(size: int) -> tuple[Signals, Int64s]:
    """Jumps now here, now there, in two scenes."""
    signals = stream(3, size)
    scene = np.resize(np.array([5, 5, 6, NO_KEY]), size)
    for n, name in enumerate(SIGNALS):
        signals[name][(np.arange(size) // 9_000 + n) % 3 == 0] += 0.4
    return signals, scene


DRIFTING, SCENE = drifting(40_000)
WHOLE = DriftMonitor()
ALARMS = watched(WHOLE, DRIFTING, SCENE, batch=40_000)


@settings(max_examples=15)
@given(st.lists(st.integers(0, 40_000), max_size=12))
def test_alarms_do_not_depend_on_the_batches(cuts: list[int]) -> None:
    assert len(ALARMS) > 10
    watcher, found = DriftMonitor(), []
    edges = [0, *sorted(cuts), 40_000]
    time_ms = np.arange(40_000) * 1000
    for first, last in itertools.pairwise(edges):
        part = slice(first, last)
        found += watcher.update(time_ms[part], SCENE[part], {k: v[part] for k, v in DRIFTING.items()})
    assert found == ALARMS
    assert digest(watcher.tree()) == digest(WHOLE.tree())


@settings(max_examples=15)
@given(st.integers(0, 40_000))
def test_a_restart_changes_nothing(at: int) -> None:
    before, after = DriftMonitor(), DriftMonitor()
    watched(before, {k: v[:at] for k, v in DRIFTING.items()}, SCENE[:at])
    after.load(before.tree())
    watched(after, DRIFTING, SCENE, start=at)
    assert after.alarms == ALARMS
    assert digest(after.tree()) == digest(WHOLE.tree())


def test_what_is_kept_is_bounded_and_still_restarts_exactly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(monitor.drift, "MEMORY", 100)
    signals, longest = stream(4, 30_000), 0
    signals["calibration"][22_000:] += 0.1
    whole, restarted = DriftMonitor(), DriftMonitor()
    for first in range(0, 30_000, 500):
        part = slice(first, first + 500)
        arguments = np.arange(first, first + 500), np.full(500, NO_KEY)
        assert whole.update(*arguments, {k: v[part] for k, v in signals.items()}) == restarted.update(
            *arguments, {k: v[part] for k, v in signals.items()}
        )
        tree = restarted.tree()
        longest = max(longest, int(tree["kept_length"].max()))
        restarted = DriftMonitor()
        restarted.load(tree)
    assert longest == 100
    assert {alarm.signal for alarm in whole.alarms} == {"calibration"}
    assert MEMORY > 2 * WARM_UP


def test_whoever_listens_is_told() -> None:
    told: list[Alarm] = []
    watcher = DriftMonitor(on_alarm=[told.append])
    watcher.on_alarm.append(told.append)
    alarms = watched(watcher, DRIFTING)
    assert told == [alarm for alarm in alarms for _ in range(2)]
