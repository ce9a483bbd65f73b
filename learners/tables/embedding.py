"""A growing, collision-free embedding table: id key -> row, with the optimiser's state beside the weights.

Shape suffixes: B keys at hand, N rows, D width of a slot.

A row is given on first admission and holds one vector for every slot. What a new row starts from depends
on its key and the seed, never on the order or the batch in which ids arrive; and all slots start from the
same draws, so that at first an item recalls itself.
"""

from dataclasses import dataclass

import numpy as np

from learners.tables.growing import grown
from state.compiled import compiled
from state.examples import Bytes, Floats
from state.keys import Int64s, KeyArrays, KeyMap, add, find, mix
from state.tree import Tree

PUBLISH, CHECKPOINT, RANK = 1, 2, 4
"""Readers of changes: bits of `stale_N`. A kernel that writes a row sets the bits of those it concerns.
RANK is a cache's, and no part of the tree."""

EVERYONE = PUBLISH | CHECKPOINT | RANK


@dataclass(frozen=True, slots=True)
class Slot:
    """One vector of every row: `width` numbers drawn from Normal(mean, sd)."""

    width: int
    sd: float = 0.1
    mean: float = 0.0


class EmbeddingTable:
    """Rows of `slots` by id; numpy on the host; what runs in torch takes the rows at hand and writes them
    back.

    `admit` is how often an id must be seen before it gets a row. `accumulator` is where the row-wise
    AdaGrad sum of every slot starts.
    """

    def __init__(
        self, slots: dict[str, Slot], *, seed: int = 0, admit: int = 1, accumulator: float = 0.1
    ) -> None:
        self.slots = slots
        self.seed = seed
        self.threshold = admit
        self.accumulator = accumulator
        self.ids = KeyMap()
        self.weight: dict[str, Floats] = {n: np.zeros((0, s.width), np.float32) for n, s in slots.items()}
        """Slot -> weights (at least N, D)."""
        self.square: dict[str, Floats] = {n: np.zeros(0, np.float32) for n in slots}
        """Slot -> sum over updates of the gradient's mean square (at least N,)."""
        self.last_ms_N: Int64s = np.zeros(0, np.int64)
        self.stale_N: Bytes = np.zeros(0, np.uint8)
        self._waiting = KeyMap()
        self._seen_W: Int64s = np.zeros((0, 2), np.int64)

    def __len__(self) -> int:
        return len(self.ids)

    def rows(self, keys_B: Int64s) -> Int64s:
        """Rows of `keys_B`, -1 where there is none."""
        return self.ids.rows(keys_B)

    def admit(self, keys_B: Int64s, time_ms_B: Int64s) -> Int64s:
        """See every key once, in order; rows of those admitted by the end, -1 for the others."""
        before = len(self)
        self.ids.reserve(len(keys_B))
        if self.threshold > 1:
            self._waiting.reserve(len(keys_B))
        self._reserve()
        rows_B = np.empty(len(keys_B), np.int64)
        ids, waiting = self.ids.arrays, self._waiting.arrays
        _admit(keys_B, time_ms_B, self.threshold, ids, self.last_ms_N, waiting, self._seen_W, rows_B)
        if len(self) == before:
            return rows_B
        for name, slot in self.slots.items():
            start_ND = self.weight[name][before : len(self)]
            draw_normal(ids.keys[before : len(self)], self.seed, slot.mean, slot.sd, start_ND)
            self.square[name][before : len(self)] = self.accumulator
        self.stale_N[before : len(self)] = EVERYONE
        return rows_B

    def doubt(self, share: float) -> None:
        """Take `share` of what every AdaGrad sum has grown back, so that rows take longer steps again."""
        for name, square_N in self.square.items():
            self.square[name] = square_N + np.float32(share) * (np.float32(self.accumulator) - square_N)

    def expire(self, before_ms: int) -> Int64s:
        """Drop rows not admitted or seen since `before_ms` and close the gaps; keys of the dropped rows.

        Rows are renumbered; their order stays. Ids that still wait are forgotten by the same rule.
        """
        keep_N = self.last_ms_N[: len(self)] >= before_ms
        gone = self.ids.keys[: len(self)][~keep_N].copy()
        fresh_W = self._seen_W[: len(self._waiting), 1] >= before_ms
        self._seen_W = self._seen_W[: len(self._waiting)][fresh_W].copy()
        self._waiting = KeyMap(self._waiting.keys[: len(fresh_W)][fresh_W])
        if len(gone):
            kept = np.flatnonzero(keep_N)
            self.ids = KeyMap(self.ids.keys[kept])
            self.last_ms_N, self.stale_N = self.last_ms_N[kept], self.stale_N[kept]
            for name in self.slots:
                self.weight[name] = self.weight[name][kept]
                self.square[name] = self.square[name][kept]
        self._reserve()
        return gone

    def changed(self, reader: int = PUBLISH) -> Int64s:
        """Keys of the rows that changed since this reader's last call."""
        stale_N = self.stale_N[: len(self)]
        rows = np.flatnonzero(stale_N & reader)
        stale_N[rows] &= ~np.uint8(reader)
        return self.ids.keys[rows]

    def _reserve(self) -> None:
        if len(self.last_ms_N) >= len(self.ids.keys) and len(self._seen_W) >= len(self._waiting.keys):
            return
        self.last_ms_N = grown(self.last_ms_N, len(self.ids.keys))
        self.stale_N = grown(self.stale_N, len(self.ids.keys))
        self._seen_W = grown(self._seen_W, len(self._waiting.keys))
        for name in self.slots:
            self.weight[name] = grown(self.weight[name], len(self.ids.keys))
            self.square[name] = grown(self.square[name], len(self.ids.keys))

    def tree(self) -> Tree:
        size, waiting = len(self), len(self._waiting)
        return {
            "ids": self.ids.tree(),
            "last_ms_N": self.last_ms_N[:size].copy(),
            "stale_N": self.stale_N[:size] & ~np.uint8(RANK),
            "waiting": self._waiting.tree(),
            "seen_W": self._seen_W[:waiting].copy(),
            "weight": {name: weight[:size].copy() for name, weight in self.weight.items()},
            "square": {name: square[:size].copy() for name, square in self.square.items()},
        }

    def load(self, tree: Tree) -> None:
        self.ids.load(tree["ids"])
        self._waiting.load(tree["waiting"])
        self.last_ms_N, self.stale_N = np.array(tree["last_ms_N"]), np.array(tree["stale_N"])
        self._seen_W = np.array(tree["seen_W"])
        self.weight = {name: np.array(tree["weight"][name]) for name in self.slots}
        self.square = {name: np.array(tree["square"][name]) for name in self.slots}
        self._reserve()


