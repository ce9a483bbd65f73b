"""How the live path is doing: what workers and trainer say of themselves, and how far behind they are.

Workers say how far a partition has come in the header of its newest message of examples, the trainer says its
part in the store. What is not there yet is null, and said.
"""

import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

import msgspec

from state import progress
from state.errors import InputError
from state.progress import Progress, TrainerStatus
from state.store.contract import EmbeddingStore
from state.store.embedded import open_store
from streams.kafka import client, topics
from streams.kafka.observer import Observer
from streams.kafka.place import followed

_SILENT_S = 10.0
"""A trainer says something every second or so."""
_QUANTILES: tuple[Literal["p50", "p95", "p99"], ...] = ("p50", "p95", "p99")


@dataclass(frozen=True, slots=True)
class TopicNames:
    """What things are called on the broker."""

    events: str = "events"
    examples: str = "examples"
    group: str = "ebbtide"


class Lag(msgspec.Struct, frozen=True):
    """Partition -> messages that are there and not dealt with."""

    ingest: dict[int, int] = {}
    train: dict[int, int] = {}


class Status(msgspec.Struct, frozen=True, kw_only=True):
    """The whole live path at a moment; None where nobody can say."""

    events_in: int | None = None
    """Events in messages that workers have dealt with, good or bad."""
    examples_out: int | None = None
    trained: int | None = None
    duplicates: int | None = None
    """Events dropped by workers since one with the same event_id was there."""
    repeated: int | None = None
    """Examples dropped by the trainer since it had them."""
    late: int | None = None
    """Events that came too late: events_in is examples_out, duplicates, late and dead_letters together."""
    users: int | None = None
    """Whom the workers remember."""
    expired: int | None = None
    """How often one was forgotten for having been silent too long."""
    bytes_per_user: float | None = None
    dead_letters: dict[str, int] = {}
    """By reason."""
    set_aside: dict[str, int] = {}
    """Messages of examples that the trainer could not read or learn, by reason."""
    item_changes: int | None = None
    """Messages about items that the trainer has taken in."""
    unknown_fields: dict[str, int] = {}
    """Field that is no role, and was not read -> events that had it."""
    lost: int | None = None
    """Messages that the broker had deleted before a worker read them."""
    lag: Lag = Lag()
    freshness_ms: dict[Literal["p50", "p95", "p99"], float | None]
    """From an event's production to its being readable in the store, last minute."""
    version: int | None = None
    """Published."""
    items: int | None = None
    """In the trainer's catalogue."""
    forgotten: int | None = None
    """How often the trainer forgot a user."""
    store_losses: int | None = None
    """How often the store had lost what was published, and was given all of it again."""
    checkpoint_age_s: float | None = None
    metrics: dict[str, float] = {}
    """Prequential, recent."""
    drift_open: int | None = None
    """Alarms of drift that are open: `ebbtide monitor` tells them."""
    workers: int | None = None
    """Members of the group."""
    trouble: list[str] = []
    """What is missing or does not work, in sentences."""
    broker_up: bool = True


@dataclass(frozen=True, slots=True)
class PathState:
    """What was found, by partition."""

    progress: dict[int, Progress]
    trainer: TrainerStatus | None
    lag: Lag
    workers: int | None
    trouble: list[str]
    broker_up: bool
    store_writable: bool | None = None
    """None where no store is named."""

    def status(self) -> Status:
        """All of it together."""
        return _status(self)


def look(brokers: str, store: str | None, names: TopicNames) -> PathState:
    """How things are now. `store` None: there is none."""
    trouble: list[str] = []
    trainer, writable = (None, None) if store is None else _trainer(store, trouble)
    of_partition: dict[int, Progress] = {}
    lag, workers, up = Lag(), None, True
    try:
        with Observer(brokers) as observer:
            of_partition = _progress(observer, names, trouble)
            trouble += _source(brokers, names, observer, of_partition)
            lag = _lag(observer, names, of_partition, trainer, trouble)
        workers = client.members(brokers, names.group)
    except InputError as error:
        up = False
        trouble.insert(0, str(error))
    if workers == 0:
        unless = ", unless a job of Flink makes the examples" if of_partition else ""
        trouble.append(
            f"no worker of the group {names.group!r} is there; start one with `ebbtide ingest`{unless}"
        )
    return PathState(of_partition, trainer, lag, workers, trouble, up, writable)


def look_at_store(store: str) -> PathState:
    """What can be known without a broker."""
    trouble: list[str] = []
    trainer, writable = _trainer(store, trouble)
    return PathState({}, trainer, Lag(), None, trouble, True, writable)


