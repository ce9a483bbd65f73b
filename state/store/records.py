"""A row of the embedding store as bytes, without pickle.

Little-endian, one after another:

    version          int64
    event_time_ms    int64
    K, D, L, W       four uint32: interests, width, item keys left out, memory entries
    left out         L int64 item keys
    memory           W entries of MEMORY_ENTRY, 56 bytes each, oldest first; in rows from before 2026-11-29
                     48 bytes each, without what came before them
    vectors          K x D float32
    totals           the rest of the row: TOTAL, 36 bytes each; none in rows from before 2026-11-29

An item is a row with K = 1 and no list.
"""

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from state.arrays import Floats, Int64s
from state.errors import InputError
from state.ids import NO_KEY

MEMORY_LIMIT = 256
"""Entries kept of a user's memory: the newest."""

_EARLIER = [
    ("item", "<i8"),  # key
    ("time_ms", "<i8"),
    ("last_ms", "<i8"),  # of the item's last repeat: retention at t is exp(-(t - last) / strength)
    ("cell", "<i8"),  # place as in state.places, NO_KEY without one
    ("strength_s", "<f4"),
    ("label", "<f4"),  # NaN while unknown or where the log has none
    ("minute", "<i4"),  # local minute of the week, as in state.forgetting
]
MEMORY_ENTRY = np.dtype(
    [
        *_EARLIER,
        ("gap_s", "<f4"),  # since the event just before it
        ("before", "<i8"),  # item of that event, remembered here or not; NO_KEY without one
    ]
)
_EARLIER_ENTRY = np.dtype([*_EARLIER, ("views", "<u4")])
Entries = NDArray[np.void]
"""One-dimensional, dtype MEMORY_ENTRY."""

TOTAL = np.dtype(
    [
        ("item", "<i8"),  # key
        ("first_ms", "<i8"),
        ("last_ms", "<i8"),
        ("count", "<f4"),  # events over the whole memory, but for those that came out badly
        ("faded", "<f4"),  # the same, faded by 64 days as of the row's event
        ("since", "<u4"),  # entries of the memory after the newest
    ]
)
"""What the whole memory says of an item (`state.memory.totals`), beside the entries that were selected."""
Totals = NDArray[np.void]
"""One-dimensional, dtype TOTAL."""
NO_TOTALS: Totals = np.zeros(0, TOTAL)

_HEADER = np.dtype([("stamp", "<i8", (2,)), ("sizes", "<u4", (4,))])
_HEAD = struct.Struct("<2q4I")
"""The same of one row, by what costs less there."""
_EXACT = 2**53
"""Stores compare stamps as doubles."""


@dataclass(frozen=True, slots=True)
class Record:
    """What a store holds of one user or item; shapes (K, D), (L,), (W,), (T,)."""

    version: int
    event_time_ms: int
    vectors_KD: Floats
    left_out: Int64s
    memory: Entries
    totals: Totals = field(default_factory=lambda: NO_TOTALS)

    @property
    def stamp(self) -> tuple[int, int]:
        return self.version, self.event_time_ms


@dataclass(frozen=True, slots=True)
class Packed:
    """B rows as bytes: row b is `blob[start_B1[b] : start_B1[b + 1]]`."""

    ids: list[bytes]
    start_B1: Int64s
    blob: bytes

    def __len__(self) -> int:
        return len(self.ids)

    def names(self) -> list[str]:
        """The ids as text."""
        return named(self.ids)

    def row(self, b: int) -> bytes:
        return self.blob[self.start_B1[b] : self.start_B1[b + 1]]


def named(ids: Sequence[bytes]) -> list[str]:
    """Ids as text."""
    return [identifier.decode("utf-8", "surrogatepass") for identifier in ids]


def pack(
    version: int,
    ids: Sequence[str],
    time_ms_B: Int64s,
    vectors_BKD: Floats,
    left_out_B: Sequence[Int64s] | None = None,
    memory_B: Sequence[Entries] | None = None,
    totals_B: Sequence[Totals] | None = None,
) -> Packed:
    """Rows as bytes. Raises InputError on a vector that is not finite or a stamp that is out of range."""
    size, interests, width = vectors_BKD.shape
    assert len(ids) == size == len(time_ms_B)
    if not size:
        return Packed([], np.zeros(1, np.int64), b"")
    bad = np.flatnonzero(~np.isfinite(vectors_BKD).all(axis=(1, 2)))
    if len(bad):
        raise InputError(
            f"publish: vector of {ids[bad[0]]!r} has values that are no numbers ({len(bad)} of {size} rows); "
            "the learner has diverged: lower its learning rate"
        )
    if not 0 <= version < _EXACT or np.abs(time_ms_B).max() >= _EXACT:
        raise InputError(f"publish: version {version} or an event time in ms is beyond 2^53")
    names = [identifier.encode("utf-8", "surrogatepass") for identifier in ids]
    header_B = np.zeros(size, _HEADER)
    header_B["stamp"][:, 0] = version
    header_B["stamp"][:, 1] = time_ms_B
    header_B["sizes"][:, :2] = interests, width
    vectors = np.ascontiguousarray(vectors_BKD, "<f4").reshape(size, -1)
    if left_out_B is None and memory_B is None:
        blob = np.concatenate([_bytes(header_B), _bytes(vectors)], axis=1)
        return Packed(names, np.arange(size + 1, dtype=np.int64) * blob.shape[1], blob.tobytes())
    parts: list[bytes] = []
    for b in range(size):
        left_out = _NO_KEYS if left_out_B is None else np.asarray(left_out_B[b], "<i8")
        memory = _NO_ENTRIES if memory_B is None else memory_B[b][-MEMORY_LIMIT:]
        assert memory.dtype == MEMORY_ENTRY
        header_B["sizes"][b, 2:] = len(left_out), len(memory)
        totals = NO_TOTALS if totals_B is None else totals_B[b]
        assert totals.dtype == TOTAL
        columns = (header_B[b], left_out, memory, vectors[b], totals)
        parts.append(b"".join(column.tobytes() for column in columns))
    lengths = np.fromiter(map(len, parts), np.int64, size)
    return Packed(names, np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths)]), b"".join(parts))


