"""A partition whose engine is in a map, and whose output goes out in transactions of its own: exactly once.

The map may be taken back to any earlier snapshot of it; the examples never are. What is committed is what is
so, as for the Faust worker (`streams.engines.worker`): whoever takes the partition over fences off whoever
had it, reads how far its examples have come, and computes the events up to there unsent. A snapshot is never
ahead of the examples, since `take` commits before it returns.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

from state.errors import EbbtideError
from streams.engines.keyed import Entries, Keyed
from streams.engines.outlet import COMMIT_S, FAILURES, Fenced, Outlet
from streams.engines.output import NOTHING, Output
from streams.engines.partition import Engine
from streams.engines.restoring import caught_up, parts, span_of
from streams.kafka.security import OPEN, Security
from streams.kafka.topics import Topics
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


class KeyedPartition:
    """One partition, from being taken over until somebody else does that."""

    def __init__(self, keyed: Keyed, outlet: Outlet) -> None:
        self._keyed, self._outlet = keyed, outlet

    @classmethod
    async def taken_over(cls, engine: Engine, entries: Entries, to: Destination) -> Self:
        """Where the examples are, whatever the map was when its snapshot was taken.

        Raises EbbtideError where that can be tried again, InputError where it is of no use.
        """
        keyed, partition = Keyed(engine, entries), engine.partition
        outlet = Outlet(to.brokers, to.topics, to.group, partition, to.security)
        taken, restored = cls(keyed, outlet), engine.progress
        try:
            await outlet.open()
            span = await span_of(to.brokers, to.topics.events, partition, to.security)
            await caught_up(engine, outlet, span)
            await taken._commit(engine.follow(span, engine.progress.next))
        except _FAILURES as error:
            await outlet.close()
            raise _trouble(engine, error) from error
        except BaseException:
            await outlet.close()
            raise
        if engine.progress != restored:
            keyed.settle()
        return taken

    async def take(self, messages: Sequence[Message]) -> None:
        """Commit what messages come to, those passed over that have been here. Raises EbbtideError."""
        for part in parts(messages):
            await self._commit(self._keyed.take(part))

    async def close(self) -> None:
        """Of no use from now on."""
        await self._outlet.close()

    async def _commit(self, output: Output) -> None:
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


def _trouble(engine: Engine, error: BaseException) -> EbbtideError:
    return EbbtideError(f"partition {engine.partition}: {str(error) or 'the broker did not answer in time'}")
