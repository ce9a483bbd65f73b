"""Valkeys of the tests' own, over TCP."""

import socket
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import redis

from ebbtide.services import store
from tests.patience import until

_SLOTS = 16_384


def free_port() -> int:
    """Free when it was looked at."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def serving(folder: Path, port: int, more: Sequence[str] = ()) -> subprocess.Popen[bytes]:
    """A server that answers there, its data in `folder`; started again where the port was taken meanwhile."""
    while True:
        command = [*store.command(folder, port), *more]
        process = subprocess.Popen(command, cwd=folder, stdout=subprocess.DEVNULL)
        until(lambda: process.poll() is not None or store.answers(port, process.pid))  # noqa: B023
        if process.poll() is None:
            return process


@dataclass
class Cluster:
    """Servers of one cluster, each with its share of the slots."""

    ports: list[int]
    processes: list[subprocess.Popen[bytes]]

    def url(self, rest: str) -> str:
        return f"redis://{','.join(f'127.0.0.1:{port}' for port in self.ports)}/0?{rest}"

    def ask(self, server: int, *words: object) -> Any:
        with redis.Redis(port=self.ports[server]) as client:
            return client.execute_command(*words)


@contextmanager
def cluster(folder: Path, servers: int) -> Iterator[Cluster]:
    """One whose every server knows of all slots; all end with it."""
    here = Cluster([free_port() for _ in range(servers)], [])
    try:
        buses = [free_port() for _ in range(servers)]
        for n, (port, bus) in enumerate(zip(here.ports, buses, strict=True)):
            (folder / str(n)).mkdir(parents=True)
            more = ("--cluster-enabled", "yes", "--cluster-port", str(bus))
            here.processes.append(serving(folder / str(n), port, more))
        for n in range(servers):
            first, end = (_SLOTS * edge // servers for edge in (n, n + 1))
            here.ask(n, "CLUSTER", "ADDSLOTSRANGE", first, end - 1)
            here.ask(n, "CLUSTER", "MEET", "127.0.0.1", here.ports[0], buses[0])
        for n in range(servers):
            until(lambda: b"cluster_slots_ok:16384" in here.ask(n, "CLUSTER", "INFO"))  # noqa: B023
            until(lambda: b"cluster_state:ok" in here.ask(n, "CLUSTER", "INFO"))  # noqa: B023
        yield here
    finally:
        for process in here.processes:
            process.kill()
            process.wait()
