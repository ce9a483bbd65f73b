"""An embedding store in this process's memory: the contract in its plainest form."""

import threading
from collections.abc import Iterator

import numpy as np

from state.store.contract import EmbeddingStore, Gone, Kind, RunInfo
from state.store.records import Packed, stamp_of


class DictStore(EmbeddingStore):
    """Nothing outlives the object."""

    def __init__(self) -> None:
        self._rows: dict[Kind, dict[bytes, bytes]] = {"users": {}, "items": {}}
        self._version = 0
        self._mark: bytes | None = None
        self._info: RunInfo | None = None
        self._status: bytes | None = None
        self._writing = threading.Lock()

    def __repr__(self) -> str:
        return "DictStore()"

    def advance(self, version: int) -> int:
        self._version = max(self._version, version)
        return self._version

    def mark(self, mark: bytes) -> None:
        self._mark = mark

    def intact(self, mark: bytes, version: int, then: int | None = None) -> bool:
        if self._mark not in (None, mark):
            raise self.shared()
        if self._mark is None or self._version < version:
            return False
        self.advance(then or 0)
        return True

    def version(self) -> int:
        return self._version

    def put_info(self, info: RunInfo) -> None:
        self._info = info

    def info(self) -> RunInfo | None:
        return self._info

    def put_status(self, said: bytes) -> None:
        self._status = said

    def status(self) -> bytes | None:
        return self._status

    def counts(self) -> dict[Kind, int]:
        return {kind: len(rows) for kind, rows in self._rows.items()}

    def clear(self) -> None:
        for rows in self._rows.values():
            rows.clear()
        self._version = 0
        self._mark = self._info = self._status = None

    def put(self, kind: Kind, packed: Packed) -> int:
        held = self._rows[kind]
        taken = 0
        with self._writing:
            for b, identifier in enumerate(packed.ids):
                value = packed.row(b)
                old = held.get(identifier)
                if old is None or stamp_of(value) >= stamp_of(old):
                    held[identifier] = value
                    taken += 1
        return taken

    def remove(self, kind: Kind, gone: Gone) -> int:
        held = self._rows[kind]
        with self._writing:
            ids = [identifier.encode("utf-8", "surrogatepass") for identifier in gone.ids]
            old = {one for one in ids if one in held and stamp_of(held[one])[1] < gone.before_ms}
            for identifier in old:
                del held[identifier]
        return len(old)

    def _get(self, kind: Kind, identifier: str) -> bytes | None:
        return self._rows[kind].get(identifier.encode("utf-8", "surrogatepass"))

    def pages(self, kind: Kind) -> Iterator[Packed]:
        rows = self._rows[kind]
        lengths = np.fromiter(map(len, rows.values()), np.int64, len(rows))
        yield Packed(list(rows), np.concatenate([[0], np.cumsum(lengths)]), b"".join(rows.values()))
