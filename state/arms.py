"""Users split among variants that are compared: by a hash of their ids, the same wherever it is asked."""

from collections.abc import Iterable
from hashlib import blake2b

from state.errors import InputError

BASE = "base"
"""The variant that others are compared with."""


class Arms:
    """The split of one experiment: as even as chance makes it, and another for every other set of names."""

    def __init__(self, names: Iterable[str]) -> None:
        """Raises InputError on names that are none. In which order they come does not matter."""
        self.names = [BASE, *sorted(set(names) - {BASE})]
        for name in self.names:
            if not name.isidentifier() or len(name) > 32:
                raise InputError(f"variant {name[:80]!r}: expected a short name of letters, digits and '_'")
        self._salt = blake2b("\0".join(self.names).encode()).digest()

    def of(self, user: str) -> str:
        """The variant of a user.

        >>> [Arms(["b"]).of(user) for user in ("ann", "bob", "7")]
        ['base', 'base', 'b']
        """
        name = user.encode("utf-8", "surrogatepass")
        hashed = blake2b(name, digest_size=8, key=self._salt).digest()
        return self.names[int.from_bytes(hashed) % len(self.names)]


def recommended_by(recommendation_id: str) -> str | None:
    """The variant that a recommendation was of, by its id; None where nothing was compared."""
    name, dot, _ = recommendation_id.partition(".")
    return name if dot else None
