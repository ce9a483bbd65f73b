"""Session features against what they are defined to be."""

import numpy as np
import pytest

from learners.residuals.session import ITEM_KEEP, USER_KEEP, Session, SessionPart
from tests.learners.parts import Drive, Log


def test_averages_means_and_sessions_by_their_definition() -> None:
    log = Log(150)
    made_BF = Drive(SessionPart(Session(gap_s=3600.0)), log).run(0, 150, 40)
    for b in range(150):
        past = [q for q in range(b) if not np.isnan(log.residual[q])]
        mine = [q for q in past if log.user[q] == log.user[b]]
        its = [q for q in past if log.item[q] == log.item[b]]
        expected = [_average(log.residual[mine], keep) for keep in USER_KEEP]
        expected += [log.residual[mine].sum() / (len(mine) + 5)]
        expected += [_average(log.residual[its], keep) for keep in ITEM_KEEP]
        expected += [log.residual[its].sum() / (len(its) + 5), np.log1p(len(its)) / 5]
        session = [q for q in _session(log, b) if not np.isnan(log.residual[q])]
        expected += [log.residual[session].sum() / (len(session) + 3)]
        assert made_BF[b] == pytest.approx(expected)


def test_a_session_goes_on_while_its_outcomes_are_unknown() -> None:
    log = Log(60, delay=3)
    log.user[:], log.time_ms[:] = 0, np.arange(60) * 1_800_000
    part = SessionPart(Session(gap_s=3600.0))
    made_BF = Drive(part, log).run(0, 60, 60)
    known = log.residual[:56][~np.isnan(log.residual[:56])]
    assert made_BF[59, part.names.index("session_mean")] == pytest.approx(known.sum() / (len(known) + 3))


def _average(residuals: np.ndarray[tuple[int], np.dtype[np.float64]], keep: float) -> float:
    average = 0.0
    for residual in residuals:
        average = keep * average + (1 - keep) * residual
    return average


def _session(log: Log, b: int) -> list[int]:
    """The user's earlier rows back to the first gap."""
    found, time_ms = [], log.time_ms[b]
    for q in range(b - 1, -1, -1):
        if log.user[q] == log.user[b]:
            if time_ms - log.time_ms[q] > 3_600_000:
                break
            found.append(q)
            time_ms = log.time_ms[q]
    return found[::-1]
