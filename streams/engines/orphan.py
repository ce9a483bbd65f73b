"""A Python worker of Flink ends with the JVM that it works for.

Beam's worker ends when its connection does, but was seen to wait for a lock of its logging then, for good.
A task manager starts it through a shell, which outlives the JVM, so the system's own signal at a parent's
death (PR_SET_PDEATHSIG) does not come.
"""

import os
import select
import sys
import threading
from pathlib import Path


def end_with_jvm() -> None:
    """End this process as soon as its parent's parent is gone: on Linux; elsewhere Beam's end has to do."""
    if sys.platform != "linux":
        return
    jvm = int(Path(f"/proc/{os.getppid()}/stat").read_text().rpartition(")")[2].split()[1])
    try:
        descriptor = os.pidfd_open(jvm)
    except ProcessLookupError:
        os._exit(1)
    threading.Thread(target=_wait, args=(descriptor,), name="jvm", daemon=True).start()


def _wait(descriptor: int) -> None:
    gone = select.poll()
    gone.register(descriptor, select.POLLIN)
    gone.poll()
    os._exit(1)  # not sys.exit: that would wait for the threads that wait
