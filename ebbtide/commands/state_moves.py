"""`ebbtide state`: what a group remembers, from one engine to another."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from ebbtide.commands.live_options import Brokers, DeadLetters, Events, Examples, Group, Json
from ebbtide.commands.output import print_json
from state.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from streams.engines.mending import Place
    from streams.engines.moved import Moved

moves = typer.Typer(help="What workers remember: out of an engine, and into another.", no_args_is_help=True)
Checkpoints = Annotated[
    Path | None,
    typer.Option("--checkpoints", metavar="DIR", help="Of a job of Flink. [the group's changelog]"),
]


@moves.command("export")
def export(
    to: Annotated[Path, typer.Argument(metavar="STATE", help="A new folder.")],
    brokers: Brokers = None,
    events: Events = "events",
    examples: Examples = "examples",
    dead_letters: DeadLetters = "dead-letters",
    group: Group = "ebbtide",
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

        for moved in moving.leaving(_place(brokers, events, examples, dead_letters, group)):
            folder.write(to, moved.kept, moved.progress.events)
    else:
        from ebbtide.flink import runtime

        runtime.here()
        from ebbtide.flink.moved import give

        give(checkpoints, restore, to)
    _say(list(exported(to)), to, as_json=as_json)


@moves.command("import")
def take(
    source: Annotated[Path, typer.Argument(metavar="STATE", help="What `ebbtide state export` has written.")],
    brokers: Brokers = None,
    events: Events = "events",
    examples: Examples = "examples",
    dead_letters: DeadLetters = "dead-letters",
    group: Group = "ebbtide",
    checkpoints: Checkpoints = None,
    as_json: Json = False,
) -> None:
    """Have a group of workers, or a job of Flink that has not begun, go on from an exported state.

    A state of an earlier version is taken over as today's; what cannot be is refused, and nothing is written.
    """
    from ebbtide.commands import addresses
    from streams.kafka.topics import Topics

    if checkpoints is None:
        from streams.engines import moving

        found = moving.take(_place(brokers, events, examples, dead_letters, group), source)
    else:
        from ebbtide.alone import alone
        from ebbtide.flink import moved

        with alone(checkpoints, "--checkpoints", "`ebbtide flink run`"):
            names = Topics(events, examples, dead_letters, f"{group}-changelog")
            found = moved.take(source, checkpoints, addresses.brokers(brokers), names)
    _say(found, checkpoints or f"{group}-changelog", as_json=as_json)


def _place(brokers: str | None, events: str, examples: str, dead_letters: str, group: str) -> "Place":
    from ebbtide.commands import addresses
    from streams.engines.mending import Place
    from streams.kafka.security import from_environment
    from streams.kafka.topics import Topics

    found = addresses.without_workers(addresses.brokers(brokers), group)
    names = Topics(events, examples, dead_letters, f"{group}-changelog")
    return Place(brokers=found, topics=names, group=group, security=from_environment())


def _say(found: "Sequence[Moved]", where: object, *, as_json: bool) -> None:
    rows = [
        {
            "partition": moved.kept.partition,
            "offset": moved.progress.offset,
            "users": moved.progress.users,
            "records": len(moved.kept.records),
            "bytes": sum(map(len, moved.kept.records.values())),
        }
        for moved in found
    ]
    if as_json:
        print_json({"where": str(where), "partitions": rows})
        return
    for row in rows:
        said = (
            "partition {partition}: {users:,} users at offset {offset}, {records:,} records, {bytes:,} bytes"
        )
        Console().print(said.format(**row), highlight=False)
    Console().print(f"{len(rows)} partitions in {where}", highlight=False)
