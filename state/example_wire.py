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
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from state.errors import InputError
from state.examples import BY_ENTRY, BY_ITEM, ExampleBatch, empty_examples
from state.keys import Int64s
from state.name_table import NameTable
from state.window_lists import WindowLists, entries, lists_of

SCHEMA, OLDER, OLDEST = "examples+arrow/3", "examples+arrow/2", "examples+arrow/1"
HEADER = "ebbtide-schema"
MAX_BYTES = 900_000
"""Of a message that is made here, unless a single example is larger."""
MOST_EXAMPLES, MOST_WINDOW = 1024, 1 << 16
"""Of a message, so that what a reader unpacks stays small: windows are dense there."""

_NAMES, _MADE_BY, _WIDTH = b"ebbtide-names", b"ebbtide-made-by", b"ebbtide-window"
_PRODUCED = "produced_ms"
_END_OF_STREAM = b"\xff\xff\xff\xff\0\0\0\0"
_EDGE_BYTES = 4
"""Of a list: where it begins."""
_MISSING = empty_examples(1, 1).tree()
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
    lists: WindowLists | None = None,
) -> list[tuple[int, bytes]]:
    """Messages with all rows, in order, as (rows, value); of at most `most` bytes where they can be cut.

    `lists` are the batch's windows, where it has none itself.
    """
    if lists is None and batch.window is not None:
        lists = lists_of(batch.window)
    record, metadata = _record(batch, lists, produced_ms_B, made_by)
    size_of = _sizes(record, lists)
    key_B4 = np.stack([batch.user_B, batch.item_B, batch.category_B, batch.scene_B], axis=1)

    def cut(first: int, end: int) -> list[tuple[int, bytes]]:
        if end - first <= 1 or (end - first <= MOST_EXAMPLES and size_of(first, end) <= most):
            key_K = np.unique(key_B4[first:end])
            if isinstance(names, NameTable):
                named = names.as_json(key_K)
            else:
                named = json.dumps({key: names[key] for key in key_K.tolist() if key in names})
            value = _written(record.slice(first, end - first), {**metadata, _NAMES: named})
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
    row_E, at_E = entries(length_B, int(length_B.max(initial=1)))
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
    batch: ExampleBatch, lists: WindowLists | None, produced_ms_B: Int64s, made_by: Mapping[str, Any]
) -> tuple[Any, dict[Any, str]]:
    """All rows as a record batch, and what is said of any part of them."""
    arrays: dict[str, Any] = {_PRODUCED: pa.array(produced_ms_B)}
    for name, column in batch.tree().items():
        if name != "window" and not _all_missing(column, _MISSING[name]):
            arrays[name] = _array(column)
    if lists is not None:
        arrays |= _window_arrays(lists)
    width = 0 if lists is None else lists.width
    return pa.record_batch(arrays), {HEADER: SCHEMA, _MADE_BY: json.dumps(made_by), _WIDTH: str(width)}


def _written(record: Any, metadata: Mapping[Any, str]) -> bytes:
    """An IPC stream: the schema, the one batch, and what says that no more follow."""
    schema = record.schema.with_metadata(metadata).serialize()
    return b"".join((schema, record.serialize(), _END_OF_STREAM))


def _sizes(record: Any, lists: WindowLists | None) -> Callable[[int, int], int]:
    """Bytes of some rows' columns: as many as Arrow says, which takes its time over it."""
    a_row = an_entry = an_item = 0
    for name, kind in zip(record.schema.names, record.schema.types, strict=True):
        if not pa.types.is_list(kind):
            a_row += (
                kind.byte_width
                if pa.types.is_primitive(kind)
                else kind.list_size * kind.value_type.byte_width
            )
            continue
        a_row += _EDGE_BYTES
        if name.removeprefix("window.") in BY_ENTRY:
            an_entry += kind.value_type.byte_width
        else:
            an_item += kind.value_type.byte_width
    edge_B1 = np.zeros(len(record) + 1, np.int64) if lists is None else lists.edge_B1
    item_edge_B1 = edge_B1 if lists is None else lists.item_edge_B1

    def size_of(first: int, end: int) -> int:
        entries, items = edge_B1[end] - edge_B1[first], item_edge_B1[end] - item_edge_B1[first]
        return int((end - first) * a_row + entries * an_entry + items * an_item)

    return size_of


def _window_arrays(lists: WindowLists) -> dict[str, Any]:
    edge_B1, item_edge_B1 = pa.array(lists.edge_B1, pa.int32()), pa.array(lists.item_edge_B1, pa.int32())
    arrays: dict[str, Any] = {}
    for name, column in lists.columns.items():
        if name == "length_B" or not _all_missing(column, _MISSING["window"][name]):
            values: Any = pa.array(column)
            if name in BY_ENTRY:
                values = pa.ListArray.from_arrays(edge_B1, values)
            elif name in BY_ITEM:
                values = pa.ListArray.from_arrays(item_edge_B1, values)
            arrays[f"window.{name}"] = values
    return arrays


def _array(column: NDArray[Any]) -> Any:
    if column.ndim == 1:
        return pa.array(column)
    return pa.FixedSizeListArray.from_arrays(pa.array(column.reshape(-1)), column.shape[1])


def _all_missing(column: NDArray[Any], like: NDArray[Any]) -> bool:
    """Whether every value has the very bits of the one in `like` that stands for nothing."""
    middle = column.item(column.size // 2) if column.size else np.nan
    if middle == middle and middle != like.item(0):  # a look at one says it of most
        return False
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
        at_E = entries(found_B, into.shape[1])[1]
    elif not np.array_equal(found_B, length_B):
        raise InputError(f"examples: column 'window.{name}': lists are not as long as window.length_B says")
    value_E = np.zeros(len(at_E), into.dtype)
    _fill(value_E, column.flatten(), f"window.{name}")
    into.reshape(-1)[at_E] = value_E
