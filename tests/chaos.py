"""Everything is killed at random moments, and nothing is lost, doubled or taken back: `make chaos SEEDS=200`.

One seed: a stream with repeated and unordered events goes through two workers and a trainer, while workers,
trainer, broker and store are killed or stopped as `replay.faults` has it for that seed. Then, by identity:

- every partition's examples are, bit for bit, what one engine makes of that partition in one go;
- the trainer has had every example once;
- versions in the store never went back, and every user's newest event has arrived there.
"""

import argparse
import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import msgspec
from kafka import KafkaAdminClient  # type: ignore[import-untyped]

from ebbtide import api
from ebbtide.services import control
from replay.faults import TARGETS, Fault, Target, rough, schedule
from state import example_wire
from state.errors import EbbtideError
from state.examples import ExampleBatch, concat
from state.progress import TrainerStatus, trainer_status
from state.redis_store import RedisStore
from state.tree import digest
from streams import wire_json
from streams.engine import Engine, EngineConfig
from streams.kafka import Producer, ensure_topic, partition_of
from streams.observer import Observer
from streams.operator import OperatorConfig
from streams.schema import EventBatch, concat_events
from streams.wire import HEADER, JSON, Message
from tests.ebbtide.workers import WINDOW, Live, kill, until

PARTITIONS, WORKERS = 4, 2
SECONDS, FAULTS, RATE = 14.0, 5, 250
_SAID_S = 30.0
_LEAVING_S = 30.0


@dataclass
class Chaos:
    """A group with its processes; `services` is the folder where broker and store run."""

    live: Live
    services: Path
    store: str
    faults: list[Fault]
    sent: int = 0
    processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)
    over: threading.Event = field(default_factory=threading.Event)
    trouble: list[Exception] = field(default_factory=list)
    _began_s: float = 0.0
    _down: set[str] = field(default_factory=set)
    _starting: threading.Lock = field(default_factory=threading.Lock)

    def start(self, name: str) -> None:
        """A worker or the trainer."""
        command = self.live.command() if name.startswith("worker") else self.training()
        with (self.live.folder / f"{name}.log").open("ab") as log:
            self.processes[name] = subprocess.Popen(command, stdout=log, stderr=log)

    def training(self) -> list[str]:
        live = self.live
        where = {
            "--brokers": live.brokers,
            "--examples": f"{live.name}-examples",
            "--store": f"{self.store}?run={live.name}",
            "--checkpoint": live.folder / "checkpoint",
            "--learner": "twotower",
            "--every": 500,
        }
        said = [str(one) for pair in where.items() for one in pair]
        return [sys.executable, "-m", "ebbtide", "train", *said]

    def suffer(self) -> None:
        """Play the schedule, the faults of a target one after another; what was killed is started again."""
        self._began_s = time.monotonic()
        players = [threading.Thread(target=self._play, args=(target,)) for target in TARGETS]
        for player in players:
            player.start()
        for player in players:
            player.join()

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

    def _play(self, target: Target) -> None:
        with self.noted():
            for fault in self.faults:
                if fault.target == target:
                    time.sleep(max(0.0, self._began_s + fault.at_s - time.monotonic()))
                    self._hit(fault)

    def _hit(self, fault: Fault) -> None:
        if fault.target in ("broker", "store"):
            with self._starting:  # a start waits for both: it must not lose the other meanwhile
                os.kill(self.service_pid(fault.target), signal.SIGKILL)
            time.sleep(fault.lasts_s)
            with self._starting:
                control.up(self.services)
            return
        names = sorted(name for name in self.processes if name.startswith(fault.target))
        name = names[fault.which % len(names)]
        process = self.processes[name]
        if fault.what == "pause":
            process.send_signal(signal.SIGSTOP)
            time.sleep(fault.lasts_s)
            process.send_signal(signal.SIGCONT)
        else:
            self._down.add(name)
            if fault.what == "leave":
                leave(process)
            else:
                kill(process)
            time.sleep(fault.lasts_s)
            self.start(name)
            self._down.discard(name)

    def end(self) -> None:
        for process in self.processes.values():
            process.send_signal(signal.SIGCONT)
            process.send_signal(signal.SIGTERM)
        for process in self.processes.values():
            leave(process)

    def service_pid(self, target: Target) -> int:
        name = {"broker": "kafka", "store": "store"}[target]
        return int(json.loads((self.services / f"{name}.json").read_bytes())["pid"])

    def moves(self) -> int:
        """How often workers were given their partitions."""
        return sum(log.read_text().count("partitions [") for log in self.live.folder.glob("worker-*.log"))


