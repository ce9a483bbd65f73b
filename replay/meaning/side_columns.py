"""What the columns of a side table are, by their names and values.

Each column is one of
- `number`: numbers, also written as text, where at most one cell in ten is none; not what is called an id, a
  code or a zip;
- `categories`: several a cell, a list of texts, or separated by `|`, `;`, `,` or blanks, where the parts
  plainly repeat;
- `category`: text (or an id) whose values repeat, twice on the average, or that is called so;
- `text`: nearly unique cells of several words;
- `vector`: lists of numbers, nearly all of one length: what a model outside has made of a text or a picture;
- `place`: latitude and longitude;
- `since`: the time from which the row holds;
- `ignored`: nearly unique single words (a venue's foreign id), or nothing at all.

Shape suffix: N rows.
"""

import re

import msgspec
import numpy as np
import pyarrow as pa

from replay.meaning.evidence import TimeEvidence
from replay.reading.arrow import Column, pc
from replay.reading.cells import numbers, texts
from replay.reading.usual_names import USUAL, plain
from state.errors import InputError

KINDS = ("number", "category", "categories", "text", "vector", "place", "since", "ignored")
_CODES = re.compile(r"(^|_)(id|ids|code|codes|zip|zipcode|postcode|postal|phone|sku|upc|isbn)($|_)")
SINCE = (
    *(
        "since",
        "since_ms",
        "valid_from",
        "effective_from",
        "updated_at",
        "changed_at",
        "modified_at",
        "as_of",
    ),
    *("time", "timestamp", "ts", "event_time"),
)
_SEPARATORS = ("|", ";", ",", " ")
_FEWEST_CELLS = 20
_PARTS_A_CELL = 5
_NO_NUMBERS = 0.1
"""Share of the cells of a column of numbers that may be none, or of vectors that may be of another length."""


class SideColumn(msgspec.Struct, frozen=True):
    """How a column is read, whatever comes in it later."""

    kind: str
    separator: str = ""
    """Of several categories in one text."""
    width: int = 0
    """Numbers of a vector."""
    moments: bool = False
    """Whether its numbers are moments, in epoch milliseconds."""


def column_kinds(table: dict[str, Column], types: dict[str, str]) -> dict[str, tuple[str, str]]:
    """What each column of a side table is taken for, and why if it is ignored."""
    places = {
        role: next((name for usual in USUAL[role] for name in table if plain(name) == usual), None)
        for role in ("lat", "lon")
    }
    both = None not in places.values()
    kinds: dict[str, tuple[str, str]] = {}
    for name, column in table.items():
        if plain(name) in types:
            kinds[name] = types[plain(name)], "the mapping of this known log leaves it out"
        elif both and name in places.values():
            kinds[name] = "place", ""
        else:
            kinds[name] = _kind(name, column)
    return kinds


def _kind(name: str, column: Column) -> tuple[str, str]:
    called = plain(name)
    if column.null_count == len(column):
        return "ignored", "nothing is in it"
    if pa.types.is_list(column.type):
        if not _are_lists_of_numbers(column):
            return "categories", ""
        unlike = "it holds lists of numbers that are no vectors: ids, or of many lengths"
        return ("vector", "") if width_of(column) and not _CODES.search(called) else ("ignored", unlike)
    if called in SINCE and _is_time(column):
        return "since", ""
    if pa.types.is_temporal(column.type):
        return "number", ""
    uniques, index_N = texts(column)
    cells = int((index_N >= 0).sum())
    if not _CODES.search(called) and are_numbers(column):
        return "number", ""
    if separator_of(column):
        return "categories", ""
    if 2 * len(uniques) <= cells or called in USUAL["category"]:
        return "category", ""
    words = np.mean([len(text.split()) for text in uniques]) if uniques else 0
    return ("text", "") if words >= 1.5 else ("ignored", "nearly every row has a word of its own")


def _is_time(column: Column) -> bool:
    evidence = TimeEvidence()
    evidence.add(column)
    try:
        return evidence.reading("", usual=True).unit != "tick"
    except InputError:
        return False


def are_numbers(column: Column) -> bool:
    """Whether nearly all cells are numbers, and none is a code that begins with a zero."""
    uniques, _ = texts(column)
    cells = numbers(column)
    are, are_none = int(np.isfinite(cells.value_B).sum()), int(cells.bad_B.sum())
    zeros = any(len(text) > 1 and text.startswith("0") and text.isdigit() for text in uniques)
    return are > are_none and are_none <= max(1, _NO_NUMBERS * (are + are_none)) and not zeros


def _are_lists_of_numbers(column: Column) -> bool:
    values = pc.list_flatten(column)
    there = len(values) - values.null_count
    return bool(np.isfinite(numbers(values).value_B).sum() >= (1 - _NO_NUMBERS) * there > 0)


def width_of(column: Column) -> int:
    """How long nearly all lists of a column are, if that is more than one; else 0."""
    if not pa.types.is_list(column.type):
        return 0
    length_N = pc.drop_null(pc.list_value_length(column)).to_numpy(zero_copy_only=False)
    length_N = length_N[length_N > 0]
    if not len(length_N):
        return 0
    usual = int(np.bincount(length_N).argmax())
    return usual if usual > 1 and (length_N == usual).mean() >= 1 - _NO_NUMBERS else 0


def separator_of(column: Column) -> str:
    """What separates the categories of a cell, or nothing."""
    if not pa.types.is_string(column.type):
        return ""
    uniques, _ = texts(column)
    for separator in _SEPARATORS:
        together = [text for text in uniques if separator in text]
        if not together:
            continue
        parts = {part.strip() for text in uniques for part in text.split(separator)} - {""}
        if separator == "|":
            return separator
        if any(part.replace(".", "").isdigit() for part in parts) or 10 * len(together) < len(uniques):
            continue
        if separator == " ":
            if len(uniques) >= _FEWEST_CELLS and _PARTS_A_CELL * len(parts) <= len(uniques):
                return separator
        elif len(parts) < len(uniques):
            return separator
    return ""
