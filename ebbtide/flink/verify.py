"""Does Flink make of a log what replay makes of it? Counted by identity, and column by column.

Shape suffix: B examples.
"""

import tempfile
import threading
from collections.abc import Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ebbtide.config import RunConfig
from ebbtide.flink import job as jobs
from ebbtide.flink import local
from ebbtide.running import plan
from ebbtide.services import control
from replay.log import Log
from replay.traffic import Form, send
from state import example_wire
from state.errors import EbbtideError, InputError
from state.examples import ExampleBatch, concat, widened
from state.keys import Int64s
from state.memory.mask import narrowed, select
from streams.engines.engine_config import EngineConfig
from streams.kafka.observer import Observer
from streams.kafka.topics import Topics, remove
from streams.operator import Operator

if TYPE_CHECKING:
    from collections.abc import Iterator

_READ = 4096
_BATCH = 256


@dataclass(frozen=True, slots=True)
class Verified:
    """What came of a log on both ways."""

    events: int
    """That were sent."""
    examples: int
    """That came out of Flink, each identity once."""
    equal: int
    """Of them, those that are what replay makes, in every column, bit for bit."""
    lost: int
    """Examples of replay that did not come."""
    doubled: int
    """Examples that came more than once."""

    @property
    def well(self) -> bool:
        return self.equal == self.examples and not self.lost and not self.doubled


@dataclass(frozen=True, slots=True, kw_only=True)
class How:
    """How the log goes through Flink."""

    brokers: str | None = None
    """None: a broker of our own, for as long as it takes."""
    form: Form = "json"
    partitions: int = 4
    parallelism: int = 1
    window: int = 64


def verify(log: Log, how: How) -> Verified:
    """Send a log through a Flink job and through replay's operator. Raises EbbtideError."""
    settings = plan.subject(RunConfig(), log).operator
    with (
        tempfile.TemporaryDirectory(prefix="ebbtide-verify-") as folder,
        _brokers(how, folder) as brokers,
        _topics(brokers, Path(folder).name) as topics,
    ):
        wanted = jobs.Wanted(
            brokers=brokers,
            group=Path(folder).name,
            topics=topics,
            engine=EngineConfig(operator=settings, window=how.window),
            checkpoints=Path(folder) / "flink",
            parallelism=how.parallelism,
        )
        sent = _sent_through(log, how, wanted)
        live = examples(brokers, topics.examples)
    operator = Operator(settings, how.window)
    replayed = [operator.process(events, 0) for events in log.batches(_READ)]
    return compared(sent, live, concat(replayed), how.window)


def _sent_through(log: Log, how: How, wanted: jobs.Wanted) -> int:
    """Send the log, and run a job until it has dealt with all of it; how many events. Raises EbbtideError."""
    where = f"kafka://{wanted.brokers}/{wanted.topics.events}"
    sent = send(log, where, form=how.form, partitions=how.partitions, batch=_BATCH)
    if sent.errors:
        raise EbbtideError(f"{where}: {sent.errors:,} events were not acknowledged: {sent.failure}")
    local.until(
        jobs.job_of(wanted),
        wanted.checkpoints,
        threading.Event(),
        done=lambda progress: sum(partition.events for partition in progress.values()) >= sent.events,
    )
    return sent.events


def examples(brokers: str, topic: str) -> ExampleBatch:
    """All that was committed there."""
    with Observer(brokers) as observer:
        values = [message.value for message in observer.read(topic)]
    batches = [example_wire.decode(value).batch for value in values if value is not None]
    return concat([batch for batch in batches if len(batch)] or batches[:1])


def compared(events: int, live: ExampleBatch, replayed: ExampleBatch, window: int) -> Verified:
    """Every user's examples in their order, one by one."""
    identity_B3 = np.stack([live.partition_B, live.offset_B, live.index_B], axis=1)
    first_B = np.unique(identity_B3, axis=0, return_index=True)[1]
    once = live.take(np.sort(first_B))
    place_B, at_B = (_places(batch.user_B) for batch in (once, replayed))
    here, there = ({pair: b for b, pair in enumerate(pairs)} for pairs in (place_B, at_B))
    both = [(here[pair], there[pair]) for pair in here.keys() & there.keys()]
    pair_B2 = np.array(sorted(both), np.int64).reshape(-1, 2)
    columns = [
        _columns(widened(narrowed(batch.take(pair_B2[:, i]), select(window)), window))
        for i, batch in enumerate((once, replayed))
    ]
    same_B = np.ones(len(pair_B2), np.bool_)
    for name, column in columns[0].items():
        same_B &= _same(column, columns[1][name])
    return Verified(
        events, len(once), int(same_B.sum()), len(there.keys() - here.keys()), len(live) - len(once)
    )


def _places(user_B: Int64s) -> list[tuple[int, int]]:
    """Each row's user, and how many of the user's rows were before it."""
    seen: dict[int, int] = {}
    places = []
    for user in user_B.tolist():
        seen[user] = seen.get(user, 0) + 1
        places.append((user, seen[user]))
    return places


def _columns(batch: ExampleBatch) -> dict[str, Any]:
    none = np.zeros(len(batch), np.int64)
    tree = replace(batch, partition_B=none, offset_B=none, index_B=none).tree()
    window = tree.pop("window", {})
    return {**tree, **{f"window.{name}": column for name, column in window.items()}}


def _same(mine: Any, theirs: Any) -> Any:
    """Rows (B,) that have the same bits."""
    if mine.shape != theirs.shape or mine.dtype != theirs.dtype:
        return np.zeros(len(mine), np.bool_)
    bits = [np.ascontiguousarray(column).view(np.uint8).reshape(len(column), -1) for column in (mine, theirs)]
    return (bits[0] == bits[1]).all(axis=1)


@contextmanager
def _topics(brokers: str, name: str) -> "Iterator[Topics]":
    """Four of our own, which are gone afterwards."""
    topics = Topics.of_group(name, f"{name}-events", f"{name}-examples", f"{name}-dead-letters")
    try:
        yield topics
    finally:
        with suppress(InputError):  # a broker that is away is said by whoever wanted something of it
            remove(brokers, topics)


@contextmanager
def _brokers(how: How, folder: str) -> "Iterator[str]":
    if how.brokers is not None:
        yield how.brokers
        return
    where = Path(folder) / "services"
    try:
        services = control.up(where)
        assert services.brokers is not None
        yield services.brokers
    finally:
        control.down(where)


def in_words(verified: Verified) -> Sequence[str]:
    """For people."""
    return [
        f"{verified.events:,} events sent, {verified.examples:,} examples made by Flink",
        f"{verified.equal:,} equal to replay's, {verified.lost:,} lost, {verified.doubled:,} doubled",
    ]
