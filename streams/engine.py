"""One partition of the live path: messages in, examples and dead letters out, and the state in between.

A plain object, like the operator: it touches no clock, file or network, and cutting the messages into other
batches changes nothing that comes out. Messages at or before `progress.offset` have been here and are passed
over, so that a source which is read again from anywhere changes nothing.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np

from state import example_wire
from state.errors import InputError
from state.examples import ExampleBatch, empty_examples
from state.keys import Int64s
from state.progress import Progress
from state.tree import differing
from streams import wire_arrow
from streams.decode import Decoded, decode
from streams.durable import Durable
from streams.join import Join, JoinConfig
from streams.letters import letter
from streams.operator import Operator, OperatorConfig
from streams.schema import EventBatch
from streams.wire import Message, Rejected


class EngineConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What decides the examples; the same for every partition, and for every worker of a group."""

    operator: OperatorConfig = OperatorConfig()
    join: JoinConfig = JoinConfig()
    window: int = 1024
    """Entries of a user's memory that go with an example, at most."""
    views: bool = True

    def __post_init__(self) -> None:
        if not 1 <= self.window <= example_wire.MOST_WINDOW:
            raise InputError(f"window: expected 1 to {example_wire.MOST_WINDOW:,} entries, got {self.window}")


@dataclass(frozen=True, slots=True)
class Output:
    """What a batch of messages came to."""

    examples: list[bytes]
    """As messages (`state.example_wire`), at least one, of no examples if there are none."""
    dead: list[Message]
    """With the headers above."""


NOTHING = Output([], [])


