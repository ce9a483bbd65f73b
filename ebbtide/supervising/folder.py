"""The folder of `ebbtide up`: who runs there, which processes are theirs, and how these are ended.

A process is ended only where its record proves that it was started here (`ebbtide.services.processes`).
"""

import asyncio
import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TypeVar

import msgspec

from ebbtide.alone import alone
from ebbtide.services import processes
from ebbtide.services.launch import started
from state.errors import InputError

T = TypeVar("T", bound=msgspec.Struct)
Say = Callable[[str, str], None]
"""Called with the name of a part, and what there is to say of it."""

PARTS = ("send", "ingest", "train", "serve")
"""In the order in which they are ended: what comes first feeds what comes after."""
_PATIENCE_S = 60.0


class Holder(msgspec.Struct, frozen=True):
    """The `ebbtide up` of a folder."""

    pid: int
    started: str
    url: str
    own_services: bool

    @classmethod
    def here(cls, url: str, own_services: bool) -> "Holder":
        return cls(os.getpid(), started(os.getpid()), url, own_services)


class Folder:
    """Where everything of one `ebbtide up` is."""

    def __init__(self, path: Path) -> None:
        self.path = path.resolve()
        self.records, self.logs = self.path / "processes", self.path / "logs"
        self.services, self.checkpoint = self.path / "services", self.path / "train"
        self.settings, self.keys, self.sent = (
            self.path / name for name in ("train.toml", "keys.txt", "sent.json")
        )
        self.turn = asyncio.Lock()
        """Whose turn it is to start a process: each holds the folder's lock until its record is written."""
        self._holder, self._log = self.path / "up.json", self.path / "log.json"

    @contextmanager
    def held(self) -> Iterator[None]:
        """Alone here, with what an earlier one has left behind ended. Raises InputError."""
        with ExitStack() as held:
            try:
                held.enter_context(alone(self.path, "--dir", "`ebbtide up` runs"))
            except InputError as error:
                other = self.holder()
                if other is None:
                    raise
                raise InputError(
                    f"--dir {self.path}: is up already at {other.url} (process {other.pid}); Ctrl-C there "
                    "ends it, or give this one another --dir"
                ) from error
            for directory in (self.records, self.logs, self.services):
                directory.mkdir(exist_ok=True)
            before = self.holder()
            if before is not None:
                self.end(before)
            yield

    def holder(self) -> Holder | None:
        """Who runs here, or did until it was killed."""
        return _read(self._holder, Holder)

    def hold(self, holder: Holder) -> None:
        _write(self._holder, holder)

    def record(self, part: str) -> Path:
        """Where it says which process a part is."""
        return self.records / f"{part}.json"

    def end(self, holder: Holder, say: Say | None = None) -> None:
        """End all that `holder` has started, in order; nothing, if another holds the folder by now."""
        with processes.locked(self.records):
            if self.holder() != holder:
                return
            self._end_parts(say)
            if holder.own_services:
                from ebbtide.services import control

                control.down(self.services)
                if say is not None:
                    say("services", "ended")
            self._holder.unlink(missing_ok=True)

    def kill(self) -> None:
        """End the parts at once, whatever they are doing."""
        processes.end([self.record(part) for part in PARTS], 0.0)

    def _end_parts(self, say: Say | None = None) -> None:
        for part in PARTS:
            if processes.end([self.record(part)], _PATIENCE_S) and say is not None:
                say(part, "ended")

    def remembered(self, given: T | None, kind: type[T]) -> T | None:
        """What is sent here: as given, else as the last time. Raises InputError where these differ."""
        before = _read(self._log, kind)
        if given is not None and before is not None and given != before:
            raise InputError(
                f"--dir {self.path}: another log, or the same by other options, was begun here; give the "
                "same again, or none, to go on with it, or begin in another --dir"
            )
        if given is not None and before is None:
            _write(self._log, given)
        return given or before


def _read(path: Path, kind: type[T]) -> T | None:
    try:
        return msgspec.json.decode(path.read_bytes(), type=kind)
    except FileNotFoundError:
        return None
    except msgspec.MsgspecError as error:
        raise InputError(f"{path}: expected what `ebbtide up` wrote, got {error}; remove the file") from error


def _write(path: Path, value: msgspec.Struct) -> None:
    new = path.with_suffix(".new")
    new.write_bytes(msgspec.json.encode(value))
    os.replace(new, path)
