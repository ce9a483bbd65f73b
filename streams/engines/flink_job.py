"""What a Flink job is, and the settings it runs with: without PyFlink."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from streams.engines.engine_config import EngineConfig
from streams.kafka.topics import Topics

NAME = "ebbtide"
_BUNDLE_MS, _BUNDLE_SIZE = 50, 10_000
_PACKS_AT_ONCE = (
    "python.map-state.read-cache-size",
    "python.map-state.write-cache-size",
    "python.map-state.iterate-response-batch-size",
)
"""Entries of a map that cross together, or are kept in Python beside ours: a thousand, if nobody says."""
GROUPS = 128
"""Of keys, which instances share: a power of two, and the most instances that there can be."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """What runs, and where."""

    brokers: str
    clients: Mapping[str, str] = field(default_factory=dict, repr=False)
    """Options of Kafka's own clients besides: how to prove who they are."""
    security: Mapping[str, str] = field(default_factory=dict, repr=False)
    """The same for ours (`Security.carried`)."""
    group: str
    topics: Topics
    engine: EngineConfig
    partitions: int
    """Of the topic of events."""
    checkpoints: str
    """URI of the folder."""
    restore: str | None = None
    """A checkpoint or savepoint."""
    claim: bool = True
    """Whether what is restored becomes the job's own, to be deleted when it is older than others."""
    imported: Path | None = None
    """What partitions without a state begin with (`streams.records.folder`)."""
    parallelism: int = 1
    every_ms: int = 10_000
    """Between two checkpoints, and two times that a partition's records are written: what is computed again
    after a failure is of twice that at most."""
    python: str
    """The interpreter of the workers."""
    jars: tuple[Path, ...]


def title(group: str) -> str:
    """What a group's job is called."""
    return f"{NAME} {group}"


def settings(job: Job) -> dict[str, str]:
    """Flink's own, wherever the job runs."""
    found = {
        "pipeline.name": title(job.group),
        "pipeline.jars": ";".join(path.resolve().as_uri() for path in job.jars),
        "pipeline.max-parallelism": str(GROUPS),
        "parallelism.default": str(job.parallelism),
        "python.executable": job.python,
        "python.client.executable": job.python,
        "python.fn-execution.bundle.size": str(_BUNDLE_SIZE),
        "python.fn-execution.bundle.time": str(_BUNDLE_MS),
        "python.metric.enabled": "false",
        **dict.fromkeys(_PACKS_AT_ONCE, "4"),
        "pipeline.object-reuse": "true",
        "table.exec.uid.generation": "ALWAYS",
        "table.exec.source.idle-timeout": "0",
        "state.backend.type": "rocksdb",
        "state.backend.rocksdb.compression.per.level": "NO_COMPRESSION",  # packs are compressed
        "execution.checkpointing.incremental": "true",
        "execution.checkpointing.dir": job.checkpoints,
        "execution.checkpointing.interval": f"{job.every_ms} ms",
        "execution.checkpointing.mode": "EXACTLY_ONCE",
        "execution.checkpointing.timeout": "600 s",
        "execution.checkpointing.tolerable-failed-checkpoints": "1000",
        "execution.checkpointing.externalized-checkpoint-retention": "RETAIN_ON_CANCELLATION",
        "execution.checkpointing.num-retained": "3",
        "restart-strategy.type": "exponential-delay",
        "restart-strategy.exponential-delay.initial-backoff": "1 s",
        "restart-strategy.exponential-delay.max-backoff": "10 s",
    }
    if job.restore is not None:
        found |= {
            "execution.state-recovery.path": job.restore,
            "execution.state-recovery.claim-mode": "CLAIM" if job.claim else "NO_CLAIM",
        }
    return found
