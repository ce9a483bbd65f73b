"""How a column is stored never decides what it means: whatever Arrow holds becomes one of few types.

- `string`: text, also out of large, view, dictionary, run-end and binary columns; booleans as `true` and
  `false`, UUIDs in their usual form, decimals and times of day as they are written;
- `int64`: whole numbers; beyond 63 bits they are text;
- `double`: other numbers, as they would be written; NaN is missing; durations are seconds;
- `timestamp[ms]`: moments of any unit and zone in UTC, dates as their midnight;
- `list<string>`: lists of any of these.

What is none of them (a struct, a map, bytes that are no text) is unreadable: shown as text, and marked.

Shape suffixes: B cells, V values of all lists.
"""

import json
import uuid
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from replay.reading.arrow import Column, pc

Bools = NDArray[np.bool_]
Read = tuple[Column, Bools | None]
"""A column of one of these types, and which of its cells are unreadable; None for none."""

_MOMENT: Any = pa.timestamp("ms")
_PER_SECOND = {"s": 1, "ms": 1_000, "us": 1_000_000, "ns": 1_000_000_000}
_FAR_MS = 2**62
"""A moment that no calendar has."""


def canonical(column: Column) -> Read:
    """The column as one of the few types. Never raises on what a cell holds."""
    types, kind = pa.types, column.type
    if types.is_int64(kind):
        return column, None
    if types.is_string(kind):
        return _text(column)
    if isinstance(column, pa.ExtensionArray):
        return _extension(column)
    if types.is_dictionary(kind):
        return _dictionary(column)
    if types.is_run_end_encoded(kind):
        return canonical(pc.run_end_decode(column))
    if types.is_integer(kind):
        fits = not types.is_uint64(kind) or (pc.max(column).as_py() or 0) < 2**63
        return pc.cast(column, pa.int64() if fits else pa.string()), None
    if types.is_floating(kind):
        return _floating(column), None
    if types.is_decimal(kind):
        return _decimal(column), None
    if types.is_timestamp(kind) or types.is_date(kind):
        return _moments(column), None
    if types.is_duration(kind):
        return pc.divide(
            pc.cast(pc.cast(column, pa.int64()), pa.float64(), safe=False), _PER_SECOND[kind.unit]
        ), None
    if _is_binary(kind):
        return _binary(column)
    if _is_list(kind):
        return _lists(column)
    try:
        return _text(pc.cast(column, pa.string()))
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        return _shown(column), np.asarray(column.is_valid())


def one_value(column: Column) -> Read:
    """A column without lists: a list of one is its value, one of none is missing, of more is unreadable."""
    if not pa.types.is_list(column.type):
        return column, None
    length_B = np.asarray(pc.fill_null(pc.list_value_length(column), 0))
    flat = pc.list_flatten(column)
    first_B = np.where(length_B == 0, 0, np.cumsum(length_B) - length_B)
    value: Column = flat.take(pa.array(first_B, pa.int64(), mask=length_B == 0))
    several_B = length_B > 1
    if several_B.any():
        value = pc.if_else(pa.array(several_B), _shown(column), value)
    return value, several_B


def as_text(column: Column) -> Column:
    """A column of one of the few types as text; whole numbers without decimals."""
    if pa.types.is_string(column.type):
        return column
    if pa.types.is_floating(column.type):
        return pa.array([None if v is None else _written(v) for v in column.to_pylist()], pa.string())
    if pa.types.is_list(column.type):
        return _shown(column)
    made: Column = pc.cast(column, pa.string())
    return made


def joined(columns: list[Column]) -> Column:
    """Columns of the few types one after another: lists where one has them, text where two are unlike."""
    if not columns:
        return pa.array([], pa.string())
    kinds = {column.type for column in columns if column.null_count < len(column)} or {columns[0].type}
    if len(kinds) > 1 and any(map(pa.types.is_list, kinds)):
        columns = [_listed(column) for column in columns]
    elif len(kinds) > 1:
        columns = [as_text(column) for column in columns]
    else:
        kind = kinds.pop()
        columns = [column if column.type == kind else pa.nulls(len(column), kind) for column in columns]
    return pa.concat_arrays(columns)


def shown_cell(column: Column, b: int) -> Any:
    """One cell of a column of the few types, to be written down."""
    try:
        return column[b].as_py()
    except (ValueError, OverflowError):  # a moment that no calendar has
        return f"{column[b].cast(pa.int64())} ms"


def _written(value: float) -> str:
    """A number as text, `7` for 7.0."""
    return str(int(value)) if value.is_integer() else repr(value)


def _listed(column: Column) -> Column:
    if pa.types.is_list(column.type):
        return column
    text = as_text(column)
    there_B = np.asarray(text.is_valid())
    return _list_of(there_B.astype(np.int64), text.drop_null(), ~there_B)


def _list_of(length_B: NDArray[np.int64], values: Column, missing_B: Bools) -> Column:
    offsets = pa.array(np.concatenate(([0], np.cumsum(length_B))), pa.int32())
    return pa.ListArray.from_arrays(offsets, values, mask=pa.array(missing_B))


def _extension(column: Any) -> Read:
    name, storage = column.type.extension_name, column.storage
    if name == "arrow.uuid":
        return _uuids(storage.to_pylist()), None
    return canonical(pc.not_equal(storage, 0) if name == "arrow.bool8" else storage)


def _dictionary(column: Any) -> Read:
    values, bad_U = canonical(column.dictionary)
    made = values.take(column.indices)
    if bad_U is None:
        return made, None
    index_B = pc.fill_null(pc.cast(column.indices, pa.int64()), len(bad_U))
    return made, np.append(bad_U, False)[np.asarray(index_B)]


