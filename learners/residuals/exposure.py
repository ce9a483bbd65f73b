"""Features of what a user was shown, which is known at once, whatever came of it.

How the row's log odds compare with those of what the user was shown of late, and how many rows the user was
shown at the very same time.

Shape suffixes: B rows, F features, U users.
"""

from typing import NamedTuple

import numpy as np

from learners.contract import Settings
from learners.ranges import Share
from learners.residuals.part import Known, ResidualPart, ResidualRows
from state.compiled import compiled
from state.examples import Doubles
from state.keys import Int64s


class Exposure(Settings, frozen=True):
    """Settings of exposure features."""

    on: bool = True
    keep: Share = 0.9
    """What the average of the log odds keeps of itself at each row."""


class ExposurePart(ResidualPart):
    """Two features; outcomes teach it nothing."""

    names = ("shown_contrast", "shown_run")

    def __init__(self, config: Exposure) -> None:
        self.config = config
        super().__init__(users={"average_U": (np.float64, 0), "shown_U3": (np.int64, 3)})

    def step(self, rows: ResidualRows, known: Known, due_B: Int64s) -> Doubles:
        return self._made(rows, count=True)

    def peek(self, rows: ResidualRows) -> Doubles:
        return self._made(rows, count=False)

    def _made(self, rows: ResidualRows, *, count: bool) -> Doubles:
        made_BF = np.zeros((len(rows.user_B), len(self.names)))
        _make(rows, ExposureArrays(**self.users), self.config.keep, count, made_BF)
        return made_BF


class ExposureArrays(NamedTuple):
    """What kernels see."""

    average_U: Doubles
    """Moving average of log odds."""
    shown_U3: Int64s
    """Rows shown, the time of the last, and how many had that time before it."""


@compiled
def _make(rows: ResidualRows, seen: ExposureArrays, keep: float, count: bool, made_BF: Doubles) -> None:
    for b in range(rows.user_B.shape[0]):
        user, logit, time_ms = rows.user_B[b], rows.logit_B[b], rows.time_ms_B[b]
        if user < 0:
            continue
        shown, last_ms, run = seen.shown_U3[user]
        run = run + 1 if shown > 0 and time_ms == last_ms else 0
        made_BF[b, 0] = (logit - seen.average_U[user]) / 2.0 * shown / (shown + 3.0)
        made_BF[b, 1] = np.log1p(run) / 2.0
        if count:
            share = max(1.0 / (shown + 1.0), 1.0 - keep)
            seen.average_U[user] += share * (logit - seen.average_U[user])
            seen.shown_U3[user, 0] = shown + 1
            seen.shown_U3[user, 1] = time_ms
            seen.shown_U3[user, 2] = run
