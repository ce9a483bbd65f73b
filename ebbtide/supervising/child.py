"""A part of the tree: a command that is started again whenever it ends, unless it ends at once every time."""

import asyncio
import re
import signal
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from ebbtide.services import processes
from ebbtide.services.launch import CHILD
from ebbtide.services.launch import __file__ as launcher
from ebbtide.supervising.folder import Folder, Say
from state.errors import InputError

AT_ONCE_S, MOST = 10.0, 5
"""So many lives in a row, each shorter than that, and it is given up."""
_PAUSE_S, _LONGEST_PAUSE_S = 0.1, 2.0
_LOOK_S = 0.2
_SHOWN = 5
_STAMP = re.compile(r"^[\d-]{10} [\d:,]{12} ebbtide\S* ")
EBBTIDE = (sys.executable, "-m", "ebbtide")


class Child:
    """`ebbtide ARGUMENTS...` as part `name` of a tree; with `once` an end with exit code 0 is its end.

    It is started only while `services` is set: what it needs is there.
    """

    def __init__(
        self,
        folder: Folder,
        name: str,
        arguments: Sequence[str],
        say: Say,
        services: asyncio.Event,
        environment: Mapping[str, str],
        *,
        once: bool = False,
    ) -> None:
        self.name, self.arguments, self._say, self._once = name, arguments, say, once
        self._environment = environment
        self._folder, self._services, self.log = folder, services, folder.logs / f"{name}.log"

    async def keep(self) -> None:
        """Until it is cancelled, or done. Raises InputError where it ends at once every time."""
        self._say(self.name, shown(self.arguments))
        short = 0
        while True:
            await self._services.wait()
            began_s, at = time.monotonic(), self.log.stat().st_size if self.log.exists() else 0
            code = await self._live(at)
            if code == 0 and self._once:
                return
            at_once = time.monotonic() - began_s < AT_ONCE_S and self._services.is_set()
            short = short + 1 if at_once else 1
            if short >= MOST:
                raise InputError(
                    f"{self.name} has ended {MOST} times within {AT_ONCE_S:g} s of its start, at last "
                    f"{how(code)}: {' / '.join(self._last(at)) or 'it said nothing'} (see {self.log})"
                )
            self._say(self.name, f"has ended {how(code)}; it is started again")
            await asyncio.sleep(min(_PAUSE_S * 2**short, _LONGEST_PAUSE_S))

    async def _live(self, at: int) -> int:
        """One life; what it says is said."""
        record = str(self._folder.record(self.name))
        async with self._folder.turn:
            with self.log.open("ab") as log, processes.locked(self._folder.records) as lock:
                launch = (sys.executable, "-I", "-S", launcher, CHILD, record, str(lock), *EBBTIDE)
                process = await asyncio.create_subprocess_exec(
                    *launch,
                    *self.arguments,
                    stdin=asyncio.subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    env=self._environment,
                    pass_fds=[lock],
                )
        telling = asyncio.create_task(tell(self.log, at, lambda line: self._say(self.name, line)))
        try:
            return await process.wait()
        finally:
            telling.cancel()

    def _last(self, at: int) -> list[str]:
        with self.log.open("rb") as log:
            log.seek(at)
            return [plain(line) for line in log.read().decode(errors="replace").splitlines()][-_SHOWN:]


async def tell(log: Path, at: int, say: Callable[[str], None]) -> None:
    """Say every line that is written to a log behind a place, until cancelled."""
    with log.open("rb") as held:
        held.seek(at)
        rest = b""
        while True:
            *lines, rest = (rest + held.read()).split(b"\n")
            for line in lines:
                say(plain(line.decode(errors="replace")))
            await asyncio.sleep(_LOOK_S)


def plain(line: str) -> str:
    """A line of a log without its time and origin.

    >>> plain("2026-11-28 21:36:00,123 ebbtide.train 40 learned")
    '40 learned'
    """
    return _STAMP.sub("", line)


def shown(arguments: Sequence[str]) -> str:
    """The command as one would type it.

    >>> shown(["replay", "my log.csv"])
    "ebbtide replay 'my log.csv'"
    """
    import shlex

    return shlex.join(["ebbtide", *arguments])


def how(code: int) -> str:
    """How a process has ended, by its exit code.

    >>> how(2), how(-9)
    ('with exit code 2', 'by SIGKILL')
    """
    return f"by {signal.Signals(-code).name}" if code < 0 else f"with exit code {code}"
