"""Up, down, status: what `ebbtide services` does with the services of one folder."""

import contextlib
import os
import socket
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from ebbtide.services import broker, processes, store
from ebbtide.services.jars import Tell, jars
from ebbtide.writable import writing
from state.errors import InputError
from streams.kafka.client import cluster_id
from streams.kafka.security import OPEN

_UP_S, _DOWN_S = 240.0, 30.0
_LOOK_S = 0.05
_TRIES = 3


class Ports(msgspec.Struct, frozen=True):
    """Where the services of a folder listen, on loopback; kept from one start to the next."""

    kafka: int
    controller: int
    store: int


class Service(msgspec.Struct, frozen=True):
    """One service as it is now."""

    name: str
    up: bool
    """Whether it answers, and is the process that was started."""
    pid: int | None
    log: str


class Status(msgspec.Struct, frozen=True):
    """The services of a folder; `brokers` and `store` are null where nothing answers."""

    dir: str
    brokers: str | None
    store: str | None
    services: list[Service]

    @property
    def up(self) -> bool:
        return all(service.up for service in self.services)


@dataclass(frozen=True, slots=True)
class _Known:
    """A service, and how one starts it and sees that it answers."""

    name: str
    record: Path
    log: Path
    output: Path
    command: Callable[[Ports, int], list[str]]
    """Of its ports and our lock."""
    answers: Callable[[Ports, int], bool]
    """Of its ports and its process."""

    def running(self) -> processes.Record | None:
        record = processes.read(self.record)
        return record if record is not None and record.alive else None

    def says(self) -> list[str]:
        """The last lines that it has written."""
        return [
            line.strip()
            for path in (self.log, self.output)
            if path.exists()
            for line in path.read_text(errors="replace").splitlines()[-200:]
        ]

    def trouble(self) -> str:
        """The last line that tells what went wrong."""
        signs = ("FATAL", "ERROR", "Exception", "ailed")
        lines = self.says() or ["it said nothing"]
        return next((line for line in reversed(lines) if any(sign in line for sign in signs)), lines[-1])


def up(
    folder: Path, *, kafka_port: int | None = None, store_port: int | None = None, tell: Tell | None = None
) -> Status:
    """Start what is not running yet; returns once everything answers. Raises InputError.

    Ports are those of the last time, else free ones, unless told. What this call started is ended again if
    not everything comes up.
    """
    folder = folder.resolve()
    with writing("--dir", folder):
        (folder / "logs").mkdir(parents=True, exist_ok=True)
    files = jars(tell) if tell else jars()
    broker.java()
    with processes.locked(folder) as lock:
        known = _known(folder, files)
        for attempt in range(_TRIES):
            ports = _choose(folder, known, kafka_port, store_port, anew=attempt > 0)
            lost = _start(known, ports, lock)
            if lost is None:
                return status(folder)
            taken = any("in use" in line for line in lost.says())
            if not taken or attempt == _TRIES - 1:
                raise InputError(f"{lost.name} did not come up: {lost.trouble()} (see {folder / 'logs'})")
    raise AssertionError("every try returns or raises")


def down(folder: Path) -> list[int]:
    """End the services of `folder`, and nothing else; the numbers of the processes that were there."""
    folder = folder.resolve()
    if not folder.is_dir():
        return []
    with processes.locked(folder):
        return processes.end([one.record for one in _known(folder)], _DOWN_S)


def status(folder: Path) -> Status:
    """What is there now."""
    folder = folder.resolve()
    ports = _read_ports(folder)
    services = []
    for service in _known(folder):
        record = service.running()
        answers = record is not None and ports is not None and service.answers(ports, record.pid)
        services.append(Service(service.name, answers, record.pid if record else None, str(service.log)))
    kafka, valkey = services
    return Status(
        str(folder),
        f"127.0.0.1:{ports.kafka}" if ports and kafka.up else None,
        f"redis://127.0.0.1:{ports.store}/0" if ports and valkey.up else None,
        services,
    )


def missing(folder: Path) -> list[str]:
    """Names of the services of `folder` whose process is not there."""
    return [one.name for one in _known(folder.resolve()) if one.running() is None]


