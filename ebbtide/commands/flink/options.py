"""Options that the commands around a Flink job share, and the job manager that they mean."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from state.errors import InputError

if TYPE_CHECKING:
    from ebbtide.flink.rest import JobManager

GROUP, CHECKPOINTS, CLUSTER = "ebbtide-flink", Path("runs/flink"), Path("runs/flink-cluster")

Checkpoints = Annotated[
    Path,
    typer.Option("--checkpoints", metavar="DIR", help="Where the job keeps its state, and goes on from."),
]
Parallelism = Annotated[
    int, typer.Option(metavar="N", min=1, max=128, help="Of the job; no more than partitions helps.")
]
JobManagerAt = Annotated[
    str | None,
    typer.Option("--jobmanager", metavar="HOST:PORT", help="Its REST port. [the one of `flink up`]"),
]


def manager(given: str | None) -> "JobManager":
    """The one given, or that of `flink up`. Raises InputError."""
    from ebbtide.flink import cluster
    from ebbtide.flink.rest import JobManager

    address = given or cluster.address(CLUSTER)
    if address is None:
        raise InputError(
            f"no job manager: expected --jobmanager HOST:PORT, and none was started in {CLUSTER}; start one "
            "with `ebbtide flink up`"
        )
    host, _, port = address.rpartition(":")
    if not host or not port.isdigit() or not 0 < int(port) < 65536 or "/" in host:
        raise InputError(f"--jobmanager {address}: expected HOST:PORT, such as 127.0.0.1:8081")
    return JobManager(address)
