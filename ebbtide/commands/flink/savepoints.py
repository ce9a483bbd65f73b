"""`ebbtide flink savepoint` and `stop`: all of a job's state, written down."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ebbtide.commands.built_by import built_by
from ebbtide.commands.flink.options import CHECKPOINTS, GROUP, Checkpoints, JobManagerAt, manager
from ebbtide.commands.live_options import Group
from state.errors import InputError

if TYPE_CHECKING:
    from ebbtide.flink.rest import JobManager

_PATIENCE_S = 600.0
To = Annotated[
    Path | None, typer.Option("--to", metavar="DIR", help="Where the savepoint goes. [in --checkpoints]")
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Saving:
    """Whose state, and where to."""

    manager: "JobManager"
    group: str
    checkpoints: Path
    folder: Path

    def take(self, *, stop: bool) -> Path:
        """Have it written; with `stop`, the job ends with it. Raises EbbtideError."""
        from ebbtide.flink import saved

        job = self.manager.job(f"ebbtide {self.group}")
        if job is None:
            raise InputError(
                f"{self.manager.address}: no job of the group {self.group!r} runs there; see `flink status`"
            )
        path = self.manager.savepoint(job.id, self.folder, patience_s=_PATIENCE_S, stop=stop)
        saved.label(path, self.checkpoints)
        return path


def saving_of(
    *,
    group: Group = GROUP,
    jobmanager: JobManagerAt = None,
    checkpoints: Checkpoints = CHECKPOINTS,
    to: To = None,
) -> Saving:
    """What the options ask for."""
    return Saving(
        manager=manager(jobmanager),
        group=group,
        checkpoints=checkpoints,
        folder=to or checkpoints / "savepoints",
    )


@built_by(saving_of)
def savepoint(saving: Saving) -> None:
    """Have the job write all its state down, and go on; prints the folder, for `--from`."""
    print(saving.take(stop=False))


@built_by(saving_of)
def stop(saving: Saving) -> None:
    """End the job with a savepoint; `submit` or `run` goes on from it, with any parallelism."""
    print(saving.take(stop=True))
