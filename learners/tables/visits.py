"""Every user's newest visits in blocks of 16, in one pool: appended in constant time, bounded per user.

Shape suffixes: U users, V blocks, E visits of a block.

A user's blocks are linked from the oldest to the newest. A user who has all the blocks that the cap allows
gives the oldest up for the next one, so between cap - 15 and cap visits are kept.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from learners.tables.expiry import Forgotten, without
from learners.tables.growing import grown
from state.compiled import compiled, inner
from state.keys import Int64s, KeyMap
from state.tree import Tree

BLOCK = 16
OLDEST, NEWEST, FILLED, BLOCKS = range(4)


class VisitArrays(NamedTuple):
    """What kernels take of `Visits`."""

    user_U: Int64s
    """First block, last block, visits in the last block, number of blocks."""
    next_V: Int64s
    time_ms_VE: Int64s
    item_VE: NDArray[np.int32]
    minute_VE: NDArray[np.int16]
    """Local minute of day."""
    blocks: Int64s
    """How many blocks are in use."""


class Visits:
    """Item row, time and local minute of day of every user's newest visits, `cap` of them at most."""

    def __init__(self, cap: int) -> None:
        self.most = max(-(-cap // BLOCK), 2)
        """Blocks that one user may have."""
        self.users = KeyMap()
        self.arrays = VisitArrays(
            np.zeros((0, 4), np.int64),
            np.zeros(0, np.int64),
            np.zeros((0, BLOCK), np.int64),
            np.zeros((0, BLOCK), np.int32),
            np.zeros((0, BLOCK), np.int16),
            np.zeros(1, np.int64),
        )

    def reserve(self, extra: int) -> VisitArrays:
        """The arrays, with room for `extra` visits of users old or new."""
        self.users.reserve(extra)
        user_U, next_V, time_ms_VE, item_VE, minute_VE, blocks = self.arrays
        if len(self.users.keys) > len(user_U):
            user_U = grown(user_U, len(self.users.keys))
        need = int(blocks[0]) + extra
        if need > len(next_V):
            size = max(need, 2 * len(next_V))
            next_V, time_ms_VE = grown(next_V, size), grown(time_ms_VE, size)
            item_VE, minute_VE = grown(item_VE, size), grown(minute_VE, size)
        self.arrays = VisitArrays(user_U, next_V, time_ms_VE, item_VE, minute_VE, blocks)
        return self.arrays

    def forget(self, forgotten: Forgotten) -> None:
        """Drop users and items that have left, and what is left of blocks."""
        old = self.arrays
        self.users, kept_U = without(self.users, forgotten.user_U)
        blocks = int(old.user_U[kept_U, BLOCKS].sum())
        self.arrays = VisitArrays(
            np.zeros((len(kept_U), 4), np.int64),
            np.zeros(blocks, np.int64),
            np.zeros((blocks, BLOCK), np.int64),
            np.zeros((blocks, BLOCK), np.int32),
            np.zeros((blocks, BLOCK), np.int16),
            np.zeros(1, np.int64),
        )
        _move(old, self.arrays, self.most, kept_U, forgotten.moved_N)

    def tree(self) -> Tree:
        size = {"user_U": len(self.users)}
        used = int(self.arrays.blocks[0])
        columns = self.arrays._asdict()
        del columns["blocks"]
        trimmed = {name: column[: size.get(name, used)].copy() for name, column in columns.items()}
        return {"users": self.users.tree(), **trimmed}

    def load(self, tree: Tree) -> None:
        self.users.load(tree["users"])
        self.arrays = VisitArrays(
            np.array(tree["user_U"]),
            np.array(tree["next_V"]),
            np.array(tree["time_ms_VE"]),
            np.array(tree["item_VE"]),
            np.array(tree["minute_VE"]),
            np.array([len(tree["next_V"])]),
        )


@inner
def append(visits: VisitArrays, most: int, u: int, item: int, time_ms: int, minute: int) -> None:
    """Add one visit of user row `u`; the caller has reserved the room."""
    user = visits.user_U[u]
    if user[BLOCKS] == 0 or user[FILLED] == BLOCK:
        if user[BLOCKS] < most:
            v = visits.blocks[0]
            visits.blocks[0] += 1
            user[BLOCKS] += 1
        else:
            v = user[OLDEST]
            user[OLDEST] = visits.next_V[v]
        if user[BLOCKS] == 1:
            user[OLDEST] = v
        else:
            visits.next_V[user[NEWEST]] = v
        user[NEWEST] = v
        user[FILLED] = 0
    v, e = user[NEWEST], user[FILLED]
    visits.item_VE[v, e] = item
    visits.time_ms_VE[v, e] = time_ms
    visits.minute_VE[v, e] = minute
    user[FILLED] += 1


@compiled
def _move(old: VisitArrays, new: VisitArrays, most: int, kept_U: Int64s, moved_N: Int64s) -> None:
    for u in range(kept_U.shape[0]):
        user = old.user_U[kept_U[u]]
        block = user[OLDEST]
        for _ in range(user[BLOCKS]):
            for e in range(user[FILLED] if block == user[NEWEST] else BLOCK):
                n = moved_N[old.item_VE[block, e]]
                if n >= 0:
                    append(new, most, u, n, old.time_ms_VE[block, e], old.minute_VE[block, e])
            block = old.next_V[block]
