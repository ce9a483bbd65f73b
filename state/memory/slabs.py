"""Where users' entries lie: one arena, one extent a user, column after column within the extent.

A user's few cache lines lie together, and a column is contiguous. Extents come in classes of size, so a user
with three entries costs four; one that outgrows its extent moves to the next class and leaves the old one to
another. The last class is roomier than the capacity: entries leave at the old end, so the used part
slides up and is moved back once in many events.

Kernels take `Slabs`. Before adding an entry they check `full`; the owner then calls `grow` and resumes.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from state.compiled import assign, compiled, inner
from state.examples import Doubles, Floats
from state.keys import Int64s

TIME, ITEM, CATEGORY, PLACE, KNOWN, LAST, PACE, PACKED = range(8)
"""Columns of an entry, a word each. LAST is the time of its item's last repeat, PACE the reciprocal of its
strength in ms; PACKED holds the label (float32) and the minute of week (int32)."""

FIELDS = 8

BASE, ROOM, START, LENGTH, SEEN, COUNT, POSITIVES, BANK = range(8)
"""Words of a user's header: the extent; SEEN, the time of the decayed sums; then the sums themselves."""

HEADER = 16

AHEAD = 32
"""Rows whose cache lines are fetched together."""

_LINE = 8  # words in a cache line


class Slabs(NamedTuple):
    """Arrays that kernels work on; those after the first of a kind are views of the same bytes."""

    users: Int64s
    """(users, HEADER)"""
    sums: Doubles
    words: Int64s
    doubles: Doubles
    floats: Floats
    ints: NDArray[np.int32]
    free: Int64s
    """Words of the arena in use, then the first free extent of each class, or -1."""
    rooms: Int64s
    """Entries that an extent of each class holds."""


