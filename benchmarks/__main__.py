"""Measures, prints tables, and holds figures against their bars.

  python -m benchmarks NAME [OPTION...]       one; --help: what it measures, beside whom, for how long
  python -m benchmarks [NAME...] [OPTION...]  each in a process of its own; without a name those with *

--quick does the same on a small planted log, in seconds: tables and bars are tried, the figures say nothing.
A long run begins with that. What is being done is said on the error stream; --json prints one object.
"""

import argparse
import ast
import importlib
import json
import subprocess
import sys
from collections.abc import Mapping
from itertools import takewhile
from pathlib import Path

from benchmarks.benchmark import Bench, Benchmark, Value
from benchmarks.replays import Replays
from benchmarks.tables import MACHINE, Tables, faults, held_against, machine, print_json, show
from benchmarks.telling import Telling
from state.errors import EbbtideError, InputError

ALL = (
    "start",
    "window",
    "wire",
    "store",
    "reader",
    "serve",
    "movielens",
    "completejourney",
    "stim",
    "overlap",
    "drift",
    "live",
)
"""What runs without a name: they need no log that may not be redistributed, and an hour or two in all."""
NAMES = (
    *ALL,
    "foursquare",
    "globo",
    "memory",
    "live-parity",
    "live-freshness",
    "live-backlog",
    "fuzz",
    "gpu",
    "flink",
    "coea",
    "answers",
)
FOLDERS = {"foursquare": "folder of the check-ins of New York", "globo": "folder of the news clicks"}
"""Options of several benchmarks, who run besides where they are given."""


def benchmark(name: str) -> Benchmark:
    """The benchmark of that name. Raises InputError where its packages are not installed."""
    try:
        chosen = importlib.import_module(f"benchmarks.{_module(name)}").BENCHMARK
    except ModuleNotFoundError as error:
        raise InputError(f"{name}: {error.name} is not installed; `make bench` installs all peers") from error
    assert isinstance(chosen, Benchmark)
    return chosen


def measured(name: str, given: Mapping[str, Value], *, quick: bool, services: Path | None = None) -> Tables:
    """The tables of one benchmark, the bars last.

    Raises InputError where a bar does not find its figure; what was measured is shown then.
    """
    one = benchmark(name)
    chosen = one.chosen(given, quick=quick)
    if lacking := one.lacking(chosen):
        raise InputError(f"{name}: expected {', '.join(f'--{word}' for word in lacking)}, or --quick")
    telling = Telling()
    if not quick:
        with telling.step("trying the quick form"):
            _try(name)
    tables = one.measure(Bench(telling, Replays(telling, apart=not quick), services), **chosen)
    try:
        return tables | held_against(tables, one.bars)
    except InputError:
        show(tables)
        raise


def several(names: list[str], given: Mapping[str, Value], *, quick: bool, as_json: bool) -> None:
    """Each benchmark in a process of its own; what one has measured is printed before the next begins."""
    tables: dict[str, Tables] = {}
    for name in names:
        own = benchmark(name).options
        words = [word for option in own if given.get(option) for word in (f"--{option}", str(given[option]))]
        print(f"{name} ...", file=sys.stderr, flush=True)
        command = [sys.executable, "-m", "benchmarks", name, *words, *(["--quick"] if quick else [])]
        run = subprocess.run(
            [*command, *(["--json"] if as_json else [])], stdout=subprocess.PIPE if as_json else None
        )
        if run.returncode != 0:
            raise InputError(f"{name} ended with exit status {run.returncode}")
        if as_json:
            tables[name] = json.loads(run.stdout)
    if as_json:
        print(json.dumps(tables, indent=2))


def main(words: list[str] | None = None) -> int:
    """The exit code."""
    words = sys.argv[1:] if words is None else words
    names = list(takewhile(lambda word: not word.startswith("-"), words))
    try:
        if unknown := [name for name in names if name not in NAMES]:
            raise InputError(f"{', '.join(unknown)}: expected names of {', '.join(NAMES)}")
        if len(names) == 1:
            _one(names[0], words[1:])
        else:
            _several(names, words[len(names) :])
    except EbbtideError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    return 0


def _one(name: str, words: list[str]) -> None:
    parser = _parser(f"python -m benchmarks {name}", _about(name))
    benchmark(name).declare(parser)
    given = vars(parser.parse_args(words))
    quick, as_json = given.pop("quick"), given.pop("json")
    tables = {MACHINE: [machine(" ".join(("python -m benchmarks", name, *words)))]}
    tables |= measured(name, {word.replace("_", "-"): value for word, value in given.items()}, quick=quick)
    (print_json if as_json else show)(tables)
    if missed := faults(tables, benchmark(name).bars):
        raise InputError(f"{name}: {'; '.join(missed)}")


def _several(names: list[str], words: list[str]) -> None:
    listed = "\n".join(
        f"  {'*' if name in ALL else ' '} {name:16}{_about(name).splitlines()[0]}" for name in NAMES
    )
    parser = _parser("python -m benchmarks", f"{__doc__}\n{listed}")
    for name, what in FOLDERS.items():
        parser.add_argument(f"--{name}", metavar="DIR", help=f"{what}: {name} runs, too")
    given = vars(parser.parse_args(words))
    chosen = names or [*ALL, *(name for name in FOLDERS if given[name])]
    several(chosen, given, quick=given["quick"], as_json=given["json"])


def _parser(prog: str, about: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=prog, description=about, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="seconds, on a small planted log")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    return parser


def _about(name: str) -> str:
    """A benchmark's docstring, without importing it and its peers."""
    source = Path(__file__).with_name(f"{_module(name)}.py").read_text()
    return ast.get_docstring(ast.parse(source)) or ""


def _module(name: str) -> str:
    return name.replace("-", "_")


def _try(name: str) -> None:
    command = [sys.executable, "-m", "benchmarks", name, "--quick", "--json"]
    tried = subprocess.run(command, capture_output=True, text=True)
    if tried.returncode != 0:
        raise InputError(f"{name} --quick ended with exit status {tried.returncode}: {tried.stderr.strip()}")


if __name__ == "__main__":
    sys.exit(main())
