"""What has changed since a version, for those who keep a copy: rows, and ids that have left.

Where the feed of changes reaches back that far (`state.store.versions`) only what has changed is read; else
everything, and what has left is not known.

Shape suffixes: K interests, D width.
"""

import io
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np

from serving.reasons import iso
from serving.said import encoded
from serving.web.problems import SINGULAR, Problem
from state.store.contract import KINDS, EmbeddingStore, Kind
from state.store.kept import NEWEST
from state.store.records import Packed, Record, unpack

Number = Literal["f32", "f16", "int8"]
_KEPT = 10_000
"""Versions whose place in the feed is known."""


class Changed(NamedTuple):
    """Changes, up to a version."""

    version: int
    pages: Iterator[Packed]
    gone: list[str] | None
    """None where that is not known."""


class FeedHistory:
    """Where each kind's feed was while readers were pointed at a version; for one thread that notes.

    Rows of a version are written while readers are pointed at the one before. So behind a place that was
    asked for while they were at v, or before it, are all rows from v + 2 on: what is newer than v + 1.
    """

    def __init__(self, store: EmbeddingStore) -> None:
        self._store = store
        self._places: deque[tuple[int, dict[Kind, bytes]]] = deque(maxlen=_KEPT)

    def note(self) -> None:
        """Ask where the feeds are, if readers have been pointed elsewhere."""
        if self._places and self._store.version() == self._places[-1][0]:
            return
        places = {kind: self._store.position(kind) for kind in KINDS}
        version = self._store.version()
        if self._places and version < self._places[-1][0]:  # a store that was emptied begins anew
            self._places.clear()
        self._places.append((version, places))

    def since(self, kind: Kind, version: int) -> Changed:
        """What is newer than a version. Raises InputError as the store does.

        Raises Problem where an earlier one is served, after a rollback or from a store that was emptied: rows
        as of then are not newer.
        """
        pointer = self._store.pointer()
        now = pointer.version
        if version > now:
            raise Problem(
                409, f"version {now} is served, which is older than {version}: begin anew, with since=0"
            )
        if pointer.at != NEWEST:
            return Changed(now, self._store.pages(kind, now), [] if version == 0 else None)
        if version == now:
            return Changed(now, iter(()), [])
        place = next((places[kind] for at, places in reversed(self._places) if at < version), None)
        changes = None if place is None else self._store.changes(kind, place)
        if changes is None:
            return Changed(now, self._store.pages(kind), [] if version == 0 else None)
        return Changed(now, iter([changes.rows]), changes.gone)


@dataclass(frozen=True, slots=True)
class Form:
    """How rows are said."""

    kind: Kind
    number: Number
    since: int

    def lines(self, changed: Changed) -> Iterator[bytes]:
        """JSON, one object a line; a page at a time."""
        name = SINGULAR[self.kind]
        for page in changed.pages:
            rows = []
            for identifier, record in self._rows(page):
                values_KD, scale = quantised(record, self.number)
                vectors = values_KD.tolist()
                row: dict[str, Any] = {name: identifier, "version": record.version}
                row["event_time"] = iso(record.event_time_ms)
                row |= {"interests": vectors} if self.kind == "users" else {"vector": vectors[0]}
                rows.append(row if scale is None else row | {"scale": scale})
            yield _lines(rows)
        yield _lines([{name: identifier, "deleted": True} for identifier in changed.gone or []])

    def parquet(self, changed: Changed) -> bytes:
        """One file: columns id, version, event_time, interests (how many), vector, scale, deleted."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        kinds: dict[str, Any] = {"f32": pa.float32(), "f16": pa.float16(), "int8": pa.int8()}
        fields: list[tuple[str, Any]] = [
            ("id", pa.string()),
            ("version", pa.int64()),
            ("event_time", pa.timestamp("ms", "UTC")),
        ]
        fields += [("interests", pa.int32()), ("vector", pa.list_(kinds[self.number]))]
        fields += [("scale", pa.float32()), ("deleted", pa.bool_())]
        schema, file = pa.schema(fields), io.BytesIO()
        with pq.ParquetWriter(file, schema) as writer:
            for page in changed.pages:
                rows = [self._row(identifier, record) for identifier, record in self._rows(page)]
                writer.write_table(pa.Table.from_pylist(rows, schema))
            gone = [{"id": _text(identifier), "deleted": True} for identifier in changed.gone or []]
            writer.write_table(pa.Table.from_pylist(gone, schema))
        return file.getvalue()

    def _row(self, identifier: str, record: Record) -> dict[str, Any]:
        values_KD, scale = quantised(record, self.number)
        return {
            "id": _text(identifier),
            "version": record.version,
            "event_time": record.event_time_ms,
            "interests": len(values_KD),
            "vector": values_KD.ravel(),
            "scale": 1.0 if scale is None else scale,
            "deleted": False,
        }

    def _rows(self, page: Packed) -> Iterator[tuple[str, Record]]:
        for b, identifier in enumerate(page.names()):
            record = unpack(page.row(b))
            if record.version > self.since:
                yield identifier, record


def quantised(record: Record, number: Number) -> tuple[Any, float | None]:
    """The vectors (K, D) in a type; where that is int8, what to multiply them by."""
    if number == "int8":
        scale = float(np.abs(record.vectors_KD).max(initial=0.0)) / 127.0 or 1.0
        return np.rint(record.vectors_KD / scale).astype(np.int8), scale
    return record.vectors_KD.astype(np.float16 if number == "f16" else np.float32), None


def _lines(rows: list[dict[str, Any]]) -> bytes:
    return b"".join(encoded(row) + b"\n" for row in rows)


def _text(identifier: str) -> str:
    """Arrow takes no lone surrogates."""
    return identifier.encode("utf-8", "backslashreplace").decode()
