"""The partitions of one worker: taken over, computed, saved and let go of.

Each on its own: a partition that cannot be taken over, or fails, is tried again later, a little later every
time, and the others go on meanwhile. What was delivered of it and could not be computed is read from the
source then.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from state.errors import InputError
from state.progress import Progress, trouble
from streams.engines.engine_config import EngineConfig
from streams.engines.failures import Failures
from streams.engines.outlet import COMMIT_S, FAILURES, Fenced, Gone, Outlet
from streams.engines.output import NOTHING, Output
from streams.engines.partition import Engine
from streams.engines.restoring import parts, restored, span_of
from streams.kafka.place import Span
from streams.kafka.security import OPEN, Security
from streams.kafka.topics import Topics
from streams.wire.message import Message

log = logging.getLogger("ebbtide.ingest")

SESSION_S = 6.0
_REFUSED_S = 2 * SESSION_S
"""How long a fenced worker keeps off a partition that it still counts as its own, and the group does not: who
fenced it owns the partition, or has slept through its session and finds that out within this time."""
_AT_ONCE = 4096
"""Messages that are read from the source in one go where nobody delivers them."""
_PATIENCE_S = 2.0
"""How long the other partitions wait for one that is taken over; one that has failed is not waited for."""


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
class Held:
    """A partition that is computed here."""

    engine: Engine
    outlet: Outlet
    saved_offset: int
    saved_s: float
    told_offset: int = -1
    """Up to where the group was told that it has come."""


class Partitions:
    """What `own` says is this worker's; `take` computes it, `look_after` keeps it in order.

    One call at a time, but for `own` and `disown`, which do not wait.
    """

    def __init__(self, settings: Settings, confirmed: Callable[[int], Awaitable[bool]]) -> None:
        """`confirmed` asks the group whether it counts a partition as this worker's, now."""
        self.settings, self._confirmed = settings, confirmed
        self.failure: InputError | None = None
        """Why the worker cannot go on."""
        self.owned: set[int] = set()
        self.held: dict[int, Held] = {}
        self._delivered: dict[int, int] = {}
        self._recoveries: dict[int, asyncio.Task[None]] = {}
        self._begun_s: dict[int, float] = {}
        self._failed = Failures()
        self._reached: dict[int, int] = {}
        self._stood_at: dict[int, int] = {}
        self._empty_to: dict[int, int] = {}
        self.room = 0
        """Partitions that our topics have: of others nothing is taken over."""
        self._computing = ThreadPoolExecutor(1, "engine")
        """Computes while others send and fetch: kernels and Arrow hold no interpreter."""

    @property
    def progress(self) -> dict[int, Progress]:
        """Of every partition that is computed here."""
        return {partition: held.engine.progress for partition, held in sorted(self.held.items())}

    @property
    def failing(self) -> bool:
        """Whether a partition cannot be worked on, at the moment."""
        return bool(self._failed)

    def own(self, partitions: set[int]) -> None:
        """These are ours from now on, and no others."""
        self.disown(self.owned - partitions)
        self.owned = set(partitions)
        self._failed.hurry()

    def disown(self, partitions: set[int]) -> None:
        """Begin nothing more on these, and end what takes them over: a rebalance waits for nobody."""
        self.owned -= partitions
        for partition in partitions & set(self._recoveries):
            self._recoveries[partition].cancel()

    async def take(self, messages: Sequence[Message]) -> None:
        """Messages of any partitions, as they were delivered."""
        by_partition: dict[int, list[Message]] = {}
        for message in messages:
            by_partition.setdefault(message.partition, []).append(message)
        for partition, part in by_partition.items():
            self._delivered[partition] = max(message.offset for message in part)
        await self._taken_over(by_partition.keys() & self.owned - self.held.keys())
        await asyncio.gather(
            *(
                self._guarded(partition, self._compute(self.held[partition], part))
                for partition, part in by_partition.items()
                if partition in self.owned and partition in self.held
            )
        )

    async def look_after(self) -> None:
        """Save what is due, take over what is ours, and compute what was delivered meanwhile."""
        for partition in self.owned - self.held.keys():
            self._recovery(partition)
        for partition in sorted(self.owned & self.held.keys()):
            held = self.held[partition]
            if held.engine.progress.next <= self._delivered.get(partition, -1):
                await self._guarded(partition, self._read(held, self._delivered[partition] + 1))
            elif self._due(held) and held.saved_offset < held.engine.progress.offset:
                await self._guarded(partition, self._commit(held, NOTHING, save=True))

    async def follow(self, spans: Mapping[int, Span], read_to: Mapping[int, int]) -> None:
        """Go on where the source is now, if it is not where it was left.

        `read_to` is the offset that was read next in a partition before anybody looked at `spans`.
        """
        for partition in sorted(self.held.keys() & spans.keys() & read_to.keys()):
            held = self.held[partition]
            await self._guarded(partition, self._follow(held, spans[partition], read_to[partition]))

    async def give_up(self, partitions: set[int]) -> None:
        """Save and forget partitions that go to another worker."""
        recoveries = [self._recoveries[p] for p in partitions & self._recoveries.keys()]
        if recoveries:
            await asyncio.wait(recoveries)
        for partition in sorted(partitions & self.held.keys()):
            held = self.held[partition]
            if held.saved_offset < held.engine.progress.offset:
                await self._guarded(partition, self._commit(held, NOTHING, save=True))
            await self._let_go(partition)

    async def close(self) -> None:
        """Without saving anything."""
        self.disown(set(self.owned))
        await asyncio.gather(*self._recoveries.values(), return_exceptions=True)
        await asyncio.gather(*(held.outlet.close() for held in self.held.values()))
        self._computing.shutdown(wait=False)

    async def _taken_over(self, partitions: set[int]) -> None:
        """Wait a little for these, each once."""
        begun = {partition: self._recovery(partition) for partition in partitions}
        waits_s = max((self._begun_s[p] for p in partitions & self._begun_s.keys()), default=0.0)
        waits_s += _PATIENCE_S - time.monotonic()
        tasks = [task for partition, task in begun.items() if task and partition not in self._failed]
        if tasks and waits_s > 0:
            await asyncio.wait(tasks, timeout=waits_s)

    def _recovery(self, partition: int) -> asyncio.Task[None] | None:
        """What takes the partition over; nothing while it is not to be tried."""
        due = partition < self.room and self._failed.due(partition)
        if due and partition not in self._recoveries:
            task = asyncio.create_task(self._guarded(partition, self._take_over(partition)))
            self._recoveries[partition] = task
            self._begun_s[partition] = time.monotonic()
            task.add_done_callback(lambda _: self._recoveries.pop(partition))
        return self._recoveries.get(partition)

    async def _take_over(self, partition: int) -> None:
        """The partition's state as it was committed, computed up to the last committed example."""
        settings = self.settings
        engine = Engine(settings.engine, settings.topics.events, partition)
        outlet = Outlet(settings.brokers, settings.topics, settings.group, partition, settings.security)
        started_s = time.monotonic()
        try:
            await outlet.open()
            span = await span_of(settings.brokers, settings.topics.events, partition, settings.security)
            saved = await restored(engine, outlet, span, await outlet.state())
            held = Held(engine, outlet, saved, time.monotonic())
            await self._follow(held, span, engine.progress.next)
        except BaseException:
            await outlet.close()
            raise
        if engine.progress.offset < self._reached.get(partition, -1):
            log.warning(
                "partition %d: what was committed is gone, up to offset %d: %s or %s was made anew; "
                "its users' memory begins again",
                partition,
                self._reached[partition],
                settings.topics.examples,
                settings.topics.changelog,
            )
        if engine.progress.offset > -1:
            log.info(
                "partition %d: state of offset %d, computed up to %d in %.1f s",
                partition,
                saved,
                engine.progress.offset,
                time.monotonic() - started_s,
            )
        self._failed.mended(partition)
        self.held[partition] = held

    async def _follow(self, held: Held, span: Span, read_to: int) -> None:
        before, partition = held.engine.progress, held.engine.partition
        output = held.engine.follow(span, read_to)
        if output is not NOTHING:
            await self._moved(held, output, before)
            self._delivered[partition] = span.end - 1
            self._empty_to.pop(partition, None)
        self._delivered[partition] = min(self._delivered.get(partition, -1), span.end - 1)
        self._catch_up(partition, held.engine.progress.next, span.end)

    def _catch_up(self, partition: int, following: int, end: int) -> None:
        """What is there and was not delivered since somebody looked last is read from the source."""
        stands = self._stood_at.get(partition) == following
        if stands and end > max(following, self._empty_to.get(partition, 0)):
            self._delivered[partition] = min(end, following + _AT_ONCE) - 1
        self._stood_at[partition] = following

    async def _moved(self, held: Held, output: Output, before: Progress) -> None:
        """Commit that reading goes on elsewhere, and say it."""
        await self._commit(held, output, save=True)
        topic, now = self.settings.topics.events, held.engine.progress
        for sentence in trouble(topic, held.engine.partition, now, before):
            log.warning("%s", sentence)

    async def _compute(self, held: Held, messages: Sequence[Message]) -> None:
        """Bring a partition to the last of `messages`."""
        first = held.engine.progress.next
        new = {message.offset: message for message in messages if message.offset >= first}
        if len(new) == max(new, default=first - 1) + 1 - first:
            await self._feed(held, [new[at] for at in sorted(new)])
        else:
            await self._read(held, max(new) + 1)

    async def _read(self, held: Held, end: int) -> None:
        """Take what was not delivered from the source itself."""
        partition = held.engine.partition
        try:
            async for messages in held.outlet.source(held.engine.progress.next, end):
                if partition not in self.owned:
                    return
                await self._feed(held, messages)
            if held.engine.progress.next < end:  # no more than markers of transactions
                self._empty_to[partition] = end
                self._delivered[partition] = held.engine.progress.next - 1
        except Gone as gone:
            before = held.engine.progress
            await self._moved(held, held.engine.lose(gone.oldest), before)
            if gone.oldest < end:
                await self._read(held, end)

    async def _feed(self, held: Held, messages: Sequence[Message]) -> None:
        for part in parts(messages):
            if held.engine.partition not in self.owned:
                return
            output = await asyncio.wrap_future(self._computing.submit(held.engine.take, part))
            await self._commit(held, output, save=self._due(held))

    async def _commit(self, held: Held, output: Output, *, save: bool) -> None:
        engine, now_s = held.engine, time.monotonic()
        state = await asyncio.wrap_future(self._computing.submit(engine.records)) if save else {}
        await asyncio.wait_for(held.outlet.commit(output, engine.progress, state), COMMIT_S)
        if save:
            held.saved_offset, held.saved_s = engine.progress.offset, now_s

    def _due(self, held: Held) -> bool:
        return time.monotonic() - held.saved_s > self.settings.state_every_s

    async def _guarded(self, partition: int, work: Coroutine[Any, Any, None]) -> None:
        """Let go of the partition where its work fails: what was committed is taken up again later.

        A client that loses its broker may let its own tasks' cancellation out: that is a failure like others.
        """
        try:
            await work
        except Fenced:
            if await self._confirmed(partition):
                self._failed.add(partition, "the broker ended its transaction, which took too long")
            else:
                log.warning("partition %d was taken over by another worker", partition)
                self._failed.keep_off(partition, _REFUSED_S)
            await self._let_go(partition)
        except (*FAILURES, asyncio.CancelledError) as error:
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                raise
            if partition in self.owned or not isinstance(error, asyncio.CancelledError):
                self._failed.add(partition, str(error) or "the broker did not answer in time")
            await self._let_go(partition)
        except InputError as error:
            self.failure = error

    async def _let_go(self, partition: int) -> None:
        held = self.held.pop(partition, None)
        if held is not None:
            self._reached[partition] = held.saved_offset
            await held.outlet.close()
