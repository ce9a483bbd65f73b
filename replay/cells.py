"""Cells of an Arrow column, whatever its type, as text, numbers or keys.

Shape suffix: B rows. A cell is missing where it is null, empty or one of the words that tables write for it.
Bytes that are no UTF-8 are read as Latin-1.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from replay.arrow import Column, pc
from state.compiled import compiled
from state.examples import Bytes, Doubles
from state.keys import NO_KEY, Int64s, Names, key_of

Bools = NDArray[np.bool_]

MISSING = frozenset(("", "nan", "NaN", "NULL", "null", "None", "\\N"))
"""Texts that mean that an id is missing."""

_WHOLE_LIMIT = 2**62
_KEPT = 1 << 20


@dataclass(frozen=True, slots=True)
class Cells:
    """Numbers of a column: NaN where there is none, `bad_B` where there is something that is none."""

    value_B: Doubles
    bad_B: Bools


def decoded(cell: bytes | str) -> str:
    """Text of a cell."""
    if isinstance(cell, str):
        return cell
    try:
        return cell.decode()
    except UnicodeDecodeError:
        return cell.decode("latin-1")


def texts(column: Column) -> tuple[list[str], Int64s]:
    """The distinct texts of a column and the index of each cell's, -1 where it is missing."""
    coded: Any
    if pa.types.is_dictionary(column.type):
        coded = column
    else:
        if not _is_text(column.type):
            column = pc.cast(column, pa.string())
        coded = pc.dictionary_encode(column)
    uniques = [decoded(cell) if cell is not None else "" for cell in _as_text(coded.dictionary).to_pylist()]
    place = np.array([-1 if text in MISSING else i for i, text in enumerate(uniques)] + [-1], np.int64)
    index_B = pc.fill_null(coded.indices, len(uniques)) if coded.null_count else coded.indices
    return uniques, place[index_B.to_numpy(zero_copy_only=False).astype(np.int64)]


def numbers(column: Column) -> Cells:
    """A column as numbers. Text that spells no finite number is bad; a float column's NaN is missing."""
    kind = column.type
    if pa.types.is_dictionary(kind):
        column = pc.cast(column, kind.value_type)
        kind = column.type
    if pa.types.is_boolean(kind):
        column, kind = pc.cast(column, pa.int8()), pa.int8()
    if pa.types.is_decimal(kind):
        column, kind = pc.cast(column, pa.float64()), pa.float64()
    if pa.types.is_integer(kind) or pa.types.is_floating(kind):
        value_B = _doubles(column)
        return Cells(value_B, np.isinf(value_B))
    if not _is_text(kind):
        return Cells(np.full(len(column), np.nan), np.asarray(pc.is_valid(column)))
    try:
        value_B = _doubles(pc.cast(column, pa.float64()))
    except pa.ArrowInvalid:
        uniques, index_B = texts(column)
        value = np.array([_number(text) for text in uniques] + [0.0])
        value_B = np.where(index_B >= 0, value[index_B], np.nan)
        missing_B = _blank(column)
    else:
        missing_B = np.asarray(pc.is_null(column))
    bad_B = ~(np.isfinite(value_B) | missing_B)
    return Cells(np.where(bad_B, np.nan, value_B), bad_B)


