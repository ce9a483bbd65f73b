"""`ebbtide flink run` and `submit`: a job within this process, or one of a cluster."""

import logging
import os
import signal
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ebbtide.commands.built_by import built_by
from ebbtide.commands.engine_options import Partitions, engine_config
from ebbtide.commands.flink.options import CHECKPOINTS, GROUP, Checkpoints, JobManagerAt, Parallelism, manager
from ebbtide.commands.live_options import Brokers, DeadLetters, Events, Examples, Group, Json
from ebbtide.commands.output import log_to_stderr
from ebbtide.commands.worker_lines import Told
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
    typer.Option("--every", metavar="TIME", help="Between two checkpoints: how old examples are at most."),
]


@built_by(engine_config)
def wanted_job(
    engine: "EngineConfig",
    *,
    brokers: Brokers = None,
    events: Events = "events",
    examples: Examples = "examples",
    dead_letters: DeadLetters = "dead-letters",
    group: Group = GROUP,
    checkpoints: Checkpoints = CHECKPOINTS,
    restore: Restore = None,
    parallelism: Parallelism = 1,
    every: Every = "1s",
    partitions: Partitions = None,
) -> "Wanted":
    """What the options ask for, on an interpreter that has PyFlink. Raises InputError."""
    from ebbtide.flink import runtime

    runtime.here()
    from ebbtide.commands import addresses
    from ebbtide.flink.job import Wanted
    from ebbtide.units import duration_ms
    from streams.kafka.topics import Topics

    return Wanted(
        brokers=addresses.brokers(brokers),
        group=group,
        topics=Topics(events, examples, dead_letters, f"{group}-changelog"),
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
    from ebbtide.alone import alone
    from ebbtide.flink import local
    from ebbtide.flink.job import job_of

    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    told = Told(as_json, None)
    with alone(wanted.checkpoints, "--checkpoints", "`ebbtide flink run`"):
        local.end_former(wanted.checkpoints)
        job = job_of(wanted)
        log.info("starting Flink; going on from %s", job.restore or job.imported or "the beginning")
        try:
            local.until(job, wanted.checkpoints, stop, told)
        except local.Grown:
            log.warning("%s has more partitions now; starting again with them", wanted.topics.events)
            sys.stdout.flush()
            os.execv(sys.executable, [sys.executable, "-m", "ebbtide", *sys.argv[1:]])
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
    identity = _submitted(wanted, there)
    if keep:
        _keep(wanted, there, identity)


def _keep(wanted: "Wanted", there: "JobManager", identity: str) -> None:
    """Until it has ended. Raises EbbtideError where it has failed for good."""
    from ebbtide.flink.rest import ENDED

    said = ""
    while True:
        time.sleep(_LOOK_S)
        try:
            states = {job.id: job.state for job in there.jobs()}
            if identity not in states:
                identity = _submitted(wanted, there)
                continue
            for failure in there.failures(identity):
                if failure.for_good or states[identity] == "FAILED":
                    raise EbbtideError(f"job {identity} has failed: {failure.said}")
            if states[identity] in ENDED:
                return
            said = ""
        except InputError as error:
            if str(error) != said:
                log.warning("%s; waiting", error)
            said = str(error)


def _submitted(wanted: "Wanted", there: "JobManager") -> str:
    """The job's id, said. Raises InputError."""
    from ebbtide.flink import runtime
    from ebbtide.flink.job import job_of
    from streams.engines import flink as engine

    _room(there, engine.title(wanted.group), wanted.parallelism)
    job = job_of(wanted)
    log.info("going on from %s", job.restore or job.imported or "the beginning")
    runtime.prepare(wanted.checkpoints / "logs")
    identity = engine.start(job, runtime.remote(there.address))
    print(identity, flush=True)
    return identity


def _room(there: "JobManager", name: str, parallelism: int) -> None:
    """Raises InputError where the job runs already, or cannot."""
    running = there.job(name)
    if running is not None:
        raise InputError(
            f"{there.address}: {name!r} runs there already ({running.state}, {running.id}); "
            "`ebbtide flink stop` first, or name another --group"
        )
    slots, free = there.slots()
    if free < parallelism:
        raise InputError(
            f"{there.address}: expected {parallelism} free slots (--parallelism), got {free} of {slots}; "
            "start more task managers, or stop a job"
        )
