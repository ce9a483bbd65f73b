"""`ebbtide` in processes that begin at once: forked from one that has loaded what commands load first.

A worker that is started by its command line loads modules and kernels for longer than most tests need it. A
forked one is as much a process of its own: what it does, how it is killed and what it leaves. How a command
line begins is for the tests that type one (`tests.ebbtide.typed.typed`).
"""

import multiprocessing
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from multiprocessing.reduction import DupFd
from typing import IO, Any

from ebbtide.commands.app import main

_FORKS = multiprocessing.get_context("forkserver")
_FORKS.set_forkserver_preload(["tests.preloaded"])


class Forked:
    """`ebbtide WORDS`, as much of a `subprocess.Popen` as tests ask for."""

    def __init__(
        self,
        *words: object,
        stdout: IO[Any] | int = subprocess.DEVNULL,
        stderr: IO[Any] | int = subprocess.DEVNULL,
        env: Mapping[str, str] | None = None,
        program: Callable[[], None] = main,
    ) -> None:
        self.stdout, out = _ends(stdout)
        self.stderr, errors = _ends(stderr)
        environment = dict(os.environ if env is None else env)
        self._process = _FORKS.Process(
            target=_begin, args=(program, list(map(str, words)), environment, _Sent(out), _Sent(errors))
        )
        self._process.daemon = True
        self._process.start()
        os.close(out)
        os.close(errors)
        assert self._process.pid is not None
        self.pid = self._process.pid

    @property
    def returncode(self) -> int | None:
        return self._process.exitcode

    def poll(self) -> int | None:
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        self._process.join(timeout)
        if self.returncode is None:
            raise subprocess.TimeoutExpired("ebbtide", timeout or 0.0)
        return self.returncode

    def communicate(self, timeout: float | None = None) -> tuple[bytes, bytes]:
        """What is left of its pipes, when it has ended."""
        said = [b"" if pipe is None else pipe.read() for pipe in (self.stdout, self.stderr)]
        self.close()
        self.wait(timeout)
        return said[0], said[1]

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def close(self) -> None:
        for pipe in (self.stdout, self.stderr):
            if pipe is not None:
                pipe.close()

    def __enter__(self) -> "Forked":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
        self.wait()


Started = Forked | subprocess.Popen[bytes]


def _ends(said: IO[Any] | int) -> tuple[IO[bytes] | None, int]:
    """The end to read from, of a pipe, and a descriptor to write to that is ours to close."""
    if said == subprocess.PIPE:
        reading, writing = os.pipe()
        return open(reading, "rb"), writing
    if said == subprocess.DEVNULL:
        return None, os.open(os.devnull, os.O_WRONLY)
    return None, os.dup(said if isinstance(said, int) else said.fileno())


class _Sent:
    """A descriptor that goes to the forked process."""

    def __init__(self, number: int) -> None:
        self.number = number

    def __reduce__(self) -> tuple[Callable[[Any], int], tuple[Any]]:
        return _received, (DupFd(self.number),)


def _received(sent: Any) -> int:
    number: int = sent.detach()
    return number


def _begin(
    program: Callable[[], None], words: list[str], environment: dict[str, str], out: int, errors: int
) -> None:
    os.environ.clear()
    os.environ.update(environment)
    tempfile.tempdir = None  # what TMPDIR was before
    for number, standard in ((out, 1), (errors, 2)):
        os.dup2(number, standard)
        os.close(number)
    sys.argv = ["ebbtide", *words]
    program()
