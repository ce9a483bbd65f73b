"""`ebbtide flink run` and `submit`: a job within this process, or one of a cluster."""

import logging
import os
import signal
import sys
import threading
import time
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from ebbtide.commands.built_by import built_by
from ebbtide.commands.engine_options import Partitions, engine_config
from ebbtide.commands.flink.options import CHECKPOINTS, GROUP, Checkpoints, JobManagerAt, Parallelism, manager
from ebbtide.commands.group_options import NamedGroup, named_group
from ebbtide.commands.live_options import Json
from ebbtide.commands.output import log_to_stderr
from ebbtide.commands.worker_lines import ProgressLines
from state.errors import EbbtideError, InputError

if TYPE_CHECKING:
    from ebbtide.flink.job import Wanted
    from ebbtide.flink.rest import JobManager
    from streams.engines.engine_config import EngineConfig

_LOOK_S = 1.0
log = logging.getLogger("ebbtide.flink")

Restore = Annotated[
    Path | None,
    typer.Option("--from", metavar="DIR", help="Go on from this savepoint. [the newest in --checkpoints]"),
]
Every = Annotated[
    str,
    typer.Option(
        "--every", metavar="TIME", help="Between two checkpoints: what is computed again after a failure."
    ),
]

job_group = partial(named_group, group=GROUP)


@built_by(job_group, engine_config)
def wanted_job(
    group: NamedGroup,
    engine: "EngineConfig",
    *,
    checkpoints: Checkpoints = CHECKPOINTS,
    restore: Restore = None,
    parallelism: Parallelism = 1,
    every: Every = "10s",
    partitions: Partitions = None,
) -> "Wanted":
    """What the options ask for, on an interpreter that has PyFlink. Raises InputError."""
    from ebbtide.flink import runtime

    runtime.here()
    from ebbtide.flink.job import Wanted
    from ebbtide.units import duration_ms

    return Wanted(
        brokers=group.brokers,
        group=group.name,
        topics=group.topics,
        engine=engine,
        checkpoints=checkpoints,
        restore=restore,
        partitions=partitions,
        parallelism=parallelism,
        every_ms=duration_ms(every, "--every"),
    )


@built_by(wanted_job)
def run(wanted: "Wanted", *, as_json: Json = False) -> None:
    """Remember live events on a Flink cluster within this process: Kafka in, examples out, exactly once.

    What `ebbtide ingest` does, to the bit. Ends with a savepoint, and goes on from the newest checkpoint.
    """
    log_to_stderr()
    from ebbtide.flink import local
    from ebbtide.flink.idle import idle
    from ebbtide.flink.job import job_of

    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    told = ProgressLines(as_json, None)
    with idle(wanted.checkpoints):
        local.end_former(wanted.checkpoints)
        job = job_of(wanted)
        log.info("starting Flink; going on from %s", job.restore or job.imported or "the beginning")
        try:
            local.until(job, wanted.checkpoints, stop, told)
        except local.Grown:
            log.warning("%s has more partitions now; starting again with them", wanted.topics.events)
            _start_over()
    told.end()


@built_by(wanted_job)
def submit(
    wanted: "Wanted",
    *,
    jobmanager: JobManagerAt = None,
    keep: Annotated[
        bool, typer.Option("--keep", help="Stay, and submit it again when a job manager has forgotten it.")
    ] = False,
) -> None:
    """The same as a job of a session cluster, which goes on by itself; from the newest checkpoint.

    Prints the job's id.
    """
    log_to_stderr()
    there = manager(jobmanager)
    if keep:
        _until_room(wanted, there)
    identity = _submitted(wanted, there)
    if keep and _forgotten(there, identity):
        log.warning("%s has forgotten the job; submitting it again", there.address)
        _start_over()


def _until_room(wanted: "Wanted", there: "JobManager") -> None:
    """Wait for whoever has it now, or has to come; each reason is said once."""
    last = ""
    while True:
        try:
            _room(wanted, there)
            return
        except InputError as error:
            if str(error) != last:
                log.warning("%s; waiting", error)
            last = str(error)
            time.sleep(_LOOK_S)


def _forgotten(there: "JobManager", identity: str) -> bool:
    """Whether the job is gone without having ended, once it is one or the other.

    Raises EbbtideError where it has failed for good.
    """
    from ebbtide.flink.rest import ENDED

    while True:
        time.sleep(_LOOK_S)
        with suppress(InputError):  # nothing answers by now
            states = {job.id: job.state for job in there.jobs()}
            if identity not in states:
                return True
            for failure in there.failures(identity):
                if failure.for_good or states[identity] == "FAILED":
                    raise EbbtideError(f"job {identity} has failed: {failure.line}")
            if states[identity] in ENDED:
                return False


def _start_over() -> NoReturn:
    """As a process of its own: a job that is planned second in one names its operators otherwise."""
    sys.stdout.flush()
    sys.stderr.flush()
    os.execv(sys.executable, [sys.executable, "-m", "ebbtide", *sys.argv[1:]])


def _submitted(wanted: "Wanted", there: "JobManager") -> str:
    """The job's id, said. Raises InputError."""
    from ebbtide.flink import runtime
    from ebbtide.flink.idle import Submitted, idle, note_submitted
    from ebbtide.flink.job import job_of
    from streams.engines import flink as engine

    _room(wanted, there)
    with idle(wanted.checkpoints):
        job = job_of(wanted)
        log.info("going on from %s", job.restore or job.imported or "the beginning")
        runtime.begin(wanted.checkpoints / "logs")
        identity = engine.start(job, runtime.remote(there.address))
        note_submitted(wanted.checkpoints, Submitted(there.address, identity))
    print(identity, flush=True)
    return identity


def _room(wanted: "Wanted", there: "JobManager") -> None:
    """Raises InputError where the job runs already, or cannot."""
    from streams.engines.flink_job import title

    name = title(wanted.group)
    running = there.job(name)
    if running is not None:
        raise InputError(
            f"{there.address}: {name!r} runs there already ({running.state}, {running.id}); "
            "`ebbtide flink stop` first, or name another --group"
        )
    slots, free = there.slots()
    if free < wanted.parallelism:
        raise InputError(
            f"{there.address}: expected {wanted.parallelism} free slots (--parallelism), got {free} of "
            f"{slots}; start more task managers, or stop a job"
        )
