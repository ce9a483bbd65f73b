"""Evidence as scored, waiting for its outcome: first in, first out, row for row with the trainer's queue.

Shape suffixes: R rows, C candidates.
"""

from collections import deque

import numpy as np

from learners.mixing.mixture import Evidence
from state.front import front
from state.tree import Tree


class EvidenceQueue:
    """Rows with their candidates; popping costs what is popped, not what waits."""

    def __init__(self) -> None:
        self._parts: deque[Evidence] = deque()
        self._rows = 0
        self.candidates = 0

    def __len__(self) -> int:
        return self._rows

    def push(self, evidence: Evidence, most: int) -> None:
        """Add rows. Where more than `most` candidates would wait, they wait without: nothing to learn."""
        if self.candidates + len(evidence.base_C) > most:
            nothing = cut(evidence, 0, 0)
            evidence = nothing._replace(
                start_R1=np.zeros_like(evidence.start_R1),
                context_RX=evidence.context_RX,
                open_RE=evidence.open_RE,
                true_R=np.full_like(evidence.true_R, -1),
            )
        self._parts.append(evidence)
        self._rows += len(evidence.true_R)
        self.candidates += len(evidence.base_C)

    def pop(self, count: int) -> list[Evidence]:
        """The oldest `count` rows, in parts."""
        assert count <= self._rows, "rows are due that were never scored"
        self._rows -= count
        taken = front(self._parts, count, lambda part: len(part.true_R), cut)
        self.candidates -= sum(len(part.base_C) for part in taken)
        return taken

    def tree(self) -> Tree:
        if not self._parts:
            return {}
        counts = np.concatenate([np.diff(part.start_R1) for part in self._parts])
        columns = [name for name in Evidence._fields if name != "start_R1"]
        whole = {name: np.concatenate([getattr(part, name) for part in self._parts]) for name in columns}
        return {"start_R1": np.append(0, np.cumsum(counts)), **whole}

    def load(self, tree: Tree) -> None:
        self.__init__()  # type: ignore[misc]
        if tree:
            rows = Evidence(**{name: np.array(tree[name]) for name in Evidence._fields})
            self.push(rows, len(rows.base_C))


def cut(evidence: Evidence, first: int, stop: int) -> Evidence:
    """Rows `first` .. `stop` - 1; they share memory."""
    start_R1 = evidence.start_R1[first : stop + 1]
    of = slice(int(start_R1[0]), int(start_R1[-1]))
    return Evidence(
        start_R1 - start_R1[0],
        evidence.evidence_CF[of],
        evidence.base_C[of],
        evidence.context_RX[first:stop],
        evidence.open_RE[first:stop],
        evidence.true_R[first:stop],
    )