@compiled
def _admit(
    keys_B: Int64s,
    time_ms_B: Int64s,
    threshold: int,
    ids: KeyArrays,
    last_ms_N: Int64s,
    waiting: KeyArrays,
    seen_W: Int64s,
    rows_B: Int64s,
) -> None:
    for b in range(keys_B.shape[0]):
        row = find(ids.table, keys_B[b])
        if row < 0 and threshold > 1:
            w = add(waiting, keys_B[b])
            seen_W[w, 1] = max(seen_W[w, 1], time_ms_B[b]) if seen_W[w, 0] else time_ms_B[b]
            seen_W[w, 0] += 1
            if seen_W[w, 0] < threshold:
                rows_B[b] = -1
                continue
        if row < 0:
            row = add(ids, keys_B[b])
            last_ms_N[row] = time_ms_B[b]
        last_ms_N[row] = max(last_ms_N[row], time_ms_B[b])
        rows_B[b] = row
    for b in range(keys_B.shape[0]):
        if rows_B[b] < 0:
            rows_B[b] = find(ids.table, keys_B[b])


@compiled
def draw_normal(keys_B: Int64s, seed: int, mean: float, sd: float, weight_BD: Floats) -> None:
    """Two uniforms from the key's hash make each normal number (Box and Muller)."""
    for b in range(keys_B.shape[0]):
        state = mix(keys_B[b] ^ mix(seed))
        for d in range(weight_BD.shape[1]):
            state = mix(state)
            radius = ((state & 0x1FFFFFFFFFFFFF) + 1.0) / 9007199254740993.0
            state = mix(state)
            turn = (state & 0x1FFFFFFFFFFFFF) / 9007199254740992.0
            normal = np.sqrt(-2.0 * np.log(radius)) * np.cos(2.0 * np.pi * turn)
            weight_BD[b, d] = mean + sd * normal
