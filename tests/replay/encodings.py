"""One table in every way in which a file can hold it: what the tests of encodings draw from."""

import gzip
import json
import lzma
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from hypothesis import strategies as st

from replay.reading.arrow import Column

Cells = list[Any]
Stored = Callable[[Cells], Column]
"""How a column of plain values is stored."""

MOMENT_MS = 1_500_000_000_000


def as_type(kind: Any) -> Stored:
    return lambda cells: pa.array(cells, kind)


def as_flag(kind: Any) -> Stored:
    return lambda cells: pa.array(cells, pa.bool_()).cast(kind)


def of_texts(kind: Any, written: Callable[[Any], str] = str) -> Stored:
    def stored(cells: Cells) -> Column:
        made: Column = pa.array([None if c is None else written(c) for c in cells], pa.string()).cast(kind)
        return made

    return stored


def of_bytes(kind: Any) -> Stored:
    return lambda cells: pa.array([None if c is None else str(c).encode() for c in cells], kind)


def dictionary(kind: Any) -> Stored:
    return lambda cells: pa.array(cells, kind).dictionary_encode()


def text_dictionary(index: Any, kind: Any) -> Stored:
    def stored(cells: Cells) -> Column:
        coded = pa.array([None if c is None else str(c) for c in cells], pa.string()).dictionary_encode()
        return pa.DictionaryArray.from_arrays(coded.indices.cast(index), coded.dictionary.cast(kind))

    return stored


def run_ends(of: Stored) -> Stored:
    def stored(cells: Cells) -> Column:
        return pa.RunEndEncodedArray.from_arrays(pa.array(range(1, len(cells) + 1), pa.int32()), of(cells))

    return stored


def lists_of_one(of: Stored, kind: Any) -> Stored:
    def stored(cells: Cells) -> Column:
        one = of(cells)
        made: Column = pa.array([None if c is None else [c] for c in one.to_pylist()], kind(one.type))
        return made

    return stored


def decimal(digits: int, scale: int) -> Stored:
    return lambda cells: pa.array(
        [None if c is None else Decimal(str(c)) for c in cells], pa.decimal128(digits, scale)
    )


def half(cells: Cells) -> Column:
    return pa.array([None if c is None else np.float16(c) for c in cells], pa.float16())


def moment(unit: str, zone: str | None = None) -> Stored:
    per_ms = {"ms": 1, "us": 1_000, "ns": 1_000_000}[unit]
    return lambda cells: pa.array([c and c * per_ms for c in cells], pa.int64()).cast(
        pa.timestamp(unit, zone)
    )


def iso(time_ms: int) -> str:
    return datetime.fromtimestamp(time_ms / 1000, UTC).isoformat(timespec="milliseconds")


_TEXTS: list[Stored] = [
    *(of_texts(kind) for kind in (pa.string(), pa.large_string(), pa.string_view())),
    *(of_bytes(kind) for kind in (pa.binary(), pa.large_binary(), pa.binary_view())),
    text_dictionary(pa.int8(), pa.string()),
    text_dictionary(pa.uint32(), pa.large_string()),
    run_ends(of_texts(pa.string())),
    lists_of_one(of_texts(pa.string()), pa.list_),
    lists_of_one(of_texts(pa.string()), pa.large_list),
]
_TRUTHS: list[Stored] = [
    as_type(pa.bool_()),
    *map(as_flag, (pa.int8(), pa.uint64(), pa.float32())),
    of_texts(pa.string(), lambda c: "yes" if c else "no"),
    of_texts(pa.large_string(), lambda c: "Yes" if c else "No"),
    of_texts(pa.string_view(), lambda c: "true" if c else "false"),
    of_texts(pa.dictionary(pa.int8(), pa.string()), lambda c: "y" if c else "n"),
]  # fmt: skip
STORED: dict[str, list[Stored]] = {
    "whole": [
        *map(as_type, (pa.int64(), pa.int32(), pa.uint32(), pa.uint64(), pa.float64())),
        decimal(20, 0),
        decimal(20, 3),
        dictionary(pa.int64()),
        run_ends(as_type(pa.int32())),
        lists_of_one(as_type(pa.int64()), pa.list_),
        of_texts(pa.string(), lambda c: f"{c}.0"),
        *_TEXTS,
    ],
    "text": _TEXTS,
    "uuid": [
        of_texts(pa.string()),
        text_dictionary(pa.int16(), pa.string()),
        lambda cells: pa.array([None if c is None else c.bytes for c in cells], pa.binary(16)),
        lambda cells: pa.array([None if c is None else c.bytes for c in cells], pa.uuid()),
    ],
    "time": [
        *(moment(unit, zone) for unit in ("ms", "us", "ns") for zone in (None, "UTC", "Asia/Tokyo")),
        as_type(pa.int64()),
        as_type(pa.float64()),
        of_texts(pa.string()),
        of_texts(pa.large_string(), iso),
        lambda cells: pa.array(cells, pa.timestamp("ms")).dictionary_encode(),
    ],
    "number": [
        *map(as_type, (pa.float64(), pa.float32())),
        half,
        decimal(9, 4),
        dictionary(pa.float64()),
        *_TEXTS,
    ],
    "place": [*map(as_type, (pa.float64(), pa.float32())), decimal(9, 4), *_TEXTS],
    "truth": _TRUTHS,
}
"""Kind of a column -> ways to store it in Arrow."""

