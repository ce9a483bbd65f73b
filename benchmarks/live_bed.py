"""What the benchmarks of the live path run on: a broker of their own, workers, and a look at their CPU."""

import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import numpy as np

from benchmarks.benchmark import Bench, Option
from benchmarks.telling import Step, Telling
from ebbtide import api
from ebbtide.services import control
from replay.traffic import Form, send
from state import progress
from state.progress import Progress, TrainerStatus
from state.store.redis import RedisStore
from streams.kafka.client import consumer, partition_at
from streams.kafka.observer import Observer
from streams.wire.message import Message

PARTITIONS, BATCH = 4, 1024
PATIENCE_S = 600.0
_SAMPLE_S, _LOOK_S, _STILL_S = 0.05, 0.25, 1.0
LOG = Option(
    help="a log",
    default="planted:users=10000,items=2000,events=400000",
    quick="planted:users=40,items=60,events=3000",
    metavar="LOG",
)
Found = TypeVar("Found")
_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Bed:
    """A broker and a store."""

    brokers: str
    store: str
    folder: Path
    """Of what processes say and keep."""
    services: Path
    broker_pid: int


@contextmanager
def bed(bench: Bench) -> Iterator[Bed]:
    """A broker and a store in a temporary folder, ended and removed at the end; or those that are up."""
    before = signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # what was started is ended then, too
    with tempfile.TemporaryDirectory(prefix="ebbtide-bench-") as name:
        folder = Path(name)
        services = bench.services or folder / "services"
        try:
            with bench.telling.step("starting a broker and a store"):
                status = control.up(services)
            pid = status.services[0].pid
            if status.brokers is None or status.store is None or pid is None:
                raise RuntimeError(f"the services did not come up: {status}")
            yield Bed(status.brokers, status.store, folder, services, pid)
        finally:
            if bench.services is None:
                control.down(services)
            signal.signal(signal.SIGTERM, before)


@dataclass(frozen=True)
class Span:
    """Events from one moment to another."""

    events: int
    start_s: float
    """Since the epoch, as are all moments here."""
    end_s: float

    @property
    def rate(self) -> float:
        return self.events / max(self.end_s - self.start_s, 1e-3)

    def after(self, begun: "Span") -> "Span":
        """What is left without its beginning."""
        return Span(self.events - begun.events, begun.end_s, self.end_s)


@dataclass
class Cpu:
    """CPU seconds of processes over time, while in the `with` block. Needs /proc."""

    pids: Sequence[int]
    of: Callable[[int], float] = field(default_factory=lambda: cpu_s)
    """CPU seconds that a process has used so far."""
    _seen: list[tuple[float, ...]] = field(default_factory=list)
    _stop: threading.Event = field(default_factory=threading.Event)

    def __enter__(self) -> "Cpu":
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def used_s(self, pid: int, span: Span) -> float:
        """Of one process from the span's start to its end."""
        seen = np.array(self._seen)[:, [0, 1 + self.pids.index(pid)]]
        there = seen[np.isfinite(seen[:, 1])]
        start, end = np.interp([span.start_s, span.end_s], there[:, 0], there[:, 1])
        return float(end - start)

    def _watch(self) -> None:
        while not self._stop.wait(_SAMPLE_S):
            self._seen.append((time.time(), *map(self.of, self.pids)))


def cpu_s(pid: int | str) -> float:
    """Of one process so far, or of PID/task/THREAD; NaN where there is none."""
    try:
        words = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return float("nan")
    return (int(words[11]) + int(words[12])) / _TICKS


def descendants(pid: int) -> list[int]:
    """Processes that a process has started, those that they have started, and so on."""
    try:
        children = [path.read_text() for path in Path(f"/proc/{pid}/task").glob("*/children")]
    except OSError:
        return []
    return [
        one for words in children for child in map(int, words.split()) for one in (child, *descendants(child))
    ]


def run(*arguments: object, **options: object) -> list[str]:
    """The command line of `ebbtide` with options given by name."""
    options_given = [
        str(word) for pair in options.items() for word in (f"--{pair[0].replace('_', '-')}", pair[1])
    ]
    return [sys.executable, "-m", "ebbtide", *map(str, arguments), *options_given]


def fill(
    telling: Telling, brokers: str, log: str, topic: str, form: Form, limit: int | None, partitions: int
) -> int:
    """Send a log to a new topic; the number of its events."""
    with telling.step(f"sending {log} to the topic {topic}, as {form}") as step:
        sent = send(
            api.open_log(log, limit=limit),
            f"kafka://{brokers}/{topic}",
            form=form,
            partitions=partitions,
            batch=BATCH,
            progress=lambda done, total: step.reached(done / total),
        )
    if sent.failure is not None:
        raise RuntimeError(f"{topic}: {sent.failure}")
    return sent.events


