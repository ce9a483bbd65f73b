"""How far the live path has come: what a worker says of a partition, and a trainer of itself."""

from typing import Literal

import msgspec

from state.drift_alarm import DriftAction, DriftAlarm, EmbeddingHealth

OTHERS = "(others)"
HEADER = "ebbtide-progress"
"""Of every message on the topic of examples: the `Progress` of its partition, as JSON."""


class Progress(msgspec.Struct, frozen=True, kw_only=True):
    """What became of a partition of events, from its first on; in one transaction with the examples."""

    offset: int = -1
    """Of the last source message that is dealt with, `base` included."""
    base: int = 0
    """Is added to the offsets that the broker gives, so that they go on where its topic was made anew."""
    events: int = 0
    """Events in messages so far, good or bad."""
    examples: int = 0
    duplicates: int = 0
    late: int = 0
    """Events that came too late; each is a dead letter, too, and not counted among those below."""
    dead_letters: dict[str, int] = {}
    """By reason."""
    unknown_fields: dict[str, int] = {}
    """Field that is no role -> events that had it; those of many more names are counted under `OTHERS`."""
    lost: int = 0
    """Offsets that the broker had deleted before they were read."""
    lost_last: tuple[int, int] | None = None
    """The newest such stretch, from and to, as the broker counted them."""
    topic_id: str | None = None
    """The broker's, of the topic of events."""
    remade: int = 0
    """How often the topic was made anew, or lost its end."""
    clock_ms: int | None = None
    """The partition's clock: the latest event time."""
    users: int = 0
    """Who is remembered."""
    expired: int = 0
    """How often a user was forgotten for having been silent too long."""
    user_bytes: int = 0
    """Of memory in use for users."""
    broker_ms: int = 0
    """The newest time of a message, as the broker has it."""

    @property
    def next(self) -> int:
        """The broker's offset that is read next."""
        return self.offset + 1 - self.base


class CycleAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """What became of a request to begin a cycle of co-evolution, or to go back to the version before."""

    request: str
    """Its number, by which whoever asked knows it."""
    what: str
    """`run` or `rollback`."""
    time_ms: int | None
    """The stream's time when it was done or refused; None before the first event."""
    said: str
    """What was done, or why it was refused."""
    refused: bool


class TrainerStatus(msgspec.Struct, frozen=True, kw_only=True):
    """What a trainer says of itself, in the store, every second or so."""

    trained: int
    """Examples scored and learned (or waiting for their label's delay), each once."""
    duplicates: int
    """Examples that came again and were dropped."""
    dead_letters: dict[str, int] = {}
    """Messages of examples that were set aside, by reason."""
    item_changes: int = 0
    """Messages about items that were taken in."""
    version: int
    offsets: dict[str, int]
    """Partition of the topic of examples -> the next offset to be read."""
    freshness_ms: dict[Literal["p50", "p95", "p99"], float]
    """From the production of an event to its being readable in the store, last minute; empty if none."""
    lag: int = 0
    """Messages of examples that are there and not read yet."""
    clock_ms: int | None = None
    """The latest event time."""
    metrics: dict[str, float]
    """Prequential, recent: log loss, AUC, recall@10 and so on, as far as the events allow."""
    floor: dict[str, float] = {}
    """The same of the counting floor that is best at each; empty where none runs beside the model."""
    checkpoint_ms: int | None
    """When the newest checkpoint was written, in epoch ms."""
    items: int = 0
    """In the catalogue."""
    forgotten: int = 0
    """How often the trainer forgot a user."""
    readers_at: int = 0
    """The version that readers of the store are pointed at, or a later one; 0 as long as nobody knows."""
    store_losses: int = 0
    """How often the store had lost what was published, and was given all of it again."""
    alarms: list[DriftAlarm] = []
    """Of drift: the newest, and those that are open."""
    actions: list[DriftAction] = []
    """What was done about drift, the newest."""
    cycle_answers: list[CycleAnswer] = []
    """What became of what was asked of its cycles, the newest."""
    embeddings: EmbeddingHealth | None = None
    """The newest look at the vectors published."""
    trouble: str | None
    """What does not work at the moment, such as a checkpoint on a full disk."""
    started_ms: int
    updated_ms: int
    pid: int
    host: str


def trouble(topic: str, partition: int, now: Progress, before: Progress | None = None) -> list[str]:
    """What was lost at the source in all, or since `before`, in sentences."""
    before, losses = before or Progress(), []
    if now.remade > before.remade:
        times = "" if now.remade == 1 else f" ({now.remade} times by now)"
        losses.append(
            f"{topic}/{partition}: the topic was made anew, or has lost its end{times}: reading goes on "
            "where it begins, users' memory stays, and what was there before and not read is lost"
        )
    if now.lost > before.lost and now.lost_last is not None:
        first, last = now.lost_last
        losses.append(
            f"{topic}/{partition}: {now.lost:,} messages were deleted by the broker before a worker read "
            f"them, the newest at offsets {first} to {last}; let it keep them for longer (retention.ms)"
        )
    return losses


def encode(status: Progress | TrainerStatus) -> bytes:
    return msgspec.json.encode(status)


def progress(value: bytes) -> Progress:
    """Raises msgspec.DecodeError."""
    return msgspec.json.decode(value, type=Progress)


def trainer_status(value: bytes) -> TrainerStatus:
    """Raises msgspec.DecodeError."""
    return msgspec.json.decode(value, type=TrainerStatus)