_WORDS = st.sampled_from(
    ["ann", "007", "1.10", "1.1", "7.0", "x y", "a,b", "a;b", 'say "so"', "café", "日本", "-"]
)
VALUES: dict[str, st.SearchStrategy[Any]] = {
    "whole": st.integers(0, 2**31 - 1),
    "text": _WORDS,
    "uuid": st.uuids(version=4),
    "number": st.integers(0, 40).map(lambda n: n / 8),
    "place": st.integers(-900_000, 900_000).map(lambda n: n / 10_000),
    "truth": st.booleans(),
}


@dataclass(frozen=True, slots=True)
class Table:
    """Columns of plain values, None where missing, and of which kind each is."""

    cells: dict[str, Cells]
    kinds: dict[str, str]

    def __len__(self) -> int:
        return len(next(iter(self.cells.values())))

    def rows(self) -> list[dict[str, Any]]:
        return [dict(zip(self.cells, row, strict=True)) for row in zip(*self.cells.values(), strict=True)]


@st.composite
def tables(draw: st.DrawFn) -> Table:
    """Events in time order; an item, a label or anything that is not required may be missing."""
    size = draw(st.integers(1, 8))
    kinds = {"user": draw(_ID), "item": draw(_ID), "time": "time", "label": "truth"}
    optional = {"rating": "number", "category": "text", "session": draw(_ID), "lat": "place", "lon": "place"}
    kinds |= {name: kind for name, kind in optional.items() if draw(st.booleans())}
    cells: dict[str, Cells] = {}
    for name, kind in kinds.items():
        if kind == "time":
            gaps = draw(st.lists(st.integers(1, 10**7), min_size=size, max_size=size))
            cells[name] = (MOMENT_MS + np.cumsum(gaps)).tolist()
            continue
        some = VALUES[kind] if name == "user" else st.none() | VALUES[kind]
        cells[name] = draw(st.lists(some, min_size=size, max_size=size))
    cells["item"][0], cells["label"][0] = draw(VALUES[kinds["item"]]), True
    return Table(cells, kinds)


@st.composite
def side_tables(draw: st.DrawFn) -> Table:
    """What is known of items, each described once or several times."""
    size = draw(st.integers(2, 8))
    kinds = {"item": draw(_ID), "price": "number", "released": "time", "kind": "text"}
    kinds |= {"category": draw(_ID), "size": "place"}
    cells: dict[str, Cells] = {}
    for name, kind in kinds.items():
        some = VALUES["whole"].map(lambda s: MOMENT_MS + 1000 * s) if kind == "time" else VALUES[kind]
        cells[name] = draw(
            st.lists(some if name == "item" else st.none() | some, min_size=size, max_size=size)
        )
    return Table(cells, kinds)


_ID = st.sampled_from(["whole", "text", "uuid"])


