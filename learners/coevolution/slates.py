"""Slates that were shown, as they were scored: the newest so many are kept to learn and to judge from.

Shape suffixes: B slates, C clusters, S places of a slate, the explore slot's last.
"""

from collections.abc import Sequence
from typing import NamedTuple, Self

import numpy as np

from learners.coevolution.inputs import Asked, Feedback, Inputs
from state.arrays import Bools, Doubles, Floats, Int64s
from state.tree import Tree


class Slates(NamedTuple):
    inputs: Inputs
    relevance_BC: Floats
    """By the Relevance model."""
    novel_BC: Bools
    cluster_BS: Int64s
    """What was shown, the explore slot's last."""
    accepted_BS: Bools
    propensity_B: Doubles
    """Of what the explore slot has shown; 1 where there was none."""
    explored_B: Bools
    """Whether there was one: else the last place was chosen like the others."""
    user_B: Int64s
    time_ms_B: Int64s

    @property
    def size(self) -> int:
        return len(self.user_B)

    def take(self, rows: Int64s | Bools | slice) -> Self:
        return type(self)._make(
            column.take(rows) if isinstance(column, Inputs) else column[rows] for column in self
        )

    @property
    def open_BC(self) -> Bools:
        """What the explore slot might have shown."""
        open_BC = self.novel_BC.copy()
        np.put_along_axis(open_BC, self.cluster_BS[:, :-1], False, 1)
        return open_BC

    @property
    def novel_BS(self) -> Bools:
        """Whether what was shown was novel."""
        return np.take_along_axis(self.novel_BC, self.cluster_BS, 1)

    @property
    def asked(self) -> Asked:
        """What the explore slot was asked with."""
        return Asked(self.inputs, self.relevance_BC.astype(np.float64), self.open_BC)

    @property
    def feedback(self) -> Feedback:
        propensity_BS = np.ones(self.cluster_BS.shape)
        propensity_BS[:, -1] = self.propensity_B
        return Feedback(self.inputs, self.cluster_BS, self.accepted_BS, propensity_BS)


def joined(parts: Sequence[Slates]) -> Slates:
    inputs = Inputs._make(
        np.concatenate([part.inputs[i] for part in parts]) for i in range(len(Inputs._fields))
    )
    rest = (np.concatenate([part[i] for part in parts]) for i in range(1, len(Slates._fields)))
    return Slates._make([inputs, *rest])


class Kept:
    """The newest `most` slates."""

    def __init__(self, most: int) -> None:
        self.most = most
        self._parts: list[Slates] = []

    def __len__(self) -> int:
        return sum(part.size for part in self._parts)

    def add(self, slates: Slates) -> None:
        if not slates.size:
            return
        self._parts.append(slates)
        while len(self) - self._parts[0].size >= self.most:
            self._parts.pop(0)

    def forget(self, user_U: Int64s) -> None:
        """Keep nothing of these users."""
        parts = [part.take(~np.isin(part.user_B, user_U)) for part in self._parts]
        self._parts = [part for part in parts if part.size]

    def all(self) -> Slates:
        """In the order in which they came; there is one at least."""
        if len(self._parts) > 1:
            self._parts = [joined(self._parts)]
        return self._parts[0].take(slice(max(len(self) - self.most, 0), None))

    def tree(self) -> Tree:
        return slates_tree(self.all()) if len(self) else {}

    def load(self, tree: Tree) -> None:
        self._parts = [slates_of(tree)] if tree else []


def slates_tree(slates: Slates) -> Tree:
    return {**slates._asdict(), "inputs": slates.inputs._asdict()}


def slates_of(tree: Tree) -> Slates:
    inputs = Inputs(**{name: np.array(tree["inputs"][name]) for name in Inputs._fields})
    rest = {name: np.array(tree[name]) for name in Slates._fields if name != "inputs"}
    return Slates(inputs=inputs, **rest)
