"""One partition of the live path: messages in, examples and dead letters out, and the state in between.

A plain object, like the operator: it touches no clock, file or network, and cutting the messages into other
batches changes nothing that comes out. Messages before `progress.next` have been here and are passed over, so
that a source which is read again from anywhere changes nothing.

An event's time is not trusted without bound: one that lies further ahead of the newest message, by the
broker's time, than `ahead_ms` is a dead letter, and moves no clock.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec
import numpy as np

from state import example_wire
from state.errors import InputError
from state.examples import ExampleBatch, empty_examples
from state.keys import Int64s
from state.progress import OTHERS, Progress
from state.window_lists import WindowLists
from streams.engines.dead import letters
from streams.engines.engine_config import EngineConfig, altered, config_of
from streams.engines.output import NOTHING, Output
from streams.join.impressions import Join
from streams.kafka.place import Span, followed, lost
from streams.operator import Operator
from streams.records.of_partition import Durable
from streams.schema import EventBatch
from streams.wire import reasons
from streams.wire.decode import decode
from streams.wire.message import Message, Rejected, iso

_MOST_FIELDS, _MOST_NAME = 16, 64
"""Unknown fields that are counted by name, and how much of a name."""


class Engine:
    """Decode, join, remember: for one partition of `topic`."""

    def __init__(self, config: EngineConfig, topic: str, partition: int) -> None:
        self.config = config
        self.topic, self.partition = topic, partition
        self.made_by: dict[str, Any] = msgspec.to_builtins(config)
        self.progress = Progress()
        self.operator = Operator(config.operator, config.window, config.newest)
        self.join = Join(config.join)
        self.names: dict[int, str] = {}
        """Of what waits in the join."""
        self._saved_names: set[int] = set()
        self._durable = Durable(self.operator, self.join)

    def take(self, messages: Sequence[Message]) -> Output:
        """What messages, in the order of their offsets, come to. Never raises on what they hold."""
        first = self.progress.next
        messages = [message for message in messages if message.offset >= first]
        if not messages:
            return NOTHING
        base = self.progress.base
        decoded = decode(
            [message._replace(offset=message.offset + base) for message in messages] if base else messages
        )
        whole = len(decoded.events) + len(decoded.rejected)
        heard = _Heard(messages, base, self.progress.broker_ms)
        events, ahead = self._bounded(decoded.events, heard)
        joined = self.join.process(events)
        rejected = [*decoded.rejected, *ahead, *(self._rejected(events, *one) for one in joined.late)]
        names: Mapping[int, str] = decoded.names
        if self.config.join.window_ms:
            self.names.update(names)
            names = self.names
        values, examples, late = [], 0, list[Rejected]()
        for some in _few_at_once(joined.events):
            batch, lists = self.operator.process_lists(some, int(some.time_ms_B.max()))
            late += [self._late(some, row) for row in self.operator.late_L.tolist()]
            values += self._encoded(batch, lists, heard, names)
            examples += len(batch)
        if not values:
            values = self._encoded(empty_examples(0, self.config.window), None, heard, names)
        self._advance(heard, whole, examples, rejected, decoded.unknown)
        dead = sorted([*rejected, *late], key=lambda one: (one.offset, one.index or 0))
        return Output(values, letters(self.topic, base, messages, dead))

    def follow(self, span: Span, read_to: int) -> Output:
        """Go on where the source is now (`streams.kafka.place`); NOTHING if that is where it was left."""
        return self._moved(followed(self.progress, span, read_to))

    def lose(self, end: int) -> Output:
        """Go on at the broker's offset `end`: what was to be read before it is gone."""
        return self._moved(lost(self.progress, end))

    def forgo(self, committed: Progress) -> None:
        """Go on at what was committed, though what led there cannot be computed again: its messages are gone.

        Memory lacks them; what was counted does not.
        """
        admission, before = self.operator.admission, self.progress
        admission.duplicates += committed.duplicates - before.duplicates
        admission.late += committed.late - before.late
        self.progress = committed

    def _moved(self, progress: Progress) -> Output:
        before, self.progress = self.progress, progress
        same = progress == msgspec.structs.replace(before, topic_id=progress.topic_id)
        return NOTHING if same else self.still()

    def still(self) -> Output:
        """A message without examples, which carries progress."""
        none = empty_examples(0, self.config.window)
        [(_, value)] = example_wire.encode(none, none.time_ms_B, {}, self.made_by)
        return Output([value], [])

    def records(self) -> dict[bytes, bytes | None]:
        """The state's records that changed since the last call; None where one is gone."""
        said = {"progress": msgspec.to_builtins(self.progress), "made_by": self.made_by}
        return {**self._durable.records(), **self._changed_names(), ENGINE: msgspec.json.encode(said)}

    def restore(self, records: Mapping[bytes, bytes]) -> None:
        """Take over what `records` gave, from the first call on, the newest of each key.

        Raises InputError where they are damaged, or were made with other settings.
        """
        if not records:
            return
        left = dict(records)
        try:
            said = _said(left.pop(ENGINE, None))
            self.names = {
                int(key.removeprefix(_NAME)): left.pop(key).decode()
                for key in records
                if key.startswith(_NAME)
            }
        except (ValueError, msgspec.DecodeError) as error:
            raise InputError(f"state of {self.topic}/{self.partition}: {error}") from error
        both = altered(said.made_by, self.made_by)
        if both:
            differ = ", ".join(f"{path} was {one}, is {other}" for path, one, other in both)
            raise InputError(
                f"state of {self.topic}/{self.partition} was made with other settings: "
                f"{differ}; use the same, or another --group"
            )
        self._durable.restore(left)
        self.progress, self._saved_names = said.progress, set(self.names)

    def _changed_names(self) -> dict[bytes, bytes | None]:
        if not self.config.join.window_ms:
            return {}
        waiting = set(self.join.keys.tolist())
        self.names = {key: text for key, text in self.names.items() if key in waiting}
        gone, new = self._saved_names - self.names.keys(), self.names.keys() - self._saved_names
        self._saved_names = set(self.names)
        return {
            **{_NAME + str(key).encode(): None for key in gone},
            **{_NAME + str(key).encode(): self.names[key].encode() for key in new},
        }

    def _encoded(
        self, batch: ExampleBatch, lists: WindowLists | None, heard: "_Heard", names: Mapping[int, str]
    ) -> list[bytes]:
        produced_ms_B = heard.produced_ms(batch.offset_B)
        sent = example_wire.encode(batch, produced_ms_B, names, self.made_by, lists=lists)
        return [value for _, value in sent]

    def _bounded(self, events: EventBatch, heard: "_Heard") -> tuple[EventBatch, list[Rejected]]:
        """Those whose time can be, and the others."""
        newest_ms_B = heard.newest_ms(events.offset_B)
        ahead_B = (newest_ms_B > 0) & (events.time_ms_B > newest_ms_B + self.config.ahead_ms)
        if not ahead_B.any():
            return events, []
        rejected = [
            self._rejected(
                events,
                b,
                reasons.AHEAD,
                f"{iso(events.time_ms_B[b])} is ahead of {iso(newest_ms_B[b])}, when the broker had it, by "
                f"more than {self.config.ahead_ms:,} ms (--ahead): a clock that is wrong, or another unit",
            )
            for b in np.flatnonzero(ahead_B).tolist()
        ]
        return events.take(np.flatnonzero(~ahead_B)), rejected

    def _advance(
        self,
        heard: "_Heard",
        events: int,
        examples: int,
        rejected: Sequence[Rejected],
        unknown: Mapping[str, int],
    ) -> None:
        counts, before = self.operator.counts, self.progress
        dead = dict(before.dead_letters)
        for one in rejected:
            dead[one.reason] = dead.get(one.reason, 0) + 1
        fields = dict(before.unknown_fields)
        for name, count in unknown.items():
            known = name[:_MOST_NAME]
            if known not in fields and len(fields) >= _MOST_FIELDS:
                known = OTHERS
            fields[known] = fields.get(known, 0) + count
        self.progress = msgspec.structs.replace(
            before,
            offset=int(heard.offset_M[-1]),
            events=before.events + events,
            examples=before.examples + examples,
            duplicates=counts.duplicates + self.join.counts.duplicates,
            late=counts.late,
            dead_letters=dead,
            unknown_fields=fields,
            clock_ms=self.operator.clock_ms if counts.used else None,
            broker_ms=int(heard.newest_ms_M[-1]),
            users=counts.users,
            expired=counts.expired,
            user_bytes=round(counts.bytes_per_user * counts.users),
        )

    def _rejected(self, events: EventBatch, b: int, reason: str, detail: str) -> Rejected:
        return Rejected(self.partition, int(events.offset_B[b]), int(events.index_B[b]), reason, detail)

    def _late(self, events: EventBatch, b: int) -> Rejected:
        bound_ms = self.config.operator.lateness_ms
        detail = f"{iso(events.time_ms_B[b])} is older than the partition's newest event by more than"
        return self._rejected(events, b, reasons.LATE, f"{detail} {bound_ms:,} ms (operator.lateness_ms)")


