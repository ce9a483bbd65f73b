"""Rows of users: given at first sight, taken back from those who have been silent for too long.

Where memory is bounded, users stand in a list, whoever has been silent longest first: by the order of their
last events, which is also that of the times at which those became known. A user with an event that is not
known yet has not been silent. What one row costs is bounded, however many have expired: those who come back
are new at once, and of the rest `AT_ONCE` go with every row.

Shape suffixes: N rows of users, B keys at hand, B rows of a micro-batch.
"""

from typing import NamedTuple

import numpy as np

from state.compiled import compiled, inner
from state.keys import NO_KEY, Int64s, KeyMap, drop, find, put
from state.memory.pending import Rows
from state.memory.slabs import BASE, ROOM, Slabs, class_of
from state.tree import Tree

AT_ONCE = 2
"""Silent users who go with a row, at most: one more than come."""

BEFORE, AFTER, KNOWN, NUMBER = range(4)
"""Of a user: the neighbours in the list, when the last event becomes known, and that event's number."""

FREE, OLDEST, NEWEST, HELD, NUMBERED, EXPIRED, GONE = range(7)
"""Scalars of `Roll.at`: the first free row (more follow by AFTER), both ends of the list, users who have a
row, the next event's number, users who have expired so far, and how many of `gone_G` are in use."""

NEVER_MS, ANY = 1 << 62, 1 << 62


class Roll(NamedTuple):
    """What kernels take of `Users`."""

    table: Int64s
    keys: Int64s
    given: Int64s
    """How many rows were ever given."""
    links_N4: Int64s
    at: Int64s
    gone_G: Int64s
    """Keys of users who have expired, to be told of."""
    expire_ms: int
    most: int


class Users(KeyMap):
    """Key -> row. Unbounded it is a `KeyMap`; else the row that somebody has left goes to who comes next."""

    def __init__(self, expire_ms: int | None, most: int | None) -> None:
        super().__init__()
        self.bounded = expire_ms is not None or most is not None
        self._limits = (NEVER_MS if expire_ms is None else expire_ms, ANY if most is None else most)
        self._links_N4: Int64s = np.zeros((0, 4), np.int64)
        self._at: Int64s = np.array([-1, -1, -1, 0, 0, 0, 0])
        self._gone_G: Int64s = np.zeros(0, np.int64)
        self._told = False

    @property
    def held(self) -> int:
        """How many users have a row."""
        return int(self._at[HELD]) if self.bounded else len(self)

    @property
    def expired(self) -> int:
        """How often a user was discarded."""
        return int(self._at[EXPIRED])

    @property
    def nbytes(self) -> int:
        """Bytes in use beside the keys."""
        return int(self.table.nbytes + len(self) * 8 * self.bounded * self._links_N4.shape[1])

    def reserve(self, extra: int) -> None:
        """Make room for `extra` new keys, so that kernels need none."""
        if not self.bounded:
            super().reserve(extra)
            return
        need = len(self) + extra
        self.keys = _longer(self.keys, need)
        self._links_N4 = _longer(self._links_N4, need)
        if 2 * need > len(self.table):
            self.table = np.full((1 << (4 * need - 1).bit_length(), 2), -1, np.int64)
            _put_all(self.table, self.keys, np.flatnonzero(self.keys[: len(self)] != NO_KEY))

    def roll(self, rows: int) -> Roll:
        """For kernels that are about to step through `rows` rows."""
        if not self._told:
            self._at[GONE] = 0
        self._gone_G = _longer(self._gone_G, int(self._at[GONE]) + rows * (AT_ONCE + 1))
        return Roll(self.table, self.keys, self.count, self._links_N4, self._at, self._gone_G, *self._limits)

    def order(self) -> Int64s:
        """Rows of users (held,), the longest silent first where memory is bounded, else by first sight."""
        if not self.bounded:
            return np.arange(len(self))
        order_N = np.empty(self.held, np.int64)
        _walk(self._links_N4, self._at, order_N)
        return order_N

    def tell(self) -> None:
        """Keep from now on who has expired, for `gone`."""
        self._told = True

    def gone(self) -> Int64s:
        """Keys of those who have expired since the last call, or `tell`, and have not come back."""
        self._told = True
        keys = np.unique(self._gone_G[: self._at[GONE]])
        self._at[GONE] = 0
        return keys[self.rows(keys) < 0]

    def stamps(self, user_N: Int64s) -> Int64s:
        """(N, 2): KNOWN and NUMBER of users, which `arrange` takes."""
        return self._links_N4[user_N, KNOWN : NUMBER + 1]

    def arrange(self, stamps_N2: Int64s, expired: int) -> None:
        """Set up the list for rows 0 .. N - 1, who all have users, by their stamps.

        Whoever has no NUMBER, -1, comes before those who have one.
        """
        self.reserve(0)
        self._at[:] = (-1, -1, -1, len(self), stamps_N2[:, 1].max(initial=-1) + 1, expired, 0)
        self._links_N4[: len(self), KNOWN : NUMBER + 1] = stamps_N2
        order_N = np.lexsort((self.keys[: len(self)], stamps_N2[:, 0], stamps_N2[:, 1]))
        self._links_N4[order_N, BEFORE] = np.concatenate([[-1], order_N])[: len(self)]
        self._links_N4[order_N, AFTER] = np.concatenate([order_N[1:], [-1]])[: len(self)]
        if len(self):
            self._at[OLDEST], self._at[NEWEST] = order_N[0], order_N[-1]

    def tree(self) -> Tree:
        if not self.bounded:
            return super().tree()
        order_N = self.order()
        return {"keys": self.keys[order_N], "stamps": self.stamps(order_N), "expired": self.expired}

    def load(self, tree: Tree) -> None:
        """Take over keys alone: `arrange` is to follow where memory is bounded."""
        self.count[0] = 0
        self.table[:] = -1
        self._at[:] = (-1, -1, -1, 0, 0, 0, 0)
        self.rows(np.asarray(tree["keys"], np.int64), grow=True)