@contextmanager
def worker(bed: Bed, topic: str, group: str, *options: object) -> Iterator[subprocess.Popen[bytes]]:
    """A running `ebbtide ingest` from `topic` to `GROUP-examples`; asked to leave at the end."""
    where = {"brokers": bed.brokers, "events": topic, "group": group}
    to = {"examples": f"{group}-examples", "dead_letters": f"{group}-dead"}
    with running(bed, f"{group}.log", run("ingest", *options, **where, **to)) as process:
        yield process


@contextmanager
def trainer(bed: Bed, group: str, *options: object) -> Iterator[subprocess.Popen[bytes]]:
    """A running `ebbtide train` on `GROUP-examples`, which says how it is in the run GROUP of the store."""
    where = {"brokers": bed.brokers, "store": f"{bed.store}?run={group}", "examples": f"{group}-examples"}
    command = run("train", *options, checkpoint=bed.folder / f"{group}.trained", **where)
    with running(bed, f"{group}.train.log", command) as process:
        yield process


def said(bed: Bed, group: str) -> TrainerStatus | None:
    """What the trainer has said last, if it has."""
    with RedisStore(f"{bed.store}?run={group}") as store:
        status = store.status()
    return None if status is None else progress.trainer_status(status)


@contextmanager
def running(bed: Bed, log: str, command: Sequence[str]) -> Iterator[subprocess.Popen[bytes]]:
    """A process whose words go to a file; ended at the end, by force if it does not end by itself."""
    with (bed.folder / log).open("ab") as words:
        process = subprocess.Popen(command, stdout=words, stderr=words)
    try:
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def until(look: Callable[[], Found], otherwise: Callable[[], str], *, patience_s: float = PATIENCE_S) -> None:
    """Wait until `look` finds something. Raises RuntimeError with `otherwise` where that takes too long."""
    deadline_s = time.monotonic() + patience_s
    while not look():
        if time.monotonic() > deadline_s:
            raise RuntimeError(f"{otherwise()} in {patience_s:.0f} s")
        time.sleep(_LOOK_S)


def peak_mb(pid: int) -> float:
    """The most memory that a process has had so far."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) * 1024 / 1e6


def begun(bed: Bed, examples: str, events: int, processes: Sequence[subprocess.Popen[bytes]]) -> Span:
    """Wait until `events` or more are dealt with; from the first committed examples to then."""

    def are_dealt_with() -> bool:
        _expect_running(bed, examples, processes)
        return sum(said.events for said in reached(bed.brokers, examples).values()) >= events

    until(are_dealt_with, lambda: f"{examples}: not {events:,} events")
    return _span(bed.brokers, examples)


def done(
    bed: Bed, examples: str, events: int, processes: Sequence[subprocess.Popen[bytes]], step: Step
) -> Span:
    """Wait until `events` are dealt with; from the first committed examples to the last."""
    deadline = time.monotonic() + PATIENCE_S
    with closing(consumer(bed.brokers)) as looking:
        before: tuple[int, ...] = ()
        still_s = time.monotonic()
        while True:
            time.sleep(_LOOK_S)
            parts = looking.partitions_for_topic(examples) or ()
            ends = tuple(looking.end_offsets([partition_at(examples, part) for part in parts]).values())
            step.say(f"{sum(ends):,} messages of examples of {events:,} events")
            if ends != before:
                before, still_s = ends, time.monotonic()
            elif any(ends) and time.monotonic() - still_s > _STILL_S:
                progress = reached(bed.brokers, examples)
                if sum(said.events for said in progress.values()) >= events:
                    return _span(bed.brokers, examples)
                still_s = time.monotonic()
            _expect_running(bed, examples, processes, late=time.monotonic() > deadline)


def _expect_running(
    bed: Bed, examples: str, processes: Sequence[subprocess.Popen[bytes]], *, late: bool = False
) -> None:
    """Raises RuntimeError with what they said where one has ended, or it is too late."""
    stopped = [process.returncode for process in processes if process.poll() is not None]
    if stopped or late:
        logs = "\n".join(path.read_text()[-2000:] for path in sorted(bed.folder.glob("*.log")))
        raise RuntimeError(f"{examples}: workers ended with {stopped}, or too late; they said:\n{logs}")


def reached(brokers: str, examples: str) -> dict[int, Progress]:
    """How far each partition has come."""
    with Observer(brokers) as observer:
        return {part: _progress(one) for part, one in observer.newest(examples).items()}


def _span(brokers: str, examples: str) -> Span:
    with Observer(brokers) as observer:
        newest = observer.newest(examples)
        firsts = [observer.message(examples, part, 0) for part in newest]
    first = min((one for one in firsts if one is not None), key=lambda one: one.produced_ms)
    events = sum(_progress(one).events for one in newest.values()) - _progress(first).events
    end_ms = max(one.produced_ms for one in newest.values())
    return Span(events, first.produced_ms / 1000, end_ms / 1000)


def _progress(message: Message) -> Progress:
    return progress.progress(dict(message.headers)[progress.HEADER])
