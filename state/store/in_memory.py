"""An embedding store in this process's memory: the contract in its plainest form."""

import random
import threading
from collections.abc import Iterator

import msgspec

from state.errors import InputError
from state.store import kept
from state.store.contract import KINDS, Changes, EmbeddingStore, Gone, Kind, Pointer, Publication, RunInfo
from state.store.kept import NEWEST, Facts, Kept, Versions
from state.store.records import Packed, named, packed_rows, stamp_of
from state.store.versions import Feed, new_token

_INFO = "info"


class DictStore(EmbeddingStore):
    """Nothing outlives the object."""

    def __init__(self) -> None:
        self._rows: dict[Kind, dict[bytes, bytes]] = {"users": {}, "items": {}}
        self._feeds: dict[Kind, Feed] = {"users": Feed(), "items": Feed()}
        self._pointer = Pointer(0, b"", b"")
        self._mark: bytes | None = None
        self._info: bytes | None = None
        self._status: bytes | None = None
        self._request: bytes | None = None
        self._versions, self._served_by = Versions(), b""
        self._writing = threading.RLock()

    def __repr__(self) -> str:
        return "DictStore()"

    def write(self, publication: Publication, mark: bytes | None = None, version: int = 0) -> bool:
        with self._writing:
            for kind in KINDS:
                if kind in publication.rows:
                    self.remove(kind, publication.gone[kind])
                    self.put(kind, publication.rows[kind])
            if mark is not None:
                return self.intact(mark, version, publication.version)
            self.advance(publication.version)
            return True

    def advance(self, version: int) -> int:
        with self._writing:
            if version > self._pointer.version:
                self._pointer = self._pointer._replace(version=version, moved=new_token())
            return self._pointer.version

    def mark(self, mark: bytes) -> None:
        self._mark = mark

    def intact(self, mark: bytes, version: int, then: int | None = None) -> bool:
        if self._mark not in (None, mark):
            raise self.shared()
        if self._mark is None or self._pointer.version < version:
            return False
        self.advance(then or 0)
        return True

    def pointer(self) -> Pointer:
        with self._writing:
            served, by = self._versions.served, self._served_by
            return self._pointer if served == NEWEST else Pointer(served, by, by, served)

    def version(self) -> int:
        return self._pointer.version

    def _keep(self, facts: Facts) -> int:
        with self._writing:
            version = self._pointer.version
            if version == 0:
                raise InputError(f"{self}: nothing was published that could be kept")
            if not self._versions.keep(version, facts):
                raise kept.full(self._versions.served)
            return version

    def kept(self) -> list[Kept]:
        with self._writing:
            return self._versions.all()

    def rollback(self, version: int) -> None:
        with self._writing:
            if version not in {one.version for one in self._versions.all()}:
                raise kept.gone(version)
            self._versions.served, self._served_by = version, new_token()

    def resume(self) -> None:
        self._versions.served = NEWEST

    def forget_kept(self) -> None:
        with self._writing:
            self._versions.clear()

    def put_info(self, info: RunInfo) -> None:
        with self._writing:
            self._versions.changing(_INFO, b"", self._info)
            self._info = msgspec.json.encode(info)
            self._pointer = self._pointer._replace(told=new_token())

    def info(self, at: int = NEWEST) -> RunInfo | None:
        with self._writing:
            value = self._info if at == NEWEST else self._versions.row(at, _INFO, b"", self._info)
        return None if value is None else msgspec.json.decode(value, type=RunInfo)

    def put_status(self, status: bytes) -> None:
        self._status = status

    def status(self) -> bytes | None:
        return self._status

    def put_request(self, request: bytes | None) -> None:
        self._request = request

    def request(self) -> bytes | None:
        return self._request

    def counts(self) -> dict[Kind, int]:
        return {kind: len(rows) for kind, rows in self._rows.items()}

    def some(self, kind: Kind, count: int) -> list[str]:
        ids = list(self._rows[kind])
        return named(random.sample(ids, min(count, len(ids))))

    def clear(self) -> None:
        for kind, rows in self._rows.items():
            rows.clear()
            self._feeds[kind].clear()
        self._versions.clear()
        self._pointer = Pointer(0, b"", b"")
        self._mark = self._info = self._status = self._request = None

    def put(self, kind: Kind, packed: Packed) -> int:
        held = self._rows[kind]
        taken = []
        with self._writing:
            for b, identifier in enumerate(packed.ids):
                value = packed.row(b)
                old = held.get(identifier)
                if old is None or stamp_of(value) >= stamp_of(old):
                    self._versions.changing(kind, identifier, old)
                    held[identifier] = value
                    taken.append(identifier)
            self._feeds[kind].note(taken)
        return len(taken)

    def remove(self, kind: Kind, gone: Gone) -> int:
        held = self._rows[kind]
        with self._writing:
            ids = [identifier.encode("utf-8", "surrogatepass") for identifier in gone.ids]
            old = {one for one in ids if one in held and stamp_of(held[one])[1] < gone.before_ms}
            for identifier in old:
                self._versions.changing(kind, identifier, held.pop(identifier))
            self._feeds[kind].note(old)
        return len(old)

    def _get(self, kind: Kind, identifier: str, at: int = NEWEST) -> bytes | None:
        name = identifier.encode("utf-8", "surrogatepass")
        with self._writing:
            now = self._rows[kind].get(name)
            return now if at == NEWEST else self._versions.row(at, kind, name, now)

    def position(self, kind: Kind) -> bytes:
        with self._writing:
            return self._feeds[kind].position()

    def changes(self, kind: Kind, since: bytes) -> Changes | None:
        with self._writing:
            ids, held = self._feeds[kind].since(since), self._rows[kind]
            if ids is None:
                return None
            rows = {identifier: held[identifier] for identifier in ids if identifier in held}
            gone = [identifier for identifier in ids if identifier not in held]
            return Changes(self._feeds[kind].position(), packed_rows(rows), named(gone), self._pointer[:2])

    def pages(self, kind: Kind, at: int = NEWEST) -> Iterator[Packed]:
        with self._writing:
            held = self._rows[kind]
            page = packed_rows(held if at == NEWEST else self._versions.rows(at, kind, held))
        yield page
