"""Cells of a column of the few types of `replay.reading.canonical` as text, numbers or keys.

Shape suffix: B rows. A cell is missing where it is null, empty or one of the words that tables write for it.
"""

import re
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa

from replay.reading.arrow import Column, pc
from replay.reading.canonical import Bools, as_text
from state.compiled import compiled
from state.examples import Bytes, Doubles
from state.keys import NO_KEY, Int64s, Names, key_of

MISSING = frozenset(("", "nan", "NaN", "NULL", "null", "None", "\\N"))
"""Texts that mean that an id is missing."""

_TRUTH = {"true": 1.0, "false": 0.0}
_WHOLE_LIMIT = 2**62
_KEPT = 1 << 20


@dataclass(frozen=True, slots=True)
class CellNumbers:
    """Numbers of a column: NaN where there is none, `bad_B` where there is something that is none."""

    value_B: Doubles
    bad_B: Bools


def texts(column: Column) -> tuple[list[str], Int64s]:
    """The distinct texts of a column and the index of each cell's, -1 where it is missing."""
    coded: Any = pc.dictionary_encode(as_text(column))
    uniques: list[str] = coded.dictionary.to_pylist()
    place = np.array([-1 if text in MISSING else i for i, text in enumerate(uniques)] + [-1], np.int64)
    index_B = pc.fill_null(coded.indices, len(uniques)) if coded.null_count else coded.indices
    return uniques, place[index_B.to_numpy(zero_copy_only=False).astype(np.int64)]


def numbers(column: Column) -> CellNumbers:
    """A column as numbers: NaN and what is missing are none, text that spells no finite number is bad."""
    if pa.types.is_integer(column.type) or pa.types.is_floating(column.type):
        value_B = _doubles(column)
        return CellNumbers(np.where(np.isinf(value_B), np.nan, value_B), np.isinf(value_B))
    if not pa.types.is_string(column.type):
        return CellNumbers(np.full(len(column), np.nan), np.asarray(pc.is_valid(column)))
    try:
        value_B = _doubles(pc.cast(column, pa.float64()))
        bad_B = np.isinf(value_B)
    except pa.ArrowInvalid:
        uniques, index_B = texts(column)
        value_U = np.array([*map(number_of, uniques), np.nan])
        value_B = value_U[index_B]
        bad_B = np.isinf(value_B)
    return CellNumbers(np.where(bad_B, np.nan, value_B), bad_B)


def dotted(column: Column) -> Column:
    """Texts with numbers that have a decimal comma written with a point; the column itself if it has none."""
    if not pa.types.is_string(column.type) or not pc.any(pc.match_substring(column, ",")).as_py():
        return column
    made: Column = pc.replace_substring_regex(column, r"^(\s*[-+]?\d+),(\d+\s*)$", r"\1.\2")
    return made


class Ids:
    """Keys of one id column, chunk after chunk; what the hashed ones were called goes to `names`.

    Whole numbers are their own keys in every type: 7, 7.0 in a float column, "7". So is the text "7.0" where
    the column holds nothing but numbers; beside a text that is none (or "1.10", which no number is written
    as) it is a text. Where the latter turns up after the former the keys so far are not settled: the log is
    to be read once more, after `restart`.
    """

    def __init__(self, names: Names | None) -> None:
        self._names = names
        self._known: dict[str, int] = {}
        self._texts_seen = False
        self.taken_as_whole = False
        """Whether some id was written with decimals, and is the whole number."""

    @property
    def settled(self) -> bool:
        """Whether all keys since `restart` were made by one rule."""
        return not (self._texts_seen and self.taken_as_whole)

    def restart(self) -> None:
        """Begin the column anew, with what is known of it."""
        self._known.clear()
        self.taken_as_whole = False

    def keys(self, column: Column) -> Int64s:
        """The key of each cell, NO_KEY where it is missing."""
        kind = column.type
        if pa.types.is_int64(kind):
            bounds = pc.min_max(column).as_py()
            if max(abs(bounds["min"] or 0), abs(bounds["max"] or 0)) < _WHOLE_LIMIT:
                return np.array(pc.fill_null(column, NO_KEY).to_numpy(zero_copy_only=False), np.int64)
        elif pa.types.is_floating(kind):
            return self._floats(column)
        elif pa.types.is_string(kind):
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
        spelled = {text: numeral(text) for text in uniques if text not in known and text not in MISSING}
        self._texts_seen |= None in spelled.values()
        for text, number in spelled.items():
            whole = number is not None and number != text and not self._texts_seen
            self.taken_as_whole |= whole
            known[text] = self._key(number if whole and number is not None else text)
        return np.array([*(known.get(text, NO_KEY) for text in uniques), NO_KEY], np.int64)[index_B]

    def _key(self, text: str) -> int:
        return key_of(text) if self._names is None else self._names.add(text)

    def _floats(self, column: Column) -> Int64s:
        value_B = _doubles(column)
        key_B = np.full(len(value_B), NO_KEY, np.int64)
        whole_B = (np.floor(value_B) == value_B) & (np.abs(value_B) < _WHOLE_LIMIT)
        key_B[whole_B] = value_B[whole_B].astype(np.int64)
        others_B = ~whole_B & ~np.isnan(value_B)
        if others_B.any():
            key_B[others_B] = self._texts(as_text(pa.array(value_B[others_B])))
        return key_B


_NUMERAL = re.compile(r"(?P<whole>0|-0(?=\.)|-?[1-9][0-9]*)(?:\.0+|(?P<rest>\.[0-9]*[1-9]))?")
_POWER = re.compile(r"-?[0-9]\.[0-9]+[eE][+]?[0-9]{1,2}|-?[0-9][eE][+][0-9]{1,2}")
"""As programs write large numbers: 1.2E7, 1e+07; but 12e5 may be anything."""


def numeral(text: str) -> str | None:
    """A number without decimals that say nothing; None for what is none, or not as programs write one.

    >>> numeral("7.0"), numeral("1.5"), numeral("1.2E7"), numeral("1.10"), numeral("007")
    ('7', '1.5', '12000000', None, None)
    """
    match = _NUMERAL.fullmatch(text)
    if match is not None:
        return text if match["rest"] else "0" if match["whole"] == "-0" else match["whole"]
    if _POWER.fullmatch(text):
        number = Decimal(text)
        return str(int(number)) if number == int(number) else text
    return None


def number_of(text: str) -> float:
    """The number that a text spells, infinite where it spells none."""
    if text.lower() in _TRUTH:
        return _TRUTH[text.lower()]
    try:
        return float("inf" if "_" in text else text)
    except ValueError:
        return np.inf


def _doubles(column: Any) -> Doubles:
    """A numeric column, NaN where it is null."""
    return np.array(pc.cast(column, pa.float64(), safe=False).to_numpy(zero_copy_only=False), np.float64)


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
