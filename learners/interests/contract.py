"""What knows a user by interests: STIM reads one, and any system that is one may stand there.

Shape suffixes: B rows, R some of them, C candidates.
"""

from abc import abstractmethod
from typing import Generic, Self, TypeVar

from learners.contract import Context, Learner
from state.examples import ExampleBatch, Floats
from state.keys import Int64s

Users = TypeVar("Users")
"""The users of some rows, as a unit knows them."""


class Unit(Learner, Generic[Users]):
    """A learner that scores given candidates without ranking all. Reading changes nothing."""

    @abstractmethod
    def users(self, batch: ExampleBatch) -> Users:
        """Each row's user as of that row."""

    @abstractmethod
    def nearest(self, users: Users, row_R: Int64s, count: int, among: int) -> Int64s:
        """Catalogue rows (R, `count`) of the best items for some rows of `users`, best first, of about the
        `among` most popular; -1 where there are fewer."""

    @abstractmethod
    def logits(self, users: Users, start_B1: Int64s, item_C: Int64s) -> Floats:
        """Scores (C,) of catalogue rows: those of row b are `start_B1[b]` to `start_B1[b + 1]`."""

    def anew(self, context: Context) -> Self:
        """Another with the same settings that has learned nothing."""
        return type(self)(self.config, context)
