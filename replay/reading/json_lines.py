"""JSON lines: text files of one object a line; and JSON files that are one array of objects."""

import json
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from operator import attrgetter, methodcaller
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa

from replay.reading.canonical import Read
from replay.reading.chunks import BadRow, Chunk
from replay.reading.json_array import is_array, lines_of_array
from replay.reading.lines import Reform, blocks, first_lines
from replay.reading.text import HEAD_BYTES, pieces
from streams.wire import reasons

_HEAD_LINES = 1000
_ESCAPED = re.compile(r'["\\\x00-\x1f]')
"""What JSON writes otherwise in a name."""
_OBJECT = msgspec.json.Decoder(dict[str, msgspec.Raw])


class JsonLinesFile:
    """A file of one JSON object a line, or of one array of them. A column is a name that occurs in any."""

    rows: int | None = None

    def __init__(self, path: Path) -> None:
        self.path = path
        start = next(pieces(path, HEAD_BYTES), b"")
        self._reform: Reform = lines_of_array if is_array(start) else iter
        names: dict[str, None] = {}
        rows: list[Any] = []
        for line in first_lines(path, _HEAD_LINES, self._reform):
            try:
                row = msgspec.json.decode(line)
            except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
                continue
            if isinstance(row, dict):
                rows.append(row)
                names.update(dict.fromkeys(row))
        for block in blocks(path, reform=self._reform, quotes=False):
            names.update(_keys(block, names))
        self.columns = list(names)
        self.doubt = _doubt(start, rows)

    def chunks(self, columns: Sequence[str]) -> Iterator[Chunk]:
        """Rows with the chosen columns; in an array a row's number is its place."""
        decoder, cell = _decoder(columns)
        number = 1
        for block in blocks(self.path, reform=self._reform, quotes=False):
            lines = block.count(b"\n") + (not block.endswith(b"\n"))
            bad: list[BadRow] = []
            number_B = np.arange(number, number + lines)
            try:
                rows = decoder.decode_lines(block)
            except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
                rows = []
            if len(rows) != lines:
                rows, number_B = _decoded_singly(decoder, block, number, bad)
            read = {name: _column([cell[name](row) for row in rows]) for name in columns}
            yield Chunk.of(read, number_B, bad)
            number += lines


def _decoder(columns: Sequence[str]) -> tuple["msgspec.json.Decoder[Any]", dict[str, Callable[[Any], Any]]]:
    """What reads rows, and what takes the cell of a column out of one.

    Only the columns that are asked for are made, unless one has a name that no field of a struct can have.
    """
    if any(_ESCAPED.search(name) for name in columns):
        return msgspec.json.Decoder(dict[str, Any]), {name: methodcaller("get", name) for name in columns}
    fields = {name: f"f{i}" for i, name in enumerate(columns)}
    row_type = msgspec.defstruct(
        "Row", [(field, Any, None) for field in fields.values()], rename={f: n for n, f in fields.items()}
    )
    return msgspec.json.Decoder(row_type), {name: attrgetter(field) for name, field in fields.items()}


def _doubt(start: bytes, rows: list[Any]) -> str:
    """That the rows are inside of an object, or over several lines."""
    if len(rows) == 1:
        tables = (k for k, v in rows[0].items() if isinstance(v, list) and v and isinstance(v[0], dict))
        inside = next(tables, None)
        if inside is not None:
            return (
                f"expected objects, one a line or in one array, found one that holds them in {inside!r};"
                f" take them out: jq -c '.[{json.dumps(inside)}][]' FILE > LINES.jsonl"
            )
    if not rows and start.lstrip().startswith(b"{"):
        return (
            "expected objects, one a line or in one array, found one over several lines; put each on a line: "
            "jq -c . FILE > LINES.jsonl"
        )
    return "" if rows else "expected objects, one a line or in one array, found none; give a log with events"


def _keys(block: bytes, known: dict[str, None]) -> dict[str, None]:
    """The names in a block of lines that are not known yet, in order."""
    new: dict[str, None] = {}
    try:
        rows: Iterable[dict[str, msgspec.Raw]] = _OBJECT.decode_lines(block)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        rows = _objects(block)
    for row in rows:
        if not known.keys() >= row.keys():
            new |= dict.fromkeys(name for name in row if name not in known)
    return new


def _objects(block: bytes) -> Iterator[dict[str, msgspec.Raw]]:
    for line in block.split(b"\n"):
        try:
            yield _OBJECT.decode(line)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            continue


def _decoded_singly(
    decoder: "msgspec.json.Decoder[Any]", block: bytes, number: int, bad: list[BadRow]
) -> tuple[list[Any], Any]:
    rows: list[Any] = []
    numbers: list[int] = []
    for i, line in enumerate(block.split(b"\n")):
        if not line.strip():
            continue
        try:
            rows.append(decoder.decode(line))
            numbers.append(number + i)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            reason = (
                reasons.WRONG_TYPE if isinstance(error, msgspec.ValidationError) else reasons.MALFORMED_JSON
            )
            bad.append(BadRow(number + i, reason, line.decode(), str(error)))
    return rows, np.array(numbers, np.int64)


def _column(cells: list[Any]) -> Read:
    """Cells of one type as they are, of several types as texts, or as lists where there are any."""
    kinds = {type(cell) for cell in cells if cell is not None}
    if kinds <= {int} or kinds == {float}:
        try:
            return pa.array(cells, pa.float64() if float in kinds else pa.int64()), None
        except (pa.ArrowException, OverflowError):
            pass  # whole numbers beyond 64 bits
    if kinds == {str}:
        return pa.array(cells, pa.string()), None
    if list not in kinds:
        bad_B = np.array([isinstance(cell, dict) for cell in cells]) if dict in kinds else None
        return pa.array([text_of(cell) for cell in cells], pa.string()), bad_B
    lists = [cell if cell is None or isinstance(cell, list) else [cell] for cell in cells]
    deep_B = np.array([any(isinstance(v, dict | list) for v in cell or ()) for cell in lists])
    texts = [None if cell is None else [text_of(value) for value in cell] for cell in lists]
    return pa.array(texts, pa.list_(pa.string())), deep_B if deep_B.any() else None


def text_of(cell: Any) -> str | None:
    """As a column of texts has it."""
    if cell is None or isinstance(cell, str):
        return cell
    if isinstance(cell, float):
        return str(int(cell)) if cell.is_integer() else repr(cell)
    if isinstance(cell, dict | list):
        return msgspec.json.encode(cell).decode()
    return str(cell).lower() if isinstance(cell, bool) else str(cell)
