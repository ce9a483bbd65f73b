"""Every user's newest visits in blocks of 16, in one pool: appended in constant time, bounded per user.

Shape suffixes: U users, V blocks, E visits of a block.

A user's blocks are linked from the oldest to the newest. A user who has all the blocks that the cap allows
gives the oldest up for the next one, so between cap - 15 and cap visits are kept.
"""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from state.compiled import compiled
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
    count: Int64s
    """Blocks in use."""


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
        user_U, *blocks, count = self.arrays
        need = int(count[0]) + extra
        if len(self.users.keys) > len(user_U):
            user_U = _grown(user_U, len(self.users.keys))
        if need > len(blocks[0]):
            blocks = [_grown(column, max(need, 2 * len(column))) for column in blocks]
        self.arrays = VisitArrays(user_U, *blocks, count)
        return self.arrays

    def tree(self) -> Tree:
        user_U, *blocks, count = self.arrays
        names = VisitArrays._fields[1:-1]
        return {
            "users": self.users.tree(),
            "user_U": user_U[: len(self.users)].copy(),
            **{name: column[: count[0]].copy() for name, column in zip(names, blocks, strict=True)},
        }

    def load(self, tree: Tree) -> None:
        self.users.load(tree["users"])
        columns = [np.array(tree[name]) for name in VisitArrays._fields[:-1]]
        self.arrays = VisitArrays(*columns, np.array([len(columns[1])]))


def _grown(old: NDArray[Any], size: int) -> NDArray[Any]:
    new = np.zeros((size, *old.shape[1:]), old.dtype)
    new[: len(old)] = old
    return new


@compiled
def append(visits: VisitArrays, most: int, u: int, item: int, time_ms: int, minute: int) -> None:
    """Add one visit of user row `u`; the caller has reserved the room."""
    user = visits.user_U[u]
    if user[BLOCKS] == 0 or user[FILLED] == BLOCK:
        if user[BLOCKS] < most:
            v = visits.count[0]
            visits.count[0] += 1
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
