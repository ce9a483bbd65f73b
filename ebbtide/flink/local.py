"""A job on a cluster of its own, within this process: until it is asked to end."""

import logging
import threading
from collections.abc import Callable, Mapping
from contextlib import closing, contextmanager
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from ebbtide.flink import runtime
from ebbtide.flink.rest import ENDED, Failure, JobManager
from ebbtide.services import processes
from ebbtide.services.launch import started
from state.errors import EbbtideError, InputError
from state.progress import Progress
from streams.kafka import topics
from streams.kafka.observer import Observer

if TYPE_CHECKING:
    from collections.abc import Iterator

    from streams.engines.flink_job import Job

_LOOK_S, _STOP_S = 2.0, 300.0
_SELDOM = 5
"""In how many looks the broker and Flink are asked how the job is: that takes both some work."""
_FAILED_LOOKS = 2
"""After which checkpoints have failed for longer than a job takes that is begun anew."""
_JVM = "jvm.json"
log = logging.getLogger("ebbtide.flink")


class Grown(Exception):
    """The topic of events has more partitions than the job reads: it is to be made anew, and to go on."""


def logs_of(checkpoints: Path) -> Path:
    return checkpoints / "logs"


@contextmanager
def running(job: "Job", checkpoints: Path) -> "Iterator[tuple[JobManager, str]]":
    """The job manager and the job's id; what has not ended by then is cancelled at the end.

    A JVM outlives the process that started it by a moment, if that is killed, and would take partitions back
    from its successor: so whoever comes next makes sure that it is gone.
    """
    from streams.engines import flink

    [port] = runtime.free_ports(1)
    manager = JobManager(f"127.0.0.1:{port}")
    _note_jvm(checkpoints, runtime.begin(logs_of(checkpoints)))
    identity = flink.start(job, runtime.local(port))
    try:
        yield manager, identity
    finally:
        flink.end(identity)


def _note_jvm(checkpoints: Path, pid: int) -> None:
    record = processes.Record(pid, started(pid), [])
    (checkpoints / _JVM).write_bytes(msgspec.json.encode(record))


def end_former(checkpoints: Path) -> None:
    """End the JVM of a run that was killed, if it is still there."""
    processes.end([checkpoints / _JVM], 0.0)


def until(
    job: "Job",
    checkpoints: Path,
    stop: threading.Event,
    tell: Callable[[Mapping[int, Progress]], None] = lambda progress: None,
    done: Callable[[Mapping[int, Progress]], bool] | None = None,
) -> None:
    """Run a job until `stop`, or until `done`; it ends with a savepoint, and the next one goes on from there.

    Raises Grown, InputError where it can never go on, and EbbtideError where it has ended by itself.
    """
    with running(job, checkpoints) as (manager, identity), closing(_Source(job)) as source:
        troubles = _Troubles(manager, identity)
        for number in count(1):
            stopped = stop.wait(_LOOK_S)
            if not stopped and not _alive(checkpoints):
                raise EbbtideError(f"Flink's JVM has ended by itself; see {logs_of(checkpoints)}")
            seldom = number % _SELDOM == 0
            if stopped or seldom or done is not None:
                progress = source.progress()
                tell(progress)
                if stopped or (done is not None and done(progress)):
                    break
            if seldom:
                troubles.look()
                if source.grown():
                    _leave(manager, identity, checkpoints)
                    raise Grown
        _leave(manager, identity, checkpoints)


def _alive(checkpoints: Path) -> bool:
    record = processes.read(checkpoints / _JVM)
    return record is not None and record.alive


class _Troubles:
    """What goes wrong in a job: each thing is said once."""

    def __init__(self, manager: JobManager, identity: str) -> None:
        self._manager, self._identity = manager, identity
        self._newest: Failure | None = None
        self._unsaved = 0

    def look(self) -> None:
        """Raises where the job has ended, or can never go on. A JVM of ours that is there and does not answer
        is only slow."""
        try:
            failures, state = self._manager.failures(self._identity), self._manager.state(self._identity)
            unsaved = self._manager.unsaved(self._identity)
        except InputError as error:
            log.info("%s; waiting", error)
            return
        for failure in failures:
            if failure.for_good:
                raise InputError(failure.line)
        newest = next(iter(failures), None)
        if state in ENDED:
            raise EbbtideError(f"the job is {state}: {newest.line if newest else 'nothing was said'}")
        if newest not in (None, self._newest):
            log.warning("%s; going on from the newest checkpoint", newest.line)
        self._newest, self._unsaved = newest or self._newest, 0 if unsaved is None else self._unsaved + 1
        if self._unsaved == _FAILED_LOOKS:
            log.warning("%s; after a failure all since the newest one is computed again", unsaved)


def _leave(manager: JobManager, identity: str, checkpoints: Path) -> None:
    """With a savepoint, if that can be had: else the newest checkpoint is what is gone on from."""
    try:
        manager.savepoint(identity, checkpoints / "savepoints", patience_s=_STOP_S, stop=True)
    except EbbtideError as error:
        log.warning("%s; the newest checkpoint is gone on from", error)


class _Source:
    """The topics as they are, or were when the broker answered last; its absence is said once."""

    def __init__(self, job: "Job") -> None:
        self._job, self._away = job, False
        self._observer: Observer | None = None
        self._newest: Mapping[int, Progress] = {}

    def progress(self) -> Mapping[int, Progress]:
        """Of every partition, as committed."""
        try:
            self._observer = self._observer or Observer(self._job.brokers)
            self._newest = self._observer.progress(self._job.topics.examples)
        except EbbtideError as error:
            self.close()
            if not self._away:
                log.warning("%s; the job goes on once the broker answers", error)
            self._away = True
            return self._newest
        self._away = False
        return self._newest

    def close(self) -> None:
        if self._observer is not None:
            self._observer.close()
        self._observer = None

    def grown(self) -> bool:
        """Whether there are more partitions than the job reads."""
        if self._away:
            return False
        try:
            return len(topics.look(self._job.brokers, self._job.topics.events)) > self._job.partitions
        except EbbtideError:
            return False
