"""What a benchmark is: a function that measures, its options, and the bars that its figures are held against.

The quick form is the same function with smaller options, and replays in one process: whatever the long form
prints and looks up, it prints and looks up, too.
"""

import argparse
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.replays import Replays
from benchmarks.tables import Bar, Tables
from benchmarks.telling import Telling

Value = str | int | float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Option:
    """One option of a benchmark on the command line, and argument of its function."""

    help: str
    default: Value = None
    quick: Value = None
    kind: Callable[[str], Value] = str
    metavar: str = "N"
    required: bool = False
    """In the long form; the quick one makes its own."""


@dataclass(frozen=True, slots=True)
class Bench:
    """What a benchmark is given besides its options."""

    telling: Telling
    replays: Replays
    services: Path | None = None
    """The folder of a broker and a store that are up and stay up; None: a benchmark brings its own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Benchmark:
    """`measure(bench, **options)` gives the tables. The module's docstring is its help."""

    measure: Callable[..., Tables]
    options: Mapping[str, Option] = field(default_factory=dict)
    bars: tuple[Bar, ...] = ()

    def declare(self, parser: argparse.ArgumentParser) -> None:
        """Add the options. None stands for what was not given."""
        for name, option in self.options.items():
            defaults = [
                *([] if option.default is None else [f"{_shown(option.default)}"]),
                *(["needed"] if option.required else []),
                *([] if option.quick is None else [f"quick: {_shown(option.quick)}"]),
            ]
            parser.add_argument(
                f"--{name}",
                type=option.kind,
                metavar=option.metavar,
                help=option.help + (f" [{'; '.join(defaults)}]" if defaults else ""),
            )

    def chosen(self, given: Mapping[str, Value], *, quick: bool) -> dict[str, Value]:
        """Every option's value, those that were not given by default."""
        defaults = {name: option.quick if quick else option.default for name, option in self.options.items()}
        return defaults | {name: value for name, value in given.items() if value is not None}

    def lacking(self, chosen: Mapping[str, Value]) -> list[str]:
        """Options that are needed and have no value."""
        return [n for n, option in self.options.items() if option.required and chosen[n] is None]


def _shown(value: Value) -> str:
    return f"{value:,}" if isinstance(value, int) else str(value)
