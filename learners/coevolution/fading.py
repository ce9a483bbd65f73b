"""Counts of users and clusters that fade with a half-life, the same to the last bit however events are cut
into batches.

What fades is kept as of an origin that is a whole number of half-lives: an event at time t adds
2^(t / half-life - origin), and moving the origin multiplies by a power of two, which rounds nothing.

Shape suffixes: B rows, U users, C clusters.
"""

import numpy as np

from learners.tables.growing import grown
from state.arrays import Doubles, Int64s
from state.tree import Tree

_MOST_AHEAD = 64
"""Half-lives that an event may lie after the origin before the origin moves."""


class FadingCounts:
    """Sums of amounts by (user, cluster). `half_life_ms` None: they do not fade."""

    def __init__(self, clusters: int, half_life_ms: float | None) -> None:
        self.half_life_ms = half_life_ms
        self.origin: int | None = None
        """In half-lives since the epoch; None before the first event."""
        self.newest = 0
        """The latest event's, likewise."""
        self.value_UC: Doubles = np.zeros((0, clusters))

    def reserve(self, users: int) -> None:
        self.value_UC = grown(self.value_UC, users)

    def add(self, user_B: Int64s, cluster_B: Int64s, time_ms_B: Int64s, amount_B: Doubles) -> None:
        """Rows of users have room; amounts at their times, in order."""
        if self.half_life_ms is not None and len(user_B):
            lives_B = time_ms_B / self.half_life_ms
            whole_B = np.floor(lives_B)
            origin = self._moved(int(whole_B.max()))
            amount_B = np.ldexp(amount_B * np.exp2(lives_B - whole_B), (whole_B - origin).astype(np.int64))
        np.add.at(self.value_UC, (user_B, cluster_B), amount_B)

    def at(self, user_B: Int64s, time_ms_B: Int64s) -> Doubles:
        """What is left of each row's user's counts at its time (B, C); a user of row -1 has none."""
        return self._faded(np.where(user_B[:, None] < 0, 0.0, self.value_UC[user_B]), time_ms_B)

    def all_at(self, users: int, time_ms: int) -> Doubles:
        """The same of all users (U, C) at one time."""
        return self._faded(self.value_UC[:users], np.full(users, time_ms))

    def _faded(self, value_BC: Doubles, time_ms_B: Int64s) -> Doubles:
        if self.half_life_ms is None or self.origin is None:
            return np.array(value_BC)
        return np.asarray(value_BC * np.exp2(self.origin - time_ms_B / self.half_life_ms)[:, None])

    def _moved(self, newest: int) -> int:
        """The origin, moved if need be."""
        self.newest = newest if self.origin is None else max(self.newest, newest)
        if self.origin is None:
            self.origin = newest
        elif newest > self.origin + _MOST_AHEAD:
            self.value_UC = np.ldexp(self.value_UC, self.origin - newest)
            self.origin = newest
        return self.origin

    def tree(self, users: int) -> Tree:
        moved = 0 if self.origin is None else self.origin - self.newest
        return {"origin": self.newest, "value_UC": np.ldexp(self.value_UC[:users], moved)}

    def load(self, tree: Tree) -> None:
        self.origin = self.newest = int(tree["origin"])
        self.value_UC = np.array(tree["value_UC"])
