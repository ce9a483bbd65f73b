"""What is known of an item, said anew: one JSON object a message, for a catalogue that changes while it is
learned from.

Which columns there are, and what each is, has been decided before (`replay.meaning.sides`), so a message is
read by itself: in whatever company it comes, its row is the one that a file with the same object would have
(Hypothesis). What a message does not say is missing: it is all that is known, not a patch.

Shape suffix: R rows.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec
import numpy as np

from replay.meaning.side_cells import LARGEST, LARGEST_VALUE
from replay.meaning.side_columns import SINCE, SideColumn
from replay.reading.cells import MISSING, number_of
from replay.reading.json_lines import text_of
from replay.reading.usual_names import USUAL, plain
from state.keys import Int64s, Names
from state.side import ALWAYS, Categories, SideTable
from streams.times import moment_ms
from streams.wire import reasons
from streams.wire.message import MAX_ID_CHARS, Fault, expected_ms, looks_like

MOST_BYTES = 1_000_000
"""Of a message."""
IDS = frozenset(("item", "id", *USUAL["item"]))
"""What a file calls the id, which is a message's key."""


@dataclass(frozen=True, slots=True)
class ItemChange:
    """An item, and what is known of it from now on; nothing once it has been deleted."""

    item: str
    cells: dict[str, Any] = field(default_factory=dict)
    """By plain name."""
    since_ms: int | None = None
    """From when it holds, where the message says so."""


def change_of(
    key: bytes | None, value: bytes | None, columns: Mapping[str, SideColumn] | None = None
) -> ItemChange:
    """A message about an item of a table with these columns. Raises Fault where it is none."""
    if not key:
        raise Fault(reasons.NO_MESSAGE_KEY, "expected the item's id as text")
    try:
        item = key.decode()
    except UnicodeDecodeError as error:
        raise Fault(reasons.bad("item"), f"expected the item's id as text, got {key[:40]!r}") from error
    if len(item) > MAX_ID_CHARS:
        raise Fault(reasons.bad("item"), f"expected up to {MAX_ID_CHARS} characters, got {len(item)}")
    if value is None:
        return ItemChange(item)
    if len(value) > MOST_BYTES:
        raise Fault(reasons.OVERSIZED, f"expected up to {MOST_BYTES:,} bytes, got {len(value):,}")
    try:
        message = msgspec.json.decode(value)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Fault(reasons.MALFORMED_JSON, str(error)) from error
    if not isinstance(message, dict):
        raise Fault(reasons.NOT_AN_ITEM, f"expected an object, got {type(message).__name__}")
    cells: dict[str, Any] = {}
    for name, cell in message.items():
        cells.setdefault(plain(name), cell)
    times = [
        name for name in SINCE if columns is None or name not in columns or columns[name].kind == "since"
    ]
    since = next((cells[name] for name in times if cells.get(name) is not None), None)
    return ItemChange(item, cells, None if since is None else _since_ms(since))


def unknown(changes: Sequence[ItemChange], columns: Mapping[str, SideColumn]) -> set[str]:
    """Names in messages that are no columns of the table."""
    names = {name for change in changes for name, cell in change.cells.items() if cell is not None}
    return names - columns.keys() - IDS - set(SINCE)


def rows_of(
    changes: Sequence[ItemChange], since_ms_R: Int64s, columns: Mapping[str, SideColumn], names: Names
) -> SideTable:
    """The rows (R,) of a table with these columns."""

    def cells(name: str) -> list[Any]:
        return [change.cells.get(name) for change in changes]

    def named(kind: str) -> dict[str, SideColumn]:
        return {name: column for name, column in columns.items() if column.kind == kind}

    places = {name: np.array([_number(cell) for cell in cells(name)]) for name in named("place")}
    lat_R = next((value_R for name, value_R in places.items() if name in USUAL["lat"]), None)
    lon_R = next((value_R for name, value_R in places.items() if name in USUAL["lon"]), None)
    if lat_R is not None and lon_R is not None:
        sound_R = (np.abs(lat_R) <= 90) & (np.abs(lon_R) <= 180)
        lat_R, lon_R = np.where(sound_R, lat_R, np.nan), np.where(sound_R, lon_R, np.nan)
    return SideTable(
        id_N=np.array([names.add(change.item) for change in changes], np.int64),
        since_ms_N=since_ms_R,
        numbers={
            name: np.array([(_moment if column.moments else _number)(cell) for cell in cells(name)])
            for name, column in named("number").items()
        },
        categories={
            name: Categories.of([_keys(cell, column, names) for cell in cells(name)])
            for name, column in {**named("category"), **named("categories")}.items()
        },
        texts={name: [_text(cell) or "" for cell in cells(name)] for name in named("text")},
        vectors={
            name: np.array([_vector(cell, column.width) for cell in cells(name)], np.float32).reshape(
                len(changes), column.width
            )
            for name, column in named("vector").items()
        },
        lat_N=lat_R,
        lon_N=lon_R,
    )


def _since_ms(cell: Any) -> int:
    if isinstance(cell, int) and not isinstance(cell, bool):
        unit = looks_like(cell)
        if unit is not None:
            raise Fault(reasons.looks_like(unit), expected_ms(cell))
        return max(cell, ALWAYS)
    moment = moment_ms(cell) if isinstance(cell, str) else None
    if moment is None:
        raise Fault(reasons.bad("time"), f"expected epoch milliseconds or ISO 8601, got {str(cell)[:40]!r}")
    return moment


def _moment(cell: Any) -> float:
    """In epoch milliseconds; NaN for what is none."""
    moment = moment_ms(cell) if isinstance(cell, str) else None
    return _number(cell) if moment is None else float(moment)


def _number(cell: Any) -> float:
    """NaN for what is none."""
    if isinstance(cell, list) and len(cell) == 1:
        [cell] = cell
    if isinstance(cell, str):
        value = math.nan if cell in MISSING else number_of(cell)
    else:
        value = float(cell) if isinstance(cell, bool | int | float) and abs(cell) <= LARGEST else math.nan
    return value if abs(value) <= LARGEST else math.nan


def _text(cell: Any) -> str | None:
    """As a column of texts has it; None for what is missing, or no text."""
    if isinstance(cell, dict | list) or (isinstance(cell, str) and cell in MISSING):
        return None
    return text_of(cell)


def _keys(cell: Any, column: SideColumn, names: Names) -> list[int]:
    if isinstance(cell, list):
        parts = [_text(part) for part in cell]
    else:
        text = _text(cell)
        parts = [text] if text is None or not column.separator else [*text.split(column.separator)]
    if column.kind == "category" and len(parts) > 1:
        return []
    stripped = [part.strip() for part in parts if part is not None]
    return list(dict.fromkeys(names.add(part) for part in stripped if part not in MISSING))


def _vector(cell: Any, width: int) -> list[float]:
    """Zeros for what is none of this length."""
    values = [_number(value) for value in cell] if isinstance(cell, list) else []
    sound = len(values) == width and all(abs(value) <= LARGEST_VALUE for value in values)
    return values if sound else [0.0] * width
