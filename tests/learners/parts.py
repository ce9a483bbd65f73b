"""Rows with residuals for parts, and a part driven over them in micro-batches."""

import numpy as np

from learners.residuals.part import Known, ResidualPart, ResidualRows
from state.examples import Doubles
from state.keys import Int64s
from state.tree import Tree

USERS, ITEMS = 6, 9


class Log:
    """A planted log; row q becomes known once `delay` more rows have come."""

    def __init__(self, size: int, seed: int = 0, delay: int = 0) -> None:
        rng = np.random.default_rng(seed)
        self.user, self.item = rng.integers(0, USERS, size), rng.integers(0, ITEMS, size)
        self.time_ms = np.cumsum(rng.choice([0, 1000, 5_000_000], size, p=[0.3, 0.6, 0.1]))
        self.category = np.arange(size) * 7 % 5
        self.logit = rng.normal(0.0, 1.0, size)
        self.label = (rng.random(size) < 0.5).astype(np.float64)
        self.label[rng.random(size) < 0.05] = np.nan
        self.residual = self.label - 1.0 / (1.0 + np.exp(-self.logit))
        self.due = np.maximum(np.arange(size) - delay, 0)

    def rows(self, part: slice) -> ResidualRows:
        return ResidualRows(
            self.user[part], self.item[part], self.time_ms[part], self.category[part], self.logit[part]
        )

    def known(self, part: slice) -> Known:
        return Known(
            self.user[part], self.item[part], self.logit[part], self.label[part], self.residual[part]
        )


class Drive:
    """A part on a log, `size` rows at a time."""

    def __init__(self, part: ResidualPart, log: Log) -> None:
        self.part, self.log, self.learned = part, log, 0
        part.admit(np.arange(USERS), np.arange(ITEMS))

    def run(self, start: int, stop: int, size: int) -> Doubles:
        made = []
        for at in range(start, stop, size):
            rows = slice(at, min(at + size, stop))
            due = int(self.log.due[rows.stop - 1])
            due_B: Int64s = self.log.due[rows] - self.learned
            made.append(self.part.step(self.log.rows(rows), self.log.known(slice(self.learned, due)), due_B))
            self.learned = due
        return np.concatenate(made)

    def tree(self) -> Tree:
        return self.part.tree()
