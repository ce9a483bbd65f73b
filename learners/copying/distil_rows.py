"""A few requests with all evidence of their candidates, kept from the stream to fit a simpler score to.

Exponentially biased sampling without replacement (Efraimidis and Spirakis, 2006): a request's key is
log(-log u) - n / FADE, with u from its identity and n its place in the stream; the SIZE smallest are kept. So
a request is kept or not whatever the micro-batch, and late ones are e times likelier for every FADE rows.

Shape suffixes: B rows, R requests.
"""

import math

import numpy as np
from numpy.typing import NDArray

from learners.copying.waiting import cut
from learners.mixing.mixture import Evidence
from learners.tables.popularity_draws import identities
from state.examples import Doubles, ExampleBatch
from state.tree import Tree

SIZE, FADE = 320, 20_000.0


class Requests:
    """The requests that are kept, in no order that matters."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.seen = 0
        """Rows that were offered."""
        self.last_ms = 0
        """Time of the newest."""
        self._key_R: Doubles = np.zeros(0)
        self._rows: list[Evidence] = []

    def __len__(self) -> int:
        return len(self._rows)

    def may_keep(self, key_B: Doubles) -> NDArray[np.bool_]:
        """Which of the next rows, by `keys`, will be kept, but for others among them that have a claim before
        theirs."""
        return np.asarray(key_B < self._worst)

    def offer(self, part: ExampleBatch, key_B: Doubles, evidence: Evidence) -> None:
        """Keep what is to be kept of the next rows, by `keys`, and their evidence; rows without candidates
        are passed over."""
        newest_ms = int(part.time_ms_B.max())
        kept_B = key_B < self._worst
        self.last_ms = max(self.last_ms, newest_ms) if self.seen else newest_ms
        self.seen += len(part)
        for b in np.flatnonzero(kept_B & (np.diff(evidence.start_R1) > 0)).tolist():
            self._keep(float(key_B[b]), cut(evidence, b, b + 1))

    @property
    def _worst(self) -> float:
        return float(self._key_R.max()) if len(self) == SIZE else math.inf

    def keys(self, part: ExampleBatch) -> Doubles:
        """Of the next rows."""
        uniform_B = ((identities(part, self.seed) >> 12) & ((1 << 51) - 1)) / 2.0**51
        place_B = self.seen + np.arange(len(part))
        return np.asarray(np.log(-np.log(uniform_B + 2.0**-53)) - place_B / FADE)

    def evidence(self) -> Evidence:
        """All of them, by key."""
        rows = [self._rows[r] for r in np.argsort(self._key_R, kind="stable").tolist()]
        counts = [len(row.base_C) for row in rows]
        columns = (np.concatenate([row[n] for row in rows]) for n in range(1, len(Evidence._fields)))
        return Evidence(np.append(0, np.cumsum(counts)).astype(np.int64), *columns)

    def tree(self) -> Tree:
        rows = self.evidence()._asdict() if len(self) else {}
        return {"seen": self.seen, "last_ms": self.last_ms, "key_R": np.sort(self._key_R), "rows": rows}

    def load(self, tree: Tree) -> None:
        self.seen, self.last_ms = int(tree["seen"]), int(tree["last_ms"])
        self._key_R = np.array(tree["key_R"])
        self._rows = []
        if len(self._key_R):
            rows = Evidence(**{name: np.array(tree["rows"][name]) for name in Evidence._fields})
            self._rows = [_copied(cut(rows, r, r + 1)) for r in range(len(self._key_R))]

    def _keep(self, key: float, row: Evidence) -> None:
        if len(self) < SIZE:
            self._key_R = np.append(self._key_R, key)
            self._rows.append(_copied(row))
            return
        worst = int(self._key_R.argmax())
        if key < self._key_R[worst]:
            self._key_R[worst] = key
            self._rows[worst] = _copied(row)


def _copied(row: Evidence) -> Evidence:
    return Evidence(**{name: np.copy(column) for name, column in row._asdict().items()})
