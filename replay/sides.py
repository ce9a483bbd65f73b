"""Side tables in: files of what is known of items or users.

Each column is one of
- `number`: numbers, also written as text; not what is called an id, a code or a zip;
- `categories`: several a cell, separated by `|`, `;`, `,` or blanks, where the parts plainly repeat;
- `category`: text (or an id) whose values repeat, twice on the average, or that is called so;
- `text`: nearly unique cells of several words;
- `place`: latitude and longitude;
- `since`: the time from which the row holds;
- `ignored`: nearly unique single words (a venue's foreign id), or nothing at all.

Shape suffix: N rows.
"""

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from replay.arrow import Column, pc
from replay.canonical import Bools, joined
from replay.cells import Ids, dotted, numbers, texts
from replay.chunks import RowsFile
from replay.evidence import TimeEvidence
from replay.files import open_file
from replay.times import Clock
from replay.usual import USUAL, plain
from state.errors import InputError
from state.examples import Doubles
from state.keys import NO_KEY, Int64s, Names
from state.side import ALWAYS, Categories, SideTable
from streams.times import time_ms

KINDS = ("number", "category", "categories", "text", "place", "since", "ignored")
_CODES = re.compile(r"(^|_)(id|ids|code|codes|zip|zipcode|postcode|postal|phone|sku|upc|isbn)($|_)")
_SINCE = (
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
_BOUNDS_MS = time_ms("1900-01-01", "earliest"), time_ms("2100-01-01", "latest")
_FEWEST_CELLS = 20
_PARTS_A_CELL = 5
_SHOWN = 8


def load_side(
    path: Path, kind: str, names: Names, types: dict[str, str] | None = None, id_: str = ""
) -> SideTable:
    """The side table of a file; `kind` is `item` or `user`.

    `types` says what a column is (one of KINDS) where the values would mislead; `id_` is the id column, else
    found by its usual name. Raises InputError.
    """
    return side_of(open_file(path), kind, names, types, id_)


def side_of(
    file: RowsFile,
    kind: str,
    names: Names,
    types: dict[str, str] | None = None,
    id_: str = "",
    ids: Ids | None = None,
) -> SideTable:
    """The side table of an opened file; see `load_side`. `ids` read the log's ids of this kind, too."""
    table = _read(file)
    id_column = id_ or find_id(file.columns, kind) or ""
    if id_column not in table:
        there = ", ".join(file.columns)
        raise InputError(
            f"{file.path}: no column holds the {kind}'s id; call it {kind}_id, or as the log does; "
            f"there are {there}"
        )
    id_N = (ids or Ids(names)).keys(table.pop(id_column))
    kinds = column_kinds(table, types or {})
    since_N = _since(table, kinds)
    order = np.lexsort((since_N, id_N))
    order = order[id_N[order] != NO_KEY]
    lat_N, lon_N = _places(table, kinds, order)
    return SideTable(
        id_N=id_N[order],
        since_ms_N=since_N[order],
        numbers={plain(name): _ordered(table[name], order) for name, k in kinds.items() if k == "number"},
        categories={
            plain(name): _categories(
                table[name], order, names, _separator(table[name]) if k == "categories" else ""
            )
            for name, k in kinds.items()
            if k in ("category", "categories")
        },
        texts={plain(name): _texts(table[name], order) for name, k in kinds.items() if k == "text"},
        lat_N=lat_N,
        lon_N=lon_N,
    )


def find_id(columns: Iterable[str], kind: str, like: str = "") -> str | None:
    """The column that holds the id: the one called as in the log (`like`), or by a usual name."""
    by_name = {plain(column): column for column in reversed(list(columns))}
    usual = (plain(like), *USUAL[kind], "id") if like else (*USUAL[kind], "id")
    return next((by_name[name] for name in usual if name in by_name), None)


def column_kinds(table: dict[str, Column], types: dict[str, str]) -> dict[str, str]:
    """What each column of a side table is taken for."""
    places = {
        role: next((name for usual in USUAL[role] for name in table if plain(name) == usual), None)
        for role in ("lat", "lon")
    }
    both = None not in places.values()
    return {
        name: types.get(plain(name)) or ("place" if both and name in places.values() else _kind(name, column))
        for name, column in table.items()
    }


def _kind(name: str, column: Column) -> str:
    called = plain(name)
    if column.null_count == len(column):
        return "ignored"
    if called in _SINCE and _is_time(column):
        return "since"
    if pa.types.is_nested(column.type):
        return "ignored"
    if pa.types.is_temporal(column.type):
        return "number"
    uniques, index_N = texts(column)
    cells = int((index_N >= 0).sum())
    repeats = 2 * len(uniques) <= cells
    if not _CODES.search(called) and _are_numbers(column, uniques):
        return "number"
    if _separator(column):
        return "categories"
    if repeats or called in USUAL["category"]:
        return "category"
    words = np.mean([len(text.split()) for text in uniques]) if uniques else 0
    return "text" if words >= 1.5 else "ignored"


def _is_time(column: Column) -> bool:
    evidence = TimeEvidence()
    evidence.add(column)
    try:
        return evidence.reading("", final=False).unit != "tick"
    except InputError:
        return False


def _are_numbers(column: Column, uniques: list[str]) -> bool:
    cells = numbers(column)
    zeros = any(len(text) > 1 and text.startswith("0") and text.isdigit() for text in uniques)
    return not bool(cells.bad_B.any()) and not bool(np.isnan(cells.value_B).all()) and not zeros


def _separator(column: Column) -> str:
    """What separates the categories of a cell, or nothing."""
    if pa.types.is_integer(column.type) or pa.types.is_floating(column.type):
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


def _read(file: RowsFile) -> dict[str, Column]:
    parts: dict[str, list[Column]] = {name: [] for name in file.columns}
    decimal_comma = False
    for chunk in file.chunks(file.columns):
        decimal_comma |= chunk.decimal_comma
        for name, column in chunk.columns.items():
            unreadable_B = chunk.unreadable.get(name)
            parts[name].append(column if unreadable_B is None else _without(column, unreadable_B))
    if not any(parts.values()):
        raise InputError(f"{file.path}: the side table has no rows; give one that does, or none")
    table = {name: joined(columns) for name, columns in parts.items()}
    return {name: _numbers_dotted(column) for name, column in table.items()} if decimal_comma else table


def _without(column: Column, unreadable_N: Bools) -> Column:
    made: Column = pc.if_else(pa.array(unreadable_N), pa.scalar(None, column.type), column)
    return made


def _numbers_dotted(column: Column) -> Column:
    """The column with its decimal commas as points, if that makes numbers of all its cells."""
    made = dotted(column)
    return column if numbers(made).bad_B.any() else made


def _since(table: dict[str, Column], kinds: dict[str, str]) -> Int64s:
    name = next((name for name, kind in kinds.items() if kind == "since"), None)
    if name is None:
        size = len(next(iter(table.values()))) if table else 0
        return np.full(size, ALWAYS, np.int64)
    evidence = TimeEvidence()
    evidence.add(table[name])
    reading = evidence.reading(f"the side table's column {name!r}")
    clock = Clock(reading.unit, *_BOUNDS_MS, reading.day_first)
    time_ms_N, faults = clock.read(table[name])
    for fault_N, _, _ in faults:
        time_ms_N[fault_N] = ALWAYS
    return time_ms_N


def _places(
    table: dict[str, Column], kinds: dict[str, str], order: Int64s
) -> tuple[Doubles | None, Doubles | None]:
    """Latitudes and longitudes, NaN both where either is missing or absurd; None without columns."""
    found = {plain(name): _ordered(table[name], order) for name, kind in kinds.items() if kind == "place"}
    lat_N = next((column for name, column in found.items() if name in USUAL["lat"]), None)
    lon_N = next((column for name, column in found.items() if name in USUAL["lon"]), None)
    if lat_N is None or lon_N is None:
        return None, None
    sound_N = (np.abs(lat_N) <= 90) & (np.abs(lon_N) <= 180)
    return np.where(sound_N, lat_N, np.nan), np.where(sound_N, lon_N, np.nan)


def _ordered(column: Column, order: Int64s) -> Doubles:
    if pa.types.is_temporal(column.type):
        column = pc.cast(pc.cast(column, pa.timestamp("ms"), safe=False), pa.int64())
    return numbers(column).value_B[order]


def _texts(column: Column, order: Int64s) -> list[str]:
    uniques, index_N = texts(column)
    padded = [*uniques, ""]
    return [padded[i] for i in index_N[order].tolist()]


def _categories(column: Column, order: Int64s, names: Names, separator: str) -> Categories:
    uniques, index_N = texts(column)
    parts = [text.split(separator) if separator else [text] for text in uniques]
    keys = [list(dict.fromkeys(names.add(p.strip()) for p in cell if p.strip())) for cell in parts]
    flat: Any = [keys[i] if i >= 0 else [] for i in index_N[order].tolist()]
    start = np.cumsum([0, *(len(cell) for cell in flat)]).astype(np.int64)
    return Categories(start, np.array([key for cell in flat for key in cell], np.int64))
