"""Users' memory as columns, to be digested and saved: one user's entries after another's, oldest first.

Shape suffixes: N users, E entries, F columns of an entry.
"""

import numpy as np

from state.compiled import compiled
from state.keys import Int64s
from state.memory.slabs import (
    BASE,
    COUNT,
    FIELDS,
    HEADER,
    LENGTH,
    PACKED,
    ROOM,
    SEEN,
    Slabs,
    allocated,
    class_of,
    column,
    full,
    grow,
)
from state.tree import Tree

_COLUMNS = ("time_ms", "item", "category", "place", "known_ms", "last_ms", "pace_per_ms")


def users_tree(slabs: Slabs, user_N: Int64s) -> Tree:
    """What is known of these users, in their order."""
    headers = slabs.users[user_N]
    words_FE = np.empty((FIELDS, int(headers[:, LENGTH].sum())), np.int64)
    _gather(slabs, user_N, words_FE)
    packed_E2 = words_FE[PACKED].copy().view(np.int32).reshape(-1, 2)
    entries: Tree = {name: words_FE[field].copy() for field, name in enumerate(_COLUMNS)}
    entries["pace_per_ms"] = entries["pace_per_ms"].view(np.float64)
    entries["label"] = packed_E2[:, 0].copy().view(np.float32)
    entries["minute"] = packed_E2[:, 1].copy()
    return {
        "length": headers[:, LENGTH].copy(),
        "seen_ms": headers[:, SEEN].copy(),
        "sums": slabs.sums[user_N, COUNT : HEADER - 1],
        "entries": entries,
    }


def load_users(slabs: Slabs, tree: Tree) -> Slabs:
    """Give users 0 .. N - 1, for whom there is room and of whom nothing is known, what `users_tree` gave."""
    users = len(tree["length"])
    slabs.users[:users, LENGTH] = tree["length"]
    slabs.users[:users, SEEN] = tree["seen_ms"]
    slabs.sums[:users, COUNT : HEADER - 1] = tree["sums"]
    entries = tree["entries"]
    words_FE = np.empty((FIELDS, len(entries["item"])), np.int64)
    for field, name in enumerate(_COLUMNS):
        words_FE[field] = np.ascontiguousarray(entries[name]).view(np.int64)
    packed_E2 = words_FE[PACKED].view(np.int32).reshape(-1, 2)
    packed_E2[:, 0] = np.ascontiguousarray(entries["label"]).view(np.int32)
    packed_E2[:, 1] = entries["minute"]
    user = taken = 0
    while user < users:
        user, taken = _scatter(slabs, user, users, words_FE, taken)
        if user < users:
            slabs = grow(slabs, 0)
    return slabs


@compiled
def _gather(slabs: Slabs, user_N: Int64s, words_FE: Int64s) -> None:
    e = 0
    for user in user_N:
        length = slabs.users[user, LENGTH]
        for field in range(FIELDS):
            start = column(slabs, user, field)
            for i in range(length):
                words_FE[field, e + i] = slabs.words[start + i]
        e += length


@compiled
def _scatter(slabs: Slabs, first: int, users: int, words_FE: Int64s, taken: int) -> tuple[int, int]:
    """The inverse of `_gather`; returns the first user without room, and the entries laid down."""
    for user in range(first, users):
        length = slabs.users[user, LENGTH]
        if full(slabs):
            return user, taken
        if length > 0:
            size_class = class_of(slabs, length)
            slabs.users[user, BASE] = allocated(slabs, size_class)
            slabs.users[user, ROOM] = slabs.rooms[size_class]
        for field in range(FIELDS):
            start = column(slabs, user, field)
            for i in range(length):
                slabs.words[start + i] = words_FE[field, taken + i]
        taken += length
    return users, taken
