"""A run over many slots of a Redis Cluster: users spread over shards, each a store of its own in one slot.

A transaction, or a script, sees one slot. So each shard is written in one step, as a store of one server is,
and the head last: shard 0, which has the items, what is said of the run, and where readers are pointed. Who
is pointed at a version finds all its rows in all shards; of the version that is just being written, single
users may be seen before. What is kept is kept by every shard, as of the same version: an answer as of a kept
version is of that one alone.
"""

import random
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar
from zlib import crc32

import msgspec
import numpy as np

from state.errors import InputError
from state.store.contract import (
    KINDS,
    Changes,
    EmbeddingStore,
    Gone,
    Kind,
    Pointer,
    Publication,
    RunInfo,
)
from state.store.health import Flaw
from state.store.kept import NEWEST, Facts, Kept, gone
from state.store.records import Packed, Record, packed_rows
from state.store.versions import NOWHERE

T = TypeVar("T")
_TRIES = 32


class ShardedStore(EmbeddingStore):
    """`redis://HOST:PORT[,..]/0?shards=N&run=NAME`, the same N for all who read and write."""

    def __init__(self, shards: Sequence[EmbeddingStore]) -> None:
        """The head first."""
        self.shards, self.head, self._others = shards, shards[0], shards[1:]

    def __repr__(self) -> str:
        return f"ShardedStore({self.head!r} and {len(self._others)} shards)"

    def shard_of(self, kind: Kind, identifier: bytes) -> EmbeddingStore:
        """Where a row is: a user's by a checksum of the id, an item's in the head."""
        return self.head if kind == "items" else self.shards[crc32(identifier) % len(self.shards)]

    def write(self, publication: Publication, mark: bytes | None = None, version: int = 0) -> bool:
        parts = self._parts(publication)
        written = [
            shard.write(part, mark, version) for shard, part in zip(self._others, parts[1:], strict=True)
        ]
        return all(written) and self.head.write(parts[0], mark, version)

    def _parts(self, publication: Publication) -> list[Publication]:
        """What each shard is to write; one without rows comes to the version, too."""
        parts = [Publication(publication.version, {}, {}) for _ in self.shards]
        of_head: Publication = parts[0]
        rows, going = publication.rows, publication.gone
        if "items" in rows:
            parts[0] = of_head._replace(rows={"items": rows["items"]}, gone={"items": going["items"]})
        if "users" in rows:
            of_rows, of_gone = self._split(rows["users"]), self._without(going["users"])
            parts = [
                part._replace(rows={**part.rows, "users": some}, gone={**part.gone, "users": without})
                for part, some, without in zip(parts, of_rows, of_gone, strict=True)
            ]
        return parts

    def _split(self, packed: Packed) -> list[Packed]:
        of_B = np.array([crc32(identifier) % len(self.shards) for identifier in packed.ids], np.int64)
        return [_taken(packed, np.flatnonzero(of_B == shard).tolist()) for shard in range(len(self.shards))]

    def _without(self, going: Gone) -> list[Gone]:
        ids: list[list[str]] = [[] for _ in self.shards]
        for identifier in going.ids:
            ids[crc32(_name(identifier)) % len(self.shards)].append(identifier)
        return [Gone(some, going.before_ms) for some in ids]

    def advance(self, version: int) -> int:
        for shard in self._others:
            shard.advance(version)
        return self.head.advance(version)

    def mark(self, mark: bytes) -> None:
        self._all(lambda shard: shard.mark(mark))

    def intact(self, mark: bytes, version: int, then: int | None = None) -> bool:
        whole = [shard.intact(mark, version, then) for shard in self._others]
        return all(whole) and self.head.intact(mark, version, then)

    def pointer(self) -> Pointer:
        return self.head.pointer()

    def version(self) -> int:
        return self.head.version()

    def _keep(self, facts: Facts) -> int:
        """While another publishes, shards may be one version apart: then once more."""
        for _ in range(_TRIES):
            versions = {shard._keep(facts) for shard in self._others} | {self.head.version()}
            if len(versions) == 1 and self.head._keep(facts) in versions:
                return versions.pop()
        raise InputError(f"{self}: publishing left no moment to keep a version in; try again")

    def kept(self) -> list[Kept]:
        of_shards = [{one.version: one for one in shard.kept()} for shard in self.shards]
        return [
            one._replace(nbytes=sum(of[version].nbytes for of in of_shards))
            for version, one in of_shards[0].items()
            if all(version in of for of in of_shards)
        ]

    def rollback(self, version: int) -> None:
        for shard in [*self._others, self.head]:
            shard.rollback(version)

    def resume(self) -> None:
        self._all(lambda shard: shard.resume())

    def forget_kept(self) -> None:
        self._all(lambda shard: shard.forget_kept())

    def put_info(self, info: RunInfo) -> None:
        self.head.put_info(info)

    def info(self, at: int = NEWEST) -> RunInfo | None:
        return self.head.info(at)

    def put_status(self, status: bytes) -> None:
        self.head.put_status(status)

    def status(self) -> bytes | None:
        return self.head.status()

    def put_request(self, request: bytes | None) -> None:
        self.head.put_request(request)

    def request(self) -> bytes | None:
        return self.head.request()

    def flaws(self) -> list[Flaw]:
        return list(dict.fromkeys(flaw for shard in self.shards for flaw in shard.flaws()))

    def policy(self) -> str | None:
        """That of the head."""
        return self.head.policy()

    def probe(self) -> float:
        """As of a server: the largest of the shards."""
        return max((shard.probe() for shard in self.shards), key=abs)

    def counts(self) -> dict[Kind, int]:
        each = [shard.counts() for shard in self.shards]
        return {kind: sum(counts[kind] for counts in each) for kind in KINDS}

    def some(self, kind: Kind, count: int) -> list[str]:
        ids = [identifier for shard in self.shards for identifier in shard.some(kind, count)]
        return random.sample(ids, min(count, len(ids)))

    def clear(self) -> None:
        self._all(lambda shard: shard.clear())

    def close(self) -> None:
        self._all(lambda shard: shard.close())

    def hurry(self, seconds: float) -> None:
        self._all(lambda shard: shard.hurry(seconds))

    def put(self, kind: Kind, packed: Packed) -> int:
        if kind == "items":
            return self.head.put(kind, packed)
        return sum(
            shard.put(kind, some) for shard, some in zip(self.shards, self._split(packed), strict=True)
        )

    def remove(self, kind: Kind, gone: Gone) -> int:
        of_shards = [gone] if kind == "items" else self._without(gone)
        return sum(shard.remove(kind, some) for shard, some in zip(self.shards, of_shards, strict=False))

    def _get(self, kind: Kind, identifier: str, at: int = NEWEST) -> bytes | None:
        shard = self.shard_of(kind, _name(identifier))
        if at != NEWEST and shard is not self.head and all(one.version != at for one in self.head.kept()):
            raise gone(at)
        return shard._get(kind, identifier, at)

    def served(self, kind: Kind, identifier: str) -> Record | None:
        return self.shard_of(kind, _name(identifier)).served(kind, identifier)

    def position(self, kind: Kind) -> bytes:
        if kind == "items":
            return self.head.position(kind)
        return msgspec.msgpack.encode([shard.position(kind) for shard in self.shards])

    def changes(self, kind: Kind, since: bytes) -> Changes | None:
        """Of users, as of where readers were pointed before the shards were read."""
        if kind == "items":
            return self.head.changes(kind, since)
        pointer, whole = self.head.pointer(), list[Changes]()
        places = msgspec.msgpack.decode(since, type=list[bytes])
        for shard, place in zip(self.shards, places, strict=True):
            page = shard.changes(kind, place)
            if page is None and place == NOWHERE == shard.position(kind):
                page = Changes(place, packed_rows({}), [], (0, b""))
            if page is None:
                return None
            whole.append(page)
        rows = {identifier: one.rows.row(b) for one in whole for b, identifier in enumerate(one.rows.ids)}
        position = msgspec.msgpack.encode([one.position for one in whole])
        left = [identifier for one in whole for identifier in one.gone]
        return Changes(position, packed_rows(rows), left, (pointer.version, pointer.moved))

    def pages(self, kind: Kind, at: int = NEWEST) -> Iterator[Packed]:
        for shard in [self.head] if kind == "items" else self.shards:
            yield from shard.pages(kind, at)

    def _all(self, do: Callable[[EmbeddingStore], Any]) -> None:
        """The head first: with it readers come and go."""
        for shard in self.shards:
            do(shard)


def _name(identifier: str) -> bytes:
    return identifier.encode("utf-8", "surrogatepass")


def _taken(packed: Packed, rows: Sequence[int]) -> Packed:
    parts = [packed.row(b) for b in rows]
    ends = np.cumsum([0, *map(len, parts)], dtype=np.int64)
    return Packed([packed.ids[b] for b in rows], ends, b"".join(parts))
