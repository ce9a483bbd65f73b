"""What separates the cells of a text file, found in its first lines."""

import csv
import io
import re
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass

from replay.reading.arrow import Column, pc
from replay.reading.usual_names import plain
from streams.times import moment_ms

NAMES = {"\t": "tabs", ",": "commas", ";": "semicolons", "|": "bars", "::": "'::'", " ": "blanks"}
"""Separators by what people call them; runs of blanks only where none of the others is there."""
_ONE, _RETURN = "\x1f", "\x1e"
"""Stand for a separator that is more than one character, and for a return, which ends no line here."""
_LONG = {
    "::": re.compile(rb'"(?:[^"\n]|"")*"|::'),
    " ": re.compile(rb'"(?:[^"\n]|"")*"|[ \t]+'),
}
_ENDS = re.compile(rb"(?m)^\x1f+|\x1f+$")


@dataclass(frozen=True, slots=True)
class Separator:
    """What separates cells."""

    text: str
    """One of NAMES."""

    @property
    def name(self) -> str:
        return NAMES[self.text]

    @property
    def character(self) -> str:
        """The one character that separates cells in text that went through `single`."""
        return _ONE if self.text in _LONG else self.text

    @property
    def decimal_comma(self) -> bool:
        """Whether `3,5` can only be one number."""
        return self.text != ","

    def single(self, text: bytes) -> bytes:
        """The text with one character for each separator outside of quotes."""
        text = text.replace(b"\r", _RETURN.encode())
        if self.text not in _LONG:
            return text
        made = _LONG[self.text].sub(_character, text)
        return _ENDS.sub(b"", made) if self.text == " " else made

    def shown(self, text: str) -> str:
        """Text that went through `single`, as it was."""
        text = text.replace(_RETURN, "\r")
        return text.replace(_ONE, self.text) if self.text in _LONG else text

    def cells(self, column: Column) -> Column:
        """Cells of such text as they were."""
        made: Column = pc.replace_substring(column, _RETURN, "\r")
        return made


def _character(match: re.Match[bytes]) -> bytes:
    return match[0] if match[0].startswith(b'"') else _ONE.encode()


def find_separator(lines: Sequence[bytes]) -> Separator | None:
    """The separator by which most lines have as many cells as the first, and more than one; None if none."""
    best: tuple[float, int, Separator] | None = None
    for text in NAMES:
        separator = Separator(text)
        if text == " " and best:
            break
        sizes = [len(cells) for cells in split(lines, separator)]
        if sizes and sizes[0] > 1:
            fit = round(sizes.count(sizes[0]) / len(sizes), 1)
            if best is None or (fit, sizes[0]) > best[:2]:
                best = fit, sizes[0], separator
    return None if best is None else best[2]


def first_row(lines: Sequence[bytes], separator: Separator) -> tuple[list[str], int]:
    """The cells of the first row, line ends in them as blanks, and how many lines it takes."""
    text = separator.single(b"\n".join(lines)).decode("utf-8", "replace")
    rows = csv.reader(io.StringIO(text, newline="\n"), delimiter=separator.character)
    with suppress(csv.Error):
        cells = next(rows, [])
        return [" ".join(cell.split()) for cell in cells], rows.line_num
    return [], 1


def split(lines: Sequence[bytes], separator: Separator) -> list[list[str]]:
    """The cells of lines that are not empty, as far as they can be taken apart."""
    text = separator.single(b"\n".join(lines)).decode("utf-8", "replace")
    rows: list[list[str]] = []
    with suppress(csv.Error):  # a cell of more than 128 kB: what came before will do
        rows += (
            row for row in csv.reader(io.StringIO(text, newline="\n"), delimiter=separator.character) if row
        )
    return rows


def is_header(cells: Sequence[str]) -> bool:
    """Whether a first line holds names: it holds no number and no time."""
    return not any(_is_number(cell) or moment_ms(cell) is not None for cell in cells)


def _is_number(cell: str) -> bool:
    try:
        float(plain(cell) or "x")
    except ValueError:
        return False
    return True
