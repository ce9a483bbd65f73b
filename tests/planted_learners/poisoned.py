"""A learner that fails on what its data say: for the tests of a trainer that must not.

A two-tower in all else. The poison is in the example, so that every process fails on the same one; by then
the weights have moved.
"""

import numpy as np

from learners.contract import Outcome, Step
from learners.systems.twotower import TwoTower
from state.examples import ExampleBatch, Floats

CANNOT_LEARN, CANNOT_SHOW, DIVERGES = -666.0, -667.0, -668.0
"""Ratings."""


class Poisoned(TwoTower):
    name = "poisoned"
    spoiled = diverged = False

    def step(self, step: Step) -> Outcome:
        outcome = super().step(step)
        if (step.batch.rating_B == CANNOT_LEARN).any():
            raise ZeroDivisionError("float division by zero")
        self.spoiled |= bool((step.batch.rating_B == CANNOT_SHOW).any())
        self.diverged |= bool((step.batch.rating_B == DIVERGES).any())
        return outcome

    def interests(self, batch: ExampleBatch) -> Floats:
        if self.spoiled:
            raise FloatingPointError("overflow encountered in exp")
        interests_BKD = super().interests(batch)
        return interests_BKD * np.float32(np.nan) if self.diverged else interests_BKD
