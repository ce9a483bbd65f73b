"""Checkpoints written while learning goes on."""

from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import numpy as np

from state import checkpoint
from state.tree import Tree, flatten, unflatten


class Saver:
    """Writes one checkpoint at a time, in a thread of its own, from a copy of the state."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._thread = ThreadPoolExecutor(1, "checkpoint")
        self._writing: Future[Path] | None = None

    @property
    def busy(self) -> bool:
        return self._writing is not None

    def start(self, events: int, tree: Tree) -> None:
        """Begin to write the state after so many events, once the one before is done with."""
        assert self._writing is None, "the last checkpoint was not asked for"
        copied = {
            path: np.array(leaf) if isinstance(leaf, np.ndarray) else leaf for path, leaf in flatten(tree)
        }
        self._writing = self._thread.submit(checkpoint.save, self.directory, events, unflatten(copied))

    def ended(self, *, wait: bool = False) -> bool:
        """Whether the checkpoint is there now: told once. Raises OSError where it could not be written."""
        if self._writing is None or not (wait or self._writing.done()):
            return False
        writing, self._writing = self._writing, None
        writing.result()
        return True

    def close(self) -> None:
        self._thread.shutdown()
