"""A group's state out of its changelog, and into one: between engines, while no worker runs."""

import asyncio
from collections.abc import AsyncIterator, Coroutine, Iterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TypeVar

from state.errors import InputError
from state.progress import Progress
from streams.engines.mending import Place
from streams.engines.moved import Moved, check, exported, whole
from streams.engines.outlet import FAILURES, Fenced, Outlet
from streams.engines.output import NOTHING
from streams.engines.partition import ENGINE, Engine, kept_config
from streams.engines.restoring import restored
from streams.kafka import topics
from streams.kafka.place import Span

_TRANSACTION_BYTES = 8 << 20
Found = TypeVar("Found")


def leaving(place: Place) -> Iterator[Moved]:
    """The state of every partition that has one, brought to its newest example. Raises InputError."""
    changelog, spans = place.topics.changelog, _spans(place)
    if not topics.look(place.brokers, changelog, place.security):
        raise InputError(
            f"{changelog}: expected the changelog of a group, got no such topic; name its --group"
        )
    for partition, span in sorted(spans.items()):
        moved = _asked(place, _exported(place, partition, span))
        if moved is not None:
            yield moved


def take(place: Place, source: Path) -> list[Moved]:
    """Replace the group's state by what was exported; all of it is looked at before any is written.

    Raises InputError.
    """
    spans, found = _spans(place), list(exported(source))
    topics.make_room(place.brokers, place.topics, len(spans), place.security)
    for write in (False, True):
        for moved in found:
            _asked(place, _imported(place, moved, spans.get(moved.kept.partition), write=write))
    return found


def _spans(place: Place) -> Mapping[int, Span]:
    return topics.look(place.brokers, place.topics.events, place.security)


def _asked(place: Place, work: Coroutine[Any, Any, Found]) -> Found:
    try:
        return asyncio.run(work)
    except Fenced as error:
        raise InputError(
            "a worker has taken a partition over meanwhile: stop all `ebbtide ingest`"
        ) from error
    except FAILURES as error:
        raise InputError(f"{place.brokers}: {error!r}; is the broker up?") from error


async def _exported(place: Place, partition: int, span: Span) -> Moved | None:
    async with _outlet(place, partition) as outlet:
        records, committed = await outlet.state(), await outlet.committed()
        if not records:
            if committed.offset < 0:
                return None
            raise InputError(
                f"{place.topics.events}/{partition}: no state in {place.topics.changelog}, though examples "
                "were made: name their --group, or let its worker run once more and end by itself"
            )
        engine = Engine(kept_config(records), place.topics.events, partition)
        await restored(engine, outlet, span, records)
        return whole(engine, records)


async def _imported(place: Place, moved: Moved, span: Span | None, *, write: bool) -> None:
    events = place.topics.events
    if span is None:
        check(moved, events, span, Progress())
    async with _outlet(place, moved.kept.partition) as outlet:
        check(moved, events, span, await outlet.committed())
        if write:
            gone = dict.fromkeys((await outlet.state()).keys() - moved.kept.records.keys())
            for some in _transactions({**gone, **moved.kept.records}):
                await outlet.commit(NOTHING, moved.progress, some)


def _transactions(state: Mapping[bytes, bytes | None]) -> Iterator[dict[bytes, bytes | None]]:
    """Some at a time, so that none takes long; cut off halfway, what is there is not taken up."""
    some: dict[bytes, bytes | None] = {ENGINE: None}
    size = 0
    for key, value in state.items():
        if key != ENGINE:
            some[key] = value
            size += len(key) + len(value or b"")
        if size > _TRANSACTION_BYTES:
            yield some
            some, size = {}, 0
    yield some
    yield {ENGINE: state[ENGINE]}


@asynccontextmanager
async def _outlet(place: Place, partition: int) -> AsyncIterator[Outlet]:
    outlet = Outlet(place.brokers, place.topics, place.group, partition, place.security)
    try:
        await outlet.open()
        yield outlet
    finally:
        await outlet.close()
