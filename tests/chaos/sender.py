"""Events as messages, and who sends them: it can be silent while its topic is changed."""

import contextlib
import json
import threading
import time
from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from streams.kafka.client import Producer, partition_of
from streams.schema import EventBatch
from streams.wire import json_form
from streams.wire.message import HEADER, JSON, Message


class Sender:
    """Sends to one topic, in order, as a process that is started again whenever it was silent."""

    def __init__(self, brokers: str, topic: str, partitions: int) -> None:
        self.partitions = partitions
        self.sent = 0
        self._where = brokers, topic
        self._producer: Producer | None = None
        self._speaking = threading.Lock()

    def send(self, message: Message) -> None:
        with self._speaking:
            if self._producer is None:
                self._producer = Producer(*self._where)
            self._producer.send(message, partition_of(message.key or b"", self.partitions))
            self.sent += 1

    @contextlib.contextmanager
    def silent(self) -> Iterator[None]:
        """Nothing is sent, and everything before has arrived."""
        with self._speaking:
            self._end()
            yield

    def produce(self, events: EventBatch, seconds: float) -> None:
        """Send at a steady pace, as long as the faults last."""
        started_s = time.monotonic()
        for i, message in enumerate(messages(events)):
            time.sleep(max(0.0, started_s + seconds * i / len(events) - time.monotonic()))
            self.send(message)
        with self._speaking:
            self._end()

    def _end(self) -> None:
        if self._producer is None:
            return
        with self._producer as producer:
            self._producer = None
        assert producer.failure is None, producer.failure


def messages(events: EventBatch) -> Iterator[Message]:
    """JSON messages; the time is the number that it is, in whatever unit."""
    good = json_form.encode(replace(events, time_ms_B=np.zeros(len(events), np.int64)), {})
    for user, number, event in zip(events.user_B.tolist(), events.time_ms_B.tolist(), good, strict=True):
        value = json.dumps({**json.loads(event), "time": number}).encode()
        yield Message(value, str(user).encode(), ((HEADER, JSON.encode()),))
