"""An operator's state as keyed records, and of those only what has changed.

For a log that is compacted by key: the newest value of every key is the state.

| key | value (`streams.records.sealed`) |
|---|---|
| `operator` | counts, the clock, and where the queues below begin and end |
| `user/KEY` | one user's rates and memory (`state.memory.words`), and how long silent if memory is bounded |
| `waits/PAGE` | events that wait to be known (`streams.records.pages`) |
| `ids/GENERATION/PAGE` | event ids remembered against duplicates |
| `join`, `join/...` | the join's, if it has a window (`streams.records.of_join`) |

Shape suffixes: N users, W words, P rows of a queue, E edges.
"""

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from itertools import pairwise

import numpy as np

from state.errors import InputError
from state.keys import Int64s
from state.memory.slabs import FIELDS
from state.memory.users import STAMPS, UserMemory
from state.memory.words import HEAD, LENGTH_AT
from streams.join.impressions import Join
from streams.operator import Operator
from streams.records.of_join import JoinRecords
from streams.records.pages import Pages
from streams.records.sealed import WORD, damaged, opened_all, sealed, sealed_all, shown, taken

MOST_ENTRIES = 12_000
"""Of a user, so that every record stays below 800 kB."""
_PAGE_WORDS = 8192
_AT_ONCE_WORDS = 1 << 21
_OPERATOR, _USER = b"operator", b"user/"


class Durable:
    """The records of one operator, and of the join before it.

    The operator marks what changes, and `records` takes the marks away: an operator has one `Durable`, and
    what `records` gave has to be kept before the operator goes on to matter.
    """

    def __init__(self, operator: Operator, join: Join | None = None, page_words: int = _PAGE_WORDS) -> None:
        """`page_words`: words of a queue that make a page; those who write and read agree on it."""
        if operator.memory.config.capacity > MOST_ENTRIES:
            raise InputError(
                f"memory.capacity: expected at most {MOST_ENTRIES:,} entries in records of users, "
                f"got {operator.memory.config.capacity:,}"
            )
        self._operator, self._page_words = operator, page_words
        self._waits = Pages(b"waits", FIELDS, page_words)
        self._ids: dict[int, Pages] = {}
        self._join = None
        if join is not None and join.config.window_ms:
            self._join = JoinRecords(join, page_words)

    def records(self) -> dict[bytes, bytes | None]:
        """All records at first, then those that have changed since the last call; None where one is gone."""
        memory = self._operator.memory
        found: dict[bytes, bytes | None] = {}
        user_N = memory.changed()
        for some in _few_at_once(memory.sizes(user_N)):
            found.update(_users(memory, user_N[some]))
        found.update((b"user/%d" % key, None) for key in memory.users.gone().tolist())
        found.update(self._waits.changes(*memory.span, memory.waiting))
        found.update(self._changed_ids())
        if self._join is not None:
            found.update(self._join.changes())
        found[_OPERATOR] = sealed(_OPERATOR, self._numbers())
        return found

    def restore(self, records: Mapping[bytes, bytes]) -> None:
        """Bring a fresh operator to where `records` was called last, given the newest value of every key.

        From then on it gives the examples that the other would. Raises InputError where a record is missing,
        damaged, unknown, or of another format.
        """
        left = dict(records)
        numbers = taken(left, _OPERATOR)
        expected = len(self._numbers())
        if len(numbers) == expected - 1:
            numbers = np.append(numbers, 0)  # kept before anybody expired
        if len(numbers) != expected:
            raise damaged(_OPERATOR, f"expected {expected} numbers, got {len(numbers)}")
        used, users, first, end, generation, before, now, *clock, expired = numbers.tolist()
        memory = self._operator.memory
        _restore_users(memory, left)
        if len(memory.users) != users:
            raise InputError(f"state records: expected those of {users:,} users, got {len(memory.users):,}")
        memory.wait(first, self._waits.restored(left, first, end), expired)
        ids = {number: self._pages(number) for number in (generation - 1, generation)}
        of = zip(ids.values(), (before, now), strict=True)
        id_P, now_P = (pages.restored(left, 0, count).reshape(-1) for pages, count in of)
        self._operator.admission.restore(generation, id_P, now_P, clock)
        self._ids, self._operator.used = ids, used
        if self._join is not None:
            self._join.restore(left)
        if left:
            raise InputError(f"state record {shown(min(left))}: expected no such record")

    def _changed_ids(self) -> Iterator[tuple[bytes, bytes | None]]:
        ids = self._operator.admission.ids_by_generation
        for generation in list(self._ids):
            if generation not in ids:
                yield from self._ids.pop(generation).gone()
        for generation, id_P in ids.items():
            pages = self._ids.setdefault(generation, self._pages(generation))
            yield from pages.changes(0, len(id_P), partial(_rows, id_P))

    def _numbers(self) -> Int64s:
        memory, admission = self._operator.memory, self._operator.admission
        ids = map(len, admission.ids_by_generation.values())
        numbers = (self._operator.used, len(memory), *memory.span, admission.generation, *ids)
        return np.array([*numbers, *admission.numbers, memory.users.expired], np.int64)

    def _pages(self, generation: int) -> Pages:
        return Pages(b"ids/%d" % generation, 1, self._page_words)


