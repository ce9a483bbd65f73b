"""Processes of this machine, as tests look at them.

By psutil, whose looks stand it that a process, a thread or a descriptor goes while they last.
"""

from contextlib import suppress
from pathlib import Path

import psutil


def lives(pid: int) -> bool:
    """Whether there is a process of that number that does more than wait to be reaped."""
    try:
        return psutil.Process(pid).status() not in (psutil.STATUS_ZOMBIE, psutil.STATUS_DEAD)
    except psutil.NoSuchProcess:
        return False


def processes_of(folder: Path) -> list[int]:
    """Living processes that know of the folder by their command line or work in it."""
    return [
        one.pid
        for one in psutil.process_iter(["cmdline", "cwd"])
        if any(str(folder) in word for word in one.info["cmdline"] or ())
        or Path(one.info["cwd"] or "/").is_relative_to(folder)
        if lives(one.pid)
    ]


def children(pid: int, folder: Path) -> list[int]:
    """Processes that a living process has started, and that know of the folder by their command line."""
    found = []
    for one in psutil.Process(pid).children():
        with suppress(psutil.NoSuchProcess):  # it has ended since
            found += [one.pid] if any(str(folder) in word for word in one.cmdline()) else []
    return found


def listening(pid: int) -> dict[int, str]:
    """Port -> address that a process listens at."""
    return {
        one.laddr.port: one.laddr.ip
        for one in psutil.Process(pid).net_connections("tcp")
        if one.status == psutil.CONN_LISTEN
    }
