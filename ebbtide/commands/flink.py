"""`ebbtide flink`: the event path on Apache Flink."""

import logging
import os
import signal
import sys
import threading
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
from rich.console import Console

from ebbtide.commands.engine_options import (
    Ahead,
    Config,
    Expire,
    JoinWindow,
    LabelDelay,
    Newest,
    Partitions,
    Places,
    SolarTime,
    Window,
    engine_config,
)
from ebbtide.commands.live_options import Brokers, DeadLetters, Events, Examples, Group, Json
from ebbtide.commands.log_options import Items, LabelOption, Maps, TimeFormat, Users, mapping_of
from ebbtide.commands.output import log_to_stderr, print_json
from ebbtide.commands.worker_lines import Told
from state.errors import InputError

if TYPE_CHECKING:
    from ebbtide.flink.job import Wanted
    from ebbtide.flink.rest import JobManager, Running
    from streams.engines.engine_config import EngineConfig

flink = typer.Typer(help="The event path as a job of Apache Flink: scale out.", no_args_is_help=True)
log = logging.getLogger("ebbtide.flink")

Checkpoints = Annotated[
    Path,
    typer.Option("--checkpoints", metavar="DIR", help="Where the job keeps its state, and goes on from."),
]
Restore = Annotated[
    Path | None,
    typer.Option("--from", metavar="DIR", help="Go on from this savepoint. [the newest in --checkpoints]"),
]
Parallelism = Annotated[
    int, typer.Option(metavar="N", min=1, max=128, help="Of the job; no more than partitions helps.")
]
Every = Annotated[
    str,
    typer.Option("--every", metavar="TIME", help="Between two checkpoints: how old examples are at most."),
]
JobManagerAt = Annotated[
    str | None,
    typer.Option("--jobmanager", metavar="HOST:PORT", help="Its REST port. [the one of `flink up`]"),
]
Folder = Annotated[
    Path, typer.Option("--dir", metavar="D", help="Where the cluster's logs and settings are.")
]
_CHECKPOINTS, _CLUSTER = Path("runs/flink"), Path("runs/flink-cluster")
_GROUP, _PATIENCE_S = "ebbtide-flink", 600.0
To = Annotated[
    Path | None, typer.Option("--to", metavar="DIR", help="Where the savepoint goes. [in --checkpoints]")
]
_RUN = """Remember live events on a Flink cluster within this process: Kafka in, examples out, exactly once.

What `ebbtide ingest` does, to the bit. Ends with a savepoint, and goes on from the newest checkpoint."""
_SUBMIT = """The same as a job of a session cluster, which goes on by itself; from the newest checkpoint."""


@flink.command("run", help=_RUN)
@flink.command("submit", help=_SUBMIT)
def made(
    context: typer.Context,
    brokers: Brokers = None,
    events: Events = "events",
    examples: Examples = "examples",
    dead_letters: DeadLetters = "dead-letters",
    group: Group = _GROUP,
    checkpoints: Checkpoints = _CHECKPOINTS,
    restore: Restore = None,
    parallelism: Parallelism = 1,
    every: Every = "1s",
    partitions: Partitions = None,
    places: Places = "item",
    solar_time: SolarTime = False,
    label_delay: LabelDelay = None,
    expire: Expire = None,
    join_window: JoinWindow = None,
    ahead: Ahead = "1h",
    window: Window = 64,
    newest: Newest = 16,
    config: Config = None,
    jobmanager: JobManagerAt = None,
    as_json: Json = False,
) -> None:
    """Make the job, and have it run."""
    from ebbtide.flink import runtime

    runtime.here()
    log_to_stderr()
    engine = engine_config(
        config,
        places=places,
        solar_time=solar_time,
        label_delay=label_delay,
        expire=expire,
        join_window=join_window,
        ahead=ahead,
        window=window,
        newest=newest,
    )
    where = {"checkpoints": checkpoints, "restore": restore, "partitions": partitions}
    names = (events, examples, dead_letters)
    wanted = _wanted(brokers, group, names, engine, every, parallelism=parallelism, **where)
    if context.info_name == "submit":
        _submit(wanted, _manager(jobmanager))
        return
    if jobmanager is not None:
        raise InputError("--jobmanager: goes with `ebbtide flink submit`; `run` brings a cluster of its own")
    _run(wanted, as_json=as_json)


def _wanted(
    brokers: str | None,
    group: str,
    names: tuple[str, str, str],
    engine: "EngineConfig",
    every: str,
    **how: Any,
) -> "Wanted":
    from ebbtide.commands import addresses
    from ebbtide.flink.job import Wanted
    from ebbtide.units import duration_ms
    from streams.kafka.topics import Topics

    return Wanted(
        brokers=addresses.brokers(brokers),
        group=group,
        topics=Topics(*names, f"{group}-changelog"),
        engine=engine,
        every_ms=duration_ms(every, "--every"),
        **how,
    )


def _run(wanted: "Wanted", *, as_json: bool) -> None:
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
        log.info("starting Flink; going on from %s", job.restore or "the beginning")
        try:
            local.until(job, wanted.checkpoints, stop, told)
        except local.Grown:
            log.warning("%s has more partitions now; starting again with them", wanted.topics.events)
            sys.stdout.flush()
            os.execv(sys.executable, [sys.executable, "-m", "ebbtide", *sys.argv[1:]])
    told.end()


