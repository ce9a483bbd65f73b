"""One partition of the live path: messages in, examples and dead letters out, and the state in between.

A plain object, like the operator: it touches no clock, file or network, and cutting the messages into other
batches changes nothing that comes out. Messages before `progress.next` have been here and are passed over, so
that a source which is read again from anywhere changes nothing.

An event's time is not trusted without bound: one that lies further ahead of the newest message, by the
broker's time, than `ahead_ms` is a dead letter, and moves no clock.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from operator import attrgetter
from typing import Any

import msgspec
import numpy as np

from state import example_wire
from state.errors import InputError
from state.examples import ExampleBatch, empty_examples
from state.keys import Int64s
from state.memory.mask import NEWEST, Selection, select
from state.memory.users import MemoryConfig
from state.progress import OTHERS, Progress
from state.tree import differing, filled
from streams.join.impressions import Join, JoinConfig
from streams.kafka.place import Span, followed, lost
from streams.operator import Operator, OperatorConfig
from streams.records.of_partition import Durable
from streams.schema import EventBatch
from streams.wire import arrow_form, reasons
from streams.wire.decode import decode
from streams.wire.letters import letter
from streams.wire.message import Message, Rejected, iso

_MOST_FIELDS, _MOST_NAME = 16, 64
"""Unknown fields that are counted by name, and how much of a name."""
_MOST_LETTERS = 64
"""Dead letters of one message for one reason; more of its events go together as one."""


class EngineConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What decides the examples; the same for every partition, and for every worker of a group."""

    operator: OperatorConfig = OperatorConfig()
    join: JoinConfig = JoinConfig()
    window: int = 64
    """Entries of a user's memory that go with an example, at most; the mask selects them."""
    newest: int = NEWEST
    """How many of them are just the newest."""
    ahead_ms: int = 3_600_000
    """How far an event may lie ahead of its message's time, by the broker."""

    def __post_init__(self) -> None:
        if not 1 <= self.window <= example_wire.MOST_WINDOW:
            raise InputError(f"window: expected 1 to {example_wire.MOST_WINDOW:,} entries, got {self.window}")
        if self.newest < 0:
            raise InputError(f"newest: expected at least 0 entries, got {self.newest}")
        if self.ahead_ms < 0:
            raise InputError(f"ahead_ms: expected at least 0, got {self.ahead_ms}")

    @property
    def selection(self) -> Selection:
        return select(self.window, self.newest)

    def holds(self, selection: Selection) -> bool:
        """Whether what is selected can be found in the examples."""
        newest, masked = self.selection
        everything = newest >= self.operator.memory.capacity
        return everything or (newest >= selection.newest and masked >= selection.masked)


@dataclass(frozen=True, slots=True)
class Output:
    """What a batch of messages came to."""

    examples: list[bytes]
    """As messages (`state.example_wire`), at least one, of no examples if there are none."""
    dead: list[Message]
    """With the headers above."""


_MAY_CHANGE = ("operator.memory.expire_ms", "operator.memory.most_users", "window", "newest")
"""From one start to the next: memory without a bound goes on with one, and more or less of it is sent."""

NOTHING = Output([], [])


