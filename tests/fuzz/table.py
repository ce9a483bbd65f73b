"""A small log as columns of Python values, drawn from its shape."""

import uuid
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Literal, NamedTuple

import msgspec

START = datetime(2024, 1, 3, 8, 30, tzinfo=UTC)
IDS: dict[str, Callable[[int], object]] = {
    "whole": lambda n: n,
    "negative": lambda n: -n - 1,
    "big": lambda n: 2**61 + n,
    "huge": lambda n: 2**63 - 20 + n,
    "text": lambda n: f"u{n}",
    "blanks": lambda n: f"Ann {n}",
    "zeros": lambda n: f"{n:04}",
    "unicode": lambda n: f"é{n}日",
    "uuid": lambda n: str(uuid.UUID(int=n * 2**64 + 7)),
    "quotes": lambda n: f'"{n}", or',
    "float": float,
}
TIMES: dict[str, Callable[[datetime], object]] = {
    "s": lambda at: int(at.timestamp()),
    "ms": lambda at: int(at.timestamp()) * 1000,
    "us": lambda at: int(at.timestamp()) * 1_000_000,
    "ns": lambda at: int(at.timestamp()) * 1_000_000_000,
    "fraction": lambda at: at.timestamp() + 0.25,
    "date": lambda at: int(f"{at:%Y%m%d}"),
    "timestamp": lambda at: at.replace(tzinfo=None),
    "zoned": lambda at: at,
    "iso": lambda at: f"{at:%Y-%m-%dT%H:%M:%S}",
    "utc": lambda at: f"{at:%Y-%m-%d %H:%M:%S} UTC",
    "z": lambda at: f"{at:%Y-%m-%dT%H:%M:%S}Z",
    "day": lambda at: f"{at:%Y-%m-%d}",
    "slash": lambda at: f"{at:%Y/%m/%d %H:%M:%S}",
    "day_first": lambda at: f"{at:%d/%m/%Y %H:%M}",
    "month_first": lambda at: f"{at:%m/%d/%Y %H:%M}",
    "dashes": lambda at: f"{at:%d-%m-%Y %H:%M}",
    "am_pm": lambda at: f"{at:%m/%d/%Y %I:%M:%S %p}",
    "dots": lambda at: f"{at:%d.%m.%Y %H:%M:%S}",
    "server": lambda at: f"{at:%d/%b/%Y:%H:%M:%S +0000}",
}
EXTRA: dict[str, Callable[[int, Random], object]] = {
    "label": lambda n, rng: n % 3 % 2,
    "is_click": lambda n, rng: "yes" if n % 3 else "no",
    "converted": lambda n, rng: n % 4 == 0,
    "rating": lambda n, rng: rng.randrange(1, 11) / 2,
    "action": lambda n, rng: ("view", "cart", "buy")[n % 3],
    "category": lambda n, rng: f"c{n % 4}",
    "lat": lambda n, rng: round(rng.uniform(-80, 80), 4),
    "lon": lambda n, rng: round(rng.uniform(-170, 170), 4),
    "place": lambda n, rng: f"shop {n % 3}",
    "tz": lambda n, rng: (0, 60, -300)[n % 3],
    "session": lambda n, rng: n // 5,
    "propensity": lambda n, rng: round(rng.uniform(0.01, 1), 3),
    "event_id": lambda n, rng: n if n % 7 else n - 1,
    "text": lambda n, rng: f"words, and more {n}",
    "colour": lambda n, rng: None if n % 5 == 0 else "red",
    "price": lambda n, rng: None if n % 6 == 0 else n * 1.25,
}
"""Columns that a log may have besides, the usual names among them."""
Order = Literal["sorted", "shuffled", "backwards", "tied"]


class Table(NamedTuple):
    """Columns side by side; a name may be there twice."""

    names: list[str]
    columns: list[list[object]]

    @property
    def rows(self) -> int:
        return len(self.columns[0])

    def part(self, start: int, stop: int) -> "Table":
        return Table(list(self.names), [column[start:stop] for column in self.columns])

    def without(self, place: int) -> "Table":
        return Table(
            self.names[:place] + self.names[place + 1 :], self.columns[:place] + self.columns[place + 1 :]
        )

    def records(self) -> list[list[object]]:
        return [list(row) for row in zip(*self.columns, strict=True)]


class Shape(msgspec.Struct, frozen=True, kw_only=True):
    """What a log looks like before anything is spoilt."""

    rows: int
    seed: int
    users: str = "whole"
    items: str = "whole"
    time: str = "s"
    step_s: float = 600.0
    order: Order = "sorted"
    extra: tuple[str, ...] = ()

    @classmethod
    def draw(cls, rng: Random, *, most: int = 60) -> "Shape":
        extra = tuple(name for name in EXTRA if rng.random() < 0.15)
        return cls(
            rows=rng.randrange(1, most),
            seed=rng.randrange(1 << 30),
            users=rng.choice(list(IDS)),
            items=rng.choice(list(IDS)),
            time=rng.choice(list(TIMES)),
            step_s=rng.choice((1, 600, 20_000, 86_400, 3e6)),
            order=rng.choice(("sorted", "sorted", "shuffled", "backwards", "tied")),
            extra=extra,
        )

    def table(self) -> Table:
        rng = Random(self.seed)
        numbers = list(range(self.rows))
        at = [START + timedelta(seconds=round(self.step_s * n)) for n in numbers]
        if self.order == "tied":
            at = [at[n - n % 4] for n in numbers]
        elif self.order == "backwards":
            at.reverse()
        elif self.order == "shuffled":
            rng.shuffle(at)
        columns: dict[str, list[object]] = {
            "user": [IDS[self.users](rng.randrange(5)) for _ in numbers],
            "item": [IDS[self.items](rng.randrange(7)) for _ in numbers],
            "time": [TIMES[self.time](moment) for moment in at],
            **{name: [EXTRA[name](n, rng) for n in numbers] for name in self.extra},
        }
        return Table(list(columns), list(columns.values()))
