"""`examples+arrow/3`: examples as a message, from the workers that remember to the trainer that learns.

An Arrow IPC stream with one record batch: the columns of `ExampleBatch`, those of the window as lists of
each row's own entries, and `produced_ms`, when each event's message was produced. A column in which all is
missing is left out, and so is an entry's age, which its time tells. The schema's metadata hold what hashed
ids were called, and what made the examples.

What workers of `examples+arrow/2` and `/1` have sent is read, too: the newest entries, without what came
before each, and in the older form ages, but neither times nor strengths.

Shape suffixes: B examples, W window entries, E entries of all rows, R rates.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from state.errors import InputError
from state.examples import BY_ENTRY, BY_ITEM, ExampleBatch, Window, empty_examples
from state.ids import NO_KEY
from state.keys import Int64s

SCHEMA, OLDER, OLDEST = "examples+arrow/3", "examples+arrow/2", "examples+arrow/1"
HEADER = "ebbtide-schema"
MAX_BYTES = 900_000
"""Of a message that is made here, unless a single example is larger."""
MOST_EXAMPLES, MOST_WINDOW = 1024, 1 << 16
"""Of a message, so that what a reader unpacks stays small: windows are dense there."""

_NAMES, _MADE_BY, _WIDTH = b"ebbtide-names", b"ebbtide-made-by", b"ebbtide-window"
_PRODUCED = "produced_ms"
_OLDEST = (
    *("length_B", "item_BW", "category_BW", "cell_BW", "age_s_BW", "retention_BW", "hour_BW", "week_BW"),
    *("place_BW", "label_BW"),
)
"""Columns of a window of OLDEST."""
_OLDER = (*_OLDEST, "time_ms_BW", "minute_BW", "strength_s_BW", "own_strength_s_B", "own_minute_B", "goes_B")
_LEFT = "window.views_BW"
"""A column of both that says nothing any more."""


@dataclass(frozen=True, slots=True)
class Shipment:
    """Examples, and what travels with them."""

    batch: ExampleBatch
    produced_ms_B: Int64s
    """When the message with the event was produced, in epoch ms."""
    names: dict[int, str]
    """Key -> text of hashed users, items, categories and scenes among the rows."""
    made_by: dict[str, Any]
    """The worker's settings, as JSON."""


def encode(
    batch: ExampleBatch,
    produced_ms_B: Int64s,
    names: Mapping[int, str],
    made_by: Mapping[str, Any],
    most: int = MAX_BYTES,
    width: int | None = None,
) -> list[tuple[int, bytes]]:
    """Messages with all rows, in order, as (rows, value); of at most `most` bytes where they can be cut.

    `width` is how long a window may be, if not as wide as the batch's.
    """
    record, metadata = _record(batch, produced_ms_B, made_by, width)
    key_B4 = np.stack([batch.user_B, batch.item_B, batch.category_B, batch.scene_B], axis=1)

    def cut(first: int, end: int) -> list[tuple[int, bytes]]:
        piece = record.slice(first, end - first)
        if end - first <= 1 or (end - first <= MOST_EXAMPLES and piece.nbytes <= most):
            keys = np.unique(key_B4[first:end]).tolist()
            named = json.dumps({key: names[key] for key in keys if key in names})
            value = _written(piece, {**metadata, _NAMES: named})
            if end - first <= 1 or len(value) <= most:
                return [(end - first, value)]
        middle = (first + end) // 2
        return cut(first, middle) + cut(middle, end)

    return cut(0, len(batch))


