"""Lines of text files, a block at a time: CSV, TSV and the like, and JSON lines.

A block that parses at one go is taken so; one that does not is taken line by line, so that a bad row costs
itself and no other. A row is a line, or several where quotes hold its line ends together.
"""

import csv
import gzip
import io
import json
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO, Literal, cast

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.csv

from replay.arrow import Column
from replay.cells import decoded
from replay.chunks import BadRow, Chunk
from replay.usual import plain
from state.errors import InputError
from streams import reasons

BLOCK_BYTES = 1 << 22
_JOINED_LINES = 100
_HEAD_LINES = 1000
_NEWLINE, _QUOTE = 10, 34
_END = "\x03"

Scalar = str | int | float | bool | None


def _open(path: Path) -> BinaryIO:
    return cast(BinaryIO, gzip.open(path, "rb")) if path.suffix == ".gz" else path.open("rb")


def blocks(path: Path, size: int = BLOCK_BYTES) -> Iterator[bytes]:
    """The file in blocks of whole rows, each of about `size` bytes. Raises InputError on a torn gzip file."""
    rest = b""
    try:
        with _open(path) as file:
            while read := file.read(size):
                block = rest + read
                end = _end_of_rows(block)
                if end:
                    yield _utf8(block[:end])
                rest = block[end:]
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise InputError(f"{path}: damaged gzip file ({error}); fetch or write it again") from error
    if rest:
        yield _utf8(rest)


def _utf8(block: bytes) -> bytes:
    """The block, with lines that are no UTF-8 taken for Latin-1."""
    try:
        block.decode()
    except UnicodeDecodeError:
        return b"\n".join(decoded(line).encode() for line in block.split(b"\n"))
    return block


def _end_of_rows(block: bytes) -> int:
    """Where the last row that surely ends in `block` does; 0 if none."""
    end = block.rfind(b"\n") + 1
    if b'"' not in block:
        return end
    codes = np.frombuffer(block, np.uint8)
    open_quote = np.cumsum(codes == _QUOTE) & 1
    ends = np.flatnonzero((codes == _NEWLINE) & (open_quote == 0))
    return int(ends[-1]) + 1 if len(ends) and 2 * int(ends[-1]) > len(block) else end


class SeparatedFile:
    """A CSV file, or one with another separator, which is found in its first line.

    A first line that holds a number is no header: the columns are then called `column1`, `column2`, ...
    """

    rows: int | None = None

    def __init__(self, path: Path) -> None:
        self.path = path
        first = next(_first_lines(path, 1), "")
        self._separator = max("\t,;|", key=first.count) if first else ","
        fields = next(csv.reader([first], delimiter=self._separator), [])
        self._has_header = not any(_is_number(field) for field in fields)
        self.columns = (
            [field.strip().lstrip("\ufeff") for field in fields]
            if self._has_header
            else [f"column{i + 1}" for i in range(len(fields))]
        )

    def chunks(self, columns: Sequence[str]) -> Iterator[Chunk]:
        """Rows with the chosen columns, as binary arrays."""
        number = 1
        for block in blocks(self.path):
            start = block.index(b"\n") + 1 if number == 1 and self._has_header and b"\n" in block else 0
            if number == 1 and self._has_header and not start:
                return
            number += 1 if start else 0
            lines = block.count(b"\n", start) + (not block.endswith(b"\n"))
            body = block[start:] if start else block
            if body:
                whole = self._at_once(body, lines, number, columns)
                yield self._singly(body, number, columns) if whole is None else whole
            number += lines

    def _at_once(self, body: bytes, lines: int, number: int, columns: Sequence[str]) -> Chunk | None:
        bad: list[BadRow] = []
        if body.startswith((b"\n", b"\r\n")) or b"\n\n" in body or b"\n\r\n" in body:
            return None

        def skip(row: pa.csv.InvalidRow) -> Literal["skip", "error"]:
            bad.append(self._wrong_fields(number + (row.number or 1) - 1, row.text, row.actual_columns))
            return "skip"

        try:
            table = pa.csv.read_csv(
                io.BytesIO(body),
                pa.csv.ReadOptions(use_threads=False, column_names=self.columns, block_size=len(body) + 1),
                pa.csv.ParseOptions(
                    delimiter=self._separator,
                    invalid_row_handler=skip,
                    ignore_empty_lines=False,
                    newlines_in_values=True,
                ),
                pa.csv.ConvertOptions(
                    column_types=dict.fromkeys(self.columns, pa.binary()),
                    include_columns=list(columns),
                    strings_can_be_null=True,
                    null_values=[""],
                ),
            )
        except pa.ArrowInvalid:
            return None
        if table.num_rows + len(bad) != lines:
            return None
        number_B = np.arange(number, number + lines)
        if bad:
            number_B = np.setdiff1d(number_B, [row.number for row in bad])
        arrays = {name: pa.concat_arrays(table[name].chunks) for name in columns}
        return Chunk(arrays, number_B, bad)

    def _singly(self, body: bytes, number: int, columns: Sequence[str]) -> Chunk:
        lines = body.split(b"\n")
        if not lines[-1]:
            lines.pop()
        places = [self.columns.index(name) for name in columns]
        cells: list[list[bytes | None]] = [[] for _ in columns]
        numbers: list[int] = []
        bad: list[BadRow] = []
        at = 0
        while at < len(lines):
            fields, used = self._row(lines, at)
            if len(fields) == len(self.columns):
                numbers.append(number + at)
                for cell, place in zip(cells, places, strict=True):
                    cell.append(fields[place].encode() or None)
            elif lines[at].strip():
                text = lines[at].decode().rstrip("\r")
                bad.append(self._wrong_fields(number + at, text, len(fields)))
            at += used
        arrays: dict[str, Column] = {
            name: pa.array(cell, pa.binary()) for name, cell in zip(columns, cells, strict=True)
        }
        return Chunk(arrays, np.array(numbers, np.int64), bad)

    def _row(self, lines: list[bytes], at: int) -> tuple[list[str], int]:
        """The fields of the row that starts at a line, and how many lines it takes; no field if torn."""
        for used in range(1, min(_JOINED_LINES, len(lines) - at) + 1):
            fields = self._fields(b"\n".join(lines[at : at + used]))
            if fields is not None:
                return (fields, used) if used == 1 or len(fields) == len(self.columns) else ([], 1)
        return [], 1

    def _fields(self, row: bytes) -> list[str] | None:
        """The fields of one row, or None where a quote is still open at its end."""
        text = io.StringIO(f"{row.decode()}\n{_END}", newline="")
        try:
            *rows, last = csv.reader(text, delimiter=self._separator)
        except csv.Error:
            return []
        if last != [_END]:
            return None
        return rows[0] if len(rows) == 1 else []

    def _wrong_fields(self, number: int, text: str, got: int) -> BadRow:
        return BadRow(number, reasons.WRONG_FIELDS, text, f"expected {len(self.columns)}, got {got}")


