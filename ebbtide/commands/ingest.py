"""`ebbtide ingest`: workers that remember."""

import logging
import os
import signal
import sys
import time
from collections.abc import Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, NoReturn

import msgspec
import typer
from rich.console import Console
from rich.status import Status

from ebbtide import waiting
from ebbtide.commands.live_options import Brokers, DeadLetters, Events, Examples, Group, Json
from ebbtide.commands.output import log_to_stderr, print_line
from state.errors import EbbtideError

if TYPE_CHECKING:
    from state.progress import Progress
    from streams.engines.worker import Settings

_TOLD_S, _MOVED_S = 10.0, 1.0
_AGAIN_S = 2.0
_RESTARTS = "EBBTIDE_RESTARTS"
log = logging.getLogger("ebbtide.ingest")


def ingest(
    brokers: Brokers = None,
    events: Events = "events",
    examples: Examples = "examples",
    dead_letters: DeadLetters = "dead-letters",
    group: Group = "ebbtide",
    partitions: Annotated[
        int | None, typer.Option(metavar="N", min=1, max=10_000, help="Of the events, if they are new. [4]")
    ] = None,
    places: Annotated[
        Literal["item", "request"],
        typer.Option(help="Whose places the events carry: the item's (a venue), or the user's (a phone)."),
    ] = "item",
    solar_time: Annotated[
        bool, typer.Option("--solar-time", help="Take local time from the longitude: events without tz.")
    ] = False,
    label_delay: Annotated[
        str | None, typer.Option(metavar="TIME", help="Nothing younger is known yet: 60s, 1h. [0s]")
    ] = None,
    expire: Annotated[
        str | None,
        typer.Option(
            metavar="TIME", help="Forget users who have done nothing for so long: 90d, 52w. [never]"
        ),
    ] = None,
    join_window: Annotated[
        str | None,
        typer.Option(
            metavar="TIME",
            help="Impressions (event_id, no label) wait so long for their feedback (same event_id, label).",
        ),
    ] = None,
    ahead: Annotated[
        str,
        typer.Option(metavar="TIME", help="An event this far ahead of its message's time is a dead letter."),
    ] = "1h",
    window: Annotated[
        int,
        typer.Option(metavar="N", min=1, max=65_536, help="Entries of the memory in an example, at most."),
    ] = 64,
    newest: Annotated[
        int,
        typer.Option(metavar="N", min=0, help="How many are just the newest; the others are chosen by hour."),
    ] = 16,
    state_every: Annotated[
        str, typer.Option(metavar="TIME", help="How much a successor may have to compute again.")
    ] = "10s",
    config: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Settings, as for replay; [operator] counts here.")
    ] = None,
    metrics_port: Annotated[
        int | None, typer.Option(metavar="P", min=1, max=65535, help="Prometheus metrics on 127.0.0.1.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Remember live events: Kafka in, examples out, exactly once; start as many workers as you like.

    Messages of the topic of events are validated, joined with late feedback, remembered, and become examples
    for `ebbtide train`. What is no event goes to the dead letters. Topics are created where there are none.
    """
    log_to_stderr()
    log.info("starting a worker of the group %s", group)
    from ebbtide.commands import addresses
    from ebbtide.config import read
    from ebbtide.units import duration_ms
    from streams.engines import worker as of_worker
    from streams.engines.engine_config import EngineConfig
    from streams.join.impressions import JoinConfig
    from streams.kafka.security import from_environment
    from streams.kafka.topics import Topics

    run = read(
        config,
        expire=expire,
        label_delay_ms=None if label_delay is None else duration_ms(label_delay, "--label-delay"),
    )
    operator = msgspec.structs.replace(
        run.operator,
        label_delay_ms=run.label_delay_ms,
        own_place=places == "request",
        solar_time=solar_time or run.operator.solar_time,
    )
    join = JoinConfig(window_ms=0 if join_window is None else duration_ms(join_window, "--join-window"))
    ahead_ms = duration_ms(ahead, "--ahead")
    found = addresses.brokers(brokers)
    settings = of_worker.Settings(
        brokers=found,
        group=group,
        topics=Topics(events, examples, dead_letters, f"{group}-changelog"),
        engine=EngineConfig(operator=operator, join=join, window=window, newest=newest, ahead_ms=ahead_ms),
        state_every_s=duration_ms(state_every, "--state-every") / 1000,
        security=from_environment(),
    )
    _topics(settings, partitions)
    _rehearse(settings)
    log.info("the topics are there; joining the group on %s", found)
    _run(settings, as_json=as_json, metrics_port=metrics_port)


def _topics(settings: "Settings", partitions: int | None) -> None:
    from streams.kafka import topics
    from streams.kafka.client import ensure_topic

    count = ensure_topic(settings.brokers, settings.topics.events, partitions)
    grown = topics.make_room(settings.brokers, settings.topics, count)
    for sentence in topics.said(settings.topics.events, grown, count):
        log.warning("%s", sentence)


def _rehearse(settings: "Settings") -> None:
    """Compile what the first events would have to wait for, before any partition is ours."""
    from streams.engines.partition import Engine
    from streams.wire.message import Message

    with waiting.hint():
        engine = Engine(settings.engine, "rehearsal", 0)
        engine.take([Message(b'{"user": 1, "item": 1, "time": "2020-01-01", "label": 1}', b"1")])
        engine.records()


def _run(settings: "Settings", *, as_json: bool, metrics_port: int | None) -> None:
    import asyncio

    from streams.engines.faust import Worker

    screen = Console(stderr=True)
    moving = screen.status("waiting for partitions") if screen.is_terminal and not as_json else None
    said = _Said(as_json, moving)

    async def main() -> BaseException | None:
        worker = Worker(settings, said)
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, worker.stop)
        if metrics_port is not None:
            from ebbtide.live import prometheus

            prometheus.serve(
                (prometheus.host(), metrics_port), lambda: prometheus.of_workers(worker.progress)
            )
        await worker.run()
        said.end()
        return worker.failure

    with moving or nullcontext():
        failure = asyncio.run(main())
    if isinstance(failure, EbbtideError):
        raise failure
    if failure is not None:
        _restart(failure)


def _restart(failure: BaseException) -> NoReturn:
    """Start over, a little later every time: nothing is in this process that Kafka has not."""
    restarts = int(os.environ.get(_RESTARTS, "0")) + 1
    log.warning("%s: %s; starting again", type(failure).__name__, failure)
    time.sleep(min(_AGAIN_S * restarts, 30.0))
    os.environ[_RESTARTS] = str(restarts)
    sys.stdout.flush()
    sys.stderr.flush()
    os.execv(sys.executable, [sys.executable, "-m", "ebbtide", *sys.argv[1:]])


class _Said:
    """Progress for people or scripts: a line on a terminal, else every ten seconds while there is any."""

    def __init__(self, as_json: bool, moving: Status | None) -> None:
        self._as_json, self._moving = as_json, moving
        self._every_s = _MOVED_S if moving else _TOLD_S
        self._told_s, self._before = time.monotonic(), 0
        self._newest: Mapping[int, Progress] = {}

    def __call__(self, progress: Mapping[int, "Progress"]) -> None:
        self._newest = progress
        if time.monotonic() - self._told_s >= self._every_s:
            self._say(always=False)

    def end(self) -> None:
        """How far it had come, as of the last look."""
        self._say(always=True)

    def _say(self, *, always: bool) -> None:
        progress, now_s = self._newest, time.monotonic()
        events = sum(one.events for one in progress.values())
        dead = sum(sum(one.dead_letters.values()) for one in progress.values())
        rate = max(events - self._before, 0) / max(now_s - self._told_s, 1e-9)
        self._told_s, self._before = now_s, events
        examples = sum(one.examples for one in progress.values())
        if self._as_json:
            line = {"partitions": sorted(progress), "events_in": events, "examples_out": examples}
            print_line({**line, "dead_letters": dead, "events_per_s": round(rate, 1)})
            return
        counts = f"{events:,} events, {examples:,} examples, {dead:,} dead letters ({rate:,.0f} events/s)"
        told = f"{len(progress)} partitions: {counts}"
        if self._moving and not always:
            self._moving.update(told)
        elif rate or always:
            log.info("%s", told)