class Ids:
    """Keys of one id column, chunk after chunk; what the hashed ones were called goes to `names`.

    Whole numbers are their own keys in every type: 7, 7.0 in a float column, "7".
    """

    def __init__(self, names: Names | None) -> None:
        self._names = names
        self._known: dict[str, int] = {}

    def keys(self, column: Column) -> Int64s:
        """The key of each cell, NO_KEY where it is missing."""
        kind = column.type
        if pa.types.is_integer(kind) and not pa.types.is_uint64(kind):
            key_B = _integers(column)
            if len(key_B) == 0 or (key_B.max() < _WHOLE_LIMIT and _least(key_B) > -_WHOLE_LIMIT):
                return key_B
        elif pa.types.is_floating(kind):
            return self._floats(column)
        elif _is_text(kind):
            key_B, is_text_B = np.empty(len(column), np.int64), np.empty(len(column), np.bool_)
            _whole_numbers(*_buffers(column), key_B, is_text_B)
            if is_text_B.any():
                rest = column.filter(pa.array(is_text_B))
                key_B[is_text_B] = self._texts(rest)
            return key_B
        return self._texts(column)

    def _texts(self, column: Column) -> Int64s:
        uniques, index_B = texts(column)
        if len(self._known) > _KEPT:
            self._known.clear()
        known = self._known
        key = np.array([known.get(text) or self._add(text) for text in uniques] + [NO_KEY], np.int64)
        return key[index_B]

    def _add(self, text: str) -> int:
        key = self._known[text] = key_of(text) if self._names is None else self._names.add(text)
        return key

    def _floats(self, column: Column) -> Int64s:
        value_B = _doubles(column)
        key_B = np.full(len(value_B), NO_KEY, np.int64)
        whole_B = np.isfinite(value_B) & (np.floor(value_B) == value_B) & (np.abs(value_B) < 2.0**53)
        key_B[whole_B] = value_B[whole_B].astype(np.int64)
        for row in np.flatnonzero(~whole_B & ~np.isnan(value_B)).tolist():
            key_B[row] = self._add(repr(float(value_B[row])))
        return key_B


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return np.nan


def _is_text(kind: pa.DataType) -> bool:
    return bool(
        pa.types.is_string(kind)
        or pa.types.is_binary(kind)
        or pa.types.is_large_string(kind)
        or pa.types.is_large_binary(kind)
    )


def _as_text(column: Column) -> Column:
    return column if _is_text(column.type) else pc.cast(column, pa.string())


def _blank(column: Column) -> Bools:
    """Cells without anything in them; a word such as NaN is something."""
    length = pc.fill_null(pc.binary_length(column), 0)
    return np.asarray(pc.equal(length, 0))


def _doubles(column: Any) -> Doubles:
    """A numeric column, NaN where it is null."""
    value_B = pc.cast(column, pa.float64(), safe=False).to_numpy(zero_copy_only=False)
    return np.array(value_B, np.float64)


def _integers(column: Column) -> Int64s:
    filled = pc.fill_null(pc.cast(column, pa.int64()), NO_KEY)
    return np.array(filled.to_numpy(zero_copy_only=False), np.int64)


def _least(key_B: Int64s) -> int:
    present = key_B[key_B != NO_KEY]
    return int(present.min()) if len(present) else 0


def _buffers(column: Column) -> tuple[Int64s, Bytes, Bools]:
    """Offsets, bytes and presence of a text column."""
    wide = pc.cast(column, pa.large_binary())
    _, offsets, data = wide.buffers()
    start_B = np.frombuffer(offsets, np.int64)[wide.offset : wide.offset + len(wide) + 1]
    letters = np.frombuffer(data, np.uint8) if data is not None and data.size else np.zeros(1, np.uint8)
    return start_B, letters, np.asarray(pc.is_valid(wide))


@compiled
def _whole_numbers(
    start_B: Int64s, letters: Bytes, present_B: Bools, key_B: Int64s, is_text_B: Bools
) -> None:
    """Cells that spell a whole number as `state.keys` takes it; the others are text."""
    for b in range(key_B.shape[0]):
        key_B[b] = -(2**63)
        at, end = start_B[b], start_B[b + 1]
        is_text_B[b] = False
        if not present_B[b] or at == end:
            continue
        minus = letters[at] == 45
        first = at + 1 if minus else at
        size = end - first
        whole = 0 < size <= 18 and (letters[first] != 48 or (size == 1 and not minus))
        value = 0
        for i in range(first, end):
            digit = int(letters[i]) - 48
            if digit < 0 or digit > 9 or not whole:
                whole = False
                break
            value = value * 10 + digit
        if whole:
            key_B[b] = -value if minus else value
        else:
            is_text_B[b] = True