class JsonLinesFile:
    """A file of one JSON object a line; a column is a name that occurs in its first 1000 lines."""

    rows: int | None = None

    def __init__(self, path: Path) -> None:
        self.path = path
        names: dict[str, None] = {}
        for line in _first_lines(path, _HEAD_LINES):
            try:
                row = json.loads(line)
            except ValueError:
                continue
            if isinstance(row, dict):
                names.update(dict.fromkeys(row))
        self.columns = list(names)

    def chunks(self, columns: Sequence[str]) -> Iterator[Chunk]:
        """Rows with the chosen columns; a cell that is a list or an object makes its row bad."""
        fields = [f"f{i}" for i in range(len(columns))]
        row_type = msgspec.defstruct(
            "Row",
            [(name, Scalar, None) for name in fields],
            rename=dict(zip(fields, columns, strict=True)),
        )
        decoder: msgspec.json.Decoder[Any] = msgspec.json.Decoder(row_type)
        number = 1
        for block in blocks(self.path):
            lines = block.count(b"\n") + (not block.endswith(b"\n"))
            bad: list[BadRow] = []
            number_B = np.arange(number, number + lines)
            try:
                rows = decoder.decode_lines(block)
            except (msgspec.DecodeError, UnicodeDecodeError):
                rows = []
            if len(rows) != lines:
                rows, number_B = _decoded_singly(decoder, block, number, bad)
            arrays = {
                name: _array([getattr(row, field) for row in rows])
                for name, field in zip(columns, fields, strict=True)
            }
            yield Chunk(arrays, number_B, bad)
            number += lines


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
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            reason = (
                reasons.WRONG_TYPE if isinstance(error, msgspec.ValidationError) else reasons.MALFORMED_JSON
            )
            bad.append(BadRow(number + i, reason, line.decode(), str(error)))
    return rows, np.array(numbers, np.int64)


def _array(cells: list[Scalar]) -> Column:
    """Cells of one type as they are; of several types as their texts."""
    kinds = set(map(type, cells)) - {type(None)}
    if len(kinds) <= 1:
        try:
            return pa.array(cells, pa.string() if not kinds else None)
        except (pa.ArrowInvalid, OverflowError):
            pass  # whole numbers beyond 64 bits
    return pa.array([_text(cell) for cell in cells], pa.string())


def _text(cell: Scalar) -> str | None:
    if cell is None or isinstance(cell, str):
        return cell
    if isinstance(cell, float):
        return str(int(cell)) if cell.is_integer() else repr(cell)
    return str(cell).lower() if isinstance(cell, bool) else str(cell)


def _first_lines(path: Path, count: int) -> Iterator[str]:
    try:
        with _open(path) as file:
            for _ in range(count):
                line = file.readline(BLOCK_BYTES)
                if not line:
                    return
                yield line.decode("utf-8", "replace").rstrip("\r\n")
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise InputError(f"{path}: damaged gzip file ({error}); fetch or write it again") from error


def _is_number(field: str) -> bool:
    try:
        float(plain(field) or "x")
    except ValueError:
        return False
    return True
