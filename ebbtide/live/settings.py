"""Where a live trainer reads, and how often it publishes and saves."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainerSettings:
    """Where a trainer reads, and how often it publishes and saves."""

    brokers: str
    topic: str
    directory: Path
    """Of its checkpoints."""
    every: int = 200_000
    every_s: float = 60.0
    publish_ms: int = 50
    """Between two deltas, unless making them would take more than a fifth of the time."""
    keep_every_s: float = 600.0
    """Between two versions that are kept, to return to."""
    out: Path | None = None
    """For the predictions."""
    dead_letters: str = "dead-letters"
    """Topic for messages that cannot be learned."""
    items: Path | None = None
    """File of what is known of items when learning begins."""
    users: Path | None = None
    called: Mapping[str, str] = field(default_factory=dict)
    """What the log calls `item` and `user`: so may the id columns of these files be called."""
    items_topic: str = "items"
    """Where what is known of items changes."""
    at_most: int | None = None
    """Stop once so many examples are done with."""
    until_idle_s: float | None = None
    """Stop when nothing has come for so long."""
