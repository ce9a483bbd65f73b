"""The processes of a seed: started, hit, started again, ended."""

import contextlib
import json
import os
import signal
import subprocess
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ebbtide.services import control
from replay.faults import PlannedFault
from state.errors import EbbtideError
from state.progress import Progress, TrainerStatus, trainer_status
from state.store.redis import RedisStore
from streams.wire.message import Message
from tests.chaos.sender import Sender
from tests.ebbtide.typed import EBBTIDE
from tests.ebbtide.workers import Live
from tests.forked import Started

PARTITIONS, WORKERS = 4, 2
_LEAVING_S = 30.0


@dataclass
class Group:
    """Workers and a trainer; `services` is the folder where broker and store run."""

    live: Live
    services: Path
    store: str
    faults: Sequence[PlannedFault]
    sender: Sender
    gone: list[Message] = field(default_factory=list)
    """Copies of all that was on the topic of events when some of it was deleted."""
    processes: dict[str, Started] = field(default_factory=dict)
    over: threading.Event = field(default_factory=threading.Event)
    trouble: list[Exception] = field(default_factory=list)
    starting: threading.Lock = field(default_factory=threading.Lock)
    """Held while a service is ended or started: a start waits for both."""
    hitting: threading.Lock = field(default_factory=threading.Lock)
    """Held while a worker or the trainer is away: what is away already is not hit again."""
    _down: set[str] = field(default_factory=set)

    def start(self, name: str) -> None:
        """A worker or the trainer."""
        command = self.live.command() if name.startswith("worker") else self._training()
        self.processes[name] = self.live.begun(command, f"{name}.log")

    def _training(self) -> list[str]:
        live = self.live
        where = {
            "--brokers": live.brokers,
            "--examples": f"{live.name}-examples",
            "--store": self.run_url,
            "--checkpoint": live.folder / "checkpoint",
            "--learner": "twotower",
            "--every": 500,
        }
        said = [str(one) for pair in where.items() for one in pair]
        return [*EBBTIDE, "train", *said]

    @property
    def run_url(self) -> str:
        return f"{self.store}?run={self.live.name}"

    @contextlib.contextmanager
    def noted(self) -> Iterator[None]:
        """What goes wrong in a thread is raised by `check`, in the main one."""
        try:
            yield
        except Exception as error:
            self.trouble.append(error)

    def check(self) -> None:
        if self.trouble:
            raise self.trouble[0]

    def supervise(self) -> None:
        """Start again what has ended by itself, as an init system would."""
        while not self.over.wait(0.5):
            for name, process in list(self.processes.items()):
                if process.poll() is not None and name not in self._down:
                    self.start(name)

    def named(self, target: str) -> list[str]:
        return sorted(name for name in self.processes if name.startswith(target))

    @contextlib.contextmanager
    def without(self, names: Sequence[str], *, asked: bool = False) -> Iterator[None]:
        """Processes killed, or asked to leave, and started again at the end."""
        with self.hitting:
            self._down.update(names)
            for name in names:
                if asked:
                    leave(self.processes[name])
                else:
                    self.processes[name].kill()
                    self.processes[name].wait()
            yield
            for name in names:
                self.start(name)
            self._down.difference_update(names)

    def pause(self, name: str, seconds: float) -> None:
        """Stopped for a while; it does not know."""
        process = self.processes[name]
        process.send_signal(signal.SIGSTOP)
        self.over.wait(seconds)
        process.send_signal(signal.SIGCONT)

    def kill_service(self, target: str, seconds: float) -> None:
        """The broker or the store, killed and started again."""
        with self.starting:
            os.kill(self.service_pid(target), signal.SIGKILL)
        self.over.wait(seconds)
        with self.starting:
            control.up(self.services)

    def service_pid(self, target: str) -> int:
        name = {"broker": "kafka", "store": "store"}[target]
        return int(json.loads((self.services / f"{name}.json").read_bytes())["pid"])

    def end(self) -> None:
        for process in self.processes.values():
            process.send_signal(signal.SIGCONT)
            process.send_signal(signal.SIGTERM)
        for process in self.processes.values():
            leave(process)

    def status(self) -> TrainerStatus | str:
        """What the trainer says in the store, or why there is nothing."""
        try:
            with RedisStore(self.run_url) as store:
                said = store.status()
        except EbbtideError as error:
            return str(error)
        return "nothing said yet" if said is None else trainer_status(said)

    def progress(self) -> dict[int, Progress]:
        """Of every partition; nothing while the broker is away."""
        try:
            return self.live.progress()
        except EbbtideError:
            return {}

    def moves(self) -> int:
        """How often workers were given their partitions."""
        return sum(log.read_text().count("partitions [") for log in self.live.folder.glob("worker-*.log"))


def leave(process: Started) -> None:
    """Asked to; by force, if it takes too long: its broker may be away."""
    process.terminate()
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(_LEAVING_S)
    process.kill()
    process.wait()
