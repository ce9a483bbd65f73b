"""Every benchmark, one after another, each in a process of its own.

python -m benchmarks [NAME...] [--foursquare DIR] [--globo DIR] [--json FILE]
"""

import argparse
import json
import subprocess
import sys
from pathlib import Path

from rich.console import Console

from benchmarks.tables import Tables, machine, show

NAMES = ("window", "store", "movielens", "completejourney", "stim", "live")
"""Those that need nothing from outside."""


def run(name: str, *arguments: str) -> Tables:
    """What one benchmark measured."""
    Console(stderr=True).print(f"{name} ...", style="dim")
    command = [sys.executable, "-m", f"benchmarks.{name}", "--json", *arguments]
    found = json.loads(subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout)
    return {name: found} if isinstance(found, list) else found


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Run benchmarks.")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(NAMES)}; all by default")
    parser.add_argument("--foursquare", metavar="DIR", help="run foursquare too, on the log in DIR")
    parser.add_argument("--globo", metavar="DIR", help="let stim run on the news clicks in DIR too")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all tables to FILE as well")
    arguments = parser.parse_args()
    unknown = set(arguments.names) - set(NAMES)
    if unknown:
        parser.error(f"{', '.join(sorted(unknown))}: expected names of {', '.join(NAMES)}")
    jobs: list[tuple[str, list[str]]] = [
        (name, []) for name in arguments.names or ([] if arguments.foursquare else NAMES)
    ]
    if arguments.foursquare:
        jobs.append(("foursquare", ["--data", arguments.foursquare]))
    given = {"--foursquare": arguments.foursquare, "--globo": arguments.globo}
    for name, options in jobs:
        if name == "stim":
            options += [word for option, value in given.items() if value for word in (option, value)]

    tables: Tables = {"machine": [machine()]}
    show(tables)
    for name, options in jobs:
        found = run(name, *options)
        show(found)
        tables |= found
    if arguments.json is not None:
        arguments.json.write_text(json.dumps(tables, indent=2) + "\n")


if __name__ == "__main__":
    main()
