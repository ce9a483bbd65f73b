"""Dead letters as they lie on the broker, and how they are sent again."""

from collections.abc import Generator
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

from state.errors import EbbtideError, InputError
from state.printable import printable
from streams.kafka.client import Producer, ensure_topic, partition_of
from streams.kafka.observer import Observer
from streams.wire import reasons
from streams.wire.letters import DETAIL, OMITTED, REASON, SOURCE
from streams.wire.message import HEADER, Message

_SHOWN_BYTES = 200
_AT = "expected P:O, a partition and an offset, such as 0:17"


@dataclass(frozen=True, slots=True)
class Letter:
    """One dead letter, and what it says of itself."""

    message: Message
    reason: str
    detail: str
    source: str
    omitted: int | None

    @property
    def at(self) -> str:
        return f"{self.message.partition}:{self.message.offset}"

    def came_from(self) -> tuple[str, int, int] | None:
        """Topic, partition and offset, if it says so."""
        parts = self.source.split("/")
        if len(parts) in (3, 4) and parts[0] and all(part.isdecimal() for part in parts[1:]):
            return parts[0], int(parts[1]), int(parts[2])
        return None

    def shown(self) -> dict[str, Any]:
        """For people and scripts: what may hold anything is escaped, and cut."""
        value = self.message.value
        return {
            "at": self.at,
            "source": printable(self.source),
            "reason": printable(self.reason),
            "detail": printable(self.detail),
            "time_ms": self.message.produced_ms,
            "key": _text(self.message.key),
            "bytes": len(value or b"") if self.omitted is None else self.omitted,
            "omitted": self.omitted is not None,
            "value": _text(value),
        }


@dataclass(slots=True)
class Resent:
    """What became of a replay."""

    sent: int = 0
    refused: list[dict[str, str]] = field(default_factory=list)
    """Where each is, and why it was not sent."""


def read(brokers: str, topic: str, reason: str | None, place: str | None) -> Generator[Letter, None, None]:
    """Those that are there by now, oldest first within a partition. Raises InputError."""
    at = None if place is None else _place(place)
    with Observer(brokers) as observer:
        if not observer.partitions(topic):
            raise InputError(
                f"{brokers}: there is no topic {topic!r}; start `ebbtide ingest`, or name it by --topic"
            )
        if at is None:
            yield from (
                letter for letter in map(_letter, observer.read(topic)) if reason in (None, letter.reason)
            )
            return
        message = observer.message(topic, *at)
        if message is None or reason not in (None, _letter(message).reason):
            raise InputError(f"--offset {place}: no such dead letter; see `ebbtide dead-letters list`")
        yield _letter(message)


def resend(brokers: str, topic: str, reason: str | None, place: str | None, to: str | None) -> Resent:
    """Send them to `to`, else where they came from. Raises EbbtideError where some did not arrive."""
    done = Resent()
    producers: dict[str, Producer] = {}
    counts: dict[str, int] = {}
    with ExitStack() as open_:
        for letter in read(brokers, topic, reason, place):
            why = _refusal(letter, to)
            if why is not None:
                done.refused.append({"at": letter.at, "why": why})
                continue
            origin, message = letter.came_from(), letter.message
            name = to or (origin[0] if origin else "")
            if name not in producers:
                counts[name] = ensure_topic(brokers, name, None)
                producers[name] = open_.enter_context(Producer(brokers, name))
            if origin and origin[0] == name and origin[1] < counts[name]:
                partition = origin[1]
            else:
                partition = partition_of(message.key or b"", counts[name])
            headers = [(header, text) for header, text in message.headers if header == HEADER]
            producers[name].send(message._replace(headers=headers), partition)
    done.sent = sum(producer.messages for producer in producers.values())
    failed = next((producer for producer in producers.values() if producer.failed), None)
    if failed is not None:
        raise EbbtideError(
            f"{failed.topic} on {brokers}: {done.sent:,} dead letters were acknowledged, {failed.failed:,} "
            f"were not ({failed.failure}); is the broker up, and the topic's max.message.bytes large enough?"
        )
    return done


def _refusal(letter: Letter, to: str | None) -> str | None:
    origin = letter.came_from()
    if letter.omitted is not None:
        where = f"topic {origin[0]}, partition {origin[1]}, offset {origin[2]}" if origin else "its source"
        return f"its value of {letter.omitted:,} bytes was too large to be kept here; it is still at {where}"
    if letter.message.key is None and letter.message.value is None:
        return "it has neither a key nor a value"
    examples = letter.reason in (reasons.NOT_EXAMPLES, reasons.NOT_LEARNED)
    if examples and (origin is None or to in (None, origin[0])):
        return "it was among examples, which only workers may send there; name another topic by --to"
    if origin is None and to is None:
        return f"it does not say where it came from (header {SOURCE}); give --to TOPIC"
    return None


def _letter(message: Message) -> Letter:
    headers = {name: (value or b"").decode(errors="replace") for name, value in message.headers}
    omitted = headers.get(OMITTED, "")
    return Letter(
        message,
        headers.get(REASON, "no reason given"),
        headers.get(DETAIL, ""),
        headers.get(SOURCE, ""),
        int(omitted) if omitted.isdecimal() else None,
    )


def _place(text: str) -> tuple[int, int]:
    partition, _, offset = text.partition(":")
    if not (partition.isdecimal() and offset.isdecimal()):
        raise InputError(f"--offset {text}: {_AT}")
    return int(partition), int(offset)


def _text(value: bytes | None) -> str | None:
    if value is None:
        return None
    cut = value[:_SHOWN_BYTES].decode(errors="backslashreplace")
    return printable(cut) + ("..." if len(value) > _SHOWN_BYTES else "")