def _manager(given: str | None) -> "JobManager":
    from ebbtide.flink import cluster
    from ebbtide.flink.rest import JobManager

    found = given or cluster.address(_CLUSTER)
    if found is None:
        raise InputError(
            f"no job manager: expected --jobmanager HOST:PORT, and none was started in {_CLUSTER}; start one "
            "with `ebbtide flink up`"
        )
    host, _, port = found.rpartition(":")
    if not host or not port.isdigit() or not 0 < int(port) < 65536 or "/" in host:
        raise InputError(f"--jobmanager {found}: expected HOST:PORT, such as 127.0.0.1:8081")
    return JobManager(found)


def _submit(wanted: "Wanted", manager: "JobManager") -> None:
    from ebbtide.flink.job import job_of
    from streams.engines import flink as engine

    name = engine.title(wanted.group)
    there = manager.job(name)
    if there is not None:
        raise InputError(
            f"{manager.address}: {name!r} runs there already ({there.state}, {there.id}); "
            "`ebbtide flink stop` first, or name another --group"
        )
    slots, free = manager.slots()
    if free < wanted.parallelism:
        raise InputError(
            f"{manager.address}: expected {wanted.parallelism} free slots (--parallelism), got {free} of "
            f"{slots}; start more task managers, or stop a job"
        )
    job = job_of(wanted)
    log.info("going on from %s", job.restore or "the beginning")
    from ebbtide.flink import runtime

    runtime.prepare(wanted.checkpoints / "logs")
    identity = engine.start(job, runtime.remote(manager.address))
    print(identity, flush=True)


def _job(manager: "JobManager", group: str) -> "Running":
    found = manager.job(f"ebbtide {group}")
    if found is None:
        raise InputError(f"{manager.address}: no job of the group {group!r} runs there; see `flink status`")
    return found


def _saved(group: str, jobmanager: str | None, checkpoints: Path, to: Path | None, *, stop: bool) -> None:
    from ebbtide.flink import saved

    manager = _manager(jobmanager)
    folder = to or checkpoints / "savepoints"
    found = manager.savepoint(_job(manager, group).id, folder, patience_s=_PATIENCE_S, stop=stop)
    saved.label(found, checkpoints)
    print(found)


@flink.command()
def savepoint(
    group: Group = _GROUP,
    jobmanager: JobManagerAt = None,
    checkpoints: Checkpoints = _CHECKPOINTS,
    to: To = None,
) -> None:
    """Have the job write all its state down, and go on; prints the folder, for `--from`."""
    _saved(group, jobmanager, checkpoints, to, stop=False)


@flink.command()
def stop(
    group: Group = _GROUP,
    jobmanager: JobManagerAt = None,
    checkpoints: Checkpoints = _CHECKPOINTS,
    to: To = None,
) -> None:
    """End the job with a savepoint; `submit` or `run` goes on from it, with any parallelism."""
    _saved(group, jobmanager, checkpoints, to, stop=True)


@flink.command()
def status(jobmanager: JobManagerAt = None, as_json: Json = False) -> None:
    """The jobs of a cluster: state, checkpoints, the newest trouble; exit code 1 unless one runs."""
    from ebbtide.flink.rest import ENDED

    manager = _manager(jobmanager)
    rows = [
        {**asdict(one), "checkpoints": manager.checkpoints(one.id), "trouble": manager.trouble(one.id)}
        for one in manager.jobs()
    ]
    slots, free = manager.slots()
    if as_json:
        print_json({"jobmanager": manager.address, "slots": slots, "free": free, "jobs": rows})
    else:
        screen = Console()
        screen.print(f"{manager.address}: {slots} slots, {free} free", highlight=False)
        for row in rows:
            said = f"{row['name']}  {row['state']}  {row['checkpoints']} checkpoints  {row['id']}"
            screen.print(said if row["trouble"] is None else f"{said}\n  {row['trouble']}", highlight=False)
    if not any(row["state"] not in ENDED for row in rows):
        raise typer.Exit(1)


@flink.command()
def up(
    folder: Folder = _CLUSTER,
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


@flink.command()
def down(folder: Folder = _CLUSTER) -> None:
    """End the cluster that `up` has started; jobs go on from their newest checkpoint when submitted again."""
    from ebbtide.flink import cluster

    Console().print(f"ended {len(cluster.down(folder))} processes", highlight=False)


@flink.command()
def verify(
    log: Annotated[
        str, typer.Argument(metavar="LOG", help="A file, a folder, or a known log (`ebbtide data list`).")
    ],
    brokers: Annotated[
        str | None, typer.Option(metavar="HOST:PORT[,..]", help="Kafka. [one of its own, for the while]")
    ] = None,
    form: Annotated[
        Literal["json", "arrow"], typer.Option("--format", help="How the events are sent.")
    ] = "json",
    partitions: Annotated[int, typer.Option(metavar="N", min=1, help="Of the topic of events.")] = 4,
    parallelism: Parallelism = 1,
    map: Maps = None,
    items: Items = None,
    users: Users = None,
    time_format: TimeFormat = None,
    label: LabelOption = None,
    limit: Annotated[int | None, typer.Option(metavar="N", min=1, help="Only the first N events.")] = None,
    as_json: Json = False,
) -> None:
    """Send a log through Flink and through replay, and compare: exit code 1 unless all is equal."""
    from ebbtide.flink import runtime

    runtime.here()
    from ebbtide import api
    from ebbtide.flink import verify as verifying

    opened = api.open_log(
        log,
        map=mapping_of(map),
        label=label,
        items=items,
        users=users,
        time_format=time_format,
        limit=limit,
        seed=0,
    )
    how = verifying.How(brokers=brokers, form=form, partitions=partitions, parallelism=parallelism)
    found = verifying.verify(opened, how)
    if as_json:
        print_json(asdict(found))
    else:
        for sentence in verifying.said_by(found):
            Console().print(sentence, highlight=False)
    if not found.well:
        raise typer.Exit(1)