class _Said(msgspec.Struct):
    progress: Progress
    made_by: dict[str, Any]


ENGINE, _NAME = b"engine", b"name/"
"""The first is the record without which no others are taken up."""


def kept_config(records: Mapping[bytes, bytes]) -> EngineConfig:
    """The settings that a state was made with. Raises InputError."""
    try:
        return config_of(_said(records.get(ENGINE)).made_by)
    except (ValueError, msgspec.DecodeError) as error:
        raise InputError(f"state of a partition: {error}") from error


def _said(record: bytes | None) -> _Said:
    """Raises ValueError, msgspec.DecodeError."""
    if record is None:
        raise ValueError(
            "its record 'engine' is not there: an import was cut off; `ebbtide state import` it again"
        )
    return msgspec.json.decode(record, type=_Said)


def rehearse(config: EngineConfig) -> None:
    """Compile what the first events would have to wait for."""
    engine = Engine(config, "rehearsal", 0)
    engine.take([Message(b'{"user": 1, "item": 1, "time": "2020-01-01", "label": 1}', b"1")])
    engine.records()


def _few_at_once(events: EventBatch) -> Iterator[EventBatch]:
    """So that their windows, which are dense until they are sent, take little room."""
    for first in range(0, len(events), example_wire.MOST_EXAMPLES):
        yield events.take(slice(first, first + example_wire.MOST_EXAMPLES))


class _Heard:
    """When the broker had messages; offsets with the base."""

    def __init__(self, messages: Sequence[Message], base: int, newest_ms: int) -> None:
        """`newest_ms` is the newest before them."""
        self.offset_M: Int64s = np.array([message.offset + base for message in messages])
        self._ms_M: Int64s = np.array([message.produced_ms for message in messages])
        self.newest_ms_M: Int64s = np.maximum(np.maximum.accumulate(self._ms_M), newest_ms)

    def produced_ms(self, offset_B: Int64s) -> Int64s:
        """When each row's message was produced; a row that has waited, when the one that freed it was."""
        at_B = np.minimum(np.searchsorted(self.offset_M, offset_B), len(self.offset_M) - 1)
        known_B = self.offset_M[at_B] == offset_B
        found: Int64s = np.where(known_B, self._ms_M[at_B], self._ms_M[-1])
        return found

    def newest_ms(self, offset_B: Int64s) -> Int64s:
        """The newest time of the messages up to each row's, which is among them; 0 where none has a time."""
        newest_ms_B: Int64s = self.newest_ms_M[np.searchsorted(self.offset_M, offset_B)]
        return newest_ms_B
