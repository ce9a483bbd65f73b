"""Partitions whose clock an event from the future has moved: looked at, set right while no worker runs."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass

from state.errors import InputError
from streams.engines.mend import Found, is_ahead, mended
from streams.engines.outlet import FAILURES, Fenced, Outlet
from streams.engines.partition import Engine, kept_config
from streams.engines.restoring import restored
from streams.kafka import topics
from streams.kafka.place import Span
from streams.kafka.security import Security
from streams.kafka.topics import Topics


@dataclass(frozen=True, slots=True)
class Clock:
    """How it is with one partition."""

    partition: int
    clock_ms: int | None
    """None where it has had no event."""
    most_ms: int
    """Up to where a clock can be."""
    found: Found | None
    """What lies ahead of that; None where nothing does."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where the states are."""

    brokers: str
    topics: Topics
    group: str
    security: Security


def clocks(place: Place, most_ms: Mapping[int, int], *, write: bool) -> list[Clock]:
    """Of every partition that has a state; with `write`, those that are ahead are set right.

    `most_ms` is how far a partition's clock can be. Each is mended in one transaction. Raises InputError.
    """
    spans = topics.look(place.brokers, place.topics.events, place.security)

    async def all_of_them() -> list[Clock]:
        found = [
            await _clock(place, partition, spans[partition], most_ms[partition], write=write)
            for partition in sorted(spans.keys() & most_ms.keys())
        ]
        return [one for one in found if one is not None]

    try:
        return asyncio.run(all_of_them())
    except Fenced as error:
        raise InputError(
            "a worker has taken a partition over meanwhile: stop all `ebbtide ingest`"
        ) from error
    except FAILURES as error:
        raise InputError(f"{place.brokers}: {error!r}; is the broker up?") from error


async def _clock(place: Place, partition: int, span: Span, most_ms: int, *, write: bool) -> Clock | None:
    outlet = Outlet(place.brokers, place.topics, place.group, partition, place.security)
    try:
        await outlet.open()
        records = await outlet.state()
        if not records:
            return None
        engine = Engine(kept_config(records), place.topics.events, partition)
        await restored(engine, outlet, span, records)
        clock_ms = engine.progress.clock_ms
        if not is_ahead(engine, most_ms):
            return Clock(partition, clock_ms, most_ms, None)
        fresh, found = mended(engine, most_ms)
        if write:
            state = fresh.records()
            gone = dict.fromkeys(records.keys() - state.keys())
            await outlet.commit(fresh.still(), fresh.progress, {**gone, **state})
        return Clock(partition, clock_ms, most_ms, found)
    finally:
        await outlet.close()
