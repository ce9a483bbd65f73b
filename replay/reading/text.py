"""Text files as UTF-8 with `\\n` at the end of a line, however they are packed, encoded and broken up.

Packed by gzip (of one member or many), bzip2, xz, zstd, LZ4 or Brotli; in UTF-8 or, by its byte order mark,
UTF-16 or UTF-32; lines end in `\\n`, `\\r\\n` or, where the first line does, `\\r`.
"""

import bz2
import codecs
import gzip
import lzma
import re
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pyarrow as pa

from state.errors import InputError

PACKED = (".gz", ".bz2", ".xz", ".zst", ".lz4", ".br")
"""Suffixes that stand behind the one that tells the format."""
HEAD_BYTES = 4096

_MAGIC = {
    b"\x1f\x8b": "gzip",
    b"BZh": "bzip2",
    b"\xfd7zXZ\0": "xz",
    b"\x28\xb5\x2f\xfd": "zstd",
    b"\x04\x22\x4d\x18": "lz4",
}
_DAMAGE = (EOFError, OSError, zlib.error, lzma.LZMAError, pa.ArrowException)
MARKS = {
    codecs.BOM_UTF8: "utf-8-sig",
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
"""Encoding by byte order mark; that of UTF-32 begins with that of UTF-16, so it comes first."""


def packing(path: Path, head: bytes) -> str | None:
    """What a file is packed by, told by its first bytes; Brotli, which has none, by its suffix."""
    if path.suffix == ".br":
        return "brotli"
    return next((name for magic, name in _MAGIC.items() if head.startswith(magic)), None)


def head(path: Path) -> bytes:
    """The first bytes, unpacked. Raises InputError if the file cannot be read."""
    return next(_unpacked(path, HEAD_BYTES), b"")


def pieces(path: Path, size: int) -> Iterator[bytes]:
    """The text in pieces of about `size` bytes, cut anywhere.

    Bytes that are no UTF-8 are left as they are. Raises InputError if the file is damaged.
    """
    decoder: Any = None
    returns: bool | None = None
    """Whether lines end in a carriage return alone; None while there was no end of a line."""
    ended = b""
    """A carriage return at the end of a piece: half of a line end, perhaps."""
    for number, read in enumerate(_unpacked(path, size)):
        if number == 0:
            encoding = next((name for mark, name in MARKS.items() if read.startswith(mark)), None)
            if encoding == "utf-8-sig":
                read = read.removeprefix(codecs.BOM_UTF8)
            elif encoding is not None:
                decoder = codecs.getincrementaldecoder(encoding)("replace")
        piece = ended + (read if decoder is None else decoder.decode(read).encode("utf-8", "replace"))
        ended = b"\r" if piece.endswith(b"\r") else b""
        piece = piece[: len(piece) - len(ended)]
        if b"\r" in piece:
            piece = piece.replace(b"\r\n", b"\n")
        if returns is None and (first := re.search(rb"[\r\n]", piece)):
            returns = first[0] == b"\r"
        if returns:
            piece = piece.replace(b"\r", b"\n")
        if piece:
            yield piece
    if ended:
        yield b"\n"


def refuse_binary(path: Path, start: bytes) -> None:
    """Raises InputError where the first bytes are no text."""
    if b"\0" not in start or start.startswith(tuple(MARKS)):
        return
    for at, name in ((1, "UTF-16LE"), (0, "UTF-16BE")):
        if 2 * start[at::2].count(b"\0") > len(start[at::2]) > 0 == start[1 - at :: 2].count(b"\0"):
            raise InputError(
                f"{path}: expected UTF-8, found what looks like {name} without a byte order mark; write it "
                f"anew: iconv -f {name} -t UTF-8"
            )
    raise InputError(f"{path}: expected text, found binary data; give the file its right suffix")


def _unpacked(path: Path, size: int) -> Iterator[bytes]:
    name: str | None = None
    try:
        with path.open("rb") as file:
            name = packing(path, file.read(8))
        with _opened(path, name) as source:
            while read := source.read(size):
                yield bytes(read)
    except _DAMAGE as error:
        if name is None:
            reason = error.strerror if isinstance(error, OSError) else str(error)
            raise InputError(f"{path}: {reason}; make it readable") from error
        raise InputError(f"{path}: damaged {name} file ({error}); fetch or write it again") from error


def _opened(path: Path, name: str | None) -> Any:
    match name:
        case None:
            return path.open("rb")
        case "gzip":
            return gzip.open(path)
        case "bzip2":
            return bz2.open(path)
        case "xz":
            return lzma.open(path)
    return pa.input_stream(str(path), compression=cast(Any, name))
