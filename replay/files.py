"""From a path to a file of rows: the format goes by the suffix, or by the first bytes."""

from collections.abc import Callable
from pathlib import Path

from replay.chunks import RowsFile
from replay.lines import JsonLinesFile, SeparatedFile
from replay.tables import ArrowFile, ParquetFile
from state.errors import InputError

SEPARATED = (".csv", ".tsv", ".inter", ".item", ".user", ".txt", ".dat", ".data")
FORMATS: dict[str, Callable[[Path], RowsFile]] = {
    **dict.fromkeys((".parquet", ".pq"), ParquetFile),
    **dict.fromkeys((".arrow", ".feather", ".ipc", ".arrows"), ArrowFile),
    **dict.fromkeys((".jsonl", ".ndjson", ".json"), JsonLinesFile),
    **dict.fromkeys(SEPARATED, SeparatedFile),
}
"""Format by suffix; text formats also with `.gz` behind it."""


def suffix(path: Path) -> str:
    """The suffix that tells the format, without `.gz`."""
    return Path(path.stem).suffix.lower() if path.suffix == ".gz" else path.suffix.lower()


def is_rows(path: Path) -> bool:
    """Whether a file of a folder is taken for data: by its suffix, and not hidden."""
    return suffix(path) in FORMATS and not path.name.startswith((".", "_"))


def open_file(path: Path) -> RowsFile:
    """The file of rows at `path`. Raises InputError if it is missing, empty or of no known format."""
    if not path.exists():
        raise InputError(f"{path}: no such file; give a log's path, or a name that `ebbtide data list` shows")
    try:
        with path.open("rb") as file:
            head = file.read(4096)
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}; make it readable") from error
    if not head:
        raise InputError(f"{path}: the file is empty; give a log with events")
    kind = FORMATS.get(suffix(path)) or _sniffed(head)
    if kind is None or (path.suffix == ".gz") != head.startswith(b"\x1f\x8b"):
        raise InputError(
            f"{path}: the format is not known; expected Parquet, CSV, TSV, JSON lines or Arrow IPC under its "
            f"usual suffix ({', '.join(FORMATS)}; text also with .gz)"
        )
    if kind in (SeparatedFile, JsonLinesFile) and b"\0" in head and path.suffix != ".gz":
        raise InputError(f"{path}: expected text, found binary data; give the file its right suffix")
    opened = kind(path)
    if not opened.columns:
        what = "objects, one a line" if kind is JsonLinesFile else "a line of column names"
        raise InputError(f"{path}: expected {what}, found none; give a log with events")
    return opened


def _sniffed(head: bytes) -> Callable[[Path], RowsFile] | None:
    if head.startswith(b"PAR1"):
        return ParquetFile
    if head.startswith(b"ARROW1"):
        return ArrowFile
    return JsonLinesFile if head.lstrip().startswith(b'{"') else None
