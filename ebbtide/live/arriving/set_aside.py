"""What a trainer does with examples that cannot be learned: it sets them aside, and learns on.

An error in the midst of learning leaves a model half-learned. So what was learned since the newest checkpoint
is thrown away, and learned again from the journal (`Again`), without the message that did it. In this order,
so that a trainer which is killed in between ends the same:

1. The micro-batch is a line of the journal, as ever; learning it fails.
2. Of several messages, the line is taken out of the journal, and each is next a micro-batch of its own.
3. Of one message: its dead letter is sent and acknowledged.
4. The line of the journal is replaced by one that says what was wrong; whoever follows it passes the message
   over.

Killed before 4 the line is there and fails again: then a dead letter may come twice. Killed after it, nothing
is left to be done.
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from ebbtide.live.arriving.intake import Arrival
from ebbtide.live.arriving.journal import Journal, Line
from ebbtide.live.arriving.micro_batches import runs
from state.errors import InputError
from streams.kafka.client import Producer, ensure_topic
from streams.wire import reasons
from streams.wire.letters import letter

log = logging.getLogger("ebbtide.train")

IN_A_ROW = 10
"""Messages that are set aside with nothing learned in between; at the next the fault is not the data's."""
OURS = (MemoryError, OSError)
"""Errors of this machine, whatever the examples hold."""
_PATIENCE_MS = 10_000


@dataclass(frozen=True, slots=True)
class Again:
    """How a trainer begins again at its newest checkpoint."""

    alone: Mapping[int, int] = field(default_factory=dict)
    """Partition -> offset, up to which a message is a micro-batch of its own."""
    careful: bool = False
    """Whether every micro-batch is made ready to be published at once, to find the one that cannot be."""


class UnlearnableError(Exception):
    """Learning a micro-batch has failed, and has left the model in no state that can be used."""

    def __init__(self, arrivals: Sequence[Arrival], detail: str) -> None:
        super().__init__(detail)
        self.arrivals, self.detail = arrivals, detail


class UnpublishableError(Exception):
    """Something that was learned cannot be made ready for readers."""


class UnsentError(Exception):
    """Dead letters that the broker has not taken."""


class Letters:
    """Sends messages of the topic `examples` to the dead letters."""

    def __init__(self, brokers: str, topic: str, examples: str) -> None:
        self.brokers, self.topic, self.examples = brokers, topic, examples

    def send(self, arrivals: Sequence[Arrival], reason: str, detail: str = "") -> None:
        """Returns when they are there; the detail may be their own. Raises UnsentError."""
        if not arrivals:
            return
        try:
            partitions = ensure_topic(self.brokers, self.examples, None)
            count = ensure_topic(self.brokers, self.topic, None, partitions)
            with Producer(
                self.brokers, self.topic, request_timeout_ms=_PATIENCE_MS // 2, patience_ms=_PATIENCE_MS
            ) as producer:
                for arrival in arrivals:
                    place = f"{self.examples}/{arrival.partition}/{arrival.offset}"
                    dead = letter(arrival.message, place, reason, detail or arrival.why)
                    producer.send(dead, arrival.partition % count)
            failure: Exception | None = producer.failure
        except InputError as error:
            failure = error
        if failure is not None:
            raise UnsentError(f"{self.topic}: {len(arrivals)} dead letters cannot be sent ({failure})")


def set_aside(
    error: UnlearnableError, events: int, in_a_row: int, journal: Journal, letters: Letters, again: Again
) -> Again:
    """Set aside what cannot be learned, if it is one message; several are tried one by one.

    `events` examples were done with before it, `in_a_row` messages just before it were set aside. Raises
    UnsentError, and InputError where nothing more can be set aside.
    """
    first, *more = error.arrivals
    if more:
        _cut(journal, events)
        return replace(again, alone=dict(runs(error.arrivals)))
    place = f"{letters.examples}/{first.partition}/{first.offset}"
    if in_a_row >= IN_A_ROW:
        raise InputError(
            f"{place}: cannot be learned ({error.detail}), nor could the {IN_A_ROW} messages before it: the "
            "fault is hardly the data's, and no more are set aside; look at `ebbtide dead-letters list`, "
            "update Ebbtide, or choose another learner with another --checkpoint"
        )
    letters.send([first], reasons.NOT_LEARNED, error.detail)
    _cut(journal, events)
    journal.write(Line(events + max(first.rows, 1), runs([first]), error.detail))
    if journal.broken is not None:
        raise InputError(f"--checkpoint {journal.directory}: {journal.broken}; make room there")
    log.error("%s: set aside, for its %d examples cannot be learned: %s", place, first.rows, error.detail)
    return Again()


def look_closer(error: UnpublishableError, again: Again) -> Again:
    """Find the micro-batch after which nothing can be published. Raises InputError where that was tried."""
    if again.careful:
        raise InputError(f"what was learned cannot be published ({error}); choose another learner")
    log.error("what was learned cannot be published (%s); looking for what has caused it", error)
    return Again(careful=True)


def _cut(journal: Journal, events: int) -> None:
    try:
        journal.cut(events)
    except OSError as error:
        what = f"the journal cannot be written ({error.strerror}); make room there"
        raise InputError(f"--checkpoint {journal.directory}: {what}") from error
