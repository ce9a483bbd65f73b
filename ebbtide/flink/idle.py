"""A folder of checkpoints while no job works on it: to begin one there, or to read what one has left.

A job of a session cluster outlives the command that submitted it, so the folder says which job manager was
given it last, and that one is asked. Two jobs on one folder would take the partitions from each other, and
delete the checkpoint that the other is about to go on from.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

from ebbtide.alone import alone
from ebbtide.flink.rest import ENDED, JobManager
from state.errors import InputError

_SUBMITTED = "submitted.json"


class Submitted(msgspec.Struct, frozen=True):
    """The job that a session cluster was given last."""

    jobmanager: str
    id: str


@contextmanager
def idle(checkpoints: Path) -> Iterator[None]:
    """Hold a folder that no job works on. Raises InputError where one does."""
    with alone(checkpoints, "--checkpoints", "`ebbtide flink run`"):
        _expect_ended(checkpoints)
        yield


def note_submitted(checkpoints: Path, submitted: Submitted) -> None:
    """Say whom to ask whether the folder's job runs."""
    (checkpoints / _SUBMITTED).write_bytes(msgspec.json.encode(submitted))


def _expect_ended(checkpoints: Path) -> None:
    try:
        last = msgspec.json.decode((checkpoints / _SUBMITTED).read_bytes(), type=Submitted)
        jobs = JobManager(last.jobmanager).jobs()
    except (FileNotFoundError, msgspec.DecodeError, InputError):
        return  # none was submitted, or its job manager is gone
    for job in jobs:
        if job.id == last.id and job.state not in ENDED:
            raise InputError(
                f"--checkpoints {checkpoints}: its job runs at {last.jobmanager} ({job.state}, {job.id}); "
                f"`ebbtide flink stop --jobmanager {last.jobmanager}` first, or name another folder"
            )