def arrow_table(draw: st.DrawFn, table: Table, but: tuple[type, ...] = ()) -> pa.Table:
    """The table with each column stored in some way."""
    arrays = {
        name: draw(st.sampled_from(STORED[kind]))(table.cells[name]) for name, kind in table.kinds.items()
    }
    plain = {
        name: STORED[table.kinds[name]][0](table.cells[name]) if isinstance(array, but) else array
        for name, array in arrays.items()
    }
    return pa.table(plain)


def write_arrow(draw: st.DrawFn, table: Table, folder: Path) -> Path:
    stored, path = arrow_table(draw, table), folder / "a.arrow"
    new = draw(st.sampled_from([pa.ipc.new_file, pa.ipc.new_stream]))
    with pa.OSFile(str(path), "wb") as sink, new(sink, stored.schema) as writer:
        writer.write_table(stored, max_chunksize=draw(st.integers(1, 8)))
    return path


def write_parquet(draw: st.DrawFn, table: Table, folder: Path) -> Path:
    stored, path = arrow_table(draw, table, (pa.RunEndEncodedArray,)), folder / "a.parquet"
    pq.write_table(stored, path, store_schema=draw(st.booleans()), row_group_size=draw(st.integers(1, 8)))
    return path


def write_separated(draw: st.DrawFn, table: Table, folder: Path) -> Path:
    separator = draw(st.sampled_from([",", ";", "\t", "|", "::"]))
    comma = separator != "," and draw(st.booleans())
    whole = draw(st.sampled_from(["{}", "{}.0"]))
    yes, no = draw(st.sampled_from([("yes", "no"), ("1", "0"), ("True", "False"), ("t", "f")]))
    in_words = draw(st.booleans())

    def written(cell: Any, kind: str) -> str:
        if cell is None:
            return ""
        match kind:
            case "whole":
                return whole.format(cell)
            case "truth":
                return yes if cell else no
            case "time":
                return iso(cell) if in_words else str(cell)
            case "number" | "place" if comma:
                return str(cell).replace(".", ",")
        text = str(cell)
        quoted = '"' + text.replace('"', '""') + '"'
        return quoted if separator in text or '"' in text else text

    lines = [[f'"{name}"' for name in table.cells]]
    lines += [[written(cell, table.kinds[name]) for name, cell in row.items()] for row in table.rows()]
    end = draw(st.sampled_from(["\n", "\r\n", "\r"]))
    text = end.join(separator.join(line) for line in lines) + draw(st.sampled_from(["", end]))
    return _packed(draw, text, folder / "a.csv")


def write_json(draw: st.DrawFn, table: Table, folder: Path) -> Path:
    as_text = {name: draw(st.booleans()) for name in table.kinds}
    sparse = {name for name, cells in table.cells.items() if any(c is not None for c in cells)}
    left_out = sparse if draw(st.booleans()) else set[str]()

    def written(name: str, cell: Any) -> Any:
        if cell is None or not (as_text[name] or isinstance(cell, uuid.UUID)):
            return cell
        return str(cell)

    rows = [
        {name: written(name, cell) for name, cell in row.items() if cell is not None or name not in left_out}
        for row in table.rows()
    ]
    if draw(st.booleans()):
        text = json.dumps(rows, indent=draw(st.sampled_from([None, 2])), ensure_ascii=draw(st.booleans()))
        return _packed(draw, text, folder / "a.json")
    return _packed(draw, "".join(json.dumps(row) + "\n" for row in rows), folder / "a.jsonl")


def _packed(draw: st.DrawFn, text: str, path: Path) -> Path:
    content = text.encode(draw(st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "utf-32"])))
    suffix = draw(st.sampled_from(["", ".gz", ".bz2", ".xz", ".zst", ".lz4", ".br"]))
    made = path.with_name(path.name + suffix)
    match suffix:
        case "":
            made.write_bytes(content)
        case ".gz":
            end = len(content) // 2
            made.write_bytes(gzip.compress(content[:end]) + gzip.compress(content[end:]))
        case ".xz":
            made.write_bytes(lzma.compress(content))
        case _:
            names: Any = {".bz2": "bz2", ".zst": "zstd", ".lz4": "lz4", ".br": "brotli"}
            with pa.output_stream(made, compression=names[suffix]) as stream:
                stream.write(content)
    return made
