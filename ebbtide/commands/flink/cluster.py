"""`ebbtide flink up`, `down` and `status`: a session cluster on this machine, and the jobs of any."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from ebbtide.commands.flink.options import CLUSTER, JobManagerAt, manager
from ebbtide.commands.live_options import Json
from ebbtide.commands.output import print_json

Folder = Annotated[
    Path, typer.Option("--dir", metavar="D", help="Where the cluster's logs and settings are.")
]


def up(
    folder: Folder = CLUSTER,
    task_managers: Annotated[
        int, typer.Option("--taskmanagers", metavar="N", min=1, max=64, help="Of two slots each.")
    ] = 1,
    port: Annotated[
        int | None,
        typer.Option(metavar="P", min=1, max=65535, help="The job manager's. [free]"),
    ] = None,
) -> None:
    """Start what is not running of a session cluster, on 127.0.0.1; returns when all its slots are there."""
    from ebbtide.flink import runtime

    runtime.here()
    from ebbtide.flink import cluster

    print(cluster.up(folder, task_managers, port).address)


def down(folder: Folder = CLUSTER) -> None:
    """End the cluster that `up` has started; jobs go on from their newest checkpoint when submitted again."""
    from ebbtide.flink import cluster

    Console().print(f"ended {len(cluster.down(folder))} processes", highlight=False)


def status(jobmanager: JobManagerAt = None, as_json: Json = False) -> None:
    """The jobs of a cluster: state, checkpoints, the newest trouble; exit code 1 unless one runs."""
    from ebbtide.flink.rest import ENDED

    there = manager(jobmanager)
    rows = [
        {**asdict(one), "checkpoints": there.checkpoints(one.id), "trouble": there.trouble(one.id)}
        for one in there.jobs()
    ]
    slots, free = there.slots()
    if as_json:
        print_json({"jobmanager": there.address, "slots": slots, "free": free, "jobs": rows})
    else:
        screen = Console()
        screen.print(f"{there.address}: {slots} slots, {free} free", highlight=False)
        for row in rows:
            said = f"{row['name']}  {row['state']}  {row['checkpoints']} checkpoints  {row['id']}"
            screen.print(said if row["trouble"] is None else f"{said}\n  {row['trouble']}", highlight=False)
    if not any(row["state"] not in ENDED for row in rows):
        raise typer.Exit(1)