def leave(process: subprocess.Popen[bytes]) -> None:
    """Asked to; by force, if it takes too long: its broker may be away."""
    process.terminate()
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(_LEAVING_S)
    process.kill()
    process.wait()


def messages(events: EventBatch) -> Iterator[tuple[Message, int]]:
    """JSON messages and their partitions."""
    for user, value in zip(events.user_B.tolist(), wire_json.encode(events, {}), strict=True):
        key = str(user).encode()
        yield Message(value, key, ((HEADER, JSON.encode()),)), partition_of(key, PARTITIONS)


def produce(chaos: Chaos, events: EventBatch, seconds: float) -> None:
    """At a steady pace, as long as the faults last."""
    with chaos.noted():
        with Producer(chaos.live.brokers, chaos.live.events) as producer:
            started_s = time.monotonic()
            for i, (message, partition) in enumerate(messages(events)):
                time.sleep(max(0.0, started_s + seconds * i / len(events) - time.monotonic()))
                producer.send(message, partition)
                chaos.sent = i + 1
        assert producer.failure is None, producer.failure


def run(
    seed: int,
    services: Path,
    folder: Path,
    faults: list[Fault],
    *,
    seconds: float = SECONDS,
    rate: float = RATE,
    tell: Callable[[str], None] | None = None,
) -> str:
    """One seed; what it came to. Raises AssertionError where something was lost, doubled or taken back."""
    found = control.up(services)
    assert found.brokers is not None
    assert found.store is not None
    live = Live(found.brokers, f"chaos-{os.getpid()}-{seed}", folder)
    ensure_topic(found.brokers, live.events, PARTITIONS)
    log = api.open_log(f"planted:users=50,items=60,events={int(seconds * rate)},places=8")
    events = rough(concat_events(list(log.batches(1000))), seed)
    chaos = Chaos(live, services, found.store, faults)
    versions: list[int] = []
    helpers = [
        threading.Thread(target=_watch, args=(chaos, versions), daemon=True),
        threading.Thread(target=chaos.supervise, daemon=True),
        threading.Thread(target=_tell, args=(chaos, tell), daemon=True),
    ]
    try:
        for name in (*(f"worker-{i}" for i in range(WORKERS)), "trainer"):
            chaos.start(name)
        for helper in helpers:
            helper.start()
        sending = threading.Thread(target=produce, args=(chaos, events, seconds))
        sending.start()
        chaos.suffer()
        chaos.check()
        sending.join()
        chaos.check()
        live.until(len(events))
        examples = check_examples(chaos)
        check_training(chaos, examples)
    finally:
        chaos.over.set()
        chaos.end()
    assert versions == sorted(versions), f"versions went back: {versions}"
    _forget(live)
    return f"{len(events):,} events sent, {examples:,} trained, partitions given out {chaos.moves()} times"


def _forget(live: Live) -> None:
    """Remove a seed's topics: a broker takes longer to come back the more it has."""
    names = [live.events, *(f"{live.name}-{what}" for what in ("examples", "dead", "changelog"))]
    with contextlib.closing(KafkaAdminClient(bootstrap_servers=live.brokers)) as admin:
        admin.delete_topics(names)


def check_examples(chaos: Chaos) -> int:
    """Every partition is what one engine makes of it; returns how many examples there are."""
    live, total = chaos.live, 0
    config = EngineConfig(operator=OperatorConfig(), window=WINDOW)
    with Observer(live.brokers) as observer:
        sent, made = list(observer.read(live.events)), list(observer.read(f"{live.name}-examples"))
    for partition in range(PARTITIONS):
        engine = Engine(config, live.events, partition)
        wanted = engine.take([one for one in sent if one.partition == partition]).examples
        found = [one.value for one in made if one.partition == partition and one.value is not None]
        digests = [digest(_whole(values).tree()) for values in (wanted, found)]
        assert digests[0] == digests[1], f"partition {partition}: {digests}"
        total += engine.progress.examples
    return total