def packed_rows(rows: Mapping[bytes, bytes]) -> Packed:
    """Rows by id, as they are."""
    start_B1 = np.zeros(len(rows) + 1, np.int64)
    np.cumsum(np.fromiter(map(len, rows.values()), np.int64, len(rows)), out=start_B1[1:])
    return Packed(list(rows), start_B1, b"".join(rows.values()))


def unpacked(lengths: bytes, ids: bytes, rows: bytes) -> Packed:
    """Ids and rows that a script has put together, by their lengths in turn."""
    length_B2 = np.frombuffer(lengths, "<u4").reshape(-1, 2).astype(np.int64)
    id_end_B = np.cumsum(length_B2[:, 0]).tolist()
    names = [ids[start:end] for start, end in zip([0, *id_end_B], id_end_B, strict=False)]
    return Packed(names, np.concatenate([np.zeros(1, np.int64), np.cumsum(length_B2[:, 1])]), rows)


def unpack(value: bytes) -> Record:
    """The inverse of `pack` for one row. Raises InputError on bytes that are none of ours."""
    if len(value) >= _HEADER.itemsize:
        version, time_ms, interests, width, left, entries = _HEAD.unpack_from(value)
        at_memory = _HEADER.itemsize + 8 * left
        for entry in (MEMORY_ENTRY, _EARLIER_ENTRY):
            at_vectors = at_memory + entry.itemsize * entries
            at_totals = at_vectors + 4 * interests * width
            rest = len(value) - at_totals
            if rest == 0 or (rest > 0 and entry is MEMORY_ENTRY and rest % TOTAL.itemsize == 0):
                memory = np.frombuffer(value, entry, entries, at_memory)
                return Record(
                    version,
                    time_ms,
                    np.frombuffer(value, "<f4", interests * width, at_vectors).reshape(interests, width),
                    np.frombuffer(value, "<i8", left, _HEADER.itemsize),
                    memory if entry is MEMORY_ENTRY else _of_earlier(memory),
                    np.frombuffer(value, TOTAL, rest // TOTAL.itemsize, at_totals) if rest else NO_TOTALS,
                )
    raise InputError(
        f"store: a row of {len(value)} bytes is not Ebbtide's; was it written by something else?"
    )


def linked(memory: Entries) -> Entries:
    """The same entries, before each of which came the one beside it."""
    memory["before"][:1] = NO_KEY
    memory["before"][1:] = memory["item"][:-1]
    memory["gap_s"][1:] = np.diff(memory["time_ms"]) / 1000.0
    return memory


def _of_earlier(entries: NDArray[np.void]) -> Entries:
    """Entries of earlier rows, which were the newest, without a gap."""
    memory = np.zeros(len(entries), MEMORY_ENTRY)
    for name, _ in _EARLIER:
        memory[name] = entries[name]
    return linked(memory)


def single_vectors(packed: Packed) -> tuple[Int64s, Floats]:
    """Stamps (B, 2) and vectors (B, D) of items, all at once. Raises InputError on rows of several widths."""
    size = len(packed)
    if not size:
        return np.zeros((0, 2), np.int64), np.zeros((0, 0), np.float32)
    width = len(unpack(packed.row(0)).vectors_KD[0])
    row = np.dtype([("header", _HEADER), ("vector", "<f4", (width,))])
    lengths = np.unique(np.diff(packed.start_B1))
    if lengths.tolist() != [row.itemsize]:
        raise InputError(f"store: item rows of {lengths.tolist()} bytes; expected one width for all of them")
    rows_B = np.frombuffer(packed.blob, row)
    return rows_B["header"]["stamp"], rows_B["vector"]


def stamp_of(value: bytes) -> tuple[int, int]:
    """(version, event time in ms) of a packed row."""
    version, time_ms = np.frombuffer(value, "<i8", 2)
    return int(version), int(time_ms)


def _bytes(rows: NDArray[Any]) -> NDArray[np.uint8]:
    return np.ascontiguousarray(rows).view(np.uint8).reshape(len(rows), -1)


_NO_KEYS = np.zeros(0, "<i8")
_NO_ENTRIES = np.zeros(0, MEMORY_ENTRY)