def _rows(id_P: Int64s, first: int, end: int) -> Int64s:
    return id_P[first:end]


def _few_at_once(size_N: Int64s) -> list[slice]:
    """Those who go together, so that no group has many more than `_AT_ONCE_WORDS` words."""
    group_N = np.cumsum(size_N) // _AT_ONCE_WORDS
    cuts = [0, *(np.flatnonzero(np.diff(group_N)) + 1).tolist(), len(size_N)]
    return [slice(a, b) for a, b in pairwise(cuts)]


def _users(memory: UserMemory, user_N: Int64s) -> dict[bytes, bytes]:
    edge_E = np.concatenate([[0], np.cumsum(memory.sizes(user_N))])
    words_W = np.empty(edge_E[-1], np.int64)
    memory.packed(user_N, edge_E, words_W)
    keys = [b"user/%d" % key for key in memory.users.keys[user_N].tolist()]
    return sealed_all(keys, words_W, edge_E)


def _restore_users(memory: UserMemory, left: dict[bytes, bytes]) -> None:
    """Take users out of `left`, some at a time. Raises InputError."""
    keys = [key for key in left if key.startswith(_USER)]
    size_N = np.array([len(left[key]) for key in keys], np.int64) // WORD
    memory.reserve(np.maximum(size_N - HEAD, 0) // FIELDS)
    for some in _few_at_once(size_N):
        words_W, edge_E = opened_all(keys[some], [left.pop(key) for key in keys[some]])
        _check(memory, keys[some], words_W, edge_E)
        key_N = np.array([_key(key) for key in keys[some]], np.int64)
        memory.adopt(key_N, edge_E, words_W)


def _check(memory: UserMemory, keys: Sequence[bytes], words_W: Int64s, edge_E: Int64s) -> None:
    size_N = np.diff(edge_E)
    for n in np.flatnonzero(size_N < HEAD)[:1]:
        raise damaged(keys[n], f"expected at least {HEAD} words, got {size_N[n]}")
    length_N = words_W[edge_E[:-1] + LENGTH_AT]
    stamped_N = size_N - (HEAD + FIELDS * length_N)
    for n in np.flatnonzero((length_N < 0) | ((stamped_N != 0) & (stamped_N != STAMPS)))[:1]:
        raise damaged(keys[n], f"{size_N[n]} words do not hold {length_N[n]} entries")
    for n in np.flatnonzero(length_N > memory.config.capacity)[:1]:
        raise InputError(
            f"state record {shown(keys[n])}: expected at most {memory.config.capacity} entries "
            f"(memory.capacity), got {length_N[n]}; use the configuration that the state was made with"
        )


def _key(key: bytes) -> int:
    try:
        number = int(key[len(_USER) :])
    except ValueError:
        number = 0
    if b"%b%d" % (_USER, number) != key or not -(2**63) < number < 2**63:
        raise damaged(key, "its key is not that of a user")
    return number
