"""Dense rows for the users and items of a stream, never more than were asked for.

Where a new id finds no room, the half that was used longest ago is forgotten, of users or of items. That
happens just before the row that needs the room, so it does not depend on the micro-batch.

Shape suffixes: B rows, N users or items.
"""

from typing import NamedTuple

import numpy as np

from learners.tables.expiry import without
from state.compiled import compiled
from state.keys import Int64s, KeyArrays, KeyMap, add, find
from state.tree import Tree


class DenseSide(NamedTuple):
    """Users, or items, inside a kernel."""

    ids: KeyArrays
    most: int
    used_N: Int64s
    """Serial number of the last row that had it."""


class Directory:
    """Key -> row of the users (side 0) and the items (side 1)."""

    def __init__(self, most_users: int, most_items: int) -> None:
        self.most = (most_users, most_items)
        self.maps = [KeyMap(), KeyMap()]
        self.used: list[Int64s] = [np.zeros(0, np.int64), np.zeros(0, np.int64)]
        """Serial number of the last row that had it, per user and per item."""
        self.serial = 0

    def keys(self, side: int) -> Int64s:
        """Keys of all rows."""
        return self.maps[side].keys[: len(self.maps[side])]

    def find(self, user_B: Int64s, item_B: Int64s) -> tuple[Int64s, Int64s]:
        """Rows of users and items, -1 where they have none."""
        return self.maps[0].rows(user_B), self.maps[1].rows(item_B)

    def admit(self, user_B: Int64s, item_B: Int64s) -> tuple[Int64s, Int64s]:
        """Rows of the first users and items, as many as there is room for; then call `forget`."""
        for side in (0, 1):
            keymap = self.maps[side]
            keymap.reserve(min(len(user_B), self.most[side] - len(keymap)))
            used = np.zeros(len(keymap.keys), np.int64)
            used[: len(self.used[side])] = self.used[side]
            self.used[side] = used
        rows_B2 = np.empty((len(user_B), 2), np.int64)
        users, items = (
            DenseSide(self.maps[side].arrays, self.most[side], self.used[side]) for side in (0, 1)
        )
        done = _admit(user_B, item_B, self.serial, users, items, rows_B2)
        self.serial += done
        return rows_B2[:done, 0].copy(), rows_B2[:done, 1].copy()

    def forget(self) -> tuple[Int64s, Int64s]:
        """Make room where there is none; the rows of users and of items that are kept, in order."""
        kept = []
        for side in (0, 1):
            size = len(self.maps[side])
            keep = np.arange(size)
            if size == self.most[side]:
                oldest = np.argsort(self.used[side][:size], kind="stable")
                keep = np.sort(oldest[size - size // 2 :])
                self.maps[side] = KeyMap(self.keys(side)[keep])
                self.used[side] = self.used[side][keep]
            kept.append(keep)
        return kept[0], kept[1]

    def without(self, user_U: Int64s, item_I: Int64s) -> tuple[Int64s, Int64s]:
        """Forget these ids; the rows of users and of items that are kept, in order."""
        kept = []
        for side, keys in enumerate((user_U, item_I)):
            self.maps[side], keep = without(self.maps[side], keys)
            self.used[side] = self.used[side][keep]
            kept.append(keep)
        return kept[0], kept[1]

    def tree(self) -> Tree:
        sides = {
            name: {"map": self.maps[side].tree(), "used": self.used[side][: len(self.maps[side])].copy()}
            for side, name in enumerate(("users", "items"))
        }
        return {**sides, "serial": self.serial}

    def load(self, tree: Tree) -> None:
        for side, name in enumerate(("users", "items")):
            self.maps[side].load(tree[name]["map"])
            self.used[side] = np.array(tree[name]["used"])
        self.serial = int(tree["serial"])


@compiled
def _admit(
    user_B: Int64s, item_B: Int64s, serial: int, users: DenseSide, items: DenseSide, rows_B2: Int64s
) -> int:
    for b in range(user_B.shape[0]):
        user, item = find(users.ids.table, user_B[b]), find(items.ids.table, item_B[b])
        no_user, no_item = users.ids.used[0] == users.most, items.ids.used[0] == items.most
        if (user < 0 and no_user) or (item < 0 and no_item):
            return b
        if user < 0:
            user = add(users.ids, user_B[b])
        if item < 0:
            item = add(items.ids, item_B[b])
        users.used_N[user] = items.used_N[item] = serial + b
        rows_B2[b, 0], rows_B2[b, 1] = user, item
    return int(user_B.shape[0])
