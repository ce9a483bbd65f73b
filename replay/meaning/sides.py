"""Side tables in: files of what is known of items or users. What its columns are:
`replay.meaning.side_columns`.

Nothing is left out in silence: a row that cannot be read, or that belongs to nobody, is a dead letter; a cell
that is none of its column's is missing, and counted; a column that is not used is named.

Shape suffix: N rows.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa

from replay.meaning.evidence import TimeEvidence
from replay.meaning.side_cells import categories_of, numbers_of, texts_of, vectors_of
from replay.meaning.side_columns import SideColumn, are_numbers, column_kinds, separator_of, width_of
from replay.meaning.times import TimeReader, iso
from replay.reading.arrow import Column, pc
from replay.reading.canonical import Bools, joined, one_value, shown_cell
from replay.reading.cells import Ids, dotted, numbers
from replay.reading.chunks import BadRow, RowsFile
from replay.reading.usual_names import USUAL, plain
from state.errors import InputError
from state.examples import Doubles
from state.keys import NO_KEY, Int64s, Names
from state.side import ALWAYS, SideTable
from streams.times import time_ms
from streams.wire import reasons

_BOUNDS_MS = time_ms("1900-01-01", "earliest"), time_ms("2100-01-01", "latest")


@dataclass(frozen=True, slots=True)
class ReadSide:
    """A side table, and what of its files is not in it."""

    name: str
    kind: str
    """`item` or `user`."""
    table: SideTable
    columns: dict[str, SideColumn]
    """By plain name, without those that are ignored."""
    bad: list[tuple[Path, BadRow]]
    """Rows that were left out, and their files."""
    notes: list[str]
    """Sentences on columns and cells that are not used."""
    warnings: list[str]
    """Sentences on rows that are not used."""

    @property
    def kinds(self) -> dict[str, str]:
        """Column -> what it is taken for."""
        return {name: column.kind for name, column in self.columns.items()}


def side_of(
    files: Sequence[RowsFile],
    kind: str,
    names: Names,
    types: dict[str, str] | None = None,
    like: str = "",
    ids: Ids | None = None,
    day_first: bool | None = None,
) -> ReadSide:
    """The side table of opened files with the same columns; `kind` is `item` or `user`.

    `types` says what a column is where the values would mislead; `like` is what the log calls the ids: a
    column called so has them, else one of a usual name; `ids` read the log's ids of this kind, too;
    `day_first` is what 03/04/2024 means in the log.
    Raises InputError.
    """
    for file in files:
        if file.doubt:
            raise InputError(f"{file.path}: {file.doubt}")
    file = files[0]
    id_column = find_id(file.columns, kind, like)
    if id_column is None:
        there = ", ".join(file.columns)
        raise InputError(
            f"{file.path}: no column holds the {kind}'s id; call it {kind}_id, or as the log does; "
            f"there are {there}"
        )
    raw = _read(files, id_column)
    name, notes = file.path.name, raw.notes
    table = _one_a_name(raw.table, id_column, name, notes)
    id_cells, several_N = one_value(table.pop(id_column))
    if several_N is not None:
        raw.mark(several_N, reasons.WRONG_TYPE, f"column {id_column!r}: expected one text or number")
    id_N = (ids or Ids(names)).keys(id_cells)
    raw.mark(id_N == NO_KEY, reasons.missing(kind), "expected an id, got none")
    described = column_kinds(table, types or {})
    kinds = {column: type_ for column, (type_, _) in described.items()}
    notes += [
        f"{name}: column {column!r} is not used: {why}"
        for column, (type_, why) in described.items()
        if type_ == "ignored"
    ]
    since = [column for column, type_ in kinds.items() if type_ == "since"]
    notes += [f"{name}: column {column!r} is not used: rows hold from {since[0]!r}" for column in since[1:]]
    since_N = _since(table, kinds, raw, day_first)
    order = np.lexsort((since_N, id_N))
    order = order[raw.good_N[order]]
    lat_N, lon_N = _places(table, kinds, order, name, notes)
    columns = {
        column: SideColumn(
            type_,
            separator_of(table[column]) if type_ == "categories" else "",
            width_of(table[column]) if type_ == "vector" else 0,
            type_ == "number" and pa.types.is_temporal(table[column].type),
        )
        for column, type_ in kinds.items()
        if type_ != "ignored"
    }
    made = SideTable(
        id_N=id_N[order],
        since_ms_N=since_N[order],
        numbers={
            plain(column): numbers_of(table[column], order, f"{name}: column {column!r}", notes)
            for column, type_ in kinds.items()
            if type_ == "number"
        },
        categories={
            plain(column): categories_of(table[column], order, names, side_column.separator)
            for column, side_column in columns.items()
            if side_column.kind in ("category", "categories")
        },
        texts={
            plain(column): texts_of(table[column], order)
            for column, type_ in kinds.items()
            if type_ == "text"
        },
        vectors={
            plain(column): vectors_of(
                table[column], order, side_column.width, f"{name}: column {column!r}", notes
            )
            for column, side_column in columns.items()
            if side_column.kind == "vector"
        },
        lat_N=lat_N,
        lon_N=lon_N,
    )
    again = int(((np.diff(made.id_N) == 0) & (np.diff(made.since_ms_N) == 0)).sum())
    if again:
        notes.append(f"{name}: {again:,} rows have the {kind} and the time of a later one, which counts")
    used = {plain(column): side_column for column, side_column in columns.items()}
    return ReadSide(name, kind, made, used, raw.bad, notes, raw.warnings(name))


def find_id(columns: Iterable[str], kind: str, like: str = "") -> str | None:
    """The column that holds the id: the one called as in the log (`like`), or by a usual name."""
    by_name = {plain(column): column for column in reversed(list(columns))}
    usual = (plain(like), *USUAL[kind], "id") if like else (*USUAL[kind], "id")
    return next((by_name[name] for name in usual if name in by_name), None)


class _Raw:
    """The rows of side files, and what is wrong with which."""

    def __init__(
        self, table: dict[str, Column], origin: list[tuple[Path, Int64s]], bad: list[tuple[Path, BadRow]]
    ) -> None:
        self.table, self.bad = table, bad
        self.notes: list[str] = []
        self._origin = origin
        self.good_N = np.ones(sum(len(number_B) for _, number_B in origin), np.bool_)

    def mark(self, bad_N: Bools, reason: str, detail: str) -> None:
        """Leave out rows, with a dead letter each."""
        for n in np.flatnonzero(bad_N & self.good_N).tolist():
            path, number = self._where(n)
            cells = {name: shown_cell(column, n) for name, column in self.table.items()}
            self.bad.append((path, BadRow(number, reason, cells, detail)))
        self.good_N &= ~bad_N

    def _where(self, n: int) -> tuple[Path, int]:
        for path, number_B in self._origin:
            if n < len(number_B):
                return path, int(number_B[n])
            n -= len(number_B)
        raise IndexError(n)

    def warnings(self, name: str) -> list[str]:
        if not self.bad:
            return []
        counts: dict[str, int] = {}
        for _, row in self.bad:
            counts[row.reason] = counts.get(row.reason, 0) + 1
        by_reason = ", ".join(f"{count:,} x {reason}" for reason, count in counts.items())
        rows = len(self.bad) + int(self.good_N.sum())
        return [
            f"{name}: {len(self.bad):,} of {rows:,} rows are left out ({by_reason}); see the dead letters"
        ]


def _read(files: Sequence[RowsFile], id_column: str) -> _Raw:
    columns = files[0].columns
    parts: dict[str, list[Column]] = {name: [] for name in columns}
    origin: list[tuple[Path, Int64s]] = []
    bad: list[tuple[Path, BadRow]] = []
    unreadable = dict.fromkeys(columns, 0)
    decimal_comma = False
    for file in files:
        for chunk in file.chunks(columns):
            decimal_comma |= chunk.decimal_comma
            bad += [(file.path, row) for row in chunk.bad]
            origin.append((file.path, chunk.number_B))
            for name, column in chunk.columns.items():
                unreadable_B = chunk.unreadable.get(name)
                parts[name].append(column if unreadable_B is None else _without(column, unreadable_B))
                unreadable[name] += 0 if unreadable_B is None else int(unreadable_B.sum())
    if not sum(len(number_B) for _, number_B in origin):
        why = f" that can be read ({bad[0][1].reason}: {bad[0][1].detail})" if bad else ""
        raise InputError(f"{files[0].path}: the side table has no rows{why}; give one that does, or none")
    table = {name: joined(arrays) for name, arrays in parts.items()}
    for name in table.keys() - {id_column}:
        table[name] = _meant(table[name], decimal_comma)
    raw = _Raw(table, origin, bad)
    raw.notes += [
        f"{files[0].path.name}: column {name!r}: {count:,} cells are neither text nor number: missing"
        for name, count in unreadable.items()
        if count
    ]
    return raw


def _one_a_name(table: dict[str, Column], id_column: str, where: str, notes: list[str]) -> dict[str, Column]:
    """The first column of each plain name; the others are named in `notes`."""
    first_of: dict[str, str] = {}
    for name in table:
        first = first_of.setdefault(plain(name), name)
        if first != name and id_column not in (first, name):
            notes.append(f"{where}: column {name!r} is not used: {first!r} is called the same")
    kept = {id_column, *first_of.values()}
    return {name: column for name, column in table.items() if name in kept}


def _without(column: Column, unreadable_N: Bools) -> Column:
    made: Column = pc.if_else(pa.array(unreadable_N), pa.scalar(None, column.type), column)
    return made


def _meant(column: Column, decimal_comma: bool) -> Column:
    """Lists of one as their values, texts that are all of them times as times, and those with decimal commas
    as numbers where most are."""
    single, several_N = one_value(column)
    if several_N is not None and not several_N.any():
        column = single
    if not pa.types.is_string(column.type) or column.null_count == len(column):
        return column
    time_ms_N = iso(column)
    if time_ms_N is not None:
        return pa.array(time_ms_N, pa.int64(), mask=np.asarray(column.is_null())).cast(pa.timestamp("ms"))
    made = dotted(column) if decimal_comma else column
    return made if made is not column and are_numbers(made) else column


def _since(table: dict[str, Column], kinds: dict[str, str], raw: _Raw, day_first: bool | None) -> Int64s:
    """From when each row holds; one whose time cannot be read is left out."""
    name = next((name for name, kind in kinds.items() if kind == "since"), None)
    if name is None:
        return np.full(len(raw.good_N), ALWAYS, np.int64)
    evidence = TimeEvidence()
    evidence.add(table[name])
    reading = evidence.reading(f"the side table's column {name!r}", usual=day_first)
    time_ms_N, faults = TimeReader(reading.unit, *_BOUNDS_MS, reading.day_first).read(table[name])
    for fault_N, reason, detail in faults:
        if reason == reasons.missing("time"):
            time_ms_N[fault_N] = ALWAYS
        else:
            raw.mark(fault_N & (time_ms_N != ALWAYS), reason, f"column {name!r}: {detail}")
    return time_ms_N


def _places(
    table: dict[str, Column], kinds: dict[str, str], order: Int64s, where: str, notes: list[str]
) -> tuple[Doubles | None, Doubles | None]:
    """Latitudes and longitudes, NaN both where either is missing or absurd; None without columns."""
    places = {plain(name): numbers(table[name]).value_B for name, kind in kinds.items() if kind == "place"}
    lat_N = next((column[order] for name, column in places.items() if name in USUAL["lat"]), None)
    lon_N = next((column[order] for name, column in places.items() if name in USUAL["lon"]), None)
    if lat_N is None or lon_N is None:
        return None, None
    sound_N = (np.abs(lat_N) <= 90) & (np.abs(lon_N) <= 180)
    said_N = np.any(
        [np.asarray(table[n].is_valid())[order] for n, kind in kinds.items() if kind == "place"], 0
    )
    if (said_N & ~sound_N).any():
        notes.append(
            f"{where}: {int((said_N & ~sound_N).sum()):,} rows have half a place, or none on this planet"
        )
    return np.where(sound_N, lat_N, np.nan), np.where(sound_N, lon_N, np.nan)
