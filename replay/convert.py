"""Rows of a file become columns of events, or dead letters.

Shape suffix: B rows.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from replay.arrow import Column
from replay.canonical import Bools
from replay.cells import Ids, dotted, numbers
from replay.chunks import BadRow, Chunk
from replay.labels import LabelRule
from replay.mapping import ROW_ORDER, Mapping
from replay.times import SECOND_MS, Clock
from replay.zones import Zone
from state.keys import NO_KEY, Int64s, Names
from streams import reasons
from streams.wire import BOUNDS, KEY_ROLES, NAMED_ROLES

Columns = dict[str, NDArray[Any]]
"""Role (or `time_ms`, `tz_min`, `seq`) -> one value a row, all of one length."""


@dataclass(slots=True)
class Converter:
    """Turns chunks into columns, the same way for every chunk of a log."""

    mapping: Mapping
    clock: Clock
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
        self, mapping: Mapping, clock: Clock, rule: LabelRule | None, zone: Zone | None, names: Names
    ) -> None:
        self.mapping, self.clock, self.rule, self.zone, self.names = mapping, clock, rule, zone, names
        self.ids = {role: Ids(names if role in NAMED_ROLES else None) for role in KEY_ROLES}
        self.decimal_commas = {}
        self._ticks = 0

    @property
    def needed(self) -> list[str]:
        """The columns of the file that are read."""
        rule = [self.rule.column] if self.rule else []
        mapped = [name for role, name in self.mapping.columns.items() if role != "text"]
        columns = dict.fromkeys([*mapped, *rule])
        return [name for name in columns if name != ROW_ORDER and not self._is_zone(name)]

    def _is_zone(self, column: str) -> bool:
        return self.zone is not None and column == self.mapping.columns.get("tz")

    def restart(self) -> None:
        """Begin a log anew."""
        self._ticks = 0

    @property
    def settled(self) -> bool:
        """Whether all ids of the log were read by one rule; if not, `reread` it."""
        return all(ids.settled for ids in self.ids.values())

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
        if "lat" in made and "lon" in made:
            nowhere_B = np.isnan(made["lat"]) | np.isnan(made["lon"])
            made["lat"][nowhere_B] = made["lon"][nowhere_B] = np.nan
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
        time_ms_B, missing_B, bad_B, outside_B = self.clock.read(self._dotted(chunk, read, name))
        faults.mark(missing_B, reasons.missing("time"))
        faults.mark(bad_B, reasons.bad("time"), f"expected a time, as the log has it ({self.clock.unit})")
        faults.mark(outside_B, reasons.OUT_OF_BOUNDS, "expected one within --map earliest=... and latest=...")
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
        found = list(chunk.bad)
        for b in np.flatnonzero(self.code_B).tolist():
            cells = {name: column[b].as_py() for name, column in chunk.columns.items()}
            reason, detail = self._found[self.code_B[b] - 1]
            found.append(BadRow(int(chunk.number_B[b]), reason, cells, detail))
        return sorted(found, key=lambda row: row.number)
