"""A table written as a log file in any of the four formats."""

import gzip
import json
from pathlib import Path

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq

from replay.reading.files import suffix
from state.errors import InputError


def write_table(table: pa.Table, path: Path) -> None:
    """Write by the path's suffix: Parquet, CSV(.gz), TSV, JSON lines(.gz) or Arrow IPC. Raises InputError."""
    match suffix(path):
        case ".parquet":
            pq.write_table(table, path)
        case ".arrow":
            with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, table.schema) as writer:
                writer.write_table(table)
        case ".csv" | ".tsv" as kind:
            options = pa.csv.WriteOptions(delimiter="," if kind == ".csv" else "\t", quoting_style="needed")
            text = pa.BufferOutputStream()
            pa.csv.write_csv(table, text, options)
            _write(path, text.getvalue().to_pybytes())
        case ".jsonl":
            rows = (json.dumps(row, default=str) + "\n" for row in table.to_pylist())
            _write(path, "".join(rows).encode())
        case other:
            raise InputError(f"{path}: cannot write {other!r}; use .parquet, .csv, .tsv, .jsonl or .arrow")


def _write(path: Path, text: bytes) -> None:
    path.write_bytes(gzip.compress(text, mtime=0) if path.suffix == ".gz" else text)
