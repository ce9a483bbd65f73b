"""One table in two encodings is one log: the same events, names and dead letters, bit for bit."""

from pathlib import Path
from random import Random

import msgspec

from tests.fuzz.encodings import ENCODINGS, holds, write
from tests.fuzz.seen import Refused, Seen, columns, look
from tests.fuzz.table import Shape, Table


class TwinCase(msgspec.Struct, frozen=True, tag="twin"):
    """A log, and how it is written; `gaps` are cells that are missing."""

    shape: Shape
    first: str
    second: str
    gaps: tuple[tuple[int, int], ...] = ()

    def check(self, folder: Path) -> None:
        table = self.table()
        if not all(holds(encoding, table) for encoding in (self.first, self.second)):
            return
        if any(all(cell is None for cell in cells) for cells in table.columns):
            return  # a column that holds nothing is none where keys may be left out
        one, other = (
            self._seen(table, encoding, folder / encoding) for encoding in (self.first, self.second)
        )
        if isinstance(one, str) or isinstance(other, str):
            assert isinstance(one, str), f"{self.second} is refused, {self.first} is not: {other}"
            assert isinstance(other, str), f"{self.first} is refused, {self.second} is not: {one}"
            return
        for what in ("first_ms", "last_ms", "users", "items", "labelled"):
            values = [getattr(seen.log.survey, what) for seen in (one, other)]
            assert values[0] == values[1], (
                f"{what}: {values[0]} in {self.first}, {values[1]} in {self.second}"
            )
        assert one.dead == other.dead, (
            f"dead letters: {one.dead} in {self.first}, {other.dead} in {self.second}"
        )
        assert one.log.mapping.columns == other.log.mapping.columns
        assert one.log.label_rule == other.log.label_rule
        assert dict(one.log.names.items()) == dict(other.log.names.items()), "the names differ"
        assert columns(one.events) == columns(other.events), "the events differ"

    def table(self) -> Table:
        table = self.shape.table()
        for row, column in self.gaps:
            table.columns[column % len(table.names)][row % table.rows] = None
        return table

    def _seen(self, table: Table, encoding: str, folder: Path) -> Seen | str:
        try:
            return look(write(table, folder, "log", encoding), {}, folder)
        except Refused as refused:
            return str(refused)


def draw(rng: Random) -> TwinCase:
    """A table without a fault, and two encodings."""
    shape = Shape.draw(rng)
    first, second = rng.sample(list(ENCODINGS), 2)
    gaps = tuple((rng.randrange(shape.rows), rng.randrange(9)) for _ in range(rng.choice((0, 0, 1, 3))))
    return TwinCase(shape, first, second, gaps)