def _status(seen: PathState) -> Status:
    parts, trainer = list(seen.progress.values()), seen.trainer
    freshness = {} if trainer is None else trainer.freshness_ms
    saved_ms = None if trainer is None else trainer.checkpoint_ms
    users, user_bytes = sum(part.users for part in parts), sum(part.user_bytes for part in parts)
    return Status(
        events_in=sum(part.events for part in parts) if parts else None,
        examples_out=sum(part.examples for part in parts) if parts else None,
        trained=None if trainer is None else trainer.trained,
        duplicates=sum(part.duplicates for part in parts) if parts else None,
        repeated=None if trainer is None else trainer.duplicates,
        late=sum(part.late for part in parts) if parts else None,
        users=users if parts else None,
        expired=sum(part.expired for part in parts) if parts else None,
        bytes_per_user=round(user_bytes / users, 1) if users else None,
        dead_letters=_together(part.dead_letters for part in parts),
        set_aside={} if trainer is None else trainer.dead_letters,
        item_changes=None if trainer is None else trainer.item_changes,
        unknown_fields=_together(part.unknown_fields for part in parts),
        lost=sum(part.lost for part in parts) if parts else None,
        lag=seen.lag,
        freshness_ms={name: freshness.get(name) for name in _QUANTILES},
        items=None if trainer is None else trainer.items,
        forgotten=None if trainer is None else trainer.forgotten,
        store_losses=None if trainer is None else trainer.store_losses,
        version=None if trainer is None else trainer.version,
        checkpoint_age_s=None if saved_ms is None else max(0.0, round(time.time() - saved_ms / 1000, 3)),
        metrics={} if trainer is None else trainer.metrics,
        drift_open=None if trainer is None else sum(alarm.open for alarm in trainer.alarms),
        workers=seen.workers,
        trouble=seen.trouble,
        broker_up=seen.broker_up,
    )


def _together(counts: Iterable[Mapping[str, int]]) -> dict[str, int]:
    return dict(sorted(sum(map(Counter[str], counts), Counter[str]()).items()))


def _trainer(store: str, trouble: list[str]) -> tuple[TrainerStatus | None, bool]:
    """What the trainer has said last, and whether it could; what is wrong with the store is said first."""
    try:
        with open_store(store) as held:
            flaws = held.flaws()
            trouble += [f"store: {flaw.sentence}" for flaw in flaws]
            encoded = held.status()
            status = None if encoded is None else progress.trainer_status(encoded)
            if status is not None and _gone_from(held, status):
                trouble.append(
                    f"store: what the trainer published up to version {status.readers_at} is not all there; "
                    "it publishes all of it again within seconds, if it runs"
                )
            trouble += _served_earlier(held)
    except (InputError, msgspec.DecodeError) as error:
        trouble.append(f"store: the trainer's status cannot be read: {error}")
        return None, False
    writable = not any(flaw.closed for flaw in flaws)
    if status is None:
        trouble.append("no trainer has said anything in the store; start one with `ebbtide train`")
        return None, writable
    silent_s = time.time() - status.updated_ms / 1000
    if silent_s > _SILENT_S and writable:
        trouble.append(
            f"the trainer (process {status.pid} on {status.host}) has said nothing for {silent_s:,.0f} s"
        )
    if status.trouble:
        trouble.append(f"trainer: {status.trouble}")
    return status, writable


def _served_earlier(held: EmbeddingStore) -> list[str]:
    """What to know where readers are not served the newest version."""
    return [
        f"readers are served version {one.version} ({one.facts.note}), not the newest; "
        "`ebbtide versions resume` ends that"
        for one in held.kept()
        if one.served
    ]


def _gone_from(held: EmbeddingStore, status: TrainerStatus) -> bool:
    """Whether the store has lost what readers were to see when the trainer said something last."""
    at = status.readers_at
    return at > held.version() or (at > 0 and status.trained > 0 and 0 in held.counts().values())


def _progress(observer: Observer, names: TopicNames, trouble: list[str]) -> dict[int, Progress]:
    """Of every partition that has any."""
    of_partition = {}
    for partition, message in observer.newest(names.examples).items():
        header = dict(message.headers).get(progress.HEADER)
        try:
            of_partition[partition] = progress.progress(header or b"")
        except msgspec.DecodeError as error:
            trouble.append(
                f"{names.examples}/{partition}/{message.offset}: expected examples of `ebbtide ingest`, "
                f"got a message without progress ({error}); name their topic with --examples"
            )
    return of_partition


def _source(
    brokers: str, names: TopicNames, observer: Observer, of_partition: Mapping[int, Progress]
) -> Iterator[str]:
    """What was lost of the events, also what no worker has noticed yet, and what nobody reads."""
    spans = topics.look(brokers, names.events)
    for partition, reached in of_partition.items():
        if partition in spans:
            reached = followed(reached, spans[partition], reached.next)
        yield from progress.trouble(names.events, partition, reached)
    there = observer.partitions(names.examples)
    if there and len(spans) > len(there):
        yield (
            f"{names.events!r} has {len(spans)} partitions, and {names.examples!r} {len(there)}: the new "
            "ones are not read yet; a running `ebbtide ingest` makes them grow within seconds"
        )


def _lag(
    observer: Observer,
    names: TopicNames,
    of_partition: Mapping[int, Progress],
    trainer: TrainerStatus | None,
    trouble: list[str],
) -> Lag:
    events, examples = observer.partitions(names.events), observer.partitions(names.examples)
    if not events:
        trouble.append(f"there is no topic {names.events!r}: nothing was sent, and no worker was started")
    elif not examples:
        trouble.append(f"there is no topic {names.examples!r}: no worker was started (`ebbtide ingest`)")
    offsets = {} if trainer is None else trainer.offsets
    ingested = {p: of_partition[p].next if p in of_partition else 0 for p in events}
    trained = {p: offsets.get(str(p), 0) for p in examples}
    return Lag(observer.behind(names.events, ingested), observer.behind(names.examples, trained))
