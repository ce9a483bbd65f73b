"""Log loss and AUC that scores let expect: what comes, where scores keep their meaning; in few windows."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import monitor.foreseen
from monitor.drift import DriftMonitor
from monitor.foreseen import MOST, SIZE, Windows
from tests.monitor.made import made, watched

EVENTS, AT = 40_960, 20_480


def test_what_comes_is_foreseen_before_any_label_of_it() -> None:
    """From AT on events are harder; labels come 5,000 events later."""
    stream, draw = made(0, EVENTS, delay_ms=5_000_000), np.random.default_rng(1)
    stream.scores.p_B[AT:] = 0.5 + (stream.scores.p_B[AT:] - 0.5) / 2
    stream.batch.label_B[AT:] = draw.random(EVENTS - AT) < stream.scores.p_B[AT:]
    watcher = DriftMonitor()
    watched(stream, watcher)
    windows = watcher.foreseen.told()
    known = [one for one in windows if one.log_loss is not None and one.event > 10_000]
    assert len(known) > 20
    for one in known:
        assert one.expected_log_loss == pytest.approx(one.log_loss, abs=0.03)
        assert one.expected_auc == pytest.approx(one.auc, abs=0.05)
    late = [one for one in known if one.event > AT + 10_000]
    p, positive = stream.scores.p_B[AT + 10_000 :], stream.batch.label_B[AT + 10_000 :] > 0.5
    in_order = np.searchsorted(np.sort(p[~positive]), p[positive]).mean() / (~positive).sum()
    assert np.mean([one.auc for one in late if one.auc is not None]) == pytest.approx(in_order, abs=0.03)
    assert windows[-1].log_loss is None, "its labels have not come"
    assert windows[-1].expected_log_loss is not None


def test_scores_that_lose_their_meaning_are_not_foreseen_but_the_labels_tell() -> None:
    stream = made(1, EVENTS, worse=slice(AT, None), by=0.8)
    watcher = DriftMonitor()
    alarms = watched(stream, watcher)
    first = min(a.event for a in alarms if a.signal == "auc" and a.segment is None)
    assert AT < first < AT + 2_000
    window = next(one for one in watcher.foreseen.told() if one.event > AT)
    assert window.auc is not None
    assert window.expected_auc is not None
    assert window.auc < window.expected_auc - 0.1


def test_scores_that_are_all_moved_keep_their_order() -> None:
    """What is said is too high from AT on: badly calibrated, and in order as before."""
    stream = made(2, EVENTS)
    odds = np.log(stream.scores.p_B[AT:] / (1 - stream.scores.p_B[AT:])) + 1.0
    stream.scores.p_B[AT:] = 1 / (1 + np.exp(-odds))
    found = {a.signal for a in watched(stream) if a.segment is None}
    assert "calibration" in found
    assert "auc" not in found


@given(st.lists(st.integers(1, 300), max_size=40), st.integers(1, 40))
def test_windows_hold_the_same_whatever_the_pieces(events: list[int], pieces: int) -> None:
    """They are few, and say the means of their events."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(monitor.foreseen, "SIZE", 1)
        patch.setattr(monitor.foreseen, "MOST", 8)
        event_E = np.array(sorted(events), np.int64)
        value_E = np.random.default_rng(0).normal(size=len(event_E))
        whole, parts = Windows(), Windows()
        whole.add("expected_log_loss", event_E, value_E)
        for part in np.array_split(np.arange(len(event_E)), pieces):
            parts.add("expected_log_loss", event_E[part], value_E[part])
        assert whole.told() == parts.told()
        assert len(whole.told()) <= 8
        for one in whole.told():
            inside = (event_E >= one.event) & (event_E < one.event + one.events)
            assert one.expected_log_loss == pytest.approx(value_E[inside].mean(), abs=1e-5)
    assert (SIZE, MOST) == (1024, 64)
