"""`ebbtide state`: what a group remembers, from one engine to another."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from ebbtide.commands.built_by import built_by
from ebbtide.commands.group_options import NamedGroup, named_group
from ebbtide.commands.live_options import Json
from ebbtide.commands.output import print_json
from state.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from streams.engines.moved import Moved

moves = typer.Typer(help="What workers remember: out of an engine, and into another.", no_args_is_help=True)
Checkpoints = Annotated[
    Path | None,
    typer.Option("--checkpoints", metavar="DIR", help="Of a job of Flink. [the group's changelog]"),
]


@moves.command("export")
@built_by(named_group)
def export(
    group: NamedGroup,
    *,
    to: Annotated[Path, typer.Argument(metavar="STATE", help="A new folder.")],
    checkpoints: Checkpoints = None,
    restore: Annotated[
        Path | None,
        typer.Option("--from", metavar="DIR", help="This savepoint. [the newest in --checkpoints]"),
    ] = None,
    as_json: Json = False,
) -> None:
    """Write the state of a group whose workers have ended, or of a job of Flink, as of its newest example."""
    from streams.engines.moved import exported

    if to.exists() and (not to.is_dir() or any(to.iterdir())):
        raise InputError(f"{to}: expected a new or an empty folder, got one with something in it")
    if checkpoints is None:
        if restore is not None:
            raise InputError("--from: a savepoint goes with --checkpoints")
        from streams.engines import moving
        from streams.records import folder

        for moved in moving.leaving(group.place()):
            folder.write(to, moved.kept, moved.progress.events)
    else:
        from ebbtide.flink import runtime

        runtime.here()
        from ebbtide.flink.moved import give

        give(checkpoints, restore, to, group.brokers, group.topics)
    _say(list(exported(to)), to, as_json=as_json)


@moves.command("import")
@built_by(named_group)
def take(
    group: NamedGroup,
    *,
    source: Annotated[Path, typer.Argument(metavar="STATE", help="What `ebbtide state export` has written.")],
    checkpoints: Checkpoints = None,
    as_json: Json = False,
) -> None:
    """Have a group of workers, or a job of Flink that has not begun, go on from an exported state.

    A state of an earlier version is taken over as today's; what cannot be is refused, and nothing is written.
    """
    if checkpoints is None:
        from streams.engines import moving

        partitions = moving.take(group.place(), source)
    else:
        from ebbtide.flink import moved
        from ebbtide.flink.idle import idle

        with idle(checkpoints):
            partitions = moved.take(source, checkpoints, group.brokers, group.topics)
    _say(partitions, checkpoints or group.topics.changelog, as_json=as_json)


def _say(partitions: "Sequence[Moved]", where: object, *, as_json: bool) -> None:
    rows = [
        {
            "partition": moved.kept.partition,
            "offset": moved.progress.offset,
            "users": moved.progress.users,
            "records": len(moved.kept.records),
            "bytes": sum(map(len, moved.kept.records.values())),
        }
        for moved in partitions
    ]
    if as_json:
        print_json({"where": str(where), "partitions": rows})
        return
    for row in rows:
        form = (
            "partition {partition}: {users:,} users at offset {offset}, {records:,} records, {bytes:,} bytes"
        )
        Console().print(form.format(**row), highlight=False)
    Console().print(f"{len(rows)} partitions in {where}", highlight=False)
