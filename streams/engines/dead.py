"""Dead letters of what an engine turned down: the message, or of many rows of one only those."""

from collections.abc import Sequence
from itertools import groupby
from operator import attrgetter

from streams.wire import arrow_form
from streams.wire.letters import letter
from streams.wire.message import Message, Rejected

_MOST_LETTERS = 64
"""Dead letters of one message for one reason; more of its events go together as one."""


def letters(topic: str, base: int, messages: Sequence[Message], dead: Sequence[Rejected]) -> list[Message]:
    """Of messages of a topic, whose offsets lie `base` below those of `dead`."""
    by_offset = {message.offset + base: message for message in messages} if dead else {}
    found: list[Message] = []
    for offset, of_message in groupby(dead, attrgetter("offset")):
        message = by_offset.get(offset, Message(None, partition=dead[0].partition, offset=offset - base))
        for same in _by_reason(list(of_message)):
            found.append(_letter(topic, message, same))
    return found


def _letter(topic: str, message: Message, same: Sequence[Rejected]) -> Message:
    """Of a message, or of rows of one that have one reason."""
    value, place = message.value, f"{topic}/{message.partition}/{message.offset}"
    why, rows = same[0], [one.index for one in same if one.index is not None]
    if rows and value is not None and arrow_form.is_arrow(value):
        value, place = arrow_form.rows(value, rows), f"{place}/{rows[0]}"
    detail = why.detail if len(same) == 1 else f"{why.detail}; and {len(same) - 1:,} more like it, all here"
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
