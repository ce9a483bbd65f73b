"""`ebbtide flink`: the event path on Apache Flink."""

import logging
import os
import signal
import sys
import threading
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

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
from ebbtide.flink import runtime

if TYPE_CHECKING:
    from ebbtide.flink.job import Wanted

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
_CHECKPOINTS = Path("runs/flink")


@flink.command()
def run(
    brokers: Brokers = None,
    events: Events = "events",
    examples: Examples = "examples",
    dead_letters: DeadLetters = "dead-letters",
    group: Group = "ebbtide-flink",
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
    as_json: Json = False,
) -> None:
    """Remember live events on a Flink cluster within this process: Kafka in, examples out, exactly once.

    What `ebbtide ingest` does, to the bit. Ends with a savepoint, and goes on from the newest checkpoint.
    """
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
    from ebbtide.commands import addresses
    from ebbtide.flink.job import Wanted
    from ebbtide.units import duration_ms
    from streams.kafka.topics import Topics

    wanted = Wanted(
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
    _run(wanted, as_json=as_json)


def _run(wanted: "Wanted", *, as_json: bool) -> None:
    from ebbtide.flink import local
    from ebbtide.flink.job import job_of

    job = job_of(wanted)
    log.info("starting Flink; going on from %s", job.restore or "the beginning")
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    told = Told(as_json, None)
    try:
        local.until(job, wanted.checkpoints, stop, told)
    except local.Grown:
        log.warning("%s has more partitions now; starting again with them", wanted.topics.events)
        sys.stdout.flush()
        os.execv(sys.executable, [sys.executable, "-m", "ebbtide", *sys.argv[1:]])
    told.end()


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
