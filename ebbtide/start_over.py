"""A command that had to compile kernels starts over, so that its results do not depend on that.

A kernel that was compiled in a process is not quite the one that the next process loads from disk: what it
calls may be optimised together with other callers, and sums in another order have other last bits. A digest
shows it. So a command rehearses first, and if that compiled anything, begins again with all kernels loaded.
"""

import os
import sys
from typing import NoReturn

_STARTED_OVER = "EBBTIDE_STARTED_OVER"
_commanded = False


def allow() -> None:
    """This process is a command of ours: it may start over."""
    global _commanded
    _commanded = True


def if_compiled() -> None:
    """Start over, once, if a kernel was compiled here; nothing of the command's work may be done yet."""
    from state.compiled import compiled_here

    if _commanded and compiled_here() and _STARTED_OVER not in os.environ:
        start_over(_STARTED_OVER, "1")


def start_over(variable: str, value: str) -> NoReturn:
    """Run the same command in this very process; an environment variable tells it that it is another."""
    os.environ[variable] = value
    sys.stdout.flush()
    sys.stderr.flush()
    os.execv(sys.executable, [sys.executable, "-m", "ebbtide", *sys.argv[1:]])