def new_slabs(capacity: int) -> Slabs:
    """No user yet; no user will ever hold more than `capacity` entries."""
    sizes = [4, 8, 12, 16, 24]
    while sizes[-1] < capacity:
        sizes.append(sizes[-2] * 2)
    rooms = [size for size in sizes if size < capacity] + [capacity + max(8, capacity // 4)]
    free = np.full(1 + len(rooms), -1, np.int64)
    free[0] = 0
    return _slabs(aligned(0, HEADER), aligned(4 * FIELDS * rooms[-1]), free, np.array(rooms, np.int64))


def _slabs(users: Int64s, words: Int64s, free: Int64s, rooms: Int64s) -> Slabs:
    halves = words.view(np.float32), words.view(np.int32)
    return Slabs(users, users.view(np.float64), words, words.view(np.float64), *halves, free, rooms)


def grow(slabs: Slabs, users: int, words: int = 0) -> Slabs:
    """The same content with room for `users` users and, if the arena is full, for half as many entries more.

    With `words` there is room for extents of so many words.

    A new arena takes only extents in use, side by side, so what moves left behind never exceeds a third.
    """
    if users > len(slabs.users):
        headers = aligned(max(users, len(slabs.users) * 3 // 2), HEADER)
        headers[: len(slabs.users)] = slabs.users
        headers[len(slabs.users) :] = 0
        slabs = _slabs(headers, slabs.words, slabs.free, slabs.rooms)
    if words > 0 or full(slabs):
        live = FIELDS * int(slabs.users[:, ROOM].sum())
        arena = aligned((live + words + FIELDS * int(slabs.rooms[-1])) * 3 // 2)
        slabs.free[0] = _pack(slabs, arena)
        slabs.free[1:] = -1
        slabs = _slabs(slabs.users, arena, slabs.free, slabs.rooms)
    return slabs


def aligned(*shape: int) -> Int64s:
    """An uninitialised array that begins at a cache line, so that extents and headers straddle none."""
    size = int(np.prod(shape))
    raw = np.empty(size + 7, np.int64)
    skip = -raw.ctypes.data // 8 % 8
    return raw[skip : skip + size].reshape(shape)


@compiled
def _pack(slabs: Slabs, words: Int64s) -> int:
    """Copy every extent into `words`, one after another; returns the words used."""
    used = 0
    for user in range(slabs.users.shape[0]):
        base, size = slabs.users[user, BASE], FIELDS * slabs.users[user, ROOM]
        assign(words[used:], slabs.words[base : base + size])
        slabs.users[user, BASE] = used
        used += size
    return used


@inner
def touch(slabs: Slabs, user_B: Int64s, tail: int) -> int:
    """Read what the rows will need, so that their cache misses overlap instead of queueing up.

    That is the header, every entry's item and category, and the whole of the newest `tail` entries.
    """
    total = 0
    for b in range(user_B.shape[0]):
        total += slabs.users[user_B[b], BASE] + slabs.users[user_B[b], HEADER - 1]
    for b in range(user_B.shape[0]):
        length = slabs.users[user_B[b], LENGTH]
        for field in range(FIELDS):
            start = column(slabs, user_B[b], field)
            first = 0 if field in (ITEM, CATEGORY) else max(length - tail, 0)
            for i in range(start + first, start + length, _LINE):
                total += slabs.words[i]
    return total


@compiled
def full(slabs: Slabs) -> bool:
    """Whether one more entry could lack room in the arena."""
    return bool(slabs.free[0] + FIELDS * slabs.rooms[-1] > slabs.words.shape[0])


@inner
def column(slabs: Slabs, user: int, field: int) -> int:
    """Where the user's column begins in `words` (its oldest entry)."""
    users = slabs.users
    return int(users[user, BASE] + users[user, START] + field * users[user, ROOM])


@inner
def entries(slabs: Slabs, user: int, field: int) -> Int64s:
    """The user's column, oldest first: a view."""
    start = column(slabs, user, field)
    return slabs.words[start : start + slabs.users[user, LENGTH]]


@inner
def paces(slabs: Slabs, user: int) -> Doubles:
    """The user's PACE column: a view."""
    start = column(slabs, user, PACE)
    return slabs.doubles[start : start + slabs.users[user, LENGTH]]


@inner
def labels(slabs: Slabs, user: int) -> Floats:
    """The user's labels: a view."""
    start = 2 * column(slabs, user, PACKED)
    return slabs.floats[start : start + 2 * slabs.users[user, LENGTH] : 2]


@inner
def minutes(slabs: Slabs, user: int) -> NDArray[np.int32]:
    """The user's local minutes of week: a view."""
    start = 2 * column(slabs, user, PACKED)
    return slabs.ints[start + 1 : start + 2 * slabs.users[user, LENGTH] : 2]


@inner
def opened(slabs: Slabs, user: int, at: int) -> int:
    """Make place for an entry before entry `at`; returns its place in the first column."""
    users, words = slabs.users, slabs.words
    if users[user, START] + users[user, LENGTH] == users[user, ROOM]:
        if users[user, START] > 0:
            _move(slabs, user, users[user, BASE], users[user, ROOM])
        else:
            _promote(slabs, user)
    first = column(slabs, user, 0)
    length, room = users[user, LENGTH], users[user, ROOM]
    if at < length:
        for field in range(FIELDS):
            start = first + field * room
            for i in range(start + length, start + at, -1):
                words[i] = words[i - 1]
    users[user, LENGTH] = length + 1
    return first + at


@inner
def closed(slabs: Slabs, user: int) -> None:
    """Drop the oldest entry."""
    slabs.users[user, START] += 1
    slabs.users[user, LENGTH] -= 1


@inner
def allocated(slabs: Slabs, size_class: int) -> int:
    """An extent of this class: one that was left, or new."""
    base = slabs.free[1 + size_class]
    if base >= 0:
        slabs.free[1 + size_class] = slabs.words[base]
        return int(base)
    base = slabs.free[0]
    slabs.free[0] = base + FIELDS * slabs.rooms[size_class]
    return int(base)


@inner
def class_of(slabs: Slabs, entries: int) -> int:
    """The smallest class that holds this many."""
    size_class = 0
    while slabs.rooms[size_class] < entries:
        size_class += 1
    return size_class


@inner
def _promote(slabs: Slabs, user: int) -> None:
    """Move the user to the next class."""
    users = slabs.users
    old_base, old_room = users[user, BASE], users[user, ROOM]
    size_class = class_of(slabs, old_room + 1)
    _move(slabs, user, allocated(slabs, size_class), slabs.rooms[size_class])
    if old_room > 0:
        slabs.words[old_base] = slabs.free[size_class]
        slabs.free[size_class] = old_base


@inner
def _move(slabs: Slabs, user: int, base: int, room: int) -> None:
    """Lay the user's entries at the start of the extent at `base`, which may be its own."""
    users, words = slabs.users, slabs.words
    first = column(slabs, user, 0)
    for field in range(FIELDS):
        for i in range(users[user, LENGTH]):
            words[base + field * room + i] = words[first + field * users[user, ROOM] + i]
    users[user, BASE] = base
    users[user, ROOM] = room
    users[user, START] = 0
