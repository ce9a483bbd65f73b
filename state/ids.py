"""Ids as 64-bit keys. Needs no numba.

A key is stable across processes, engines and partitionings, and needs no dictionary to be agreed on:

- an id that is a whole number below 2^62 in size is its own key, however it was written (`7`, `"7"`);
- any other id is 2^62 plus 62 bits of the BLAKE2b hash of its UTF-8 text.

So numbers never collide with one another or with text; two texts do with odds of n^2 / 2^63 (one in
a thousand at a hundred million distinct texts), and `Names.add` refuses the second rather than merge them.
"""

import hashlib
import re
from collections.abc import Iterable
from functools import lru_cache

from state.errors import InputError

NO_KEY = -(2**63)
"""The key of a missing value."""

HASHED = 2**62
"""The least key of an id that was hashed; whole numbers below it in size are their own keys."""
_WHOLE = re.compile(r"0|-?[1-9][0-9]{0,18}")


def key_of(identifier: str | int) -> int:
    """The key of one id.

    >>> key_of(7) == key_of("7") == 7
    True
    >>> key_of("007") > 2**62
    True
    """
    if isinstance(identifier, str):
        if _WHOLE.fullmatch(identifier):
            return key_of(int(identifier))
        text = identifier
    elif -HASHED < identifier < HASHED:
        return identifier
    else:
        text = str(identifier)
    digest = hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return HASHED + int.from_bytes(digest, "little") % HASHED


known_key_of = lru_cache(1 << 17)(key_of)
"""The same, quicker for ids that come again and again."""


class Names:
    """What hashed keys were called; whole-number ids need no entry."""

    def __init__(self) -> None:
        self._name: dict[int, str] = {}

    def add(self, identifier: str) -> int:
        """Remember `identifier` and return its key. Raises InputError where two texts share a key."""
        key = key_of(identifier)
        if key >= HASHED and self._name.setdefault(key, identifier) != identifier:
            raise InputError(
                f"ids {self._name[key]!r} and {identifier!r} have the same 64-bit key; rename one of them"
            )
        return key

    def update(self, other: dict[int, str]) -> None:
        """Take over names learned elsewhere."""
        self._name.update(other)

    def forget(self, keys: Iterable[int]) -> None:
        """Of these nothing is to be said any more, until they come again."""
        for key in keys:
            self._name.pop(key, None)

    def __getitem__(self, key: int) -> str:
        return self._name.get(key, str(key))

    def text(self, key: int) -> str | None:
        """What the id was; None of a hashed one that nobody has told the text of."""
        return self._name.get(key, str(key) if key < HASHED else None)

    def __len__(self) -> int:
        return len(self._name)

    def items(self) -> Iterable[tuple[int, str]]:
        return self._name.items()