class Engine:
    """Decode, join, remember: for one partition of `topic`."""

    def __init__(self, config: EngineConfig, topic: str, partition: int) -> None:
        self.config = config
        self.topic, self.partition = topic, partition
        self.made_by: dict[str, Any] = msgspec.to_builtins(config)
        self.progress = Progress()
        self.operator = Operator(config.operator, config.window, config.views, trimmed=True)
        self.join = Join(config.join)
        self._names: dict[int, str] = {}
        """Of what waits in the join."""
        self._saved_names: set[int] = set()
        self._durable = Durable(self.operator, self.join)

    def take(self, messages: Sequence[Message]) -> Output:
        """What messages, in the order of their offsets, come to. Never raises on what they hold."""
        messages = [message for message in messages if message.offset > self.progress.offset]
        if not messages:
            return NOTHING
        decoded = decode(messages)
        joined = self.join.process(decoded.events)
        rejected = [*decoded.rejected, *self._late(decoded, joined.late)]
        names = decoded.names
        if self.config.join.window_ms:
            self._names.update(names)
            names = self._names
        values, examples = [], 0
        for some in _few_at_once(joined.events):
            batch = self.operator.process(some, int(some.time_ms_B.max()))
            values += self._encoded(batch, messages, names)
            examples += len(batch)
        if not values:
            values = self._encoded(empty_examples(0, self.config.window), messages, names)
        self._advance(
            *(messages[-1].offset, len(decoded.events) + len(decoded.rejected)),
            *(examples, rejected),
        )
        return Output(values, self._dead(messages, rejected))

    def records(self) -> dict[bytes, bytes | None]:
        """The state's records that changed since the last call; None where one is gone."""
        said = {"progress": msgspec.to_builtins(self.progress), "made_by": self.made_by}
        return {**self._durable.records(), **self._changed_names(), _ENGINE: msgspec.json.encode(said)}

    def restore(self, records: Mapping[bytes, bytes]) -> None:
        """Take over what `records` gave, from the first call on, the newest of each key.

        Raises InputError where they are damaged, or were made with other settings.
        """
        if not records:
            return
        left = dict(records)
        try:
            said = msgspec.json.decode(left.pop(_ENGINE), type=_Said)
            self._names = {
                int(key.removeprefix(_NAME)): left.pop(key).decode()
                for key in records
                if key.startswith(_NAME)
            }
        except (KeyError, ValueError, msgspec.DecodeError) as error:
            raise InputError(f"state of {self.topic}/{self.partition}: {error}") from error
        if said.made_by != self.made_by:
            both = differing(said.made_by, self.made_by)
            differ = ", ".join(f"{path} was {one}, is {other}" for path, one, other in both)
            raise InputError(
                f"state of {self.topic}/{self.partition} was made with other settings: "
                f"{differ}; use the same, or another --group"
            )
        self._durable.restore(left)
        self.progress, self._saved_names = said.progress, set(self._names)

    def _changed_names(self) -> dict[bytes, bytes | None]:
        if not self.config.join.window_ms:
            return {}
        waiting = set(self.join.keys.tolist())
        self._names = {key: text for key, text in self._names.items() if key in waiting}
        gone, new = self._saved_names - self._names.keys(), self._names.keys() - self._saved_names
        self._saved_names = set(self._names)
        return {
            **{_NAME + str(key).encode(): None for key in gone},
            **{_NAME + str(key).encode(): self._names[key].encode() for key in new},
        }

    def _encoded(
        self, batch: ExampleBatch, messages: Sequence[Message], names: Mapping[int, str]
    ) -> list[bytes]:
        produced_ms_B = _produced_ms(batch.offset_B, messages)
        width = self.config.window
        sent = example_wire.encode(batch, produced_ms_B, names, self.made_by, width=width)
        return [value for _, value in sent]

    def _advance(self, offset: int, events: int, examples: int, rejected: Sequence[Rejected]) -> None:
        counts, reasons = self.operator.counts, dict(self.progress.dead_letters)
        for one in rejected:
            reasons[one.reason] = reasons.get(one.reason, 0) + 1
        self.progress = Progress(
            offset=offset,
            events=self.progress.events + events,
            examples=self.progress.examples + examples,
            duplicates=counts.duplicates + self.join.counts.duplicates,
            late=counts.late,
            dead_letters=reasons,
            clock_ms=self.operator.clock_ms if counts.used else None,
        )

    def _late(self, decoded: Decoded, late: Sequence[tuple[int, str, str]]) -> list[Rejected]:
        events = decoded.events
        return [
            Rejected(self.partition, int(events.offset_B[b]), int(events.index_B[b]), reason, detail)
            for b, reason, detail in late
        ]

    def _dead(self, messages: Sequence[Message], rejected: Sequence[Rejected]) -> list[Message]:
        by_offset = {message.offset: message for message in messages} if rejected else {}
        return [self._letter(by_offset[one.offset], one) for one in rejected]

    def _letter(self, message: Message, why: Rejected) -> Message:
        value, place = message.value, f"{self.topic}/{self.partition}/{message.offset}"
        if why.index is not None and value is not None and wire_arrow.is_arrow(value):
            value, place = wire_arrow.row(value, why.index), f"{place}/{why.index}"
        return letter(message._replace(value=value), place, why.reason, why.detail)


class _Said(msgspec.Struct):
    progress: Progress
    made_by: dict[str, Any]


_ENGINE, _NAME = b"engine", b"name/"


def _few_at_once(events: EventBatch) -> Iterator[EventBatch]:
    """So that their windows, which are dense until they are sent, take little room."""
    for first in range(0, len(events), example_wire.MOST_EXAMPLES):
        yield events.take(slice(first, first + example_wire.MOST_EXAMPLES))


def _produced_ms(offset_B: Int64s, messages: Sequence[Message]) -> Int64s:
    """When each row's message was produced; a row that has waited, when the message that freed it was."""
    offset_M = np.array([message.offset for message in messages])
    time_ms_M = np.array([message.produced_ms for message in messages])
    at_B = np.minimum(np.searchsorted(offset_M, offset_B), len(messages) - 1)
    known_B = offset_M[at_B] == offset_B
    found: Int64s = np.where(known_B, time_ms_M[at_B], time_ms_M[-1])
    return found
