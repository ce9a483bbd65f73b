"""Versions that are kept: readers may be served one of them again, in one step, instead of the newest.

Nothing is copied when a version is kept. The first change of a row after that saves what the row was, once,
beside the newest kept version: the row's image. So a row as of a kept version is its image beside that
version or the first after it that has one, else the row as it is now; and what is kept grows with the rows
that change, not with publications. The oldest version goes when there are more than KEPT, or when images take
more than MOST_BYTES; the one that is served never does.

While readers are served a kept version, what is published goes on below: it changes no answer until `resume`.
"""

from collections.abc import Iterator
from typing import NamedTuple

import msgspec

from state.errors import InputError

KEPT = 12
MOST_BYTES = 512 << 20
"""Of images, ids included."""
NEWEST = 0
"""Stands for the version that is published to, where a kept one may be named."""


class VersionGoneError(InputError):
    """A version that is not kept, or not any longer."""


class Facts(msgspec.Struct, frozen=True, kw_only=True):
    """What is said of a version when it is kept."""

    note: str = ""
    """Why, for people."""
    made_ms: int
    """When, by the wall clock."""
    clock_ms: int | None = None
    """The time of the stream up to which it had learned, where that is known."""


class Kept(NamedTuple):
    """A version that readers may be served again."""

    version: int
    facts: Facts
    nbytes: int
    """Of its images: rows that have changed since, until the next version was kept."""
    served: bool
    """Whether readers are served it."""


class Versions:
    """Those of a store in this process's memory."""

    def __init__(self) -> None:
        self.served = NEWEST
        self._facts: dict[int, Facts] = {}
        self._images: dict[int, dict[tuple[str, bytes], bytes | None]] = {}
        self._nbytes: dict[int, int] = {}

    def all(self) -> list[Kept]:
        return [
            Kept(version, facts, self._nbytes[version], version == self.served)
            for version, facts in self._facts.items()
        ]

    def keep(self, version: int, facts: Facts) -> bool:
        """False where the oldest would have to go, and is served."""
        if version in self._facts:
            return True
        if len(self._facts) >= KEPT and not self._drop_oldest():
            return False
        self._facts[version], self._images[version], self._nbytes[version] = facts, {}, 0
        return True

    def changing(self, kind: str, identifier: bytes, old: bytes | None) -> None:
        """A row is about to be another, or to be gone; None: there is none yet."""
        newest = max(self._images, default=None)
        if newest is None or (kind, identifier) in self._images[newest]:
            return
        self._images[newest][kind, identifier] = old
        self._nbytes[newest] += len(identifier) + len(old or b"")
        while sum(self._nbytes.values()) > MOST_BYTES and self._drop_oldest():
            pass

    def row(self, version: int, kind: str, identifier: bytes, now: bytes | None) -> bytes | None:
        """As of a version; `now` is what it is now."""
        return next((of[kind, identifier] for of in self._since(version) if (kind, identifier) in of), now)

    def rows(self, version: int, kind: str, now: dict[bytes, bytes]) -> dict[bytes, bytes]:
        """All of a kind, as of a version."""
        ids = {
            *now,
            *(identifier for of in self._since(version) for of_kind, identifier in of if of_kind == kind),
        }
        rows = {identifier: self.row(version, kind, identifier, now.get(identifier)) for identifier in ids}
        return {identifier: row for identifier, row in rows.items() if row is not None}

    def clear(self) -> None:
        self.served = NEWEST
        for held in (self._facts, self._images, self._nbytes):
            held.clear()

    def _since(self, version: int) -> Iterator[dict[tuple[str, bytes], bytes | None]]:
        if version not in self._images:
            raise gone(version)
        return (images for of, images in self._images.items() if of >= version)

    def _drop_oldest(self) -> bool:
        oldest = min(self._facts, default=self.served)
        if oldest == self.served:
            return False
        del self._facts[oldest], self._images[oldest], self._nbytes[oldest]
        return True


def gone(version: int) -> VersionGoneError:
    """What is raised where a version is not kept."""
    return VersionGoneError(
        f"version {version} is not kept, or not any longer; `ebbtide versions list` says which are"
    )


def full(version: int) -> InputError:
    """What is raised where no more can be kept."""
    return InputError(
        f"versions: {KEPT} are kept, and the oldest, {version}, is what readers are served: it cannot go to "
        "make room; `ebbtide versions resume` first"
    )
