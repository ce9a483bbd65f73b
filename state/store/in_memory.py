"""An embedding store in this process's memory: the contract in its plainest form."""

import threading
from collections.abc import Iterator

from state.store.contract import EmbeddingStore, Gone, Kind, Pointer, RunInfo
from state.store.records import Packed, named, packed_rows, stamp_of
from state.store.versions import Changes, Feed, new_token


class DictStore(EmbeddingStore):
    """Nothing outlives the object."""

    def __init__(self) -> None:
        self._rows: dict[Kind, dict[bytes, bytes]] = {"users": {}, "items": {}}
        self._feeds: dict[Kind, Feed] = {"users": Feed(), "items": Feed()}
        self._pointer = Pointer(0, b"", b"")
        self._mark: bytes | None = None
        self._info: RunInfo | None = None
        self._status: bytes | None = None
        self._writing = threading.Lock()

    def __repr__(self) -> str:
        return "DictStore()"

    def advance(self, version: int) -> int:
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
        return self._pointer

    def put_info(self, info: RunInfo) -> None:
        self._info = info
        self._pointer = self._pointer._replace(told=new_token())

    def info(self) -> RunInfo | None:
        return self._info

    def put_status(self, said: bytes) -> None:
        self._status = said

    def status(self) -> bytes | None:
        return self._status

    def counts(self) -> dict[Kind, int]:
        return {kind: len(rows) for kind, rows in self._rows.items()}

    def clear(self) -> None:
        for kind, rows in self._rows.items():
            rows.clear()
            self._feeds[kind].clear()
        self._pointer = Pointer(0, b"", b"")
        self._mark = self._info = self._status = None

    def put(self, kind: Kind, packed: Packed) -> int:
        held = self._rows[kind]
        taken = []
        with self._writing:
            for b, identifier in enumerate(packed.ids):
                value = packed.row(b)
                old = held.get(identifier)
                if old is None or stamp_of(value) >= stamp_of(old):
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
                del held[identifier]
            self._feeds[kind].note(old)
        return len(old)

    def _get(self, kind: Kind, identifier: str) -> bytes | None:
        return self._rows[kind].get(identifier.encode("utf-8", "surrogatepass"))

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
            return Changes(self._feeds[kind].position(), packed_rows(rows), named(gone))

    def pages(self, kind: Kind) -> Iterator[Packed]:
        yield packed_rows(self._rows[kind])
