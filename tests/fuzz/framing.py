"""What serialisers and bad clients put around an event, or make of it."""

import gzip
import json
from collections.abc import Callable
from typing import Any

import pyarrow as pa

from tests.fuzz.encodings import arrow as column_types
from tests.fuzz.table import Table

Frame = Callable[[bytes, int], bytes | None]


def arrow(events: list[dict[str, object]]) -> bytes:
    """Events as an Arrow message."""
    return _stream([_batch(events)])


def _batch(events: list[dict[str, object]]) -> pa.RecordBatch:
    """A column whose cells are of no one type is text."""
    names = list(dict.fromkeys(name for event in events for name in event))
    return column_types(Table(names, [[event.get(name) for event in events] for name in names])).to_batches()[
        0
    ]


def _stream(batches: list[pa.RecordBatch], **options: Any) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, batches[0].schema, options=pa.ipc.IpcWriteOptions(**options)) as writer:
        for one in batches:
            writer.write_batch(one)
    return sink.getvalue().to_pybytes()


def _nested(depth: int) -> Frame:
    return lambda event, n: (
        b'{"user": ' + b"[" * depth + b"]" * depth + b', "item": 1, "time": 1704270600000}'
    )


def _repeated(event: bytes, n: int) -> bytes:
    """Every key twice."""
    return event[:-1] + b", " + event[1:]


def _arrow_with(change: Callable[[pa.RecordBatch], tuple[list[pa.RecordBatch], dict[str, object]]]) -> Frame:
    def made(event: bytes, n: int) -> bytes:
        if event.startswith(b"\xff\xff\xff\xff"):
            with pa.ipc.open_stream(event) as reader:
                batch = reader.read_next_batch()
        else:
            batch = _batch([json.loads(event)])
        batches, options = change(batch)
        return _stream(batches, **options)

    return made


def _as_dictionaries(batch: pa.RecordBatch) -> tuple[list[pa.RecordBatch], dict[str, object]]:
    arrays = [
        array if pa.types.is_nested(array.type) else array.dictionary_encode() for array in batch.columns
    ]
    return [pa.record_batch(arrays, names=batch.schema.names)], {}


def _as_text(batch: pa.RecordBatch) -> tuple[list[pa.RecordBatch], dict[str, object]]:
    arrays = [
        array.cast(pa.string())
        if pa.types.is_integer(array.type) or pa.types.is_floating(array.type)
        else array
        for array in batch.columns
    ]
    return [pa.record_batch(arrays, names=batch.schema.names)], {}


FRAMES: tuple[Frame, ...] = (
    lambda event, n: event,
    lambda event, n: None,
    lambda event, n: b"",
    lambda event, n: b"\x00\x00\x00\x00\x07" + event,
    lambda event, n: b"\xef\xbb\xbf" + event,
    lambda event, n: event.decode("latin-1").encode("utf-16"),
    lambda event, n: gzip.compress(event, mtime=0),
    lambda event, n: b"  \r\n" + event + b"\n ",
    lambda event, n: b"[" + event + b"]",
    lambda event, n: event + event,
    lambda event, n: b'"' + event.replace(b'"', b'\\"') + b'"',
    lambda event, n: event[: n % max(len(event), 1)],
    _nested(50),
    _nested(100_000),
    _repeated,
    lambda event, n: event + b" " * 1_100_000,
    _arrow_with(lambda batch: ([batch, batch], {})),
    _arrow_with(lambda batch: ([batch], {"compression": "zstd"})),
    _arrow_with(lambda batch: ([batch.slice(0, 0)], {})),
    _arrow_with(_as_dictionaries),
    _arrow_with(_as_text),
)
"""The first leaves it as it is. New ones go to the end."""
