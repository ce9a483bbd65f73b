"""What was expected of events before their labels, beside what these told later: in windows of events.

Sums are whole numbers of millionths, so that neither the order nor the pieces in which values come matter.
Shape suffixes: E values, W windows, C columns.
"""

import numpy as np

from monitor.alarms import OUTCOMES
from monitor.expected import Expected
from monitor.waiting import WatchedOutcomes
from state.arrays import Doubles, Int64s
from state.drift_alarm import Foreseen
from state.tree import Tree

COLUMNS = ("expected_log_loss", "expected_auc", "log_loss", "auc")
SIZE, MOST = 1024, 64
"""Events of a window in the beginning, and windows; where there are more, each two become one."""
_LEAST = 0.5
"""Share of a window's events that must have a value for its mean to be told."""
_UNIT = 1e-6
_LOSS = tuple(OUTCOMES).index("log_loss")


class Windows:
    """Means of every column over events of the same number."""

    def __init__(self) -> None:
        self.size = SIZE
        self._sum_WC: Int64s = np.zeros((MOST, len(COLUMNS)), np.int64)
        self._count_WC: Int64s = np.zeros((MOST, len(COLUMNS)), np.int64)

    def take(self, arrived: WatchedOutcomes, known: WatchedOutcomes, expected: Expected) -> None:
        """Events as they arrive, and those whose outcome became known."""
        self.add("expected_log_loss", arrived.event_Q, expected.log_loss_B)
        self.add("expected_auc", arrived.event_Q, expected.auc_B)
        self.add("log_loss", known.event_Q, known.outcome_QO[:, _LOSS])
        self.add("auc", known.event_Q, expected.came_auc_Q)

    def add(self, column: str, event_E: Int64s, value_E: Doubles) -> None:
        """Values of events by their number, from 1; NaN for none."""
        there_E = ~np.isnan(value_E)
        if not there_E.any():
            return
        last = int(event_E[there_E].max())
        while last > MOST * self.size:
            self._halve()
        window_E = (event_E[there_E] - 1) // self.size
        c = COLUMNS.index(column)
        np.add.at(self._sum_WC[:, c], window_E, np.rint(value_E[there_E] / _UNIT).astype(np.int64))
        np.add.at(self._count_WC[:, c], window_E, 1)

    def told(self) -> list[Foreseen]:
        """Windows of which something was expected, in order."""
        windows = []
        for w in range(MOST):
            counts, sums = self._count_WC[w].tolist(), self._sum_WC[w].tolist()
            means = {
                name: total * _UNIT / count if count >= _LEAST * self.size else None
                for name, total, count in zip(COLUMNS, sums, counts, strict=True)
            }
            if means["expected_log_loss"] is not None:
                windows.append(Foreseen(event=w * self.size + 1, events=self.size, **means))
        return windows

    def _halve(self) -> None:
        for kept_WC in (self._sum_WC, self._count_WC):
            kept_WC[: MOST // 2] = kept_WC[0::2] + kept_WC[1::2]
            kept_WC[MOST // 2 :] = 0
        self.size *= 2

    def tree(self) -> Tree:
        return {"size": self.size, "sum_WC": self._sum_WC.copy(), "count_WC": self._count_WC.copy()}

    def load(self, tree: Tree) -> None:
        self.size = int(tree["size"])
        self._sum_WC, self._count_WC = np.array(tree["sum_WC"]), np.array(tree["count_WC"])
