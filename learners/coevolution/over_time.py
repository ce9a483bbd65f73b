"""What becomes of users' interests along a stream, window by window, so that one sees what cycles have done.

Windows are of equally many events. Where there are `MOST`, two at a time become one: so the whole stream is
told, however long it is. What each figure is says `record.Moment`.

Shape suffixes: B rows, P windows, F sums, C clusters, M clusters of a user.
"""

from typing import NamedTuple

import numpy as np

from learners.coevolution.entries import KINDS, Past
from learners.coevolution.record import Moment
from state.arrays import Bools, Doubles, Int64s
from state.tree import Tree

MOST = 64
_WINDOW = 1024
_FADED = KINDS + 1
"""Exposures, faded with 15 days."""
_SUMS = (
    *("events", "accepted", "novel", "serendipitous", "explored", "taken", "believed", "locked", "known"),
    *("clusters", "version", "time_ms"),
)
_LATEST = len(_SUMS) - 3
"""From here on the greater of two counts, not their sum."""


class Lived(NamedTuple):
    """A block of events, as it was seen, and what came of it."""

    past: Past
    cluster_B: Int64s
    accepted_B: Bools
    novel_B: Bools
    explored_B: Bools
    believed_B: Doubles
    """P(accept) by Relevance; of what was explored."""


class OverTime:
    def __init__(self, clusters: int, *, labelled: bool) -> None:
        self.clusters, self.labelled = clusters, labelled
        self.window = _WINDOW
        self._sum_PF: Doubles = np.zeros((0, len(_SUMS)))
        self._shown_PC: Int64s = np.zeros((0, clusters), np.int64)

    def add(self, lived: Lived, clusters: int, version: int) -> None:
        """A block, while there are so many clusters and a version serves."""
        if not len(self._sum_PF) or self._sum_PF[-1, 0] >= self.window:
            if len(self._sum_PF) == MOST:
                self._halve()
            self._sum_PF = np.vstack([self._sum_PF, np.zeros(len(_SUMS))])
            self._shown_PC = np.vstack([self._shown_PC, np.zeros(self.clusters, np.int64)])
        near_B, known_B = _nearness(lived.past, lived.cluster_B)
        explored_B = lived.explored_B
        sums = [
            len(near_B),
            lived.accepted_B.sum(),
            lived.novel_B.sum(),
            (lived.novel_B & lived.accepted_B).sum(),
            explored_B.sum(),
            lived.accepted_B[explored_B].sum(),
            lived.believed_B[explored_B].sum(),
            near_B.sum(),
            known_B.sum(),
        ]
        self._sum_PF[-1, :_LATEST] += sums
        self._sum_PF[-1, _LATEST:] = clusters, version, lived.past.time_ms_B.max()
        self._shown_PC[-1] += np.bincount(lived.cluster_B, minlength=self.clusters)

    def moments(self) -> list[Moment]:
        """Of every window that is full."""
        return [
            self._moment(dict(zip(_SUMS, sum_F.tolist(), strict=True)), shown_C)
            for sum_F, shown_C in zip(self._sum_PF, self._shown_PC, strict=True)
            if sum_F[0] >= self.window
        ]

    def _moment(self, of: dict[str, float], shown_C: Int64s) -> Moment:
        events, explored, clusters = of["events"], of["explored"], int(of["clusters"])
        shown_C = shown_C[1:clusters]
        return Moment(
            time_ms=int(of["time_ms"]),
            events=int(events),
            version=int(of["version"]),
            coverage=float((shown_C > 0).mean()) if len(shown_C) else 0.0,
            gini=_gini(shown_C),
            lock_in=of["locked"] / of["known"] if of["known"] else None,
            novelty=of["novel"] / events,
            relevance=of["accepted"] / events if self.labelled else None,
            serendipity=of["serendipitous"] / events if self.labelled else None,
            gap=(of["believed"] - of["taken"]) / explored if explored and self.labelled else None,
        )

    def _halve(self) -> None:
        first_PF, second_PF = self._sum_PF[0::2], self._sum_PF[1::2]
        added_PF = first_PF + second_PF
        added_PF[:, _LATEST:] = second_PF[:, _LATEST:]
        self._sum_PF, self.window = added_PF, 2 * self.window
        self._shown_PC = self._shown_PC[0::2] + self._shown_PC[1::2]

    def tree(self) -> Tree:
        return {"window": self.window, "sum_PF": self._sum_PF.copy(), "shown_PC": self._shown_PC.copy()}

    def load(self, tree: Tree) -> None:
        self.window = int(tree["window"])
        self._sum_PF, self._shown_PC = np.array(tree["sum_PF"]), np.array(tree["shown_PC"])


def _nearness(past: Past, cluster_B: Int64s) -> tuple[Doubles, Bools]:
    """Cosine of each event with what its user was shown before, and whether there was anything."""
    shown_BM = np.where(past.cluster_BM >= 0, past.count_BMK[:, :, _FADED].astype(np.float64), 0.0)
    length_B = np.linalg.norm(shown_BM, axis=1)
    own_B = (shown_BM * (past.cluster_BM == cluster_B[:, None])).sum(1)
    known_B = length_B > 0.0
    return np.where(known_B, own_B / np.where(known_B, length_B, 1.0), 0.0), known_B


def _gini(shown_C: Int64s) -> float:
    """0 where all are shown alike, towards 1 where one has it all.

    >>> _gini(np.array([3, 3, 3])), _gini(np.array([0, 0, 0, 8]))
    (0.0, 0.75)
    """
    total, size = int(shown_C.sum()), len(shown_C)
    if not total:
        return 0.0
    rank_C = np.arange(1, size + 1)
    return float((2 * rank_C - size - 1) @ np.sort(shown_C) / (size * total))
