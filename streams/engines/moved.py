"""What an engine keeps of a partition, on its way to another engine."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from state.errors import InputError
from state.progress import Progress
from streams.engines.partition import Engine, kept_config
from streams.kafka.place import Span
from streams.records import folder
from streams.records.folder import Kept


@dataclass(frozen=True, slots=True)
class Moved:
    """A partition's state, and where it stands."""

    kept: Kept
    progress: Progress


def whole(engine: Engine, records: Mapping[bytes, bytes]) -> Moved:
    """What an engine keeps that was restored from records, and may have gone on since."""
    now = {**records, **engine.records()}
    kept = {key: value for key, value in now.items() if value is not None}
    return Moved(Kept(engine.topic, engine.partition, kept), engine.progress)


def _opened(kept: Kept) -> Moved:
    """A state as today's engine keeps it, read by one. Raises InputError where it cannot be."""
    engine = Engine(kept_config(kept.records), kept.topic, kept.partition)
    engine.restore(kept.records)
    return whole(engine, kept.records)


def check(moved: Moved, events: str, span: Span | None, committed: Progress) -> None:
    """Whether examples go on from a state without a gap. Raises InputError.

    The state may be behind them: events are then computed again.
    """
    kept, said = moved.kept, moved.progress
    here = f"{kept.topic}/{kept.partition}"
    if kept.topic != events:
        raise InputError(f"{here}: expected a state of the topic {events!r}; name it with --events")
    if span is None:
        raise InputError(f"{here}: expected such a partition, as when the state was exported, got none")
    if None not in (said.topic_id, span.topic_id) and said.topic_id != span.topic_id:
        raise InputError(f"{here}: the topic was made anew since the state was exported")
    if committed.offset < said.offset:
        raise InputError(
            f"{here}: the state is of offset {said.offset}, the examples have come to {committed.offset}: "
            "name the topic of its examples with --examples, and export it again after its engine has ended "
            "by itself"
        )


def exported(source: Path) -> Iterator[Moved]:
    """What a folder holds, a partition at a time. Raises InputError."""
    there = folder.partitions(source)
    if not there:
        raise InputError(f"{source}: expected a folder of `ebbtide state export`, got none")
    for partition in there:
        yield _opened(folder.read(source, partition))
