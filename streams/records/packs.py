"""Records in a map of somebody else's, many to an entry: what changes together is compressed together.

A map with an entry a record is dear where others keep it: in Flink every entry passes three processes, and
RocksDB writes its bytes again and again. Here the map is a log. Its entries are packs, numbered, and never
changed; a record's value is that in the newest pack which has it. A pack goes when none of its records is
the newest; and where more than half of all are stale, the oldest packs are written again without those. So
the map holds about three times what is live at most, and no more is written than twice what has changed.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Protocol, Self

import pyarrow as pa

from state.errors import InputError

_MOST_BYTES = 1 << 20
"""Of a pack before it is compressed, about."""
_SCHEMA = pa.schema([("key", pa.binary()), ("value", pa.binary())])
"""Of a pack, an Arrow stream of one batch: without a value is what is gone."""
_WRITTEN = pa.ipc.IpcWriteOptions(compression="lz4", use_threads=False)


class Entries(Protocol):
    """The map: Flink's `MapState`, as far as it is asked."""

    def items(self) -> Iterable[tuple[str, bytes]]: ...

    def get(self, key: str) -> bytes | None: ...

    def put(self, key: str, value: bytes) -> None: ...

    def remove(self, key: str) -> None: ...


class Packs:
    """The records in a map, to be written to; nobody else writes there."""

    def __init__(self, entries: Entries) -> None:
        """Of a map that is empty, or is read by `of`."""
        self._entries = entries
        self._newest: dict[bytes, int] = {}
        """The pack of every record; what is gone counts as one while an older pack could have it."""
        self._size: dict[int, int] = {}
        """Records of each pack, from the oldest on."""
        self._live: dict[int, int] = {}
        """And of how many it is the newest."""
        self._records, self._next = 0, 0

    @classmethod
    def of(cls, entries: Entries) -> tuple[Self, dict[bytes, bytes]]:
        """What is in a map, and the newest value of every record. Raises InputError where it is damaged."""
        packs, found = cls(entries), dict[bytes, bytes]()
        for name, pack in sorted(entries.items()):
            records = _opened(name, pack)
            packs._count(int(name), records)
            for key, value in records.items():
                if value is None:
                    found.pop(key, None)
                else:
                    found[key] = value
        return packs, found

    def write(self, changes: Mapping[bytes, bytes | None]) -> None:
        """Let the map hold these values; None where a record is gone."""
        self._put({k: value for k, value in changes.items() if value is not None or k in self._newest})
        room, moved = len(changes), dict[bytes, bytes | None]()
        while room > 0 and self._records > 2 * (len(self._newest) + len(moved)):
            lifted = self._lifted(next(iter(self._size)))
            room -= max(len(lifted), 1)
            moved |= lifted
        self._put(moved)

    def _put(self, records: Mapping[bytes, bytes | None]) -> None:
        for some in _few_at_once(records):
            self._entries.put(_name(self._next), _packed(some))
            self._count(self._next, some)

    def _lifted(self, pack: int) -> dict[bytes, bytes | None]:
        """Take the oldest pack out of the map; of its records those that are the newest."""
        name = _name(pack)
        records = _opened(name, self._entries.get(name) or b"")
        found = {key: value for key, value in records.items() if self._newest.get(key) == pack}
        for key in found:
            self._leave(key)
        return {key: value for key, value in found.items() if value is not None}

    def _count(self, pack: int, records: Mapping[bytes, bytes | None]) -> None:
        self._next = pack + 1
        self._size[pack] = self._live[pack] = len(records)
        self._records += len(records)
        for key in records:
            self._leave(key)
            self._newest[key] = pack

    def _leave(self, key: bytes) -> None:
        """A record is not the newest any more where it was."""
        pack = self._newest.pop(key, None)
        if pack is None:
            return
        self._live[pack] -= 1
        if not self._live[pack]:
            self._entries.remove(_name(pack))
            self._records -= self._size.pop(pack)
            del self._live[pack]


def _name(pack: int) -> str:
    """So that names are in the order of their packs."""
    return f"{pack:012d}"


def _few_at_once(records: Mapping[bytes, bytes | None]) -> Iterator[dict[bytes, bytes | None]]:
    some, size = dict[bytes, bytes | None](), 0
    for key, value in records.items():
        some[key] = value
        size += len(key) + len(value or b"")
        if size >= _MOST_BYTES:
            yield some
            some, size = {}, 0
    if some:
        yield some


def _packed(records: Mapping[bytes, bytes | None]) -> bytes:
    batch = pa.record_batch(
        [pa.array(records.keys(), pa.binary()), pa.array(records.values(), pa.binary())], schema=_SCHEMA
    )
    sink: Any = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, _SCHEMA, options=_WRITTEN) as writer:
        writer.write_batch(batch)
    packed: bytes = sink.getvalue().to_pybytes()
    return packed


def _opened(name: str, pack: bytes) -> dict[bytes, bytes | None]:
    """Raises InputError."""
    try:
        with pa.ipc.open_stream(pack) as reader:
            batch: Any = reader.read_next_batch()
    except (pa.ArrowException, OSError, ValueError, StopIteration) as error:
        raise InputError(f"state pack {name!r} is damaged: {' '.join(str(error).split())[:300]}") from error
    return dict(zip(batch["key"].to_pylist(), batch["value"].to_pylist(), strict=True))
