"""A folder that one process writes to at a time."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ebbtide.writable import writing
from state.errors import InputError


@contextmanager
def alone(directory: Path, option: str, who: str) -> Iterator[None]:
    """Hold a folder that `option` names. Raises InputError where another process does: "another `who` here".

    Whoever ends, or starts over, lets go, however that comes about.
    """
    with writing(option, directory):
        directory.mkdir(parents=True, exist_ok=True)
        lock = os.open(directory / "lock", os.O_RDWR | os.O_CREAT, 0o644)
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.pread(lock, 32, 0).decode() or "unknown"
            raise InputError(
                f"{option} {directory}: another {who} here (process {holder}); "
                "stop it first, or give each a folder of its own"
            ) from None
        os.truncate(lock, 0)
        os.pwrite(lock, str(os.getpid()).encode(), 0)
        yield
    finally:
        os.close(lock)


def holder(directory: Path) -> int | None:
    """The process that holds a folder by now; None where nobody does."""
    try:
        lock = os.open(directory / "lock", os.O_RDWR)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return int(os.pread(lock, 32, 0).decode() or 0)
    finally:
        os.close(lock)
    return None