def _whole(values: Sequence[bytes]) -> ExampleBatch:
    return concat([example_wire.decode(value).batch for value in values])


def check_training(chaos: Chaos, examples: int) -> None:
    """The trainer has had every example once."""

    def trained() -> int | str:
        said = _status(chaos)
        return said if isinstance(said, str) else said.trained

    assert until(trained, lambda count: isinstance(count, int) and count >= examples) == examples


def _status(chaos: Chaos) -> TrainerStatus | str:
    """What the trainer says in the store, or why there is nothing."""
    try:
        said = RedisStore(f"{chaos.store}?run={chaos.live.name}").status()
    except EbbtideError as error:
        return str(error)
    return "nothing said yet" if said is None else trainer_status(said)


def _watch(chaos: Chaos, versions: list[int]) -> None:
    """The versions that a reader sees, as often as the store answers."""
    while not chaos.over.wait(0.2):
        if isinstance(said := _status(chaos), TrainerStatus):
            versions.append(said.version)


def _tell(chaos: Chaos, tell: Callable[[str], None] | None) -> None:
    """Memory, lag and freshness, now and then."""
    began_s = time.monotonic()
    while tell is not None and not chaos.over.wait(_SAID_S):
        with contextlib.suppress(OSError, EbbtideError):
            said = _status(chaos)
            pids = {name: process.pid for name, process in chaos.processes.items()}
            pids |= {name: chaos.service_pid(name) for name in ("broker", "store")}
            memory = {name: _resident_mb(pid) for name, pid in pids.items()}
            done, sent = sum(one.events for one in chaos.live.progress().values()), chaos.sent
            passed = f"{time.monotonic() - began_s:6.0f} s  {sent:,} sent, {done:,} events in"
            tell(f"{passed}, {_line(said)}, MB {memory}")


def _line(said: TrainerStatus | str) -> str:
    if isinstance(said, str):
        return said
    return f"{said.trained:,} trained, version {said.version}, freshness {said.freshness_ms} ms"


def _resident_mb(pid: int) -> int:
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") // 1_000_000


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--seeds", type=int, default=5, help="how many [5]")
    parser.add_argument("--first", type=int, default=0, help="the first [0]")
    parser.add_argument("--faults", type=int, default=FAULTS, help=f"of each seed [{FAULTS}]")
    parser.add_argument("--seconds", type=float, default=SECONDS, help=f"that each lasts [{SECONDS:g}]")
    parser.add_argument("--rate", type=float, default=RATE, help=f"events a second [{RATE}]")
    parser.add_argument("--targets", nargs="+", default=TARGETS, choices=TARGETS, help="what fails [all]")
    parser.add_argument("--schedule", type=Path, help="faults of your own, a JSON object a line")
    given = parser.parse_args()
    failed = []
    with tempfile.TemporaryDirectory(prefix="ebbtide-chaos-") as top:
        services = Path(top) / "services"
        try:
            for seed in range(given.first, given.first + given.seeds):
                folder = Path(top) / f"seed-{seed}"
                folder.mkdir()
                if given.schedule is None:
                    faults = schedule(seed, given.seconds, given.faults, tuple(given.targets))
                else:
                    faults = msgspec.json.Decoder(Fault).decode_lines(given.schedule.read_bytes())
                for fault in faults:
                    print(f"  {msgspec.json.encode(fault).decode()}")
                began_s = time.monotonic()
                try:
                    came_to = run(
                        *(seed, services, folder, faults),
                        **{"seconds": given.seconds, "rate": given.rate},
                        tell=lambda line: print(line, flush=True),
                    )
                    print(f"seed {seed}: ok in {time.monotonic() - began_s:.0f} s: {came_to}", flush=True)
                except (AssertionError, EbbtideError) as error:
                    failed.append(seed)
                    print(f"seed {seed}: FAILED: {error}", flush=True)
                    for log in sorted((*folder.glob("*.log"), *(services / "logs").iterdir())):
                        print(f"--- {log.name}\n{log.read_text()[-3000:]}", flush=True)
        finally:
            control.down(services)
    well = given.seeds - len(failed)
    print(f"{well} of {given.seeds} seeds ok" + (f"; failed: {failed}" if failed else ""))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
