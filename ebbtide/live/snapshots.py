"""Checkpoints written while learning goes on, by a copy of the process, as databases take their snapshots.

A fork shares the memory until one of the two writes to it: learning is held up for some milliseconds, not for
as long as everything it has learned takes to be gathered and written.
"""

import ctypes
import errno
import gc
import os
import shutil
import signal
import sys
import time
import traceback
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

from state import checkpoint
from state.tree import Tree

LONGEST_S = 900.0
"""That a checkpoint may take before it is given up."""
_UNFORESEEN, _LOOK_S = 255, 0.005
_NICE = 10  # so that learning, workers and whoever else is there come first
_END_WITH_PARENT = 1  # PR_SET_PDEATHSIG
_libc = ctypes.CDLL(None) if sys.platform == "linux" else None


class Saver:
    """Writes one checkpoint at a time into a directory that no other process writes to."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._child = 0
        self._refused: OSError | None = None
        self._given_up_s = 0.0
        for left in directory.glob(".writing-*"):  # by one that was killed
            shutil.rmtree(left, ignore_errors=True)

    @property
    def busy(self) -> bool:
        return self._child > 0 or self._refused is not None

    def start(self, events: int, tree: Callable[[], Tree]) -> None:
        """Begin to write the state after so many events, once the one before is done with.

        `tree` is called in the copy, where no other thread runs: it must not wait for any.
        """
        assert not self.busy, "the last checkpoint was not asked for"
        made = tree() if _on_gpu() else None
        parent = os.getpid()
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", DeprecationWarning)  # Python 3.12 on: of threads' locks
                self._child = os.fork()
        except OSError as error:
            self._refused = error
            return
        if self._child == 0:
            _write(self.directory, events, tree if made is None else lambda: made, parent)
        self._given_up_s = time.monotonic() + LONGEST_S

    def ended(self, *, wait: bool = False) -> bool:
        """Whether the checkpoint is there now: told once. Raises OSError where it could not be written."""
        if self._refused is not None:
            refused, self._refused = self._refused, None
            raise refused
        if not self.busy:
            return False
        while True:
            if time.monotonic() > self._given_up_s:
                os.kill(self._child, signal.SIGKILL)
            child, status = os.waitpid(self._child, os.WNOHANG)
            if child:
                break
            if not wait:
                return False
            time.sleep(_LOOK_S)
        self._child = 0
        code = os.waitstatus_to_exitcode(status)
        if code == _UNFORESEEN:
            raise RuntimeError("a checkpoint could not be made; what its process said is above")
        if code < 0:
            raise OSError(0, f"the process that wrote it was ended by {signal.Signals(-code).name}")
        if code:
            raise OSError(code, os.strerror(code))
        return True


def _on_gpu() -> bool:
    """Whether this process has begun to use one, which a copy of it cannot."""
    torch = sys.modules.get("torch")
    return torch is not None and bool(torch.cuda.is_initialized())


def _write(directory: Path, events: int, tree: Callable[[], Tree], parent: int) -> NoReturn:
    """All that the copy does; nothing of it returns to the learning that it is a copy of."""
    code = _UNFORESEEN
    try:
        if _libc is not None:
            _libc.prctl(_END_WITH_PARENT, signal.SIGKILL)
        for asked_to_stop in (signal.SIGINT, signal.SIGTERM):
            signal.signal(asked_to_stop, signal.SIG_IGN)
        os.nice(_NICE)
        gc.disable()
        if os.getppid() == parent:
            checkpoint.save(directory, events, tree())
            code = 0
    except OSError as error:
        code = error.errno or errno.EIO
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(code)
