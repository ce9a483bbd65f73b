"""A partition whose engine is in a map, and whose output goes out in transactions of its own: exactly once.

The map may be taken back to any earlier snapshot of it; the examples never are. What is committed is what is
so, as for the Faust worker (`streams.engines.worker`): whoever takes the partition over fences off whoever
had it, reads how far its examples have come, and computes the events up to there unsent. A snapshot is never
ahead of the examples, since only what is committed is settled in the map.
"""

import asyncio
from dataclasses import dataclass
from typing import Self

from state.errors import EbbtideError
from streams.engines.keyed import Keyed
from streams.engines.outlet import COMMIT_S, FAILURES, Fenced, Outlet
from streams.engines.output import NOTHING, Output
from streams.engines.partition import Engine
from streams.engines.restoring import MOST_BYTES, caught_up, parts, span_of
from streams.kafka.security import OPEN, Security
from streams.kafka.topics import Topics
from streams.records.packs import Entries
from streams.wire.message import Message

_FAILURES = (*FAILURES, asyncio.CancelledError)
"""Nobody cancels what is done here: a client that loses its broker may let that of its own tasks out."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Destination:
    """Where a group's output goes."""

    brokers: str
    group: str
    topics: Topics
    security: Security = OPEN

    def outlet(self, partition: int) -> Outlet:
        return Outlet(self.brokers, self.topics, self.group, partition, self.security)


class KeyedPartition:
    """One partition, from being taken over until somebody else does that."""

    def __init__(self, keyed: Keyed, outlet: Outlet) -> None:
        self._keyed, self._outlet = keyed, outlet
        self._waiting: list[Message] = []
        self._bytes = 0

    @classmethod
    async def taken_over(cls, engine: Engine, entries: Entries, to: Destination) -> Self:
        """Where the examples are, whatever the map was when its snapshot was taken.

        Raises EbbtideError where that can be tried again, InputError where it is of no use.
        """
        keyed, partition = Keyed(engine, entries), engine.partition
        outlet = to.outlet(partition)
        taken = cls(keyed, outlet)
        try:
            await outlet.open()
            span = await span_of(to.brokers, to.topics.events, partition, to.security)
            await caught_up(engine, outlet, span)
            await taken._send(engine.follow(span, engine.progress.next))
        except _FAILURES as error:
            await outlet.close()
            raise _trouble(engine, error) from error
        except BaseException:
            await outlet.close()
            raise
        keyed.settle()
        return taken

    @property
    def waits(self) -> bool:
        """Whether any message does."""
        return bool(self._waiting)

    def fits(self, message: Message) -> bool:
        """Whether it may wait, too."""
        return self._bytes + len(message.value or b"") <= MOST_BYTES

    def add(self, message: Message) -> None:
        """Let a message wait for the next commit."""
        self._waiting.append(message)
        self._bytes += len(message.value or b"")

    async def commit(self) -> None:
        """What the messages that wait come to, those passed over that have been here. Raises EbbtideError."""
        waiting = sorted(self._waiting, key=lambda message: message.offset)
        self._waiting, self._bytes = [], 0
        for part in parts(waiting):
            await self._send(self._keyed.engine.take(part))

    async def settle(self) -> None:
        """Commit, and let the map hold what that has led to. Raises EbbtideError."""
        await self.commit()
        self._keyed.settle()

    async def close(self) -> None:
        """Of no use from now on."""
        await self._outlet.close()

    async def _send(self, output: Output) -> None:
        if output is NOTHING:
            return
        engine = self._keyed.engine
        try:
            await asyncio.wait_for(self._outlet.commit(output, engine.progress, {}), COMMIT_S)
        except Fenced as error:
            raise EbbtideError(
                f"partition {engine.partition} was taken over by another worker of its group, or the broker "
                "ended a transaction that took too long"
            ) from error
        except _FAILURES as error:
            raise _trouble(engine, error) from error


async def settled(engine: Engine, entries: Entries, to: Destination) -> None:
    """Let a map hold what led to the newest example, and leave the partition to whoever has it.

    Raises EbbtideError, InputError.
    """
    keyed, outlet = Keyed(engine, entries), to.outlet(engine.partition)
    try:
        span = await span_of(to.brokers, to.topics.events, engine.partition, to.security)
        await caught_up(engine, outlet, span)
    except _FAILURES as error:
        raise _trouble(engine, error) from error
    finally:
        await outlet.close()
    keyed.settle()


def _trouble(engine: Engine, error: BaseException) -> EbbtideError:
    return EbbtideError(f"partition {engine.partition}: {str(error) or 'the broker did not answer in time'}")
