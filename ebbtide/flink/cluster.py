"""A session cluster on this machine, on loopback only: job manager and task managers, out of PyFlink's jars.

`up` starts what is not running, so after a `kill -9` it is the cure; whatever was killed, nothing of a job is
lost that was in its newest checkpoint.
"""

import time
from pathlib import Path

import msgspec

from ebbtide.flink import runtime
from ebbtide.flink.node import Node
from ebbtide.flink.rest import JobManager
from ebbtide.services import processes
from ebbtide.services.control import is_free
from ebbtide.writable import writing
from state.errors import InputError

_HOST = "127.0.0.1"
_UP_S, _DOWN_S, _LOOK_S = 600.0, 20.0, 0.1


class Ports(msgspec.Struct, frozen=True):
    """Where the job manager listens; kept from one start to the next."""

    rest: int
    rpc: int


class Service(msgspec.Struct, frozen=True):
    """A process of the cluster, as it is now."""

    name: str
    pid: int | None
    log: str


def up(folder: Path, task_managers: int, port: int | None = None) -> JobManager:
    """Start what is not running; returns once all slots are there. Raises InputError."""
    folder = folder.resolve()
    with writing("--dir", folder):
        (folder / "logs").mkdir(parents=True, exist_ok=True)
    with processes.locked(folder) as lock:
        begun = [name for name in _names(task_managers) if not _alive(folder, name)]
        ports = _ports(folder, port, anew=_names(0)[0] in begun)
        for name in begun:
            node, log = _node(name, ports), _log(folder, name)
            node.configure(folder, log=log)
            command, output = node.command(folder, log=log), log.with_suffix(".out")
            with runtime.undisclosed():
                processes.launch(folder / f"{name}.json", command, lock=lock, cwd=folder, output=output)
        manager = JobManager(f"127.0.0.1:{ports.rest}")
        _wait(folder, manager, task_managers)
    return manager


def down(folder: Path) -> list[int]:
    """End the cluster of `folder`, and nothing else; the numbers of the processes that were there."""
    folder = folder.resolve()
    if not folder.is_dir():
        return []
    with processes.locked(folder):
        return processes.end(_records(folder), _DOWN_S)


def services(folder: Path) -> list[Service]:
    """What runs there."""
    listed = []
    for path in _records(folder.resolve()):
        record = processes.read(path)
        alive = record is not None and record.alive
        listed.append(
            Service(path.stem, record.pid if record and alive else None, str(_log(folder, path.stem)))
        )
    return listed


def address(folder: Path) -> str | None:
    """Where the job manager of a folder answers, if one was ever started there."""
    try:
        return f"127.0.0.1:{msgspec.json.decode((folder / 'ports.json').read_bytes(), type=Ports).rest}"
    except FileNotFoundError:
        return None


def _names(task_managers: int) -> list[str]:
    return ["jobmanager", *(f"taskmanager-{i}" for i in range(task_managers))]


def _records(folder: Path) -> list[Path]:
    return sorted((*folder.glob("jobmanager.json"), *folder.glob("taskmanager-*.json")))


def _log(folder: Path, name: str) -> Path:
    return folder.resolve() / "logs" / f"{name}.log"


def _alive(folder: Path, name: str) -> bool:
    record = processes.read(folder / f"{name}.json")
    return record is not None and record.alive


def _node(name: str, ports: Ports) -> Node:
    return Node(
        role="jobmanager" if name == "jobmanager" else "taskmanager",
        jobmanager=_HOST,
        rest=ports.rest,
        rpc=ports.rpc,
        host=_HOST,
        name=name,
    )


def _ports(folder: Path, port: int | None, *, anew: bool) -> Ports:
    """Those of the last time, unless told or taken. Raises InputError."""
    path = folder / "ports.json"
    was = msgspec.json.decode(path.read_bytes(), type=Ports) if path.exists() else None
    if not anew and was is not None:
        if port not in (None, was.rest):
            raise InputError(f"--port {port}: it is up on {was.rest} already; `ebbtide flink down` first")
        return was
    if port is not None:
        runtime.expect_free(port, "--port")
    if was is not None and port in (None, was.rest) and all(map(is_free, (was.rest, was.rpc))):
        return was
    rest, rpc = runtime.free_ports(2)
    ports = Ports(rest=port or rest, rpc=rpc)
    path.write_bytes(msgspec.json.encode(ports))
    return ports


def _wait(folder: Path, manager: JobManager, task_managers: int) -> None:
    deadline = time.monotonic() + _UP_S
    while True:
        for name in _names(task_managers):
            if not _alive(folder, name):
                raise InputError(
                    f"{name} did not come up: {_last_error(folder, name)} (see {_log(folder, name)})"
                )
        try:
            if manager.slots()[0] >= task_managers * runtime.SLOTS:
                return
        except InputError:
            if time.monotonic() > deadline:
                raise
        if time.monotonic() > deadline:
            raise InputError(f"{folder}: not all task managers have come within {_UP_S:.0f} s; see its logs")
        time.sleep(_LOOK_S)


def _last_error(folder: Path, name: str) -> str:
    lines = [
        line.strip()
        for path in (folder / "logs" / f"{name}.out", _log(folder, name))
        if path.exists()
        for line in path.read_text(errors="replace").splitlines()[-200:]
        if line.strip()
    ]
    signs = ("FATAL", "ERROR", "Exception", "rror:")
    return next((line for line in reversed(lines) if any(sign in line for sign in signs)), "it said nothing")