def decode(value: bytes) -> Shipment:
    """The inverse of `encode`, in arrays that can be written; windows are as wide as the longest.

    Raises InputError.
    """
    try:
        with pa.ipc.open_stream(value) as reader:
            metadata = reader.schema.metadata or {}
            schema = metadata.get(HEADER.encode(), b"").decode(errors="replace")
            if schema not in (SCHEMA, OLDER, OLDEST):
                raise InputError(f"examples: expected the schema {SCHEMA}, got {schema or 'none'!r}")
            batch: Any = reader.read_next_batch()
        if len(batch) > MOST_EXAMPLES:
            raise InputError(f"examples: expected at most {MOST_EXAMPLES} rows, got {len(batch)}")
        batch.validate(full=True)
        width = int(metadata[_WIDTH])
        names = {int(key): str(text) for key, text in json.loads(metadata[_NAMES]).items()}
        made_by = json.loads(metadata[_MADE_BY])
        if not isinstance(made_by, dict):
            raise ValueError(f"made by {made_by!r}, which is no settings")
    except (pa.ArrowException, OSError, ValueError, KeyError, EOFError, StopIteration) as error:
        raise InputError(f"examples: expected an Arrow batch of examples, got {error}") from error
    if not 0 <= width <= MOST_WINDOW:
        raise InputError(f"examples: expected a window of 0 to {MOST_WINDOW} entries, got {width}")
    columns = dict(zip(batch.schema.names, batch.columns, strict=True))
    if schema != SCHEMA:
        columns.pop(_LEFT, None)
    if len(set(batch.schema.names)) < batch.num_columns or _PRODUCED not in columns:
        raise InputError("examples: expected every column once, and produced_ms; got others")
    length_B = _lengths(columns.get("window.length_B"), len(batch), width)
    tree = empty_examples(len(batch), int(length_B.max(initial=1)) if width else None).tree()
    row_E, at_E = _entries(length_B, int(length_B.max(initial=1)))
    window = tree.get("window", {})
    produced_ms_B = np.zeros(len(batch), np.int64)
    _fill(produced_ms_B, columns.pop(_PRODUCED), _PRODUCED)
    for name, column in columns.items():
        if name.startswith("window."):
            _fill_window(window, name.removeprefix("window."), column, length_B, at_E)
        elif isinstance(tree.get(name), np.ndarray):
            _fill(tree[name], column, name)
        else:
            raise InputError(f"examples: unknown column {name!r}")
    if window and schema != OLDEST:
        ago_ms_E = np.maximum(tree["time_ms_B"][row_E] - window["time_ms_BW"].reshape(-1)[at_E], 0)
        window["age_s_BW"].reshape(-1)[at_E] = ago_ms_E / 1000.0
    if window and schema != SCHEMA:
        had = _OLDER if schema == OLDER else _OLDEST
        tree["window"] = {name: window[name] for name in had}
    return Shipment(ExampleBatch.from_tree(tree), produced_ms_B, names, made_by)


def _record(
    batch: ExampleBatch, produced_ms_B: Int64s, made_by: Mapping[str, Any], width: int | None
) -> tuple[Any, dict[Any, str]]:
    """All rows as a record batch, and what is said of any part of them."""
    missing = empty_examples(1, 1).tree()
    arrays: dict[str, Any] = {_PRODUCED: pa.array(produced_ms_B)}
    for name, column in batch.tree().items():
        if name != "window" and not _all_missing(column, missing[name]):
            arrays[name] = _array(column)
    window = batch.window
    if window is not None:
        arrays |= _window_arrays(window, missing["window"])
        width = window.item_BW.shape[1] if width is None else width
    metadata = {HEADER: SCHEMA, _MADE_BY: json.dumps(made_by), _WIDTH: str(width or 0)}
    return pa.record_batch(arrays), metadata


def _written(record: Any, metadata: Mapping[Any, str]) -> bytes:
    described = record.replace_schema_metadata(metadata)
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, described.schema) as writer:
        writer.write_batch(described)
    return sink.getvalue().to_pybytes()


