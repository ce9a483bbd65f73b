"""CSV, TSV and the like: text files of rows whose cells a separator keeps apart.

A block that parses at one go is taken so; one that does not is taken line by line, so that a bad row costs
itself and no other.
"""

import csv
import io
import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.csv

from replay.reading.arrow import Column, pc
from replay.reading.chunks import BadRow, Chunk, twice
from replay.reading.lines import blocks, first_lines
from replay.reading.separators import NAMES, Separator, find_separator, first_row, is_header
from state.errors import InputError
from streams.wire import reasons

_HEAD_LINES = 100
_JOINED_LINES = 100
_BEFORE_HEADER = re.compile(rb"(?:[ \t]*\n)*(?:\"?sep=.\"?\n)?", re.IGNORECASE)
"""Empty lines, and the line by which spreadsheets tell each other the separator."""
_BLANKS = " \t"
_END = "\x03"


class SeparatedFile:
    """A text file of rows; what separates their cells is found in its first lines
    (`replay.reading.separators`).

    A first line that holds a number or a time is no header: the columns are then called `column1`,
    `column2`, ..., as is one without a name.
    """

    rows: int | None = None

    def __init__(self, path: Path) -> None:
        self.path = path
        lines = first_lines(path, _HEAD_LINES)
        before = _BEFORE_HEADER.match(b"".join(line + b"\n" for line in lines))
        self._lines_before = 0 if before is None else before[0].count(b"\n")
        lines = lines[self._lines_before :]
        separator = find_separator(lines)
        self._separator = separator or Separator(",")
        self._first, taken = first_row(lines, self._separator)
        self._has_header = is_header(self._first)
        self._lines_before += taken if self._has_header else 0
        self.columns = [
            name if name and self._has_header else f"column{i + 1}" for i, name in enumerate(self._first)
        ]

    @property
    def hint(self) -> str:
        """What to say besides where its columns are not understood."""
        return (
            ""
            if self._has_header
            else f"its first line holds no names but {', '.join(map(repr, self._first))}"
        )

    @property
    def doubt(self) -> str:
        """That no separator was found, or a name stands there twice."""
        if len(self.columns) > 1:
            return twice(self.columns)
        if not self.columns:
            return "expected a line of column names, found none; give a log with events"
        *most, last = NAMES.values()
        return (
            f"expected columns separated by {', '.join(most)} or {last}, found one column, "
            f"{self.columns[0]!r}; write the file with one of these between its cells"
        )

    def chunks(self, columns: Sequence[str]) -> Iterator[Chunk]:
        """Rows with the chosen columns, as text without blanks around it.

        Raises InputError where most rows turn out not to fit.
        """
        skip = self._lines_before
        number = 1
        rows = unlike = 0
        first: BadRow | None = None
        for block in blocks(self.path):
            start = 0
            while skip and start < len(block):
                start = (block.find(b"\n", start) + 1) or len(block)
                number, skip = number + 1, skip - 1
            body = self._separator.single(block[start:])
            if not body:
                continue
            lines = body.count(b"\n") + (not body.endswith(b"\n"))
            chunk = self._at_once(body, lines, number, columns)
            if chunk is None:
                chunk = self._singly(body, number, columns)
            if b"\r" in block:
                as_it_was = {name: self._separator.cells(column) for name, column in chunk.columns.items()}
                chunk = replace(chunk, columns=as_it_was)
            number += lines
            rows += len(chunk) + len(chunk.bad)
            unlike += len(chunk.bad)
            first = first or next(iter(chunk.bad), None)
            yield chunk
        if first and 2 * unlike > rows:
            raise InputError(
                f"{self.path}: {unlike:,} of {rows:,} rows have another number of cells than the first "
                f"line, which has {len(self.columns)} separated by {self._separator.name} (line "
                f"{first.number}: {first.detail}); write all rows with the same columns, and quote a "
                "cell that holds the separator"
            )

    def _at_once(self, body: bytes, lines: int, number: int, columns: Sequence[str]) -> Chunk | None:
        bad: list[BadRow] = []
        if body.startswith(b"\n") or b"\n\n" in body:
            return None

        def skip(row: pa.csv.InvalidRow) -> Literal["skip", "error"]:
            bad.append(self._wrong_fields(number + (row.number or 1) - 1, row.text, row.actual_columns))
            return "skip"

        try:
            table = pa.csv.read_csv(
                io.BytesIO(body),
                pa.csv.ReadOptions(use_threads=False, column_names=self.columns, block_size=len(body) + 1),
                pa.csv.ParseOptions(
                    delimiter=self._separator.character,
                    invalid_row_handler=skip,
                    ignore_empty_lines=False,
                    newlines_in_values=True,
                ),
                pa.csv.ConvertOptions(
                    check_utf8=False,
                    column_types=dict.fromkeys(self.columns, pa.string()),
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
        arrays: dict[str, Column] = {name: pa.concat_arrays(table[name].chunks) for name in columns}
        at_edge = (f"{self._separator.character} ", f" {self._separator.character}", "\n ", " \n")
        if any(edge.encode() in body for edge in at_edge):
            arrays = {name: pc.ascii_trim(column, _BLANKS) for name, column in arrays.items()}
        return Chunk(arrays, number_B, bad, decimal_comma=self._separator.decimal_comma)

    def _singly(self, body: bytes, number: int, columns: Sequence[str]) -> Chunk:
        lines = body.split(b"\n")
        if not lines[-1]:
            lines.pop()
        places = [self.columns.index(name) for name in columns]
        cells: list[list[str | None]] = [[] for _ in columns]
        numbers: list[int] = []
        bad: list[BadRow] = []
        at = 0
        while at < len(lines):
            fields, used = self._row(lines, at)
            if len(fields) == len(self.columns):
                numbers.append(number + at)
                for cell, place in zip(cells, places, strict=True):
                    cell.append(fields[place].strip(_BLANKS) or None)
            elif lines[at].strip():
                bad.append(self._wrong_fields(number + at, lines[at].decode(), len(fields)))
            at += used
        arrays: dict[str, Column] = {
            name: pa.array(cell, pa.string()) for name, cell in zip(columns, cells, strict=True)
        }
        return Chunk(arrays, np.array(numbers, np.int64), bad, decimal_comma=self._separator.decimal_comma)

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
            *rows, last = csv.reader(text, delimiter=self._separator.character)
        except csv.Error:
            return []
        if last != [_END]:
            return None
        return rows[0] if len(rows) == 1 else []

    def _wrong_fields(self, number: int, text: str, got: int) -> BadRow:
        expected = f"expected {len(self.columns)} cells separated by {self._separator.name}"
        return BadRow(
            number,
            reasons.WRONG_FIELDS,
            self._separator.shown(text),
            f"{expected}, got {got or 'a torn row'}",
        )
