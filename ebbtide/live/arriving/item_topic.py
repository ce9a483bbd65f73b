"""The topic of items: what is known of them, one message an item, compacted by the broker."""

import logging
import time
from collections.abc import Mapping

from ebbtide.live.arriving.intake import Arrival
from ebbtide.live.arriving.set_aside import Letters, UnsentError
from ebbtide.live.arriving.side_tables import ItemMessage
from replay.meaning.side_changes import change_of
from replay.meaning.side_columns import SideColumn
from state.errors import InputError
from streams.kafka.client import ensure_topic
from streams.kafka.observer import Observer
from streams.kafka.reader import LostError, Reader
from streams.kafka.topics import COMPACTED
from streams.wire.message import Fault, Message

log = logging.getLogger("ebbtide.train")

_LOOK_S = 1.0
"""How long a change may wait."""
_MOST = 10_000
"""Messages that are taken at once."""


class ItemTopic:
    """Hands out what has come since a place; what is no message about an item goes to the dead letters."""

    def __init__(self, brokers: str, topic: str, dead_letters: str) -> None:
        self.brokers, self.topic = brokers, topic
        self.trouble: str | None = None
        self._letters = Letters(brokers, dead_letters, topic)
        self._reader: Reader | None = None
        self._due_s = 0.0

    def by_now(self) -> list[ItemMessage]:
        """All that is in the topic, which is made where there is none. Raises InputError."""
        try:
            ensure_topic(self.brokers, self.topic, None, 1, COMPACTED)
        except InputError as error:
            log.warning("%s: is not there, and cannot be made: %s", self.topic, error)
            return []
        with Observer(self.brokers) as observer:
            messages = list(observer.read(self.topic))
        try:
            return self._told(messages, None)
        except UnsentError as error:
            raise InputError(str(error)) from error

    def changes(self, offsets: Mapping[int, int], columns: Mapping[str, SideColumn]) -> list[ItemMessage]:
        """What has come, from these places on; nothing more than once a second.

        A topic that was made anew, or that the broker has cut, is read from its beginning: what is said of
        an item is all that is known of it, so that it may be said again. What cannot be sent to the dead
        letters is handed out later.
        """
        now_s = time.monotonic()
        if now_s < self._due_s:
            return []
        self._due_s = now_s + _LOOK_S
        try:
            if self._reader is None:
                self._reader = Reader(self.brokers, self.topic, offsets)
            self._reader.fill(0)
        except LostError:
            log.warning("%s: is not the topic that was read; reading it from its beginning", self.topic)
            self.close()
            self._reader = Reader(self.brokers, self.topic, {})
            return []
        except InputError as error:
            self.trouble = str(error)
            return []
        messages: list[Message] = []
        while len(messages) < _MOST and (message := self._reader.take()) is not None:
            messages.append(message)
        if not messages:
            return []
        try:
            told = self._told(messages, columns)
        except UnsentError as error:
            self.trouble = f"{error}; what is known of items waits until they are"
            self.close()
            return []
        self.trouble = None
        return told

    def close(self) -> None:
        """Read on from the places that are said next."""
        if self._reader is not None:
            self._reader.close()
            self._reader = None

    def _told(self, messages: list[Message], columns: Mapping[str, SideColumn] | None) -> list[ItemMessage]:
        told = []
        for message in messages:
            place = message.partition, message.offset
            try:
                item = change_of(message.key, message.value, columns).item
            except Fault as fault:
                self._letters.send([Arrival(message, None)], fault.reason, fault.detail)
                told.append(ItemMessage(*place, None, None))
                continue
            told.append(ItemMessage(*place, item, None if message.value is None else message.value.decode()))
        return told
