"""A job on a cluster of its own, within this process: until it is asked to end."""

import socket
import threading
from collections.abc import Callable, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from ebbtide.flink import runtime
from ebbtide.flink.rest import ENDED, JobManager
from state.errors import EbbtideError, InputError
from state.progress import HEADER, Progress, progress
from streams.kafka import topics
from streams.kafka.observer import Observer

if TYPE_CHECKING:
    from collections.abc import Iterator

    from streams.engines.flink import Job

_LOOK_S, _STOP_S = 1.0, 60.0
_GROWN_EVERY = 5


class Grown(Exception):
    """The topic of events has more partitions than the job reads: it is to be made anew, and to go on."""


def logs_of(checkpoints: Path) -> Path:
    return checkpoints / "logs"


@contextmanager
def running(job: "Job", checkpoints: Path) -> "Iterator[tuple[JobManager, str]]":
    """The job manager and the job's id; what has not ended by then is cancelled at the end."""
    from streams.engines import flink

    runtime.prepare(logs_of(checkpoints))
    port = _free_port()
    manager = JobManager(f"127.0.0.1:{port}")
    identity = flink.start(job, runtime.local(port))
    try:
        yield manager, identity
    finally:
        flink.end(identity)


def until(
    job: "Job",
    checkpoints: Path,
    stop: threading.Event,
    tell: Callable[[Mapping[int, Progress]], None] = lambda said: None,
    done: Callable[[Mapping[int, Progress]], bool] = lambda said: False,
) -> None:
    """Run a job until `stop`, or until `done`; it ends with a savepoint, and the next one goes on from there.

    Raises Grown, InputError where it can never go on, and EbbtideError where it has ended by itself.
    """
    with running(job, checkpoints) as (manager, identity), Observer(job.brokers) as observer:
        looks = 0
        while not stop.wait(_LOOK_S):
            said = {
                partition: progress(dict(one.headers)[HEADER])
                for partition, one in observer.newest(job.topics.examples).items()
            }
            tell(said)
            if done(said):
                break
            refused = manager.refused(identity)
            if refused is not None:
                raise InputError(refused)
            state = manager.state(identity)
            if state in ENDED:
                raise EbbtideError(f"the job is {state}: {manager.trouble(identity)}")
            looks += 1
            if looks % _GROWN_EVERY == 0 and len(topics.look(job.brokers, job.topics.events)) > len(
                job.spans
            ):
                manager.savepoint(identity, checkpoints / "savepoints", patience_s=_STOP_S, stop=True)
                raise Grown
        manager.savepoint(identity, checkpoints / "savepoints", patience_s=_STOP_S, stop=True)


def _free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])
