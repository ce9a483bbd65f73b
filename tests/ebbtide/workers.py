"""Workers as the tests run them: real processes, on topics of their own, killed without mercy."""

import os
import signal
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from state import example_wire, progress
from state.example_wire import Shipment
from state.examples import ExampleBatch, concat
from state.keys import Int64s
from state.memory.mask import narrowed, select
from state.progress import Progress
from streams.kafka.observer import Observer
from tests.ebbtide.typed import EBBTIDE
from tests.forked import Forked, Started
from tests.patience import PATIENCE_S, until

WINDOW = 128


@dataclass
class Live:
    """A group of workers of its own, and what has come of it."""

    brokers: str
    name: str
    folder: Path
    engine: Literal["ingest", "flink"] = "ingest"
    """Whose commands: Faust workers, of which there may be several, or a job of Flink."""

    @property
    def events(self) -> str:
        return f"{self.name}-events"

    @contextmanager
    def worker(self, *options: object, log: str = "worker") -> Iterator[Started]:
        """A running worker; killed at the end, if it is still there."""
        process = self.begun(self.command(*options), log)
        try:
            yield process
        finally:
            process.send_signal(signal.SIGCONT)
            process.kill()
            process.wait()

    def begun(self, command: Sequence[str], log: str) -> Started:
        """A process of ours, whose words go to a file here."""
        with (self.folder / log).open("ab") as said:
            if self.engine == "ingest":
                return Forked(*command[len(EBBTIDE) :], stdout=said, stderr=said)
            # Flink's is a client of a machine of Java, with threads
            return subprocess.Popen(command, stdout=said, stderr=said)

    def command(self, *options: object) -> list[str]:
        where = {
            "--brokers": self.brokers,
            "--events": self.events,
            "--examples": f"{self.name}-examples",
            "--dead-letters": f"{self.name}-dead",
            "--group": self.name,
            "--window": WINDOW,
            "--places": "request",
            **({"--state-every": "1s"} if self.engine == "ingest" else {"--checkpoints": self.checkpoints}),
        }
        said = [str(one) for pair in where.items() for one in pair] + [str(one) for one in options]
        verb = ["ingest"] if self.engine == "ingest" else ["flink", "run"]
        return [*EBBTIDE, *verb, *said]

    @property
    def checkpoints(self) -> Path:
        """Of a job of Flink."""
        return self.folder / "checkpoints"

    def said(self, log: str = "worker") -> str:
        return (self.folder / log).read_text()

    def progress(self) -> dict[int, Progress]:
        with Observer(self.brokers) as observer:
            newest = observer.newest(f"{self.name}-examples")
        return {
            partition: progress.progress(dict(message.headers)[progress.HEADER])
            for partition, message in newest.items()
        }

    def until(self, events: int) -> dict[int, Progress]:
        """Wait until so many events are dealt with, or gone."""
        return until(
            self.progress, lambda said: sum(one.events + one.lost for one in said.values()) >= events
        )

    def shipments(self) -> list[Shipment]:
        """What was committed, partition after partition; messages without examples left out."""
        with Observer(self.brokers) as observer:
            values = [message.value for message in observer.read(f"{self.name}-examples")]
        found = [example_wire.decode(value) for value in values if value is not None]
        return [one for one in found if len(one.batch)]

    def examples(self) -> list[ExampleBatch]:
        return [one.batch for one in self.shipments()]


def kill(process: Started) -> None:
    os.kill(process.pid, signal.SIGKILL)
    process.wait()


def stop(process: Started) -> None:
    """Asked to end, it ends well."""
    process.send_signal(signal.SIGTERM)
    assert process.wait(PATIENCE_S) == 0


def by_user(batches: Sequence[ExampleBatch]) -> dict[str, Any]:
    """Every column, each user's examples in order; without where they came from, which replay has not."""
    whole = concat([narrowed(batch, select(WINDOW)) for batch in batches])
    order: Int64s = np.argsort(whole.user_B, kind="stable")
    none = np.zeros(len(whole), np.int64)
    tree = replace(whole.take(order), partition_B=none, offset_B=none, index_B=none).tree()
    assert set(tree) == {f.name for f in fields(ExampleBatch)}
    return tree
