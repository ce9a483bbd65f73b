"""A user's memory as 64-bit words, to be kept elsewhere: one user's after another's in one buffer.

Before each user's words the buffer has one word of the caller's. Then come the number of entries, the time
of the decayed sums, the sums (float64), and the entries column after column (`state.memory.slabs`), oldest
first.

Shape suffixes: N users, W words of the buffer.
"""

from state.compiled import assign, compiled
from state.keys import Int64s
from state.memory.slabs import (
    BASE,
    COUNT,
    FIELDS,
    HEADER,
    LENGTH,
    ROOM,
    SEEN,
    Slabs,
    allocated,
    class_of,
    column,
    full,
)

LENGTH_AT = 1
"""Where the number of entries is, the caller's word being 0."""
_SUMS_AT = 3
HEAD = _SUMS_AT + HEADER - 1 - COUNT
"""Words of a user without entries, the caller's included."""


@compiled
def pack(slabs: Slabs, user_N: Int64s, start_N: Int64s, words_W: Int64s) -> None:
    """Lay users down in `words_W`, each from its start on; the caller's word is left as it is."""
    for n in range(len(user_N)):
        user, at = user_N[n], start_N[n]
        length = slabs.users[user, LENGTH]
        words_W[at + LENGTH_AT] = length
        words_W[at + LENGTH_AT + 1] = slabs.users[user, SEEN]
        assign(words_W[at + _SUMS_AT :], slabs.users[user, COUNT : HEADER - 1])
        at += HEAD
        for field in range(FIELDS):
            first = column(slabs, user, field)
            assign(words_W[at:], slabs.words[first : first + length])
            at += length


@compiled
def unpack(slabs: Slabs, first: int, start_N: Int64s, words_W: Int64s, done: int) -> int:
    """Lay down users `first`, `first + 1`, ... that have no entry yet, from the `done`-th on.

    Returns how many are done: fewer than all for want of room in the arena.
    """
    for n in range(done, len(start_N)):
        if full(slabs):
            return n
        user, at = first + n, start_N[n]
        length = words_W[at + LENGTH_AT]
        slabs.users[user, LENGTH] = length
        slabs.users[user, SEEN] = words_W[at + LENGTH_AT + 1]
        assign(slabs.users[user, COUNT:], words_W[at + _SUMS_AT : at + HEAD])
        if length > 0:
            size_class = class_of(slabs, length)
            slabs.users[user, BASE] = allocated(slabs, size_class)
            slabs.users[user, ROOM] = slabs.rooms[size_class]
        at += HEAD
        for field in range(FIELDS):
            start = column(slabs, user, field)
            assign(slabs.words[start:], words_W[at : at + length])
            at += length
    return len(start_N)
