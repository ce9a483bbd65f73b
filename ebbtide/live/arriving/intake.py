"""From messages of examples to micro-batches: each example once, and known no earlier than those before.

Shape suffixes: B examples.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ebbtide.live.arriving.stream_facts import Stream
from state import example_wire, texts
from state.errors import EbbtideError, InputError
from state.example_wire import Shipment
from state.examples import ExampleBatch, concat
from state.keys import Int64s, Names
from state.memory.mask import Selection, narrowed
from state.tree import Tree
from streams.engines.engine_config import altered
from streams.wire import reasons
from streams.wire.message import Message

MOST_KINDS = 1 << 16
"""Categories and scenes whose texts are remembered."""
_BEFORE_ALL = (-1, -1)
_MOST_WORDS = 500
"""Characters of an error that are kept."""


class Arrival(NamedTuple):
    """A message; its shipment is None where it cannot be read, and `why` says why not."""

    message: Message
    shipment: Shipment | None
    why: str = ""

    @property
    def partition(self) -> int:
        return self.message.partition

    @property
    def offset(self) -> int:
        return self.message.offset

    @property
    def rows(self) -> int:
        return 0 if self.shipment is None else len(self.shipment.batch)


@dataclass(frozen=True, slots=True)
class Group:
    """What is learned in one go."""

    batch: ExampleBatch
    produced_ms_B: Int64s


def arrival(message: Message) -> Arrival:
    """A message, decoded. Never raises on what it holds."""
    try:
        return Arrival(message, example_wire.decode(message.value or b""))
    except MemoryError:
        raise
    except Exception as error:
        return Arrival(message, None, in_words(error))


def in_words(error: Exception) -> str:
    """An error in one line: ours say what is wrong, others do with their name."""
    message = " ".join(str(error)[:_MOST_WORDS].split())
    return message if isinstance(error, EbbtideError) else f"{type(error).__name__}: {message}"


class Intake:
    """Where a trainer has come in every partition, and what it has seen.

    `needed` is what its learners look at of a memory.
    """

    def __init__(self, topic: str, stream: Stream, names: Names, needed: Selection) -> None:
        self.topic, self.stream, self.names, self.needed = topic, stream, names, needed
        self.topic_id = ""
        """Of the topic that the offsets are of; nothing where the broker does not tell."""
        self.offsets: dict[int, int] = {}
        """Partition of the topic -> the offset that is read next."""
        self.events = self.duplicates = self.unlabelled = self.unreadable = 0
        """`events`: examples that are done with, learned or set aside; `unreadable`: messages."""
        self.set_aside = self.unlearned = self.in_a_row = 0
        """Messages that could not be learned, examples in them, and how many such messages came last."""
        self.clock_ms = np.iinfo(np.int64).min
        """The latest event time."""
        self._kinds: set[int] = set()
        """Hashed categories and scenes whose text is known."""
        self._marks: dict[int, tuple[int, int]] = {}
        """Source partition -> (offset, index) of its newest example."""
        self._known_ms = np.iinfo(np.int64).min
        self._in_order = stream.made.join.window_ms == 0

    def take(self, arrivals: Sequence[Arrival]) -> Group | None:
        """The examples in messages that were not there before; None if there are none."""
        batches, produced = [], []
        for arrival in arrivals:
            self.offsets[arrival.partition] = arrival.offset + 1
            if arrival.shipment is None:
                self.unreadable += 1
                continue
            self._name(arrival.shipment)
            kept_B = self._kept(arrival.shipment.batch)
            if kept_B.any():
                batch = narrowed(arrival.shipment.batch, self.needed)
                batches.append(batch if kept_B.all() else batch.take(np.flatnonzero(kept_B)))
                produced.append(arrival.shipment.produced_ms_B[kept_B])
        if not batches:
            return None
        batch = concat(batches)
        self.events += len(batch)
        self.in_a_row = 0
        self.clock_ms = max(self.clock_ms, int(batch.time_ms_B.max()))
        return Group(self._in_turn(batch), np.concatenate(produced))

    def _name(self, shipment: Shipment) -> None:
        """Take in what users and items are called, which leave one day, and of the rest `MOST_KINDS`."""
        ids = {*shipment.batch.user_B.tolist(), *shipment.batch.item_B.tolist()}
        kinds = shipment.names.keys() - ids - self._kinds
        over = kinds if len(self._kinds) + len(kinds) > MOST_KINDS else set[int]()
        self._kinds |= kinds - over
        self.names.update({key: text for key, text in shipment.names.items() if key not in over})

    def pass_over(self, arrivals: Sequence[Arrival]) -> None:
        """Messages that cannot be learned: they are done with."""
        for arrival in arrivals:
            self.offsets[arrival.partition] = arrival.offset + 1
            self.events += max(arrival.rows, 1)
            self.unlearned += max(arrival.rows, 1)
        self.set_aside += len(arrivals)
        self.in_a_row += len(arrivals)

    def dead_letters(self) -> dict[str, int]:
        """Messages that were set aside, by reason."""
        counted = {reasons.NOT_EXAMPLES: self.unreadable, reasons.NOT_LEARNED: self.set_aside}
        return {reason: count for reason, count in counted.items() if count}

    def left_out(self) -> list[str]:
        """What was not learned, in words."""
        counted = (
            (self.unreadable, "messages could not be read and were set aside (`ebbtide dead-letters list`)"),
            (
                self.set_aside,
                f"messages with {self.unlearned:,} examples could not be learned and were set aside "
                "(`ebbtide dead-letters list`)",
            ),
            (self.unlabelled, "examples without a label were left out: the stream has labels"),
        )
        return [f"{count:,} {what}" for count, what in counted if count]

    def check(self, arrivals: Sequence[Arrival]) -> None:
        """Raises InputError where examples were made with other settings."""
        for arrival in arrivals:
            if arrival.shipment is None or arrival.shipment.made_by == self.stream.made_by:
                continue
            both = altered(self.stream.made_by, arrival.shipment.made_by)
            if both:
                differ = "; ".join(f"{path} was {there} and is {here}" for path, there, here in both)
                raise InputError(
                    f"{self.topic}/{arrival.partition}/{arrival.offset}: made with other settings of "
                    f"`ebbtide ingest` than the first examples: {differ}. Set them back, or learn these from "
                    "a topic of their own (--examples) with another --checkpoint"
                )
            self.stream.check(self.needed, arrival.shipment.made_by)

    def _kept(self, batch: ExampleBatch) -> NDArray[np.bool_]:
        """Rows that are new, and have a label where the stream has labels."""
        kept_B = np.ones(len(batch), np.bool_)
        if self._in_order:
            for partition in np.unique(batch.partition_B).tolist():
                rows = np.flatnonzero(batch.partition_B == partition)
                offset, index = self._marks.get(partition, _BEFORE_ALL)
                offset_R, index_R = batch.offset_B[rows], batch.index_B[rows]
                kept_B[rows] = (offset_R > offset) | ((offset_R == offset) & (index_R > index))
                newest = (int(offset_R[-1]), int(index_R[-1]))
                self._marks[partition] = max(newest, (offset, index))
            self.duplicates += int((~kept_B).sum())
        if self.stream.labelled:
            nameless_B = kept_B & np.isnan(batch.label_B)
            self.unlabelled += int(nameless_B.sum())
            kept_B &= ~nameless_B
        return kept_B

    def _in_turn(self, batch: ExampleBatch) -> ExampleBatch:
        """Known no earlier than what came before, from whatever partition."""
        known_ms_B = np.maximum(np.maximum.accumulate(batch.known_ms_B), self._known_ms)
        self._known_ms = int(known_ms_B[-1])
        label_B = batch.label_B if self.stream.labelled else np.full(len(batch), np.nan, np.float32)
        return replace(batch, known_ms_B=known_ms_B, label_B=label_B)

    def tree(self) -> Tree:
        names = dict(self.names.items())
        marks = [(partition, *mark) for partition, mark in self._marks.items()]
        counts: dict[str, Any] = {name: getattr(self, name) for name in _COUNTS}
        return {
            **counts,
            "topic_id": self.topic_id,
            "known_ms": self._known_ms,
            "offsets": np.array(list(self.offsets.items()), np.int64).reshape(-1, 2),
            "marks": np.array(marks, np.int64).reshape(-1, 3),
            "kinds": np.array(sorted(self._kinds), np.int64),
            "names": {"key": np.array(list(names), np.int64), "text": texts.to_tree(names.values())},
        }

    def load(self, tree: Tree) -> None:
        for name in _COUNTS:
            setattr(self, name, int(tree.get(name, 0)))  # an older checkpoint has fewer
        self.topic_id = str(tree.get("topic_id", ""))
        self._known_ms = int(tree["known_ms"])
        self.offsets = dict(tree["offsets"].tolist())
        self._marks = {partition: (offset, index) for partition, offset, index in tree["marks"].tolist()}
        self._kinds = set(tree.get("kinds", np.zeros(0, np.int64)).tolist())  # an older checkpoint has none
        named = zip(tree["names"]["key"].tolist(), texts.from_tree(tree["names"]["text"]), strict=True)
        self.names.update(dict(named))


_COUNTS = (
    *("events", "duplicates", "unlabelled", "unreadable", "clock_ms"),
    *("set_aside", "unlearned", "in_a_row"),
)