def _longer(old: Int64s, size: int) -> Int64s:
    """With room for `size`, and twice what there was."""
    if size <= len(old):
        return old
    new = np.zeros((max(size, 2 * len(old), 32), *old.shape[1:]), np.int64)
    new[: len(old)] = old
    return new


@inner
def seat(slabs: Slabs, roll: Roll, key: int, rows: Rows, b: int) -> None:
    """Write the row of row b's user, new if never seen or expired; then the longest silent may have to go.

    All events that are known by row b's clock have been taken in before.
    """
    user, clock_ms = rows.user_B[b], rows.clock_ms_B[b]
    if user < 0 or roll.keys[user] != key:
        user = find(roll.table, key)
    if user >= 0 and clock_ms - roll.links_N4[user, KNOWN] > roll.expire_ms:
        _discard(slabs, roll, user)
        user = -1
    if user < 0:
        user = _new(roll, key)
    else:
        _unlink(roll, user)
    _link(roll, user, rows.known_ms_B[b])
    rows.user_B[b] = user
    for _ in range(AT_ONCE):
        oldest = roll.at[OLDEST]
        silent_ms = clock_ms - roll.links_N4[oldest, KNOWN]
        few = roll.at[HELD] <= roll.most
        if oldest == user or silent_ms < 0 or (few and silent_ms <= roll.expire_ms):
            break
        _discard(slabs, roll, oldest)


@inner
def _new(roll: Roll, key: int) -> int:
    """A row for a key that has none; the caller has reserved the room."""
    row = roll.at[FREE]
    if row >= 0:
        roll.at[FREE] = roll.links_N4[row, AFTER]
    else:
        row = roll.given[0]
        roll.given[0] = row + 1
    roll.keys[row] = key
    put(roll.table, key, row)
    roll.at[HELD] += 1
    return int(row)


@inner
def _link(roll: Roll, user: int, known_ms: int) -> None:
    """Put a user at the end of the list."""
    links, at, newest = roll.links_N4, roll.at, roll.at[NEWEST]
    links[user, BEFORE], links[user, AFTER] = newest, -1
    links[user, KNOWN], links[user, NUMBER] = known_ms, at[NUMBERED]
    if newest >= 0:
        links[newest, AFTER] = user
    else:
        at[OLDEST] = user
    at[NEWEST] = user
    at[NUMBERED] += 1


@inner
def _unlink(roll: Roll, user: int) -> None:
    links, at = roll.links_N4, roll.at
    before, after = links[user, BEFORE], links[user, AFTER]
    if before >= 0:
        links[before, AFTER] = after
    else:
        at[OLDEST] = after
    if after >= 0:
        links[after, BEFORE] = before
    else:
        at[NEWEST] = before


@inner
def _discard(slabs: Slabs, roll: Roll, user: int) -> None:
    """Forget a user: the row and the extent are free for others."""
    links, at = roll.links_N4, roll.at
    _unlink(roll, user)
    drop(roll.table, roll.keys[user])
    roll.gone_G[at[GONE]] = roll.keys[user]
    roll.keys[user] = NO_KEY
    links[user, AFTER] = at[FREE]
    at[FREE] = user
    at[HELD] -= 1
    at[EXPIRED] += 1
    at[GONE] += 1
    room = slabs.users[user, ROOM]
    if room > 0:
        size_class = class_of(slabs, room)
        slabs.words[slabs.users[user, BASE]] = slabs.free[1 + size_class]
        slabs.free[1 + size_class] = slabs.users[user, BASE]
    for word in range(slabs.users.shape[1]):
        slabs.users[user, word] = 0


@compiled
def _walk(links_N4: Int64s, at: Int64s, order_N: Int64s) -> None:
    user = at[OLDEST]
    for n in range(len(order_N)):
        order_N[n] = user
        user = links_N4[user, AFTER]


@compiled
def _put_all(table: Int64s, keys: Int64s, rows_N: Int64s) -> None:
    for row in rows_N:
        put(table, keys[row], row)
