"""A further pass of retraining offline over rows that a copy path has learned before.

Gradients move the mixture once more, and the interests; the crowd is counted, and gains nothing. A row's
evidence must be that of serving: a crowd, or interests, that know the row and what came after it would speak
for its item in a way that they never do when it counts. So a second catalogue, crowd and interests grow from
nothing along the pass, beside the real ones and at the same delays, and give the evidence. They are dropped
at its end.
"""

from dataclasses import replace

from learners.contract import NO_RANKS, Step
from learners.copying.copy_path import CopyPath
from learners.tables.catalogue import Catalogue
from learners.tables.pending import Pending
from state.examples import ExampleBatch


class FurtherPass:
    """Passes over all rows that `copy` has learned, in order, one after the other.

    It is no part of a state: a pass begins and ends within a retraining.
    """

    def __init__(self, copy: CopyPath) -> None:
        self.copy = copy
        self._beside: CopyPath | None = None
        self._pending = Pending()
        self._rows = 0

    def learn(self, batch: ExampleBatch) -> None:
        """The next rows of the pass; after the last, the next call begins another."""
        copy = self.copy
        if self._beside is None:
            self._beside = _beginning(copy)
            self._pending, self._rows = Pending(), 0
        due_B = self._pending.due(batch)
        self._pending.push(batch)
        queue = self._pending.pop(int(due_B[-1]))
        self._beside.context.catalogue.step(batch, queue, due_B)
        self._beside.step(Step(batch, queue, due_B, NO_RANKS))
        copy.interests.relearn(batch)
        self._rows += len(batch)
        if self._rows >= copy.search.counted:
            self._beside.learn(self._pending.pop(len(self._pending)))
            self._beside = None


def _beginning(copy: CopyPath) -> CopyPath:
    """A copy path that knows nothing yet, but for the mixture, which it shares with `copy`."""
    context = replace(copy.context, catalogue=Catalogue())
    beside = CopyPath(copy.settings, context, copy.interests.anew(context))
    beside.mixture = copy.mixture
    return beside
