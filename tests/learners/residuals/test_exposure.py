"""What was shown counts at once, and by its definition."""

import numpy as np
import pytest

from learners.residuals.exposure import Exposure, ExposurePart
from tests.learners.parts import Drive, Log


def test_contrast_and_run_by_their_definition() -> None:
    log = Log(120, delay=1000)
    made_BF = Drive(ExposurePart(Exposure(keep=0.75)), log).run(0, 120, 17)
    for b in range(120):
        mine = [q for q in range(b) if log.user[q] == log.user[b]]
        average = 0.0
        for k, q in enumerate(mine):
            average += max(1 / (k + 1), 0.25) * (log.logit[q] - average)
        contrast = (log.logit[b] - average) / 2 * len(mine) / (len(mine) + 3)
        run = sum(log.time_ms[q] == log.time_ms[b] for q in mine)
        assert made_BF[b] == pytest.approx([contrast, np.log1p(run) / 2])
