"""`ebbtide bench drift`: planted drift is found soon, and what acting is worth is measured, not said."""

import pytest

from ebbtide.simulated import detection
from ebbtide.simulated.detection import measure, watched
from ebbtide.simulated.drifting import EVENTS, KINDS, scored


def test_all_that_is_promised_is_printed(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a smaller scale."""
    monkeypatch.setattr(detection, "STATIONARY", 30_000)
    monkeypatch.setattr(detection, "LIVED", 30_000)
    monkeypatch.setattr(detection, "CHANGED_AT", 18_000)
    told: list[str] = []
    found = measure(2, told.append, logs=["planted:users=40,items=40,events=2000"])
    assert found.seeds == 2
    assert set(found.delay_events) == set(KINDS) - {"none"}
    for kind in ("abrupt", "scene", "inputs", "labels"):  # which come at once
        assert (found.delay_events[kind] or EVENTS) < 3000
    assert found.false_alarms_per_million == 0.0
    assert found.recovery_ratio.low is not None
    assert found.recovery_ratio.mean > 1.0
    assert set(found.cost["planted:users=40,items=40,events=2000"]) == {
        "auc",
        "log_loss",
        "recall@10",
        "ndcg@10",
    }
    assert len(told) == len(KINDS) - 1 + 2 + 2 + 1


def test_where_there_is_no_drift_there_is_no_alarm() -> None:
    assert watched("none", 0, 100_000) == []


def test_the_same_seed_gives_the_same_stream() -> None:
    one, again = scored("abrupt", 3, 1000, 500), scored("abrupt", 3, 1000, 500)
    assert (one.scores.p_B == again.scores.p_B).all()
    assert (one.batch.label_B == again.batch.label_B).all()