def _known(folder: Path, files: Sequence[Path] = ()) -> tuple[_Known, _Known]:
    logs = folder / "logs"

    def kafka_command(ports: Ports, lock: int) -> list[str]:
        return broker.command(folder, files, ports.kafka, ports.controller, lock)

    def kafka_answers(ports: Ports, pid: int) -> bool:
        return cluster_id(f"127.0.0.1:{ports.kafka}", OPEN) == broker.cluster(folder)

    return (
        _Known(
            "Apache Kafka",
            folder / "kafka.json",
            logs / "kafka.log",
            logs / "kafka.out",
            kafka_command,
            kafka_answers,
        ),
        _Known(
            "Valkey",
            folder / "store.json",
            logs / "store.log",
            logs / "store.log",
            lambda ports, lock: store.command(folder, ports.store),
            lambda ports, pid: store.answers(ports.store, pid),
        ),
    )


def _start(known: tuple[_Known, ...], ports: Ports, lock: int) -> _Known | None:
    """Start what is not running and wait for all; the service that did not come up, if one did not."""
    begun: list[_Known] = []
    try:
        for service in reversed(known):
            if service.running() is None:
                begun.append(service)
                for path in {service.log, service.output}:
                    if path.exists():
                        path.replace(f"{path}.before")
                processes.launch(
                    service.record,
                    service.command(ports, lock),
                    lock=lock,
                    cwd=service.record.parent,
                    output=service.output,
                )
        lost = _wait(known, ports)
    except BaseException:
        processes.end([service.record for service in begun], _DOWN_S)
        raise
    if lost is not None:
        processes.end([service.record for service in begun], _DOWN_S)
    return lost


def _wait(known: tuple[_Known, ...], ports: Ports) -> _Known | None:
    """Until all answer: nothing. Until one has ended, or time is up: the one that is missing."""
    deadline = time.monotonic() + _UP_S
    waiting = list(known)
    while waiting:
        for service in waiting:
            record = service.running()
            if record is None or time.monotonic() > deadline:
                return service
            if service.answers(ports, record.pid):
                waiting.remove(service)
                break
        else:
            time.sleep(_LOOK_S)
    return None


def _choose(
    folder: Path, known: tuple[_Known, ...], kafka_port: int | None, store_port: int | None, *, anew: bool
) -> Ports:
    """Ports for all services: where they run now, as told, as they were unless `anew`, or free."""
    before = _read_ports(folder)
    kafka_up, store_up = (one.running() is not None for one in known)
    for running, option, told, at in (
        (kafka_up, "--kafka-port", kafka_port, before and before.kafka),
        (store_up, "--store-port", store_port, before and before.store),
    ):
        if told is None:
            continue
        if running and told != at:
            raise InputError(f"{option} {told}: it is up on {at} already; `ebbtide services down` first")
        if not running and not is_free(told):
            raise InputError(
                f"{option} {told}: expected a free port on 127.0.0.1, got one that is taken; "
                "give another, or leave the option out"
            )
    with contextlib.ExitStack() as held:

        def port(running: bool, told: int | None, was: int | None) -> int:
            if running and was is not None:
                return was
            if told is not None:
                return told
            if was is not None and not anew and is_free(was):
                return was
            free = held.enter_context(socket.create_server(("127.0.0.1", 0)))
            return int(free.getsockname()[1])

        ports = Ports(
            kafka=port(kafka_up, kafka_port, before.kafka if before else None),
            controller=port(kafka_up, None, before.controller if before else None),
            store=port(store_up, store_port, before.store if before else None),
        )
    new = folder / "ports.json.new"
    new.write_bytes(msgspec.json.encode(ports))
    os.replace(new, folder / "ports.json")
    return ports


def _read_ports(folder: Path) -> Ports | None:
    try:
        return msgspec.json.decode((folder / "ports.json").read_bytes(), type=Ports)
    except FileNotFoundError:
        return None
    except msgspec.MsgspecError as error:
        raise InputError(f"{folder / 'ports.json'}: expected ports, got {error}; remove the file") from error


def is_free(port: int, address: str = "127.0.0.1") -> bool:
    """Whether anybody could listen there."""
    try:
        with socket.create_server((address, port)):
            return True
    except OSError:
        return False
