"""A table as a file, in every way that people write one. Nothing here asks the product how."""

import csv
import gzip
import io
import json
import math
from collections.abc import Callable
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any, Literal, cast

import pyarrow as pa
import pyarrow.feather
import pyarrow.parquet as pq

from replay.reading.arrow import Column
from tests.fuzz.table import Table

Write = Callable[[Table, Path], None]


def text(cell: object) -> str:
    """A cell as a CSV file has it."""
    if cell is None or (isinstance(cell, float) and math.isnan(cell)):
        return ""
    if isinstance(cell, bool):
        return str(cell).lower()
    if isinstance(cell, datetime):
        return cell.isoformat(sep=" ")
    return json.dumps(cell) if isinstance(cell, list | dict) else str(cell)


def _separated(
    table: Table,
    path: Path,
    *,
    separator: str = ",",
    quoting: int = csv.QUOTE_MINIMAL,
    end: str = "\n",
    codec: str = "utf-8",
    comma: bool = False,
) -> None:
    out = io.StringIO(newline="")
    # The type stubs know the constants of `quoting` only by their names.
    writer = csv.writer(out, delimiter=separator, quoting=quoting, lineterminator=end)  # type: ignore[arg-type]
    writer.writerow(table.names)
    for row in table.records():
        writer.writerow([_cell(cell, comma=comma) for cell in row])
    _write(path, out.getvalue().encode(codec, "replace"))


def _cell(cell: object, *, comma: bool) -> str:
    return text(cell).replace(".", ",") if comma and isinstance(cell, float) else text(cell)


def _joined(table: Table, path: Path, *, separator: str) -> None:
    """Without quotes, as old data sets are."""
    lines = [table.names, *([text(cell) for cell in row] for row in table.records())]
    _write(path, "".join(separator.join(line) + "\n" for line in lines).encode("utf-8", "replace"))


def _objects(table: Table, *, sparse: bool = False) -> list[str]:
    rows = (zip(table.names, row, strict=True) for row in table.records())
    return [
        json.dumps({name: cell for name, cell in row if not (sparse and cell is None)}, default=text)
        for row in rows
    ]


def _json_lines(
    table: Table, path: Path, *, sparse: bool = False, end: str = "\n", codec: str = "utf-8"
) -> None:
    _write(path, "".join(row + end for row in _objects(table, sparse=sparse)).encode(codec))


def _json_array(table: Table, path: Path, *, indented: bool = False) -> None:
    rows = [json.loads(row) for row in _objects(table)]
    _write(path, json.dumps(rows, indent=2 if indented else None).encode())


