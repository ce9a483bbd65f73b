"""Services as processes: started detached, found again by number and start time, ended exactly.

A record (`NAME.json`) says the number of a service's process and when it began. A number that another process
has got since is therefore never taken for the service, and never signalled.
"""

import contextlib
import fcntl
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec

from ebbtide.services.launch import __file__ as launcher
from ebbtide.services.launch import started
from state.errors import InputError

_PATIENCE_S = 120.0
_LOOK_S = 0.02


class Record(msgspec.Struct, frozen=True):
    """Who a service is."""

    pid: int
    started: str
    command: list[str]

    @property
    def alive(self) -> bool:
        return bool(self.started) and started(self.pid) == self.started


def read(path: Path) -> Record | None:
    """The record, if there is one. Raises InputError where it cannot be read."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=Record)
    except FileNotFoundError:
        return None
    except msgspec.MsgspecError as error:
        raise InputError(
            f"{path}: expected the record of a service, got something else ({error}); remove the file, "
            "and end its process yourself if there is one"
        ) from error


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[int]:
    """Alone with the services of `folder`: the lock's descriptor. Raises InputError."""
    with (folder / "lock").open("ab") as lock:
        deadline = time.monotonic() + _PATIENCE_S
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise InputError(
                        f"{folder}: another `ebbtide services` has been at work for {_PATIENCE_S:.0f} s; "
                        "wait for it, or name another --dir"
                    ) from None
                time.sleep(_LOOK_S)
        yield lock.fileno()


def launch(path: Path, command: Sequence[str], *, lock: int, cwd: Path, output: Path) -> Record:
    """Start a service that outlives us; its record is at `path` whatever becomes of us."""
    path.unlink(missing_ok=True)
    with output.open("ab") as log:
        subprocess.run(
            [sys.executable, "-I", "-S", launcher, str(path), str(lock), *command],
            cwd=cwd,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            pass_fds=[lock],
            check=True,
        )
    deadline = time.monotonic() + _PATIENCE_S
    while time.monotonic() < deadline:
        record = read(path)
        if record is not None:
            return record
        time.sleep(_LOOK_S)
    raise InputError(f"{path}: the service was not started; see {output}")


def end(paths: Sequence[Path], patience_s: float) -> list[int]:
    """End the services recorded at `paths`, asked to first, then made to; the numbers of those there were."""
    records = [record for path in paths if (record := read(path)) is not None]
    ended = [record for record in records if _signal(record, signal.SIGTERM)]
    deadline = time.monotonic() + patience_s
    while any(record.alive for record in ended):
        if time.monotonic() > deadline:
            for record in ended:
                _signal(record, signal.SIGKILL)
        time.sleep(_LOOK_S)
    for path in paths:
        path.unlink(missing_ok=True)
    return [record.pid for record in ended]


def _signal(record: Record, number: int) -> bool:
    """Whether the recorded process was there and got the signal. On Linux no other process ever can."""
    if sys.platform != "linux":
        if record.alive:
            os.kill(record.pid, number)
            return True
        return False
    try:
        descriptor = os.pidfd_open(record.pid)
    except ProcessLookupError:
        return False
    try:
        if not record.alive:
            return False
        signal.pidfd_send_signal(descriptor, number)
        return True
    except ProcessLookupError:
        return False
    finally:
        os.close(descriptor)
