"""From a path to a file of rows: the format goes by the suffix, or by the first bytes."""

from collections.abc import Callable
from pathlib import Path

from replay.reading.chunks import RowsFile
from replay.reading.json_array import is_array
from replay.reading.json_lines import JsonLinesFile
from replay.reading.separated import SeparatedFile
from replay.reading.tables import ArrowFile, ParquetFile
from replay.reading.text import MARKS, PACKED, head, packing, refuse_binary
from state.errors import InputError

SEPARATED = (".csv", ".tsv", ".inter", ".item", ".user", ".txt", ".dat", ".data")
FORMATS: dict[str, Callable[[Path], RowsFile]] = {
    **dict.fromkeys((".parquet", ".pq"), ParquetFile),
    **dict.fromkeys((".arrow", ".feather", ".ipc", ".arrows"), ArrowFile),
    **dict.fromkeys((".jsonl", ".ndjson", ".json"), JsonLinesFile),
    **dict.fromkeys(SEPARATED, SeparatedFile),
}
"""Format by suffix; text formats also with one of PACKED behind it."""
_TEXTS = (JsonLinesFile, SeparatedFile)
_OTHERS = {
    b"PK\x03\x04": "a zip archive or a spreadsheet; unpack it, or save the sheet as CSV",
    b"\xd0\xcf\x11\xe0": "an old spreadsheet; save it as CSV",
    b"SQLite format 3": "an SQLite database; write the table as CSV",
    b"\x89HDF": "an HDF5 file; write the table as Parquet",
    b"Obj\x01": "an Avro file; write it as Parquet",
    b"%PDF": "a PDF; give the table itself",
}


def suffix(path: Path) -> str:
    """The suffix that tells the format, without `.gz` and its like."""
    return Path(path.stem).suffix.lower() if path.suffix.lower() in PACKED else path.suffix.lower()


def is_rows(path: Path) -> bool:
    """Whether a file of a folder is taken for data, by its suffix."""
    return suffix(path) in FORMATS


def is_empty(path: Path) -> bool:
    """Whether nothing is in a file, packed or not. Raises InputError if it cannot be read."""
    raw = _start(path)
    start = head(path) if raw and packing(path, raw) is not None else raw
    return not start.strip() or start in MARKS or (suffix(path) == ".json" and start.split() == [b"[]"])


def open_file(path: Path) -> RowsFile:
    """The file of rows at `path`. Raises InputError if it is missing, empty or of no known format."""
    if not path.exists():
        raise InputError(f"{path}: no such file; give a log's path, or a name that `ebbtide data list` shows")
    if path.is_dir():
        raise InputError(f"{path}: expected a file, found a folder; give one of its files")
    raw = _start(path)
    if not raw:
        raise InputError(f"{path}: the file is empty; give a log with events")
    packed = packing(path, raw)
    start = head(path) if packed else raw
    kind = FORMATS.get(suffix(path)) or _sniffed(start)
    other = next((format_name for magic, format_name in _OTHERS.items() if start.startswith(magic)), None)
    if other and kind not in (ParquetFile, ArrowFile):
        raise InputError(f"{path}: expected rows of events, found {other}")
    if kind is None:
        raise InputError(
            f"{path}: the format is not known; expected Parquet, CSV, TSV, JSON lines or Arrow IPC under its "
            f"usual suffix ({', '.join(FORMATS)}; text also with {', '.join(PACKED)})"
        )
    if packed and kind not in _TEXTS:
        raise InputError(f"{path}: only text is read packed, by {packed} too; unpack it")
    if kind in _TEXTS:
        refuse_binary(path, start)
    opened = kind(path)
    if not opened.columns:
        raise InputError(f"{path}: {opened.doubt or 'expected columns, found none; give a log with events'}")
    return opened


def _start(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(4096)
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}; make it readable") from error


def _sniffed(start: bytes) -> Callable[[Path], RowsFile] | None:
    if start.startswith(b"PAR1"):
        return ParquetFile
    if start.startswith(b"ARROW1"):
        return ArrowFile
    return JsonLinesFile if start.lstrip().startswith(b'{"') or is_array(start) else None
