"""Lines of text files, a block of whole rows at a time. A row is a line, or several where quotes hold its
line ends together."""

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from replay.reading.text import pieces
from state.errors import InputError

BLOCK_BYTES = 1 << 22
_LONGEST_BYTES = 1 << 26
_NEWLINE, _QUOTE = 10, 34

Reform = Callable[[Iterator[bytes]], Iterator[bytes]]
"""Turns pieces of text into pieces of lines."""


def blocks(
    path: Path, size: int = BLOCK_BYTES, reform: Reform = iter, *, quotes: bool = True
) -> Iterator[bytes]:
    """The file in blocks of whole rows, each of about `size` bytes, as UTF-8. Raises InputError.

    Without `quotes` every line is a row.
    """
    rest = b""
    for piece in reform(pieces(path, size)):
        block = rest + piece
        end = _end_of_rows(block) if quotes else block.rfind(b"\n") + 1
        if end:
            yield _utf8(block[:end])
        rest = block[end:]
        if len(rest) > _LONGEST_BYTES:
            raise InputError(
                f"{path}: a row of more than {_LONGEST_BYTES:,} bytes; expected one row a line, and "
                "quotes that close"
            )
    if rest:
        yield _utf8(rest)


def first_lines(path: Path, count: int, reform: Reform = iter) -> list[bytes]:
    """The first lines, at most `count`, without their ends."""
    lines: list[bytes] = []
    for block in blocks(path, 1 << 16, reform):
        lines += block.splitlines()
        if len(lines) >= count:
            break
    return lines[:count]


def _utf8(block: bytes) -> bytes:
    """The block, with lines that are no UTF-8 taken for Latin-1."""
    try:
        block.decode()
    except UnicodeDecodeError:
        return b"\n".join(map(_line_utf8, block.split(b"\n")))
    return block


def _line_utf8(line: bytes) -> bytes:
    try:
        line.decode()
    except UnicodeDecodeError:
        return line.decode("latin-1").encode()
    return line


def _end_of_rows(block: bytes) -> int:
    """Where the last row that surely ends in `block` does; 0 if none."""
    end = block.rfind(b"\n") + 1
    if b'"' not in block:
        return end
    codes = np.frombuffer(block, np.uint8)
    open_quote = np.cumsum(codes == _QUOTE, dtype=np.uint8) & 1
    ends = np.flatnonzero((codes == _NEWLINE) & (open_quote == 0))
    return int(ends[-1]) + 1 if len(ends) and 2 * int(ends[-1]) > len(block) else end