class Engine:
    """Decode, join, remember: for one partition of `topic`."""

    def __init__(self, config: EngineConfig, topic: str, partition: int) -> None:
        self.config = config
        self.topic, self.partition = topic, partition
        self.made_by: dict[str, Any] = msgspec.to_builtins(config)
        self.progress = Progress()
        self.operator = Operator(config.operator, config.window, config.newest, trimmed=True)
        self.join = Join(config.join)
        self.names: dict[int, str] = {}
        """Of what waits in the join."""
        self._saved_names: set[int] = set()
        self._durable = Durable(self.operator, self.join)

    def take(self, messages: Sequence[Message]) -> Output:
        """What messages, in the order of their offsets, come to. Never raises on what they hold."""
        messages = [message for message in messages if message.offset >= self.progress.next]
        if not messages:
            return NOTHING
        base = self.progress.base
        decoded = decode([message._replace(offset=message.offset + base) for message in messages])
        whole = len(decoded.events) + len(decoded.rejected)
        heard = _Heard(messages, base, self.progress.broker_ms)
        events, ahead = self._bounded(decoded.events, heard)
        joined = self.join.process(events)
        rejected = [*decoded.rejected, *ahead, *(self._rejected(events, *one) for one in joined.late)]
        names = decoded.names
        if self.config.join.window_ms:
            self.names.update(names)
            names = self.names
        values, examples, late = [], 0, list[Rejected]()
        for some in _few_at_once(joined.events):
            batch = self.operator.process(some, int(some.time_ms_B.max()))
            late += [self._late(some, row) for row in self.operator.late_L.tolist()]
            values += self._encoded(batch, heard, names)
            examples += len(batch)
        if not values:
            values = self._encoded(empty_examples(0, self.config.window), heard, names)
        self._advance(heard, whole, examples, rejected, decoded.unknown)
        dead = sorted([*rejected, *late], key=lambda one: (one.offset, one.index or 0))
        return Output(values, self._letters(messages, dead))

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
        [(_, value)] = example_wire.encode(none, none.time_ms_B, {}, self.made_by, width=self.config.window)
        return Output([value], [])

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
            self.names = {
                int(key.removeprefix(_NAME)): left.pop(key).decode()
                for key in records
                if key.startswith(_NAME)
            }
        except (KeyError, ValueError, msgspec.DecodeError) as error:
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

    def _encoded(self, batch: ExampleBatch, heard: "_Heard", names: Mapping[int, str]) -> list[bytes]:
        produced_ms_B = heard.produced_ms(batch.offset_B)
        width = self.config.window
        sent = example_wire.encode(batch, produced_ms_B, names, self.made_by, width=width)
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

    def _letters(self, messages: Sequence[Message], dead: Sequence[Rejected]) -> list[Message]:
        base = self.progress.base
        by_offset = {message.offset + base: message for message in messages} if dead else {}
        found: list[Message] = []
        for offset, of_message in groupby(dead, attrgetter("offset")):
            message = by_offset.get(offset, Message(None, partition=self.partition, offset=offset - base))
            for same in _by_reason(list(of_message)):
                found.append(self._letter(message, same))
        return found

    def _letter(self, message: Message, same: Sequence[Rejected]) -> Message:
        """Of a message, or of rows of one that have one reason."""
        value, place = message.value, f"{self.topic}/{self.partition}/{message.offset}"
        why, rows = same[0], [one.index for one in same if one.index is not None]
        if rows and value is not None and arrow_form.is_arrow(value):
            value, place = arrow_form.rows(value, rows), f"{place}/{rows[0]}"
        detail = (
            why.detail if len(same) == 1 else f"{why.detail}; and {len(same) - 1:,} more like it, all here"
        )
        return letter(message._replace(value=value), place, why.reason, detail)


def _by_reason(dead: Sequence[Rejected]) -> list[list[Rejected]]:
    """What one message is turned down for: one by one, but many with one reason together."""
    by_reason: dict[str, list[Rejected]] = {}
    for one in dead:
        by_reason.setdefault(one.reason, []).append(one)
    many = {reason for reason, same in by_reason.items() if len(same) > _MOST_LETTERS}
    return [by_reason[reason] for reason in by_reason if reason in many] + [
        [one] for one in dead if one.reason not in many
    ]


class _Said(msgspec.Struct):
    progress: Progress
    made_by: dict[str, Any]


_ENGINE, _NAME = b"engine", b"name/"


def kept_config(records: Mapping[bytes, bytes]) -> EngineConfig:
    """The settings that a state was made with. Raises InputError."""
    try:
        said = msgspec.json.decode(records[_ENGINE], type=_Said)
        return config_of(said.made_by)
    except (KeyError, msgspec.DecodeError) as error:
        raise InputError(f"state of a partition: {error}") from error


def config_of(made_by: Mapping[str, Any]) -> EngineConfig:
    """Settings that were written down, also by an earlier version. Raises msgspec.ValidationError."""
    return msgspec.convert(_of_today(made_by), EngineConfig)


def _of_today(made_by: Mapping[str, Any]) -> dict[str, Any]:
    """Windows were once the newest entries; or by views, and of what they left out nothing can be said."""
    said = dict(made_by)
    views = said.pop("views", None)
    if views is not None:
        capacity = said.get("operator", {}).get("memory", {}).get("capacity", MemoryConfig().capacity)
        said["newest"] = 0 if views and said["window"] < capacity else said["window"]
    return said


def altered(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[tuple[str, Any, Any]]:
    """Settings (path, before, now) that differ and may not, for states and examples of one stream."""
    differ = differing(filled(_of_today(before), now), now)
    return [(path, was, is_) for path, was, is_ in differ if path not in _MAY_CHANGE]


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
