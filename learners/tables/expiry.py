"""What a trainer forgets: users and items that were last known too long ago, all at once and seldom.

Rows of the catalogue close up when items leave, and every learner that keeps rows has to follow. So that is
done between two rows of the stream, after every `SWEEP_ROWS` of them: which row that is does not depend on
the micro-batch, and within a step rows only come. "Known" is as everywhere: an event whose outcome still
waits counts only when it is due.

Shape suffixes: U users, I items, N catalogue rows before, K after, Q rows that became due.
"""

from collections import deque
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from learners.tables.catalogue import Catalogue
from learners.tables.growing import grown
from state.compiled import compiled
from state.examples import ExampleBatch
from state.keys import Int64s, KeyArrays, KeyMap, add
from state.tree import Tree

SWEEP_ROWS = 1 << 16
_BEFORE_ALL_MS = -(1 << 62)


class Forgotten(NamedTuple):
    """Who and what has left, and where the rest is now."""

    clock_ms: int
    """Of the stream, by what is known."""
    before_ms: int
    """Whoever and whatever was last known before that has left."""
    before_row: int
    """Rows of the stream that were scored before that, so far as is known: at most as many."""
    user_U: Int64s
    """Keys."""
    item_I: Int64s
    moved_N: Int64s
    """Catalogue row n is now row `moved_N[n]`; -1 where it has left. The order stays."""

    @property
    def kept_K(self) -> Int64s:
        """Which row each catalogue row was before."""
        kept_K: Int64s = np.flatnonzero(self.moved_N >= 0)
        return kept_K


class Expiry:
    """When every user was last known; what is older than `expire_ms` is found after every `every` rows."""

    def __init__(self, expire_ms: int, every: int = SWEEP_ROWS) -> None:
        self.expire_ms = expire_ms
        self.every = every
        self.users = KeyMap()
        self.last_ms_U: Int64s = np.zeros(0, np.int64)
        self.rows = 0
        """Scored so far."""
        self.clock_ms = _BEFORE_ALL_MS
        """The newest time that is known."""
        self.forgotten = 0
        """How often a user was forgotten."""
        self._sweeps: deque[tuple[int, int]] = deque()
        """(clock, rows) at earlier sweeps, as far as one may be asked for again."""

    def parts(self, size: int) -> Iterator[slice]:
        """A micro-batch of the next `size` rows, in pieces that end where a sweep is due."""
        start = 0
        while start < size:
            stop = min(size, start + self.every - (self.rows + start) % self.every)
            yield slice(start, stop)
            start = stop

    def know(self, queue: ExampleBatch) -> None:
        """Rows have become due."""
        self.users.reserve(len(queue))
        self.last_ms_U = grown(self.last_ms_U, len(self.users.keys))
        _know(queue.user_B, queue.time_ms_B, self.users.arrays, self.last_ms_U)
        if len(queue):
            self.clock_ms = max(self.clock_ms, int(queue.time_ms_B.max()))

    def sweep(self, rows: int, catalogue: Catalogue) -> Forgotten | None:
        """Count `rows` more; if it is time, forget users and items."""
        self.rows += rows
        if self.rows % self.every:
            return None
        before_ms, before_row = self.clock_ms - self.expire_ms, 0
        while self._sweeps and self._sweeps[0][0] < before_ms:
            before_row = self._sweeps.popleft()[1]
        self._sweeps.append((self.clock_ms, self.rows))
        old_N = catalogue.items.keys[: len(catalogue)].copy()
        moved_N = catalogue.expire(before_ms)
        gone_U = self.users.keys[: len(self.users)][self.last_ms_U[: len(self.users)] < before_ms]
        self.users, kept_U = without(self.users, gone_U)
        self.last_ms_U = self.last_ms_U[kept_U]
        self.forgotten += len(gone_U)
        return Forgotten(self.clock_ms, before_ms, before_row, gone_U, old_N[moved_N < 0], moved_N)

    def tree(self) -> Tree:
        return {
            "users": self.users.tree(),
            "last_ms_U": self.last_ms_U[: len(self.users)].copy(),
            "numbers": np.array([self.rows, self.clock_ms, self.forgotten]),
            "sweeps": np.array(self._sweeps, np.int64).reshape(-1, 2),
        }

    def load(self, tree: Tree) -> None:
        """Take over what `tree` gave; nothing, where it was saved by a trainer that forgets nobody."""
        if not tree:
            return
        self.users.load(tree["users"])
        self.last_ms_U = np.array(tree["last_ms_U"])
        self.rows, self.clock_ms, self.forgotten = tree["numbers"].tolist()
        self._sweeps = deque((clock_ms, rows) for clock_ms, rows in tree["sweeps"].tolist())


def without(keymap: KeyMap, keys: Int64s) -> tuple[KeyMap, Int64s]:
    """A map of all other keys, in their order, and the rows that they had."""
    keep_N = np.ones(len(keymap), np.bool_)
    rows = keymap.rows(keys)
    keep_N[rows[rows >= 0]] = False
    kept = np.flatnonzero(keep_N)
    return KeyMap(keymap.keys[kept]), kept


@compiled
def renumber_rings(last_UL: NDArray[np.int32], moved_N: Int64s) -> None:
    """Of rings of catalogue rows (how many there were, then the newest of them) drop those that have left."""
    ring = last_UL.shape[1] - 1
    kept = np.empty(ring, np.int32)
    for u in range(last_UL.shape[0]):
        many, total = 0, last_UL[u, 0]
        for back in range(min(total, ring), 0, -1):
            n = moved_N[last_UL[u, 1 + (total - back) % ring]]
            if n >= 0:
                kept[many] = n
                many += 1
        last_UL[u, 0] = many
        for i in range(ring):
            last_UL[u, 1 + i] = kept[i] if i < many else 0


@compiled
def _know(user_Q: Int64s, time_ms_Q: Int64s, users: KeyArrays, last_ms_U: Int64s) -> None:
    for q in range(user_Q.shape[0]):
        known = users.used[0]
        u = add(users, user_Q[q])
        last_ms_U[u] = time_ms_Q[q] if u == known else max(last_ms_U[u], time_ms_Q[q])
