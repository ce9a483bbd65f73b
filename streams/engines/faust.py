"""The Faust worker: membership, assignment and consumption are Faust's, everything exact is not.

Faust decides which partitions are this worker's and hands over their messages. What they come to is worked
out by an `Engine` a partition and goes out in transactions (`streams.engines.outlet`). So it does not
matter if Faust delivers a message twice, late, or to a worker that has lost the partition: what an engine
has had is passed over, what it lacks is read from the source, and who has lost a partition is refused by
the broker. Faust's tables hold no state: their changelog is written outside of any transaction and cannot
be fenced, and its `exactly_once` was seen to double.

Nor is there an agent: what Faust has fetched is taken as it is, many messages at a time. An agent would be
given one after another, each through two objects and a queue, at three times the price of all that follows.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any, cast

import faust
from faust.transport.drivers import aiokafka
from faust.types import TP

from state.progress import Progress
from streams.engines.watch import Watch
from streams.engines.worker import SESSION_S, Partitions, Settings
from streams.kafka.security import Security
from streams.wire.message import Message, message_of

log = logging.getLogger("ebbtide.ingest")

_FETCH_S = 1.0
_GATHER_S = 0.025
"""Between two fetches at least: few messages cost nearly as much as a hundred, here and to Kafka."""
_HEARTBEAT_S = 1.5
_LOOK_S, _OFFSETS_S = 0.5, 5.0
_METADATA_MS = 3000
"""How old what is known of partitions may be: new ones are noticed so soon."""


class _Consumer(aiokafka.Consumer):
    """Faust's, with all that it has fetched going to the worker at once."""

    async def _drain_messages(self, fetcher: Any) -> None:
        while not (self.should_stop or fetcher.should_stop):
            began_s = time.monotonic()
            try:
                records, _ = await self._wait_next_records(_FETCH_S)
            except self.consumer_stopped_errors:
                return
            messages = [message_of(record) for some in (records or {}).values() for record in some]
            if messages:  # a rebalance ends this at once, and a transaction is not to be left halfway
                await asyncio.shield(cast(_App, self.app).take(messages))
            await asyncio.sleep(max(0.0, began_s + _GATHER_S - time.monotonic()))

    def verify_event_path(self, now: float, tp: TP) -> None:
        """Faust looks here for agents that hang."""


class _Transport(aiokafka.Transport):
    Consumer = _Consumer


class _App(faust.App):
    """Faust, of which the group's membership and the fetching are used."""

    take: Callable[[Sequence[Message]], Awaitable[None]]

    def _new_transport(self) -> Any:
        return _Transport(self.conf.broker_consumer, self)

    def _create_directories(self) -> None:
        """None: no state is in files, and a killed worker leaves nothing behind."""


class Worker:
    """`run` until `stop` is called or Faust fails."""

    def __init__(self, settings: Settings, tell: Callable[[Mapping[int, Progress]], None]) -> None:
        self.settings, self._tell = settings, tell
        self.failure: BaseException | None = None
        self._partitions = Partitions(settings, self._confirmed)
        self._watch = Watch(settings, self._partitions)
        self._busy = asyncio.Lock()
        self._stop = asyncio.Event()
        self._faust: Any = None

    @property
    def progress(self) -> dict[int, Progress]:
        """Of every partition that is computed here."""
        return self._partitions.progress

    def stop(self) -> None:
        """Save the state, hand the partitions over and leave."""
        self._stop.set()

    async def run(self) -> None:
        """Until `stop`; afterwards `failure` says why it ended without."""
        self._faust = app = self._app()
        await app.start()
        watching = asyncio.create_task(self._watch.run(self._busy))
        told_s = 0.0
        try:
            while not self._stop.is_set() and not app.crashed and not self._failed(watching):
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._stop.wait(), _LOOK_S)
                async with self._busy:
                    await self._partitions.look_after()
                    if time.monotonic() - told_s > _OFFSETS_S:
                        await self._tell_group(app)
                        told_s = time.monotonic()
                self._tell(self.progress)
            self.failure = self._partitions.failure or (watching.exception() if watching.done() else None)
            if app.crashed:
                self.failure = self.failure or app.crash_reason or RuntimeError("Faust gave up")
            async with self._busy:
                await self._leave(app)
        finally:
            watching.cancel()
            await app.stop()
            await self._partitions.close()
            await asyncio.gather(watching, return_exceptions=True)

    def _failed(self, watching: "asyncio.Task[None]") -> bool:
        return self._partitions.failure is not None or watching.done()

    def _app(self) -> Any:
        settings = self.settings
        app: Any = _App(
            settings.group,
            broker=[f"kafka://{one}" for one in settings.brokers.split(",")],
            broker_credentials=_credentials(settings.security),
            broker_session_timeout=SESSION_S,
            broker_heartbeat_interval=_HEARTBEAT_S,
            consumer_auto_offset_reset="earliest",
            consumer_metadata_max_age_ms=_METADATA_MS,
            store="memory://",
            stream_wait_empty=False,
            topic_disable_leader=True,
            web_enabled=False,
        )
        app.take = self._take
        app.topics.add(app.topic(settings.topics.events))

        async def revoked(_: Any, partitions: set[TP], **__: Any) -> None:
            gone = {tp.partition for tp in partitions}
            self._partitions.disown(gone)
            async with self._busy:
                await self._partitions.give_up(gone)

        async def assigned(_: Any, partitions: set[TP], **__: Any) -> None:
            owned = {tp.partition for tp in partitions if tp.topic == settings.topics.events}
            self._partitions.own(owned)
            async with self._busy:
                await self._partitions.give_up(set(self._partitions.held) - owned)
            log.info("partitions %s", sorted(owned) or "none")

        app.on_partitions_revoked.connect(revoked)
        app.on_partitions_assigned.connect(assigned)
        return app

    async def _take(self, messages: Sequence[Message]) -> None:
        async with self._busy:
            await self._partitions.take(messages)

    async def _confirmed(self, partition: int) -> bool:
        """Whether the group, asked to note how far a partition has come, takes that from this worker."""
        held = self._partitions.held.get(partition)
        if held is None or partition not in self._partitions.owned:
            return False
        at = TP(self.settings.topics.events, partition)
        with suppress(TimeoutError):
            return bool(
                await asyncio.wait_for(
                    self._faust.consumer._commit({at: held.engine.progress.next}), timeout=_HEARTBEAT_S
                )
            )
        return False

    async def _leave(self, app: Any) -> None:
        if self.failure is None:
            await self._tell_group(app)
        self._partitions.disown(set(self._partitions.owned))
        await self._partitions.give_up(set(self._partitions.held))

    async def _tell_group(self, app: Any) -> None:
        """Where to read on: only a hint for the next owner, and for whoever watches the group's lag."""
        topic, partitions = self.settings.topics.events, self._partitions
        new = {
            TP(topic, partition): held.engine.progress
            for partition, held in partitions.held.items()
            if partition in partitions.owned and held.told_offset < held.engine.progress.offset
        }
        if new and await app.consumer._commit({tp: said.next for tp, said in new.items()}):
            for tp, said in new.items():
                partitions.held[tp.partition].told_offset = said.offset


def _credentials(security: Security) -> Any:
    """What Faust calls them."""
    if security.mechanism is not None:
        return faust.SASLCredentials(
            username=security.user,
            password=security.password,
            mechanism=security.mechanism,
            ssl_context=security.ssl_context,
        )
    return None if security.ssl_context is None else faust.SSLCredentials(security.ssl_context)
