"""`ebbtide ingest`: workers that remember."""

import gc
import logging
import os
import signal
import sys
import time
from contextlib import nullcontext
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer
from rich.console import Console

from ebbtide import waiting
from ebbtide.commands.built_by import built_by
from ebbtide.commands.engine_options import Partitions, engine_config
from ebbtide.commands.group_options import NamedGroup, named_group
from ebbtide.commands.live_options import Json
from ebbtide.commands.output import log_to_stderr
from ebbtide.commands.worker_lines import ProgressLines
from state.errors import EbbtideError

if TYPE_CHECKING:
    from streams.engines.engine_config import EngineConfig
    from streams.engines.worker import Settings

_AGAIN_S = 2.0
_RESTARTS = "EBBTIDE_RESTARTS"
log = logging.getLogger("ebbtide.ingest")


@built_by(named_group, engine_config)
def ingest(
    group: NamedGroup,
    engine: "EngineConfig",
    *,
    partitions: Partitions = None,
    state_every: Annotated[
        str, typer.Option(metavar="TIME", help="How much a successor may have to compute again.")
    ] = "10s",
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
    log.info("starting a worker of the group %s", group.name)
    from ebbtide.units import duration_ms
    from streams.engines import worker as of_worker
    from streams.engines.partition import rehearse
    from streams.kafka.security import from_environment

    settings = of_worker.Settings(
        brokers=group.brokers,
        group=group.name,
        topics=group.topics,
        engine=engine,
        state_every_s=duration_ms(state_every, "--state-every") / 1000,
        security=from_environment(),
    )
    _topics(settings, partitions)
    with waiting.hint():
        rehearse(settings.engine)
    gc.freeze()  # or events wait .3 s whenever all that was compiled is looked through for garbage
    log.info("the topics are there; joining the group on %s", settings.brokers)
    _run(settings, as_json=as_json, metrics_port=metrics_port)


def _topics(settings: "Settings", partitions: int | None) -> None:
    from streams.kafka import topics
    from streams.kafka.client import ensure_topic

    count = ensure_topic(settings.brokers, settings.topics.events, partitions)
    grown = topics.make_room(settings.brokers, settings.topics, count)
    for sentence in topics.growth(settings.topics.events, grown, count):
        log.warning("%s", sentence)


def _run(settings: "Settings", *, as_json: bool, metrics_port: int | None) -> None:
    import asyncio

    screen = Console(stderr=True)
    moving = screen.status("waiting for partitions") if screen.is_terminal and not as_json else None
    lines = ProgressLines(as_json, moving)

    async def main() -> BaseException | None:
        worker = Worker(settings, lines)
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, worker.stop)
        if metrics_port is not None:
            from ebbtide.live import prometheus

            prometheus.serve(
                (prometheus.host(), metrics_port), lambda: prometheus.of_workers(worker.progress)
            )
        await worker.run()
        lines.end()
        return worker.failure

    with moving or nullcontext():
        from streams.engines.faust import Worker  # slow to load

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
