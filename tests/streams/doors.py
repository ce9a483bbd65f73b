"""One engine by other doors: plain, in a map that is given on after every call, a worker, a job of Flink.

Each takes messages of one partition and gives what they came to. A worker has many partitions, so a test has
one to itself, and all tests with the same settings share a worker.
"""

import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from operator import itemgetter
from pathlib import Path
from typing import Literal, Protocol

import msgspec
from kafka import KafkaProducer  # type: ignore[import-untyped]

from state import progress
from state.progress import Progress
from streams.engines.engine_config import EngineConfig
from streams.engines.keyed import Keyed
from streams.engines.output import Output
from streams.engines.partition import Engine
from streams.join.impressions import JoinConfig
from streams.kafka.client import ensure_topic
from streams.kafka.observer import Observer
from streams.operator import OperatorConfig
from streams.wire.letters import SOURCE
from streams.wire.message import Message
from tests.forked import Forked, Started
from tests.patience import until

HOUR_MS = 3_600_000
WINDOW, EXPIRE_MS, PARTITIONS = 8, 72 * HOUR_MS, 32


class Door(Protocol):
    """An engine for one partition, as a test sees it."""

    topic: str
    partition: int

    @property
    def progress(self) -> Progress: ...

    def take(self, messages: Sequence[Message]) -> Output: ...


Open = Callable[[int], Door]
"""A door of its own, to an engine where impressions wait so many milliseconds for their feedback, or 0."""


def config(waits_ms: int) -> EngineConfig:
    """What all engines here have; users go after three days."""
    operator = OperatorConfig()
    memory = msgspec.structs.replace(operator.memory, expire_ms=EXPIRE_MS)
    operator = msgspec.structs.replace(operator, memory=memory)
    return EngineConfig(operator=operator, window=WINDOW, join=JoinConfig(window_ms=waits_ms))


def plain(waits_ms: int) -> Engine:
    return Engine(config(waits_ms), "events", 0)


class Map(dict[str, bytes]):
    """Flink's map, without Flink."""

    def put(self, key: str, value: bytes) -> None:
        self[key] = value

    def remove(self, key: str) -> None:
        del self[key]


class InAMap:
    """Nothing but the map goes from one call to the next."""

    topic, partition = "events", 0

    def __init__(self, waits_ms: int) -> None:
        self._waits_ms, self._entries = waits_ms, Map()

    def _keyed(self) -> Keyed:
        return Keyed(plain(self._waits_ms), self._entries)

    @property
    def progress(self) -> Progress:
        return self._keyed().engine.progress

    def take(self, messages: Sequence[Message]) -> Output:
        held = self._keyed()
        output = held.engine.take(messages)
        held.settle()
        return output


@dataclass
class Worker:
    """A running `ebbtide ingest` or `ebbtide flink run`."""

    brokers: str
    name: str
    process: Started
    log: Path
    used: int = 0

    def door(self, waits_ms: int) -> "OfWorker":
        """To a partition that nobody has had."""
        assert self.used < PARTITIONS
        self.used += 1
        return OfWorker(self, f"{self.name}-events", self.used - 1, plain(waits_ms))


@dataclass
class OfWorker:
    """Messages go to the topic, with the broker's times that they say; what is committed is read."""

    worker: Worker
    topic: str
    partition: int
    shadow: Engine
    """Says how many dead letters there must be."""
    _had: int = 0

    @property
    def progress(self) -> Progress:
        with Observer(self.worker.brokers) as observer:
            newest = observer.newest(f"{self.worker.name}-examples").get(self.partition)
        return Progress() if newest is None else progress.progress(dict(newest.headers)[progress.HEADER])

    def take(self, messages: Sequence[Message]) -> Output:
        producer = KafkaProducer(bootstrap_servers=self.worker.brokers, max_request_size=4 << 20)
        for message in messages:
            to = {"partition": self.partition, "timestamp_ms": message.produced_ms}
            content = {"key": message.key, "value": message.value, "headers": list(message.headers)}
            producer.send(self.topic, **content, **to)
        producer.close()
        until(lambda: self.progress.next, lambda reached: self._runs() and reached > messages[-1].offset)
        made = [one.value for one in self._read("examples") if one.value is not None]
        letters = len(self.shadow.take(messages).dead)
        dead = until(lambda: self._letters(messages[0].offset), lambda some: len(some) >= letters)
        new, self._had = made[self._had :], len(made)
        return Output(new, dead)

    def _letters(self, first: int) -> list[Message]:
        """Of messages from an offset on, in their order: letters of one partition may be in several, and what
        was committed is seen in one topic a moment before another."""
        places = [(one, dict(one.headers)[SOURCE].decode().split("/")) for one in self._read("dead")]
        found = [
            (int(offset), one)
            for one, (topic, partition, offset, *_) in places
            if (topic, partition) == (self.topic, str(self.partition)) and int(offset) >= first
        ]
        return [one for _, one in sorted(found, key=itemgetter(0))]

    def _read(self, what: str) -> list[Message]:
        """What is committed; examples are in the partition of their events."""
        with Observer(self.worker.brokers) as observer:
            found = observer.read(f"{self.worker.name}-{what}")
            return [one for one in found if what == "dead" or one.partition == self.partition]

    def _runs(self) -> bool:
        assert self.worker.process.poll() is None, self.worker.log.read_text()
        return True


class Workers:
    """One a setting, each started when it is asked for, and ended at the end."""

    def __init__(self, engine: Literal["ingest", "flink"], brokers: str, folder: Path) -> None:
        self._engine, self._brokers, self._folder = engine, brokers, folder
        self._workers: dict[int, Worker] = {}

    def door(self, waits_ms: int) -> OfWorker:
        if waits_ms not in self._workers:
            self._workers[waits_ms] = self._start(waits_ms)
        return self._workers[waits_ms].door(waits_ms)

    def _start(self, waits_ms: int) -> Worker:
        name = f"{self._engine}-{os.getpid()}-{waits_ms}"
        ensure_topic(self._brokers, f"{name}-events", PARTITIONS, configs={"retention.ms": "-1"})
        options = {
            "--brokers": self._brokers,
            "--events": f"{name}-events",
            "--examples": f"{name}-examples",
            "--dead-letters": f"{name}-dead",
            "--group": name,
            "--window": WINDOW,
            "--expire": f"{EXPIRE_MS // HOUR_MS}h",
            **({"--join-window": f"{waits_ms}ms"} if waits_ms else {}),
        }
        verb = ["ingest"]
        if self._engine == "flink":
            verb = ["flink", "run"]
            options |= {"--checkpoints": self._folder / name, "--every": "200ms"}
        arguments = [str(one) for pair in options.items() for one in pair]
        log = self._folder / f"{name}.log"
        with log.open("wb") as said:
            process: Started
            if self._engine == "ingest":
                process = Forked(*verb, *arguments, stdout=said, stderr=said)
            else:  # a client of a machine of Java, with threads
                command = [sys.executable, "-m", "ebbtide", *verb, *arguments]
                process = subprocess.Popen(command, stdout=said, stderr=said)
        return Worker(self._brokers, name, process, log)

    def end(self) -> None:
        for one in self._workers.values():
            one.process.kill()
            one.process.wait()
