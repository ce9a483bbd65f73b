"""Valkeys of the tests' own, over TCP."""

import socket
import subprocess
from pathlib import Path

from ebbtide.services import store
from tests.patience import until


def free_port() -> int:
    """Free when it was looked at."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def serving(folder: Path, port: int) -> subprocess.Popen[bytes]:
    """A server that answers there, its data in `folder`; started again where the port was taken meanwhile."""
    while True:
        command = store.command(folder, port)
        process = subprocess.Popen(command, cwd=folder, stdout=subprocess.DEVNULL)
        until(lambda: process.poll() is not None or store.answers(port, process.pid))  # noqa: B023
        if process.poll() is None:
            return process
