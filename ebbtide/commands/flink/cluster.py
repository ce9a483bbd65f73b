"""`ebbtide flink up`, `down`, `jobmanager`, `taskmanager`, `status`: session clusters, and their jobs."""

import os
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from ebbtide.commands.flink.options import CLUSTER, JobManagerAt, manager
from ebbtide.commands.live_options import Json
from ebbtide.commands.output import print_json

if TYPE_CHECKING:
    from ebbtide.flink.node import Role

Folder = Annotated[
    Path, typer.Option("--dir", metavar="D", help="Where the cluster's logs and settings are.")
]

Host = Annotated[
    str,
    typer.Option(
        metavar="NAME",
        help="What other machines call this one; it answers all who reach it, without a password.",
    ),
]
_LOOPBACK, _REST = "127.0.0.1", 8081


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


def jobmanager(
    folder: Folder = CLUSTER,
    host: Host = _LOOPBACK,
    port: Annotated[int, typer.Option(metavar="P", min=1, max=65535, help="For jobs and questions.")] = _REST,
) -> None:
    """Be the job manager of a cluster over several machines or containers, until ended."""
    _be("jobmanager", folder, host, jobmanager=host, port=port)


def taskmanager(
    jobmanager: Annotated[
        str, typer.Option("--jobmanager", metavar="NAME", help="The --host of the job manager.")
    ] = _LOOPBACK,
    folder: Folder = CLUSTER,
    host: Host = _LOOPBACK,
) -> None:
    """Be a task manager of two slots of such a cluster, until ended."""
    _be("taskmanager", folder, host, jobmanager=jobmanager)


def _be(role: "Role", folder: Path, host: str, *, jobmanager: str, port: int = _REST) -> None:
    """Become the process of Flink that it is."""
    from ebbtide.flink import runtime
    from ebbtide.flink.node import Node

    bind = host if host == _LOOPBACK else "0.0.0.0"
    node = Node(role=role, jobmanager=jobmanager, host=host, bind=bind, rest=port, name=role, quick=False)
    if role == "jobmanager":
        runtime.expect_free(node.rest, "--port", bind)
        runtime.expect_free(node.rpc, "the port for task managers,", bind)
    runtime.here()
    node.configure(folder.resolve(), log=None)
    command = node.command(folder.resolve(), log=None)
    with runtime.undisclosed():
        os.execv(command[0], command)


def status(jobmanager: JobManagerAt = None, as_json: Json = False) -> None:
    """The jobs of a cluster: state, checkpoints, the newest trouble; exit code 1 unless one runs."""
    from ebbtide.flink.rest import ENDED

    there = manager(jobmanager)
    rows = [
        {**asdict(job), "checkpoints": there.checkpoints(job.id), "trouble": there.trouble(job.id)}
        for job in there.jobs()
    ]
    slots, free = there.slots()
    if as_json:
        print_json({"jobmanager": there.address, "slots": slots, "free": free, "jobs": rows})
    else:
        screen = Console()
        screen.print(f"{there.address}: {slots} slots, {free} free", highlight=False)
        for row in rows:
            line = f"{row['name']}  {row['state']}  {row['checkpoints']} checkpoints  {row['id']}"
            screen.print(line if row["trouble"] is None else f"{line}\n  {row['trouble']}", highlight=False)
    if not any(row["state"] not in ENDED for row in rows):
        raise typer.Exit(1)
