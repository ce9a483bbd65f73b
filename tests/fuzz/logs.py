"""Spoilt logs: whatever they hold, every row is used, or counted as a dead letter, or its file is named."""

from pathlib import Path
from random import Random
from typing import Literal, get_args

import msgspec

from tests.fuzz import through
from tests.fuzz.encodings import ENCODINGS, holds, write
from tests.fuzz.seen import Refused, Seen, look
from tests.fuzz.table import Shape, Table
from tests.fuzz.values import CELLS, FOLDERS, HEADERS, LITTER, one_of

OPTIONS: dict[str, tuple[str, ...]] = {
    "label": (
        "none",
        "rating>=4",
        "rating>=9",
        "action==buy",
        "action==buy|cart",
        "label",
        "nothing>1",
        "rating",
        "time>3",
    ),
    "from": (
        "2024-01-03",
        "2024-01-04T12:00",
        "1704270600",
        "1704270600000",
        "2030-01-01",
        "03/01/2024",
        "5",
    ),
    "until": ("2024-01-05", "2024-02-01", "1704280000", "1990-01-01", "20240104", "1e400"),
    "limit": ("1", "7", "1000000"),
    "map user": ("item", "column1", "nobody"),
    "map time": ("@row", "time", "user"),
    "map tz": ("60", "America/New_York", "Mars", "tz"),
    "map time_unit": ("s", "ms", "us", "ns", "date", "tick"),
    "map earliest": ("2024-01-04", "1970-01-01"),
}
Depth = Literal["open", "replay", "door", "process", "run"]
"""How far a case goes: see `tests.fuzz.through`."""


class Cell(msgspec.Struct, frozen=True):
    """A cell of the table becomes another; both places are modulo what is there."""

    row: int
    column: int
    value: int
    """Among `values.CELLS`."""


class Header(msgspec.Struct, frozen=True):
    """A column of one file is called otherwise."""

    part: int
    column: int
    name: int
    """Among `values.HEADERS`."""


class Bytes(msgspec.Struct, frozen=True):
    """Bytes of one file become others."""

    part: int
    at: float
    """Share of the file before them."""
    cut: int
    litter: int
    """Among `values.LITTER`."""


class Part(msgspec.Struct, frozen=True):
    """One file of a folder; `without` and `more` are columns that only this one lacks or has."""

    encoding: str
    suffix: str = ""
    """A wrong one."""
    without: int = -1
    more: bool = False
    empty: Literal["", "no bytes", "no rows"] = ""


