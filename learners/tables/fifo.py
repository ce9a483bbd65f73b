"""Columns of rows that wait: appended at the end, taken from the front, at a constant cost a row."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from state.tree import Tree

Columns = dict[str, tuple[type[np.generic], int]]
"""Name -> type and width; a width of 0 is one number a row."""


class Fifo:
    """First in, first out. Kernels read and write `columns` between `head` and `tail`."""

    def __init__(self, columns: Columns) -> None:
        self.columns: dict[str, NDArray[Any]] = {
            name: np.zeros((64, width) if width else 64, dtype) for name, (dtype, width) in columns.items()
        }
        self.head = 0
        self.tail = 0

    def __len__(self) -> int:
        return self.tail - self.head

    def extend(self, rows: int) -> int:
        """Room for `rows` at the end; the place of the first. Columns may be other arrays afterwards."""
        room = min((len(column) for column in self.columns.values()), default=1 << 62)
        if self.tail + rows > room:
            need = len(self) + rows
            for name, old in self.columns.items():
                new = old if 2 * need <= room else np.zeros((4 * need, *old.shape[1:]), old.dtype)
                new[: len(self)] = old[self.head : self.tail].copy()
                self.columns[name] = new
            self.head, self.tail = 0, len(self)
        self.tail += rows
        return self.tail - rows

    def take(self, rows: int) -> None:
        """The first `rows` wait no longer."""
        assert rows <= len(self), "more rows taken than wait"
        self.head += rows

    def tree(self) -> Tree:
        return {name: column[self.head : self.tail].copy() for name, column in self.columns.items()}

    def load(self, tree: Tree) -> None:
        self.head, self.tail = 0, 0
        for name, column in self.columns.items():
            self.tail = len(tree[name])
            self.columns[name] = np.array(tree[name], column.dtype)
