"""Topics as they are now: from where to where they can be read, whether they are still the same, and how many
partitions they have. Ours grow along with the source's."""

from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Any, Self

from streams.kafka.client import FAILED, admin, asking, ensure_topic, partition_at
from streams.kafka.place import Span
from streams.kafka.security import Security

_OLDEST, _NEWEST = -2, -1
_SEGMENT_BYTES = 16 << 20
"""Of the changelog: a segment that is written to is not compacted, and whoever takes over reads it all."""
COMPACTED = {"cleanup.policy": "compact", "segment.bytes": str(_SEGMENT_BYTES)}
"""Settings of a topic of which the newest message of each key counts."""


@dataclass(frozen=True, slots=True)
class Topics:
    """What the four are called."""

    events: str
    examples: str
    dead_letters: str
    changelog: str

    @classmethod
    def of_group(cls, group: str, events: str, examples: str, dead_letters: str) -> Self:
        """Those of a group of workers, whose changelog bears its name."""
        return cls(events, examples, dead_letters, f"{group}-changelog")


def look(brokers: str, topic: str, security: Security | None = None) -> dict[int, Span]:
    """Partition -> what there is of it; nothing where there is no such topic. Raises InputError."""
    with asking(brokers), closing(admin(brokers, security)) as asked:
        [described] = asked.describe_topics([topic])
        there = [partition_at(topic, partition["partition_index"]) for partition in described["partitions"]]
        if not there:
            return {}
        oldest, end = (
            asked.list_partition_offsets(dict.fromkeys(there, wanted)) for wanted in (_OLDEST, _NEWEST)
        )
    topic_id = str(described["topic_id"]) if described["topic_id"] else None
    return {at.partition: Span(topic_id, oldest[at].offset, end[at].offset) for at in there}


def make_room(
    brokers: str, topics: Topics, partitions: int, security: Security | None = None
) -> dict[str, int]:
    """Our topics have at least as many partitions as the source: made, or grown. Raises InputError.

    Returns those that have had fewer, with how many.
    """
    for topic, configs in ((topics.examples, {}), (topics.dead_letters, {}), (topics.changelog, COMPACTED)):
        ensure_topic(brokers, topic, None, partitions, configs, security)
    ours = [topics.examples, topics.dead_letters, topics.changelog]
    with asking(brokers), closing(admin(brokers, security)) as asked:
        return _grown(asked, ours, partitions)


def remove(brokers: str, topics: Topics) -> None:
    """Delete those of the four that are there, with what is in them. Raises InputError."""
    with asking(brokers), closing(admin(brokers)) as asked:
        there = set(asked.list_topics())
        ours = (topics.events, topics.examples, topics.dead_letters, topics.changelog)
        asked.delete_topics([topic for topic in ours if topic in there])


def growth(events: str, grown: Mapping[str, int], partitions: int) -> list[str]:
    """What `make_room` has done, in a sentence if it matters to anybody."""
    if not grown:
        return []
    few = min(grown.values())
    return [
        f"{events}: {partitions} partitions instead of {few}; {', '.join(grown)} have grown along. A user "
        "whom senders now put into another partition begins there without memory; the others keep theirs"
    ]


def _grown(asked: Any, ours: Sequence[str], partitions: int) -> dict[str, int]:
    def counts() -> dict[str, int]:
        return {
            described["name"]: len(described["partitions"]) for described in asked.describe_topics(list(ours))
        }

    small = {topic: count for topic, count in counts().items() if count < partitions}
    for topic in small:
        try:
            asked.create_partitions({topic: partitions})
        except FAILED:
            if counts()[topic] < partitions:  # nobody was faster
                raise
    return small
