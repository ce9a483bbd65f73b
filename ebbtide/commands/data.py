"""`ebbtide data`: the known logs, and what a log looks like."""

import shlex
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from ebbtide import waiting
from ebbtide.commands.built_by import built_by
from ebbtide.commands.live_options import Json
from ebbtide.commands.log_options import LogReading
from ebbtide.commands.output import print_json

data = typer.Typer(help="Known logs, and what a log of yours looks like.", no_args_is_help=True)


@data.command("list")
def list_(as_json: Json = False) -> None:
    """The logs that are known by name."""
    from replay.inspect import known_logs

    known = known_logs()
    if as_json:
        print_json(known)
        return
    table = Table(*(known[0]), box=None, header_style="dim")
    for row in known:
        table.add_row(*row.values())
    Console().print(table)


@data.command("inspect")
@built_by(LogReading)
def inspect_(
    reading: LogReading,
    log: Annotated[str, typer.Argument(metavar="LOG", help="A file, a folder, or a known log.")],
    as_json: Json = False,
) -> None:
    """What a log holds: a proposed mapping, counts, time span and unit, ties, gaps, repeats, warnings."""
    with waiting.looking(f"Looking over {log} ...", quiet=as_json):
        from replay.inspect import inspect

        inspection = inspect(reading.open(log))
    if as_json:
        print_json(inspection.report())
        return
    table = Table(box=None, show_header=False)
    for name, value in inspection.rows():
        table.add_row(name, Text(value))
    screen = Console()
    screen.print(table, highlight=False)
    for sentence in inspection.notes:
        screen.print(f"note: {sentence}", style="dim", highlight=False, markup=False)
    for warning in inspection.warnings:
        screen.print(f"warning: {warning}", style="yellow", highlight=False, markup=False)
    screen.print("\nproposed mapping (a TOML file for --map, or as flags):", style="bold")
    screen.print(inspection.mapping_toml.rstrip(), highlight=False, markup=False)
    flags = " ".join(f"--map {shlex.quote(flag)}" for flag in inspection.map_flags)
    screen.print(flags, highlight=False, markup=False)