class LogCase(msgspec.Struct, frozen=True, tag="log"):
    """A log in one file, or in several of a folder."""

    shape: Shape
    parts: tuple[Part, ...]
    hive: bool = False
    """Whether every part stands in a folder NAME=VALUE of its own."""
    cells: tuple[Cell, ...] = ()
    headers: tuple[Header, ...] = ()
    bytes: tuple[Bytes, ...] = ()
    options: tuple[tuple[str, str], ...] = ()
    depth: Depth = "open"
    place: int = 0
    """Among `values.FOLDERS`."""

    def check(self, folder: Path) -> None:
        path = self.write(folder / FOLDERS[self.place])
        through.door(self.depth, path, dict(self.options), folder)
        try:
            seen = look(path, dict(self.options), folder)
        except Refused as refused:
            asked = "say which: --time-format" in str(refused)
            assert self.spoilt or asked, "a good log was refused"
            return
        self._check_rows(seen, folder)
        if self.depth == "replay":
            through.learn(seen.log, self.shape.seed)

    @property
    def spoilt(self) -> bool:
        """Whether it may be refused."""
        odd = any(part.suffix or part.empty or part.without >= 0 for part in self.parts)
        odd |= not all(holds(part.encoding, self.shape.table()) for part in self.parts)
        return odd or self.hive or bool(self.cells or self.headers or self.bytes or self.options)

    def spoilt_table(self) -> Table:
        table = self.shape.table()
        for cell in self.cells:
            table.columns[cell.column % len(table.names)][cell.row % table.rows] = CELLS[cell.value]
        return table

    def write(self, top: Path) -> Path:
        """The file, or the folder."""
        table = self.spoilt_table()
        paths = [self._write_part(top, table, i) for i in range(len(self.parts))]
        for damage in self.bytes:
            spoil(paths[damage.part % len(paths)], damage)
        return paths[0] if len(paths) == 1 and not self.hive else top

    def _bounds(self, table: Table, i: int) -> tuple[int, int]:
        size = -(-table.rows // len(self.parts))
        return min(size * i, table.rows), min(size * (i + 1), table.rows)

    def _part_table(self, table: Table, i: int) -> Table:
        part = self.parts[i]
        some = table.part(*self._bounds(table, i))
        for change in self.headers:
            if change.part % len(self.parts) == i:
                some.names[change.column % len(some.names)] = HEADERS[change.name]
        if part.without >= 0:
            lacking = part.without % len(some.names)
            some = some.without(lacking)
        if part.more:
            some = Table([*some.names, "newest"], [*some.columns, [i] * some.rows])
        return some.part(0, 0) if part.empty == "no rows" else some

    def _write_part(self, top: Path, table: Table, i: int) -> Path:
        part = self.parts[i]
        place = f"day=2024-01-0{i + 1}/part" if self.hive else f"part-{i}"
        path = write(self._part_table(table, i), top, place, part.encoding)
        if part.empty == "no bytes":
            path.write_bytes(b"")
        return path.rename(path.with_suffix(part.suffix)) if part.suffix else path

    def _check_rows(self, seen: Seen, folder: Path) -> None:
        """Every row is there, or its file is named."""
        if {"limit", "from", "until"} & dict(self.options).keys() or seen.log.rows == 0:
            return
        table = self.spoilt_table()
        sizes = [stop - start for start, stop in (self._bounds(table, i) for i in range(len(self.parts)))]
        whole = sum(size for size, part in zip(sizes, self.parts, strict=True) if not part.empty)
        if self.bytes:
            # in an array that has lost a brace, any comma may be taken to end an element
            lines = sum(
                content.count(b"\n") + 1 + (content.count(b",") if b"[" in content[:4] else 0)
                for content in (path.read_bytes() for path in folder.rglob("part*") if path.is_file())
            )
            assert seen.rows <= whole + lines, f"{seen.rows} rows of {lines} lines"
            return
        named = sum(
            size
            for i, size in enumerate(sizes)
            if f"part-{i}" in seen.said or f"day=2024-01-0{i + 1}" in seen.said
        )
        missing = whole - seen.rows
        if missing < 0 and not all(
            holds(part.encoding, self._part_table(table, i)) for i, part in enumerate(self.parts)
        ):
            return  # a line end within a cell or a name, and nothing says so
        assert missing == 0 or 0 < missing <= named, (
            f"{whole} rows written, {seen.rows} accounted for ({len(seen.events)} used, {seen.dead}); "
            f"files of {named} rows are named: {seen.log.notes}"
        )


def spoil(path: Path, damage: Bytes) -> None:
    """Overwrite bytes of a file."""
    content = path.read_bytes()
    at = int(len(content) * damage.at)
    path.write_bytes(content[:at] + LITTER[damage.litter] + content[at + damage.cut :])


def draw(rng: Random) -> LogCase:
    """A case; about one in eight is not spoilt at all."""
    shape = Shape.draw(rng)
    encodings = [rng.choice(list(ENCODINGS))]
    encodings *= 1 if rng.random() < 0.6 else rng.randrange(2, 5)
    if rng.random() < 0.1:
        encodings = [rng.choice(list(ENCODINGS)) for _ in encodings]
    parts = tuple(_part(rng, encoding, alone=len(encodings) == 1) for encoding in encodings)
    spoilt = rng.random() < 0.9
    several = len(parts)
    return LogCase(
        shape,
        parts,
        hive=several > 1 and rng.random() < 0.2,
        cells=tuple(
            Cell(rng.randrange(shape.rows), rng.randrange(8), one_of(rng, CELLS))
            for _ in range(_few(rng, 6, spoilt))
        ),
        headers=tuple(
            Header(rng.randrange(several), rng.randrange(8), one_of(rng, HEADERS))
            for _ in range(_few(rng, 2, spoilt and rng.random() < 0.3))
        ),
        bytes=tuple(
            Bytes(
                rng.randrange(several),
                round(rng.random(), 4),
                rng.choice((0, 1, 4, 300)),
                one_of(rng, LITTER),
            )
            for _ in range(_few(rng, 4, spoilt and rng.random() < 0.4))
        ),
        options=tuple(
            (name, rng.choice(OPTIONS[name])) for name in OPTIONS if spoilt and rng.random() < 0.04
        ),
        depth=rng.choices(get_args(Depth), (80, 13, 6, 0.5, 0.5))[0],
        place=one_of(rng, FOLDERS) if spoilt and rng.random() < 0.1 else 0,
    )


def _few(rng: Random, most: int, spoilt: bool) -> int:
    return rng.randrange(most + 1) if spoilt else 0


def _part(rng: Random, encoding: str, *, alone: bool) -> Part:
    drawn = rng.random()
    if drawn < 0.03:
        return Part(
            encoding,
            suffix=rng.choice((".csv", ".jsonl", ".parquet", ".arrow", ".json", ".gz", ".xlsx", ".log")),
        )
    if alone:
        return Part(encoding)
    return Part(
        encoding,
        without=rng.randrange(8) if rng.random() < 0.05 else -1,
        more=rng.random() < 0.1,
        empty=rng.choice(("no bytes", "no rows")) if rng.random() < 0.08 else "",
    )
