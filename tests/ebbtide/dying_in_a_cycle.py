"""`ebbtide train` that is killed, as by kill -9, after a micro-batch in the midst of its third cycle."""

import os
import signal

import pytest

from ebbtide.commands.app import main
from ebbtide.live.trainer import LiveTrainer
from learners.systems.coea import CoEA
from tests.ebbtide.keeping import keep_everything


def program() -> None:
    patch = pytest.MonkeyPatch()
    keep_everything(patch)
    learn = LiveTrainer.step

    def step(self: LiveTrainer) -> bool:
        learned = learn(self)
        learner = self.parts.learning.trainer.learners["coea"]
        assert isinstance(learner, CoEA)
        evolved = learner.coevolution(self.intake.names)
        if evolved.running and len(evolved.cycles) >= 2:
            os.kill(os.getpid(), signal.SIGKILL)
        return learned

    patch.setattr(LiveTrainer, "step", step)
    main()
