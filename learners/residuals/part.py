"""What a part is: features from the past of a row's user and item, learned from a base model's residuals.

A part sees users and items as dense rows (`learners.tables.dense_rows` gives them). Its features are made
when a row is scored and learned from as they were: what it needs of that moment waits, first in first out,
until the outcome is known. Like every learner it scores row b of a micro-batch after the first `due_B[b]`
rows of the queue were learned, whatever the micro-batch.

Shape suffixes: B rows to score, Q rows of the queue, F features, U users, I items.
"""

from abc import ABC, abstractmethod
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from learners.tables.fifo import Columns, Fifo
from learners.tables.growing import grown
from state.examples import Doubles
from state.keys import Int64s
from state.tree import Tree


class ResidualRows(NamedTuple):
    """Rows to score."""

    user_B: Int64s
    """Dense row of the user; -1 for one that is not known, when nothing is to be changed."""
    item_B: Int64s
    time_ms_B: Int64s
    category_B: Int64s
    """Key of the category, or NO_KEY."""
    logit_B: Doubles
    """What the base model says, in log odds."""


class Known(NamedTuple):
    """Rows whose outcome becomes known, in the order in which they were scored."""

    user_Q: Int64s
    """-1 where the user was forgotten meanwhile."""
    item_Q: Int64s
    logit_Q: Doubles
    """What the base model said."""
    label_Q: Doubles
    """The outcome in 0..1; a NaN teaches nothing."""
    residual_Q: Doubles
    """Label less the base model's probability."""


class ResidualPart(ABC):
    """Keeps columns per user and per item, columns of waiting rows, and arrays that all share."""

    names: tuple[str, ...]
    """Of its features, which are numbers of about -1..1, 0 where nothing is known."""

    def __init__(
        self,
        *,
        users: Columns | None = None,
        items: Columns | None = None,
        waiting: Columns | None = None,
        shared: dict[str, NDArray[Any]] | None = None,
    ) -> None:
        self.users, self.items = _empty(users or {}), _empty(items or {})
        self.shared = shared or {}
        self.waiting = Fifo(waiting or {})
        self.size = (0, 0)
        """Users and items that it keeps columns for."""

    @abstractmethod
    def step(self, rows: ResidualRows, known: Known, due_B: Int64s) -> Doubles:
        """Features (B, F) of each row, made after the rows of `known` below `due_B[b]` were learned.

        Rows of `known` that no row was due for are learned at the end.
        """

    @abstractmethod
    def peek(self, rows: ResidualRows) -> Doubles:
        """Features (B, F) as of now; changes nothing."""

    def admit(self, user_keys_U: Int64s, item_keys_I: Int64s) -> None:
        """Make columns for all these ids; those that it has are the first of them."""
        self.users = _roomy(self.users, len(user_keys_U))
        self.items = _roomy(self.items, len(item_keys_I))
        self.size = (len(user_keys_U), len(item_keys_I))

    def keep(self, users: Int64s, items: Int64s) -> None:
        """Forget all users and items but these rows; the k-th of them becomes row k."""
        self.users = {name: column[users] for name, column in self.users.items()}
        self.items = {name: column[items] for name, column in self.items.items()}
        self.size = (len(users), len(items))

    def tree(self) -> Tree:
        users, items = self.size
        return {
            "users": {name: column[:users].copy() for name, column in self.users.items()},
            "items": {name: column[:items].copy() for name, column in self.items.items()},
            "size": np.array(self.size),
            "waiting": self.waiting.tree(),
            "shared": {name: array.copy() for name, array in self.shared.items()},
        }

    def load(self, tree: Tree) -> None:
        self.users = {name: np.array(tree["users"][name]) for name in self.users}
        self.items = {name: np.array(tree["items"][name]) for name in self.items}
        self.size = (int(tree["size"][0]), int(tree["size"][1]))
        self.waiting.load(tree.get("waiting", {}))
        self.shared = {name: np.array(tree["shared"][name]) for name in self.shared}


def moved(kept: Int64s, size: int) -> Int64s:
    """The new row of each of `size` old rows, -1 where it is not among `kept`."""
    moved_N = np.full(size, -1, np.int64)
    moved_N[kept] = np.arange(len(kept))
    return moved_N


def renumbered(rows: Int64s, moved_N: Int64s) -> Int64s:
    """`rows` by their new numbers; -1 stays -1."""
    return np.where(rows < 0, -1, moved_N[rows])


def _empty(columns: Columns) -> dict[str, NDArray[Any]]:
    return {name: np.zeros((0, width) if width else 0, dtype) for name, (dtype, width) in columns.items()}


def _roomy(columns: dict[str, NDArray[Any]], rows: int) -> dict[str, NDArray[Any]]:
    """Columns with room for `rows`; twice that where they had too little."""
    return {name: grown(old, 2 * rows if rows > len(old) else 0) for name, old in columns.items()}
