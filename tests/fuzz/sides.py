"""Spoilt tables of items and users beside a good log: no row and no column of them goes without a word."""

from pathlib import Path
from random import Random
from typing import Literal

import msgspec

from replay.reading.usual_names import plain
from tests.fuzz import through
from tests.fuzz.encodings import ENCODINGS, holds, write
from tests.fuzz.logs import Bytes, Cell, spoil
from tests.fuzz.seen import Refused, Seen, look
from tests.fuzz.table import IDS, Shape, Table
from tests.fuzz.values import CELLS, LITTER, one_of

COLUMNS = (
    "price",
    "colour",
    "tags",
    "genres",
    "title",
    "weight_kg",
    "lat",
    "lon",
    "updated_at",
    "code",
    "nothing",
    "flag",
)


class SideCase(msgspec.Struct, frozen=True, tag="side"):
    """A table beside a log."""

    kind: Literal["items", "users"]
    rows: int
    ids: str
    columns: tuple[str, ...]
    encoding: str
    cells: tuple[Cell, ...] = ()
    bytes: tuple[Bytes, ...] = ()
    learn: bool = False

    def check(self, folder: Path) -> None:
        shape = Shape(rows=20, seed=1, users=self.ids, items=self.ids, extra=("label",))
        log = write(shape.table(), folder, "log", "parquet")
        table = self.table()
        if not (self.cells or self.bytes or holds(self.encoding, table)):
            return
        path = write(table, folder / "side", "table", self.encoding)
        for damage in self.bytes:
            spoil(path, damage)
        options: dict[str, str] = {self.kind: str(path)}
        try:
            seen = look(log, options, folder)
        except Refused:
            if not (self.cells or self.bytes):
                raise
            return
        self._check(seen)
        if self.learn:
            through.learn(seen.log, self.rows)

    def table(self) -> Table:
        rng = Random(self.rows)
        made: dict[str, list[object]] = {self.kind[:-1]: [IDS[self.ids](n) for n in range(self.rows)]}
        made |= {name: [_cell(name, n, rng) for n in range(self.rows)] for name in self.columns}
        table = Table(list(made), list(made.values()))
        for cell in self.cells:
            table.columns[cell.column % len(table.names)][cell.row % table.rows] = CELLS[cell.value]
        return table

    def _check(self, seen: Seen) -> None:
        side = seen.log.items if self.kind == "items" else seen.log.users
        assert side is not None
        missing = self.rows - len(side.id_N)
        if not self.bytes:
            assert missing >= 0
            assert missing == 0 or f"{missing:,}" in seen.said, (
                f"{missing} of {self.rows} rows left out without a word"
            )
            told = seen.inspection.items if self.kind == "items" else seen.inspection.users
            known = " ".join(told or {})
            columns = [name for name in self.columns if (name, self.encoding) != ("nothing", "sparse jsonl")]
            for name in columns:
                assert plain(name) in known or name in seen.said, f"column {name!r} left out without a word"


def _cell(name: str, n: int, rng: Random) -> object:
    match name:
        case "price" | "weight_kg":
            return round(rng.uniform(1, 99), 2)
        case "colour":
            return ("red", "green", "blue")[n % 3]
        case "tags":
            return ["a", f"t{n % 3}"]
        case "genres":
            return "Drama|Comedy" if n % 2 else "Drama"
        case "title":
            return f"A title of {n} words"
        case "lat" | "lon":
            return round(rng.uniform(-80, 80), 4)
        case "updated_at":
            return "2024-01-02T00:00:00"
        case "code":
            return f"{n:05}"
        case "flag":
            return n % 2 == 0
    return None


def draw(rng: Random) -> SideCase:
    """A table; one in three is not spoilt."""
    rows = rng.randrange(1, 30)
    spoilt = rng.random() < 0.7
    return SideCase(
        kind=rng.choice(("items", "users")),
        rows=rows,
        ids=rng.choice(list(IDS)),
        columns=tuple(rng.sample(COLUMNS, rng.randrange(1, len(COLUMNS)))),
        encoding=rng.choice(list(ENCODINGS)),
        cells=tuple(
            Cell(rng.randrange(rows), rng.randrange(9), one_of(rng, CELLS))
            for _ in range(rng.randrange(5) if spoilt else 0)
        ),
        bytes=tuple(
            Bytes(0, round(rng.random(), 4), rng.choice((0, 1, 300)), one_of(rng, LITTER))
            for _ in range(rng.randrange(3) if spoilt and rng.random() < 0.2 else 0)
        ),
        learn=rng.random() < 0.2,
    )