def _write(path: Path, content: bytes) -> None:
    if path.suffix == ".gz":
        half = content.rfind(b"\n", 0, len(content) // 2) + 1
        content = gzip.compress(content[:half], mtime=0) + gzip.compress(content[half:], mtime=0)
    path.write_bytes(content)


def _retyped(kind: pa.DataType) -> Callable[[Column], Column]:
    def change(array: Column) -> Column:
        return array.cast(kind) if pa.types.is_string(array.type) else array

    return change


def _narrow(array: Column) -> Column:
    """The smallest whole numbers that hold the column's, and decimals for floats."""
    if pa.types.is_floating(array.type):
        wanted: tuple[pa.DataType, ...] = (pa.float16(), pa.decimal128(20, 6))
    else:
        wanted = (pa.uint8(), pa.int16(), pa.int32(), pa.uint64()) if pa.types.is_integer(array.type) else ()
    for kind in wanted:
        try:
            made = array.cast(kind)
            if made.cast(array.type).equals(array):
                return made
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
            continue
    return array


def _as_dictionary(array: Column) -> Column:
    return array if pa.types.is_nested(array.type) else array.dictionary_encode()


TYPES: dict[str, Callable[[Column], Column]] = {
    "": lambda array: array,
    "dictionary": _as_dictionary,
    "large": _retyped(pa.large_string()),
    "view": _retyped(pa.string_view()),
    "binary": _retyped(pa.binary()),
    "narrow": _narrow,
}


def arrow(table: Table, types: str = "") -> pa.Table:
    """Columns whose cells are of one kind as they are, the others as text."""
    arrays = []
    for column in table.columns:
        made: Column
        try:
            made = pa.array(cast(list[Any], column))
        except (pa.ArrowInvalid, pa.ArrowTypeError, OverflowError, ValueError):
            made = pa.array([None if cell is None else text(cell) for cell in column], pa.string())
        if pa.types.is_struct(made.type) and not made.type.num_fields:  # Parquet has no such column
            made = pa.array([None if cell is None else text(cell) for cell in column], pa.string())
        if pa.types.is_null(made.type):
            made = made.cast(pa.string())
        arrays.append(TYPES[types](made))
    return pa.Table.from_arrays(arrays, names=table.names)


def _parquet(table: Table, path: Path, *, types: str = "", groups: int = 1 << 20) -> None:
    pq.write_table(arrow(table, types), path, row_group_size=groups)


def _ipc(table: Table, path: Path, *, types: str = "", stream: bool = False) -> None:
    made = arrow(table, types)
    new = pa.ipc.new_stream if stream else pa.ipc.new_file
    with pa.OSFile(str(path), "wb") as sink, new(sink, made.schema) as writer:
        writer.write_table(made, max_chunksize=17)


def _feather(table: Table, path: Path, *, compression: Literal["lz4", "zstd"] = "lz4") -> None:
    pyarrow.feather.write_feather(arrow(table), str(path), compression=compression)


ENCODINGS: dict[str, tuple[str, Write]] = {
    "csv": (".csv", _separated),
    "tsv": (".tsv", partial(_separated, separator="\t")),
    "semicolons": (".csv", partial(_separated, separator=";")),
    "bars": (".txt", partial(_separated, separator="|")),
    "quoted": (".csv", partial(_separated, quoting=csv.QUOTE_ALL)),
    "crlf": (".csv", partial(_separated, end="\r\n")),
    "cr": (".csv", partial(_separated, end="\r")),
    "bom": (".csv", partial(_separated, codec="utf-8-sig")),
    "quoted after a bom": (".csv", partial(_separated, codec="utf-8-sig", quoting=csv.QUOTE_ALL, end="\r\n")),
    "utf-16": (".csv", partial(_separated, codec="utf-16")),
    "utf-16 tabs": (".txt", partial(_separated, codec="utf-16", separator="\t", end="\r\n")),
    "csv.gz": (".csv.gz", _separated),
    "decimal comma": (".csv", partial(_separated, separator=";", comma=True)),
    "colons": (".dat", partial(_joined, separator="::")),
    "blanks": (".inter", partial(_joined, separator=" ")),
    "jsonl": (".jsonl", _json_lines),
    "sparse jsonl": (".jsonl", partial(_json_lines, sparse=True)),
    "crlf jsonl": (".ndjson", partial(_json_lines, end="\r\n")),
    "bom jsonl": (".jsonl", partial(_json_lines, codec="utf-8-sig")),
    "jsonl.gz": (".jsonl.gz", _json_lines),
    "json array": (".json", _json_array),
    "indented json array": (".json", partial(_json_array, indented=True)),
    "parquet": (".parquet", _parquet),
    "parquet groups": (".pq", partial(_parquet, groups=7)),
    **{
        f"parquet {types}": (".parquet", partial(_parquet, types=types))
        for types in TYPES
        if types not in ("", "view")
    },
    "arrow": (".arrow", _ipc),
    **{f"arrow {types}": (".arrow", partial(_ipc, types=types)) for types in TYPES if types},
    "arrow stream": (".arrows", partial(_ipc, stream=True)),
    "feather": (".feather", _feather),
    "feather zstd": (".feather", partial(_feather, compression="zstd")),
}
"""Name -> suffix, and how a file is written."""


def write(table: Table, folder: Path, name: str, encoding: str) -> Path:
    """The table as `folder/name` with its suffix."""
    suffix, to = ENCODINGS[encoding]
    path = folder / f"{name}{suffix}"
    path.parent.mkdir(parents=True, exist_ok=True)
    to(table, path)
    return path


def holds(encoding: str, table: Table) -> bool:
    """Whether the encoding can say what is in the table without loss."""
    cells = [*table.names, *(text(cell) for column in table.columns for cell in column)]
    if encoding in ("colons", "blanks", "cr") and any("\n" in cell or "\r" in cell for cell in cells):
        return False
    if encoding == "colons":
        return not any("::" in cell or cell[:1] == ":" or cell[-1:] == ":" or '"' in cell for cell in cells)
    if encoding == "blanks":
        return not any(" " in cell or '"' in cell or not cell for cell in cells)
    if encoding == "decimal comma":
        return not any(isinstance(cell, float) for column in table.columns[:3] for cell in column)
    return True
