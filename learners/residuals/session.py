"""Features of how a user's and an item's latest outcomes went against the base model: the session's mood.

Moving averages of residuals, and the mean residual of the session. A session ends where a user is away for
longer than `gap_s`. That a row was shown is known at once, so sessions are counted as rows are scored;
residuals come when they are known.

Shape suffixes: B rows, Q rows of the queue, F features, U users, I items, A averages.
"""

from typing import NamedTuple

import numpy as np

from learners.contract import Settings
from learners.ranges import Amount
from learners.residuals.part import Known, ResidualPart, ResidualRows
from state.compiled import compiled, inner
from state.examples import Doubles
from state.keys import Int64s

USER_KEEP = (0.5, 0.8, 0.95, 0.99)
"""What a user's averages keep of themselves at each residual."""
ITEM_KEEP = (0.9, 0.97)


class Session(Settings, frozen=True):
    """Settings of session features."""

    on: bool = True
    gap_s: Amount = 3600.0
    """Time without an event that ends a session."""


_NAMES = (
    *("user_average_2", "user_average_5", "user_average_20", "user_average_100", "user_mean"),
    *("item_average_10", "item_average_33", "item_mean", "item_known", "session_mean"),
)
_USER_MEAN, _ITEM_AVERAGE, _ITEM_MEAN, _ITEM_KNOWN, _SESSION_MEAN = (
    _NAMES.index(name) for name in ("user_mean", "item_average_10", "item_mean", "item_known", "session_mean")
)
_SESSION, _COUNT, _SUM = range(3)
"""Columns of `session_U3`: which session it is, and its residuals."""


class SessionPart(ResidualPart):
    """Session features; see `names`."""

    names = _NAMES

    def __init__(self, config: Session) -> None:
        self.gap_ms = int(config.gap_s * 1000.0)
        super().__init__(
            users={
                "average_UA": (np.float64, len(USER_KEEP)),
                "known_U2": (np.float64, 2),
                "session_U3": (np.float64, 3),
                "shown_U3": (np.int64, 3),
            },
            items={"average_IA": (np.float64, len(ITEM_KEEP)), "known_I2": (np.float64, 2)},
            waiting={"session": (np.int64, 0)},
        )

    def step(self, rows: ResidualRows, known: Known, due_B: Int64s) -> Doubles:
        made_BF = np.zeros((len(rows.user_B), len(self.names)))
        place = self.waiting.extend(len(rows.user_B))
        session_P = self.waiting.columns["session"]
        _step(rows, known, due_B, self._moods(), session_P, self.waiting.head, place, self.gap_ms, made_BF)
        self.waiting.take(len(known.user_Q))
        return made_BF

    def peek(self, rows: ResidualRows) -> Doubles:
        made_BF = np.zeros((len(rows.user_B), len(self.names)))
        _peek(rows, self._moods(), self.gap_ms, made_BF)
        return made_BF

    def _moods(self) -> "Moods":
        return Moods(**self.users, **self.items)


class Moods(NamedTuple):
    """What kernels see."""

    average_UA: Doubles
    known_U2: Doubles
    """Residuals: how many, and their sum."""
    session_U3: Doubles
    """The session of the last known residual; how many of it are known, and their sum."""
    shown_U3: Int64s
    """Rows shown, the time of the last, and the number of its session."""
    average_IA: Doubles
    known_I2: Doubles


@inner
def _features(user: int, item: int, time_ms: int, moods: Moods, gap_ms: int, made_F: Doubles) -> None:
    if user >= 0:
        n, total = moods.known_U2[user]
        for a in range(len(USER_KEEP)):
            made_F[a] = moods.average_UA[user, a]
        made_F[_USER_MEAN] = total / (n + 5.0)
        shown, last_ms, session = moods.shown_U3[user]
        if shown > 0 and time_ms - last_ms <= gap_ms and moods.session_U3[user, _SESSION] == session:
            session_3 = moods.session_U3[user]
            made_F[_SESSION_MEAN] = session_3[_SUM] / (session_3[_COUNT] + 3.0)
    if item >= 0:
        n, total = moods.known_I2[item]
        made_F[_ITEM_AVERAGE], made_F[_ITEM_AVERAGE + 1] = moods.average_IA[item]
        made_F[_ITEM_MEAN] = total / (n + 5.0)
        made_F[_ITEM_KNOWN] = np.log1p(n) / 5.0


@inner
def _show(user: int, time_ms: int, moods: Moods, gap_ms: int) -> int:
    """Count the row; the number of its session."""
    shown, last_ms, session = moods.shown_U3[user]
    if shown > 0 and time_ms - last_ms > gap_ms:
        session += 1
    moods.shown_U3[user, 0] = shown + 1
    moods.shown_U3[user, 1] = max(time_ms, last_ms) if shown > 0 else time_ms
    moods.shown_U3[user, 2] = session
    return int(session)


@inner
def _learn(user: int, item: int, session: int, residual: float, moods: Moods) -> None:
    if np.isnan(residual):
        return
    if user >= 0:
        for a, keep in enumerate(USER_KEEP):
            moods.average_UA[user, a] += (1.0 - keep) * (residual - moods.average_UA[user, a])
        moods.known_U2[user, 0] += 1.0
        moods.known_U2[user, 1] += residual
        if moods.session_U3[user, _SESSION] != session:
            moods.session_U3[user, _SESSION] = session
            moods.session_U3[user, _COUNT] = moods.session_U3[user, _SUM] = 0.0
        moods.session_U3[user, _COUNT] += 1.0
        moods.session_U3[user, _SUM] += residual
    if item >= 0:
        for a, keep in enumerate(ITEM_KEEP):
            moods.average_IA[item, a] += (1.0 - keep) * (residual - moods.average_IA[item, a])
        moods.known_I2[item, 0] += 1.0
        moods.known_I2[item, 1] += residual


@compiled
def _step(
    rows: ResidualRows,
    known: Known,
    due_B: Int64s,
    moods: Moods,
    session_P: Int64s,
    head: int,
    place: int,
    gap_ms: int,
    made_BF: Doubles,
) -> None:
    learned = 0
    for b in range(rows.user_B.shape[0] + 1):
        due = due_B[b] if b < rows.user_B.shape[0] else known.user_Q.shape[0]
        while learned < due:
            q = learned
            _learn(known.user_Q[q], known.item_Q[q], session_P[head + q], known.residual_Q[q], moods)
            learned += 1
        if b < rows.user_B.shape[0]:
            user, time_ms = rows.user_B[b], rows.time_ms_B[b]
            _features(user, rows.item_B[b], time_ms, moods, gap_ms, made_BF[b])
            session_P[place + b] = _show(user, time_ms, moods, gap_ms)


@compiled
def _peek(rows: ResidualRows, moods: Moods, gap_ms: int, made_BF: Doubles) -> None:
    for b in range(rows.user_B.shape[0]):
        _features(rows.user_B[b], rows.item_B[b], rows.time_ms_B[b], moods, gap_ms, made_BF[b])
