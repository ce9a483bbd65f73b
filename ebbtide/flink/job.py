"""What a job is made of, checked before Flink sees any of it."""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from ebbtide.flink import moved, runtime, saved
from ebbtide.flink.saved import Belongs
from ebbtide.services.jars import FLINK, jars
from state.errors import InputError
from streams.engines.engine_config import EngineConfig
from streams.kafka import security, topics
from streams.kafka.client import ensure_topic
from streams.kafka.observer import Observer
from streams.kafka.topics import Topics

if TYPE_CHECKING:
    from streams.engines.flink_job import Job


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What is asked for."""

    brokers: str
    group: str
    topics: Topics
    engine: EngineConfig
    checkpoints: Path
    restore: Path | None = None
    """Instead of the newest in `checkpoints`."""
    partitions: int | None = None
    parallelism: int = 1
    every_ms: int = 10_000


def job_of(wanted: Wanted) -> "Job":
    """The job, with its topics made and what it goes on from found. Raises InputError."""
    from streams.engines.flink_job import Job

    secured, files = security.from_environment(), jars(of=FLINK)
    count = ensure_topic(wanted.brokers, wanted.topics.events, wanted.partitions)
    topics.make_room(wanted.brokers, wanted.topics, count)
    restore = wanted.restore or saved.newest(wanted.checkpoints)
    spans = topics.look(wanted.brokers, wanted.topics.events)
    now = Belongs(
        flink=runtime.version(),
        group=wanted.group,
        events=wanted.topics.events,
        topic_id=spans[min(spans)].topic_id,
        partitions=len(spans),
        made_by=msgspec.to_builtins(wanted.engine),
    )
    if restore is not None:
        saved.check(restore, now)
    elif not saved.begun(wanted.checkpoints, now):
        _begin(wanted)
    saved.write(wanted.checkpoints, now)
    return Job(
        brokers=wanted.brokers,
        clients=secured.java(),
        security=secured.carried(),
        group=wanted.group,
        topics=wanted.topics,
        engine=wanted.engine,
        partitions=len(spans),
        checkpoints=wanted.checkpoints.resolve().as_uri(),
        restore=None if restore is None else restore.resolve().as_uri(),
        imported=moved.imported(wanted.checkpoints),
        claim=restore is not None and not saved.is_savepoint(restore),
        parallelism=wanted.parallelism,
        every_ms=wanted.every_ms,
        python=sys.executable,
        jars=tuple(files),
    )


def _begin(wanted: Wanted) -> None:
    """Nothing is gone on from but what was imported: without that nobody may have made examples there.

    Raises InputError.
    """
    source = moved.imported(wanted.checkpoints)
    if source is not None:
        moved.fitting(source, wanted.brokers, wanted.topics, wanted.engine)
        return
    topic = wanted.topics.examples
    with Observer(wanted.brokers) as observer:
        examples = sum(progress.examples for progress in observer.progress(topic).values())
    if examples:
        raise InputError(
            f"--checkpoints {wanted.checkpoints}: nothing to go on from, but {topic} has {examples:,} "
            "examples of these events already; name the folder of their job, bring their state by "
            "`ebbtide state import`, or name other topics with --examples and --dead-letters"
        )
