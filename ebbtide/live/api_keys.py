"""Keys of those who may write over HTTP. What is kept of one is its name and its SHA-256.

A key is 32 random bytes: there is nothing to guess that would call for a slow hash.
"""

import hashlib
import hmac
import re
import secrets
from collections.abc import Mapping

from state.errors import InputError

PREFIX = "ebb_"
_LINE = re.compile(r"([\w.-]{1,64}):([0-9a-f]{64})")


def new() -> str:
    """A key that nobody has yet."""
    return PREFIX + secrets.token_urlsafe(32)


def line(name: str, key: str) -> str:
    """What is kept of a key. Raises InputError for a name that is none."""
    kept = f"{name}:{hashed(key)}"
    if not _LINE.fullmatch(kept):
        raise InputError(f"key {name!r}: expected a name of letters, digits, '.', '_' and '-', at most 64")
    return kept


def hashed(key: str) -> str:
    return hashlib.sha256(key.encode("utf-8", "surrogatepass")).hexdigest()


def read(text: str, origin: str) -> dict[str, str]:
    """Name -> hash, of NAME:SHA256 between commas, blanks or ends of lines. Raises InputError."""
    hash_of: dict[str, str] = {}
    for number, entry in enumerate(re.split(r"[\s,]+", text.strip()), 1):
        match = _LINE.fullmatch(entry)
        if match is None:
            raise InputError(
                f"{origin}: entry {number} is no NAME:SHA256; `ebbtide new-key NAME` prints one (a key "
                "itself does not belong there)"
            )
        hash_of[match[1]] = match[2]
    return hash_of


def owner(key: str, kept: Mapping[str, str]) -> str | None:
    """Whose key it is; every one is compared, in the same time."""
    mine, whose = hashed(key), None
    for name, other in kept.items():
        if hmac.compare_digest(mine, other):
            whose = name
    return whose