def _floating(column: Column) -> Column:
    """Doubles with the same shortest text: a 32-bit 48.1 is 48.1, not 48.09999847."""
    kind: Any = column.type
    value_B = column.to_numpy(zero_copy_only=False)
    if kind.bit_width < 64:
        narrow = np.dtype(f"f{kind.bit_width // 8}")
        distinct, at_B = np.unique(np.asarray(value_B, narrow), return_inverse=True)
        value_B = np.array([float(str(value)) for value in distinct], np.float64)[at_B]
    missing_B = np.isnan(value_B)
    return (
        pa.array(value_B, pa.float64(), mask=missing_B) if missing_B.any() or kind.bit_width < 64 else column
    )


def _decimal(column: Column) -> Column:
    if column.type.scale <= 0:
        try:
            whole: Column = pc.cast(column, pa.int64())
            return whole
        except pa.ArrowInvalid:
            pass  # beyond 63 bits
    return pa.array([None if cell is None else format(cell, "f") for cell in column.to_pylist()], pa.string())


def _moments(column: Column) -> Column:
    kind: Any = column.type
    missing_B = np.asarray(column.is_null())
    if pa.types.is_date32(kind):
        time_ms_B = _int64(pc.cast(column, pa.int32())) * 86_400_000
    elif pa.types.is_date64(kind) or kind.unit == "ms":
        time_ms_B = _int64(pc.cast(column, pa.int64()))
    elif kind.unit == "s":
        time_s_B = _int64(pc.cast(column, pa.int64()))
        near_B = (time_s_B < 2**52) & (time_s_B > -(2**52))
        time_ms_B = np.where(near_B, time_s_B * 1000, np.sign(time_s_B) * _FAR_MS)
    else:
        time_ms_B = _int64(pc.cast(column, pa.int64())) // (_PER_SECOND[kind.unit] // 1000)
    return pa.array(time_ms_B, pa.int64(), mask=missing_B).cast(_MOMENT)


def _int64(column: Column) -> NDArray[np.int64]:
    return np.array(pc.fill_null(column, 0).to_numpy(zero_copy_only=False), np.int64)


def _is_binary(kind: pa.DataType) -> bool:
    types = pa.types
    return any(is_a(kind) for is_a in (types.is_binary, types.is_large_binary, types.is_binary_view)) or bool(
        types.is_fixed_size_binary(kind)
    )


def _binary(column: Any) -> Read:
    """Bytes as text where they are UTF-8; those of fixed size without the zeros that pad them, 16 as a UUID
    unless they are ASCII: a UUID's ninth byte never is."""
    if not pa.types.is_fixed_size_binary(column.type):
        try:
            return pc.cast(pc.cast(column, pa.binary()), pa.string()), None
        except pa.ArrowInvalid:
            return _as_far_as_text(column.to_pylist())
    cells = column.to_pylist()
    if column.type.byte_width == 16:
        cells = [c if c is None or c.isascii() else str(uuid.UUID(bytes=c)).encode() for c in cells]
    return _as_far_as_text([None if c is None else c.rstrip(b"\0") for c in cells])


def _text(column: Column) -> Read:
    """Text whose bytes are text: files may say what is not so."""
    try:
        column.validate(full=True)
    except pa.ArrowInvalid:
        return _as_far_as_text(pc.cast(column, pa.binary()).to_pylist())
    return column, None


def _as_far_as_text(cells: list[bytes | None]) -> Read:
    texts: list[str | None] = []
    bad_B = np.zeros(len(cells), np.bool_)
    for b, cell in enumerate(cells):
        try:
            texts.append(None if cell is None else cell.decode())
        except UnicodeDecodeError:
            texts.append(f"0x{cell.hex()}" if cell else None)
            bad_B[b] = True
    return pa.array(texts, pa.string()), bad_B if bad_B.any() else None


def _uuids(cells: list[bytes | None]) -> Column:
    return pa.array([None if cell is None else str(uuid.UUID(bytes=cell)) for cell in cells], pa.string())


def _is_list(kind: pa.DataType) -> bool:
    types = pa.types
    lists = (types.is_list, types.is_large_list, types.is_fixed_size_list, types.is_list_view)
    return any(is_a(kind) for is_a in (*lists, types.is_large_list_view))


def _lists(column: Any) -> Read:
    there_B = np.asarray(column.is_valid())
    values, bad_V = canonical(pc.list_flatten(column))
    if pa.types.is_list(values.type):
        return _shown(column), there_B
    length_B = np.asarray(pc.fill_null(pc.list_value_length(column), 0)).astype(np.int64)
    made = _list_of(length_B, as_text(values), ~there_B)
    if bad_V is None or not bad_V.any():
        return made, None
    bad_B = np.zeros(len(column), np.bool_)
    bad_B[np.repeat(np.arange(len(column)), length_B)[bad_V]] = True
    return made, bad_B


def _shown(column: Column) -> Column:
    """Cells as JSON, for people to read."""
    try:
        cells = column.to_pylist()
    except (
        ValueError,
        OverflowError,
        pa.ArrowException,
    ):  # what Python has no value for, such as the year 300000
        cells = [f"<{column.type}>" if valid else None for valid in column.is_valid().to_pylist()]
    return pa.array([None if cell is None else _json(cell) for cell in cells], pa.string())


def _json(cell: Any) -> str:
    return json.dumps(
        cell, ensure_ascii=False, default=lambda c: f"0x{c.hex()}" if isinstance(c, bytes) else str(c)
    )
