"""The Faust worker: membership, assignment and consumption are Faust's, everything exact is not.

Faust decides which partitions are this worker's and hands over their messages. What they come to is worked
out by an `Engine` a partition and goes out in transactions (`streams.transactions`). So it does not matter if
Faust delivers a message twice, late, or to a worker that has lost the partition: what an engine has had is
passed over, what it lacks is read from the source, and who has lost a partition is refused by the broker.
Faust's tables hold no state: their changelog is written outside of any transaction and cannot be fenced, and
its `exactly_once` was seen to double.
"""

import asyncio
import logging
import tempfile
import time
from collections.abc import Callable, Coroutine, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import faust
from aiokafka.errors import KafkaError  # type: ignore[import-untyped]
from faust.types import TP

from state.errors import InputError
from state.progress import Progress
from streams.engine import NOTHING, Engine, EngineConfig, Output
from streams.security import OPEN, Security
from streams.transactions import Fenced, Outlet, Topics
from streams.wire import Message

log = logging.getLogger("ebbtide.ingest")

_TAKE, _WITHIN_S = 1000, 0.05
_MOST_MESSAGES, _MOST_BYTES = 4096, 512 << 10
"""What goes through an engine at a time, and out in a transaction, about."""
_SESSION_S, _HEARTBEAT_S = 6.0, 1.5
_REFUSED_S = 2 * _SESSION_S
"""How long a fenced worker keeps off a partition that it still counts as its own: who fenced it owns the
partition, or has slept through its session and finds that out within this time."""
_LOOK_S, _OFFSETS_S, _COMMIT_S = 0.5, 5.0, 20.0
_BUFFERED = 512


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Where a worker reads and writes."""

    brokers: str
    group: str
    topics: Topics
    engine: EngineConfig
    state_every_s: float = 10.0
    """Seconds between two saves of the state: what a successor has to compute again."""
    security: Security = OPEN


@dataclass
class _Held:
    """A partition that this worker computes."""

    engine: Engine
    outlet: Outlet
    saved_offset: int
    saved_s: float
    told_offset: int = -1
    """Up to where the group was told that it has come."""


class Worker:
    """`run` until `stop` is called or Faust fails."""

    def __init__(self, settings: Settings, tell: Callable[[Mapping[int, Progress]], None]) -> None:
        self.settings, self._tell = settings, tell
        self.failure: BaseException | None = None
        self._owned: set[int] = set()
        self._held: dict[int, _Held] = {}
        self._delivered: dict[int, int] = {}
        self._off_until_s: dict[int, float] = {}
        self._taking: dict[int, asyncio.Task[_Held]] = {}
        self._busy = asyncio.Lock()
        self._stop = asyncio.Event()

    @property
    def progress(self) -> dict[int, Progress]:
        """Of every partition that is computed here."""
        return {partition: held.engine.progress for partition, held in sorted(self._held.items())}

    def stop(self) -> None:
        """Save the state, hand the partitions over and leave."""
        self._stop.set()

    async def run(self) -> None:
        """Until `stop`; afterwards `failure` says why it ended without."""
        with tempfile.TemporaryDirectory(prefix="ebbtide-faust-") as folder:
            app = self._app(folder)
            await app.start()
            told_s = 0.0
            try:
                while not self._stop.is_set() and not app.crashed and self.failure is None:
                    with suppress(TimeoutError):
                        await asyncio.wait_for(self._stop.wait(), _LOOK_S)
                    async with self._busy:
                        await self._look_after()
                        if time.monotonic() - told_s > _OFFSETS_S:
                            await self._tell_group(app)
                            told_s = time.monotonic()
                    self._tell(self.progress)
                if app.crashed:
                    self.failure = self.failure or app.crash_reason or RuntimeError("Faust gave up")
                async with self._busy:
                    await self._leave(app)
            finally:
                await app.stop()
                await asyncio.gather(*(held.outlet.close() for held in self._held.values()))

    def _app(self, folder: str) -> Any:
        settings = self.settings
        app = faust.App(
            settings.group,
            broker=[f"kafka://{one}" for one in settings.brokers.split(",")],
            broker_credentials=_credentials(settings.security),
            broker_session_timeout=_SESSION_S,
            broker_heartbeat_interval=_HEARTBEAT_S,
            consumer_auto_offset_reset="earliest",
            stream_buffer_maxsize=_BUFFERED,
            key_serializer="raw",
            value_serializer="raw",
            store="memory://",
            datadir=folder,
            stream_wait_empty=False,
            topic_disable_leader=True,
            web_enabled=False,
        )
        topic = app.topic(settings.topics.events, key_type=bytes, value_type=bytes, allow_empty=True)

        @app.agent(topic, name="remember")
        async def remember(stream: Any) -> None:
            async for events in stream.noack_take(_TAKE, within=_WITHIN_S):
                async with self._busy:
                    await self._take([_message_of(event) for event in events])

        async def revoked(_: Any, partitions: set[TP], **__: Any) -> None:
            gone = {tp.partition for tp in partitions}
            self._disown(gone)
            async with self._busy:
                await self._give_up(gone)

        async def assigned(_: Any, partitions: set[TP], **__: Any) -> None:
            owned = {tp.partition for tp in partitions if tp.topic == settings.topics.events}
            self._disown(self._owned - owned)
            self._owned = owned
            self._off_until_s.clear()
            async with self._busy:
                await self._give_up(set(self._held) - self._owned)
            log.info("partitions %s", sorted(self._owned) or "none")

        listeners: Any = app
        listeners.on_partitions_revoked.connect(revoked)
        listeners.on_partitions_assigned.connect(assigned)
        return app

    async def _take(self, messages: Sequence[Message]) -> None:
        """Messages of any partitions, as Faust delivered them."""
        by_partition: dict[int, list[Message]] = {}
        for message in messages:
            by_partition.setdefault(message.partition, []).append(message)
        for partition, part in by_partition.items():
            newest = max(message.offset for message in part)
            self._delivered[partition] = max(newest, self._delivered.get(partition, -1))
        await asyncio.gather(
            *(self._guarded(p, self._compute(p, part)) for p, part in by_partition.items() if self._mine(p))
        )

    async def _compute(self, partition: int, messages: Sequence[Message]) -> None:
        """Bring a partition to the last of `messages`."""
        held = self._held.get(partition) or await self._taken_over(partition)
        offset = held.engine.progress.offset
        new = {message.offset: message for message in messages if message.offset > offset}
        if len(new) == max(new, default=offset) - offset:
            await self._feed(held, [new[at] for at in sorted(new)])
        else:
            await self._read(held, max(new) + 1)

    async def _taken_over(self, partition: int) -> _Held:
        """As a task that `_disown` may end: a rebalance waits for nobody who reads a long state."""
        task = self._taking[partition] = asyncio.create_task(self._take_over(partition))
        try:
            return await task
        finally:
            task.cancel()
            del self._taking[partition]

    async def _take_over(self, partition: int) -> _Held:
        """The partition's state as it was committed, computed up to the last committed example."""
        settings = self.settings
        engine = Engine(settings.engine, settings.topics.events, partition)
        outlet = Outlet(settings.brokers, settings.topics, settings.group, partition, settings.security)
        started_s = time.monotonic()
        try:
            await outlet.open()
            committed = await outlet.committed()
            engine.restore(await outlet.state())
            saved = engine.progress.offset
            if saved < committed.offset:
                async for messages in outlet.source(saved + 1, committed.offset + 1):
                    for part in _parts(messages):
                        engine.take(part)
        except BaseException:
            await outlet.close()
            raise
        if engine.progress.offset > -1:
            log.info(
                *("partition %d: state of offset %d, computed up to %d in %.1f s", partition),
                *(saved, engine.progress.offset, time.monotonic() - started_s),
            )
        held = self._held[partition] = _Held(engine, outlet, saved, time.monotonic())
        return held

    async def _read(self, held: _Held, end: int) -> None:
        """Take what Faust has not delivered from the source itself."""
        first = held.engine.progress.offset + 1
        async for messages in held.outlet.source(first, end):
            if held.engine.partition not in self._owned:
                return
            await self._feed(held, messages)

    async def _feed(self, held: _Held, messages: Sequence[Message]) -> None:
        for part in _parts(messages):
            await self._commit(held, held.engine.take(part), save=self._due(held))

    async def _commit(self, held: _Held, output: Output, *, save: bool) -> None:
        engine, now_s = held.engine, time.monotonic()
        state = engine.records() if save else {}
        await asyncio.wait_for(held.outlet.commit(output, engine.progress, state), _COMMIT_S)
        if save:
            held.saved_offset, held.saved_s = engine.progress.offset, now_s

    def _due(self, held: _Held) -> bool:
        return time.monotonic() - held.saved_s > self.settings.state_every_s

    async def _look_after(self) -> None:
        """Save what is due, and take up again what was let go of."""
        for partition in sorted(self._owned):
            if not self._mine(partition):
                continue
            held = self._held.get(partition)
            if held is None:
                await self._catch_up(partition)
            elif self._due(held) and held.saved_offset < held.engine.progress.offset:
                await self._guarded(partition, self._commit(held, NOTHING, save=True))

    async def _catch_up(self, partition: int) -> None:
        """Take a partition over, and what was delivered of it and is not computed."""

        async def caught_up() -> None:
            held = await self._taken_over(partition)
            if held.engine.progress.offset < self._delivered.get(partition, -1):
                await self._read(held, self._delivered[partition] + 1)

        await self._guarded(partition, caught_up())

    async def _guarded(self, partition: int, work: Coroutine[Any, Any, None]) -> None:
        """Let go of the partition where its work fails: what was committed is taken up again later.

        A client that loses its broker may let its own tasks' cancellation out: that is a failure like others.
        """
        try:
            await work
        except Fenced:
            log.warning("partition %d was taken over by another worker", partition)
            self._off_until_s[partition] = time.monotonic() + _REFUSED_S
            await self._let_go(partition)
        except (KafkaError, TimeoutError, asyncio.CancelledError) as error:
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                raise
            if partition in self._owned or not isinstance(error, asyncio.CancelledError):
                why = str(error) or type(error).__name__
                log.warning("partition %d: %s; starting over from what was committed", partition, why)
            await self._let_go(partition)
        except InputError as error:
            self.failure = error

    def _mine(self, partition: int) -> bool:
        """Whether it is to be computed here, now."""
        return partition in self._owned and time.monotonic() >= self._off_until_s.get(partition, 0.0)

    def _disown(self, partitions: set[int]) -> None:
        """Begin nothing more on these, and end what takes them over."""
        self._owned -= partitions
        for partition in partitions & set(self._taking):
            self._taking[partition].cancel()

    async def _let_go(self, partition: int) -> None:
        held = self._held.pop(partition, None)
        if held is not None:
            await held.outlet.close()

    async def _give_up(self, partitions: set[int]) -> None:
        """Save and forget partitions that go to another worker."""
        for partition in sorted(partitions & set(self._held)):
            held = self._held[partition]
            if held.saved_offset < held.engine.progress.offset:
                await self._guarded(partition, self._commit(held, NOTHING, save=True))
            await self._let_go(partition)

    async def _leave(self, app: Any) -> None:
        if self.failure is None:
            await self._tell_group(app)
        self._owned, leaving = set(), set(self._held)
        await self._give_up(leaving)

    async def _tell_group(self, app: Any) -> None:
        """Where to read on: only a hint for the next owner, and for whoever watches the group's lag."""
        topic = self.settings.topics.events
        new = {
            TP(topic, partition): held.engine.progress.offset + 1
            for partition, held in self._held.items()
            if partition in self._owned and held.told_offset < held.engine.progress.offset
        }
        if new and await app.consumer._commit(new):
            for tp, offset in new.items():
                self._held[tp.partition].told_offset = offset - 1


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


def _parts(messages: Sequence[Message]) -> list[list[Message]]:
    """Cut so that no part is large."""
    parts: list[list[Message]] = [[]]
    size = 0
    for message in messages:
        size += len(message.value or b"")
        if size > _MOST_BYTES or len(parts[-1]) >= _MOST_MESSAGES:
            parts.append([])
            size = len(message.value or b"")
        parts[-1].append(message)
    return parts


def _message_of(event: Any) -> Message:
    """An event of Faust's as a message."""
    message = event.message
    return Message(
        message.value,
        message.key,
        message.headers,
        message.partition,
        message.offset,
        round(message.timestamp * 1000),
    )