def _window_arrays(window: Window, missing: Mapping[str, NDArray[Any]]) -> dict[str, Any]:
    at_E = _entries(window.length_B, window.item_BW.shape[1])[1]
    real_BI = window.total_item_BI != NO_KEY
    end_B1, end_of_items_B1 = _ends(window.length_B), _ends(real_BI.sum(1))
    arrays: dict[str, Any] = {"window.length_B": pa.array(window.length_B)}
    for name in (f.name for f in fields(Window) if f.name != "age_s_BW"):
        column = getattr(window, name)
        value, ends = column, None
        if name in BY_ENTRY:
            value, ends = column.reshape(-1)[at_E], end_B1
        elif name in BY_ITEM:
            value, ends = column[real_BI], end_of_items_B1
        if not _all_missing(value, missing[name]):
            values: Any = pa.array(value)
            arrays[f"window.{name}"] = values if ends is None else pa.ListArray.from_arrays(ends, values)
    return arrays


def _ends(length_B: Int64s) -> Any:
    """Where each row's list begins, and the last one ends."""
    return pa.array(np.concatenate([[0], np.cumsum(length_B)]).astype(np.int32))


def _entries(length_B: Int64s, width: int) -> tuple[Int64s, Int64s]:
    """Row of every entry (E,), and its place among those of all windows of a width, one after another."""
    rows_B = np.arange(len(length_B))
    row_E = np.repeat(rows_B, length_B)
    before_B = np.cumsum(length_B) - length_B
    return row_E, np.arange(len(row_E)) + np.repeat(rows_B * width - before_B, length_B)


def _array(column: NDArray[Any]) -> Any:
    if column.ndim == 1:
        return pa.array(column)
    return pa.FixedSizeListArray.from_arrays(pa.array(column.reshape(-1)), column.shape[1])


def _all_missing(column: NDArray[Any], like: NDArray[Any]) -> bool:
    """Whether every value has the very bits of the one in `like` that stands for nothing."""
    bits = f"u{column.itemsize}"
    return bool((np.ascontiguousarray(column).view(bits) == like.reshape(-1)[:1].view(bits)).all())


def _fill(into: NDArray[Any], column: Any, name: str) -> None:
    flat, width = column, 1
    if pa.types.is_fixed_size_list(column.type):
        flat, width = column.flatten(), column.type.list_size
    if column.null_count or flat.null_count or flat.type != pa.from_numpy_dtype(into.dtype):
        raise InputError(f"examples: column {name!r}: expected {into.dtype} without nulls, got {column.type}")
    if into.shape[1:] != ((width,) if into.ndim == 2 else ()) or (into.ndim == 1 and flat is not column):
        raise InputError(f"examples: column {name!r}: expected {into.shape[1:]} values a row, got {width}")
    into[...] = flat.to_numpy(zero_copy_only=False).reshape(into.shape)


def _lengths(column: Any, size: int, width: int) -> Int64s:
    """How many entries each window has."""
    length_B = np.zeros(size, np.int64)
    if column is not None:
        _fill(length_B, column, "window.length_B")
    if length_B.min(initial=0) < 0 or length_B.max(initial=0) > width:
        raise InputError(f"examples: expected windows of 0 to {width} entries")
    return length_B


def _fill_window(window: dict[str, Any], name: str, column: Any, length_B: Int64s, at_E: Int64s) -> None:
    if name not in window:
        raise InputError(f"examples: unknown column 'window.{name}'")
    into = window[name]
    if name not in BY_ENTRY and name not in BY_ITEM:
        _fill(into, column, f"window.{name}")
        return
    if not pa.types.is_list(column.type) or column.null_count:
        raise InputError(f"examples: column 'window.{name}': expected lists, got {column.type}")
    found_B = column.value_lengths().to_numpy(zero_copy_only=False).astype(np.int64)
    if name in BY_ITEM:
        if found_B.max(initial=0) > into.shape[1]:
            raise InputError(f"examples: column 'window.{name}': expected at most {into.shape[1]} items")
        at_E = _entries(found_B, into.shape[1])[1]
    elif not np.array_equal(found_B, length_B):
        raise InputError(f"examples: column 'window.{name}': lists are not as long as window.length_B says")
    value_E = np.zeros(len(at_E), into.dtype)
    _fill(value_E, column.flatten(), f"window.{name}")
    into.reshape(-1)[at_E] = value_E
