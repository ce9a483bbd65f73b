"""Rows of a file become columns of events, or dead letters.

Shape suffix: B rows.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from replay.meaning.columns import Columns
from replay.meaning.decide import time_column
from replay.meaning.labels import LabelRule
from replay.meaning.mapping import ROW_ORDER, Mapping
from replay.meaning.times import TimeReader
from replay.meaning.zones import Zone
from replay.reading.arrow import Column
from replay.reading.canonical import Bools, shown_cell
from replay.reading.cells import Ids, dotted, numbers
from replay.reading.chunks import BadRow, Chunk
from state.keys import NO_KEY, Int64s, Names
from streams.times import SECOND_MS
from streams.wire import reasons
from streams.wire.message import BOUNDS, KEY_ROLES, NAMED_ROLES


@dataclass(slots=True)
class Converter:
    """Turns chunks into columns, the same way for every chunk of a log."""

    mapping: Mapping
    times: list[str]
    """Columns of the file: none where rows are the clock, several where its parts stand apart."""
    clock: TimeReader
    rule: LabelRule | None
    """`column` is a column of the file here, not a role."""
    zone: Zone | None
    names: Names
    ids: dict[str, Ids]
    """Of each role that is an id."""
    decimal_commas: dict[str, None]
    """Columns in which a number was written with a comma."""
    _ticks: int = 0

    def __init__(
        self,
        mapping: Mapping,
        times: list[str],
        clock: TimeReader,
        rule: LabelRule | None,
        zone: Zone | None,
        names: Names,
    ) -> None:
        self.mapping, self.times = mapping, times
        self.clock, self.rule, self.zone, self.names = clock, rule, zone, names
        self.ids = {role: Ids(names if role in NAMED_ROLES else None) for role in KEY_ROLES}
        self.decimal_commas = {}
        self._ticks = 0

    @property
    def needed(self) -> list[str]:
        """The columns of the file that are read."""
        rule = [self.rule.column] if self.rule else []
        mapped = [name for role, name in self.mapping.columns.items() if role not in ("time", "tz", "text")]
        zone = [self.mapping.columns["tz"]] if "tz" in self.mapping.columns and self.zone is None else []
        return list(dict.fromkeys([*mapped, *self.times, *zone, *rule]))

    def restart(self) -> None:
        """Begin a log anew."""
        self._ticks = 0

    @property
    def settled(self) -> bool:
        """Whether all ids of the log were read by one rule; if not, `reread` it."""
        return all(ids.settled for ids in self.ids.values())

    @property
    def notes(self) -> list[str]:
        """Sentences on how cells were read that could be read otherwise."""
        commas = ", ".join(self.decimal_commas)
        notes = [f"decimal comma in {commas}: a number such as 3,5 is read as 3.5"] if commas else []
        return notes + [
            f"{role}: an id such as 7.0 is read as 7, as all of them are numbers"
            for role, ids in self.ids.items()
            if ids.taken_as_whole
        ]

    def reread(self) -> None:
        """Take the ids of the log anew, with what is known of how they are written."""
        for ids in self.ids.values():
            ids.restart()

    def columns(self, chunk: Chunk) -> tuple[Columns, Bools | None, list[BadRow]]:
        """The good rows' columns, which rows they are (None for all), and the bad rows."""
        size = len(chunk)
        faults = _Faults(size)
        read = {name: _single(chunk, name, faults) for name in self.needed}
        made: Columns = {}
        for role, name in self.mapping.columns.items():
            if role == "time":
                made["time_ms"] = self._times(chunk, read, name, faults)
            elif role == "tz" and self.zone is not None:
                continue
            elif role in KEY_ROLES:
                made[role] = self.ids[role].keys(read[name])
                if role in ("user", "item"):
                    faults.mark(made[role] == NO_KEY, reasons.missing(role))
            elif role not in ("text", "label"):
                made[role] = _numbers(role, self._dotted(chunk, read, name), faults)
        if self.rule is not None:
            made["label"], bad_B = self.rule.label(self._dotted(chunk, read, self.rule.column))
            faults.mark(bad_B, reasons.bad("label"), f"no value that {self.rule} can be asked of")
            faults.mark(np.isnan(made["label"]), reasons.missing("label"))
        if "lat" in made or "lon" in made:
            nowhere = np.full(size, np.nan)
            nowhere_B = np.isnan(made.get("lat", nowhere)) | np.isnan(made.get("lon", nowhere))
            for role in made.keys() & {"lat", "lon"}:
                made[role][nowhere_B] = np.nan
        self._ticks += size + len(chunk.bad)
        keep_B = None
        if faults.any:
            keep_B = faults.code_B == 0
            made = {role: column[keep_B] for role, column in made.items()}
        if self.zone is not None:
            made["tz_min"] = self.zone.offset_min(made["time_ms"])
        elif "tz" in made:
            made["tz_min"] = np.nan_to_num(made.pop("tz")).astype(np.int64)
        return made, keep_B, faults.bad(chunk)

    def _dotted(self, chunk: Chunk, read: dict[str, Column], name: str) -> Column:
        column = dotted(read[name]) if chunk.decimal_comma else read[name]
        if column is not read[name]:
            self.decimal_commas[name] = None
        return column

    def _times(self, chunk: Chunk, read: dict[str, Column], name: str, faults: "_Faults") -> Int64s:
        if name == ROW_ORDER:
            return np.arange(self._ticks, self._ticks + len(chunk)) * SECOND_MS
        columns = {name: self._dotted(chunk, read, name) for name in self.times}
        time_ms_B, faulty = self.clock.read(time_column(columns, self.times))
        for fault in faulty:
            faults.mark(*fault)
        return time_ms_B


def _single(chunk: Chunk, name: str, faults: "_Faults") -> Column:
    """A column of the chunk, with its unreadable cells marked."""
    column, unreadable_B = chunk.cells(name)
    if unreadable_B is not None:
        faults.mark(unreadable_B, reasons.WRONG_TYPE, f"column {name!r}: expected one text or number")
    return column


def _numbers(role: str, column: Column, faults: "_Faults") -> NDArray[np.float64]:
    cells = numbers(column)
    faults.mark(cells.bad_B, reasons.bad(role), "expected a number")
    least, most = BOUNDS[role]
    outside_B = (cells.value_B < least) | (cells.value_B > most)
    faults.mark(outside_B, reasons.bad(role), f"expected {least:g} to {most:g}")
    return cells.value_B


class _Faults:
    """The first thing wrong with each row."""

    def __init__(self, size: int) -> None:
        self.code_B = np.zeros(size, np.int8)
        self._found: list[tuple[str, str]] = []

    @property
    def any(self) -> bool:
        return bool(self._found)

    def mark(self, bad_B: Bools, reason: str, detail: str = "") -> None:
        if bad_B.any():
            self._found.append((reason, detail))
            self.code_B[bad_B & (self.code_B == 0)] = len(self._found)

    def bad(self, chunk: Chunk) -> list[BadRow]:
        """Every bad row of the chunk, in order."""
        rows = list(chunk.bad)
        for b in np.flatnonzero(self.code_B).tolist():
            cells = {name: shown_cell(column, b) for name, column in chunk.columns.items()}
            reason, detail = self._found[self.code_B[b] - 1]
            rows.append(BadRow(int(chunk.number_B[b]), reason, cells, detail))
        return sorted(rows, key=lambda row: row.number)
