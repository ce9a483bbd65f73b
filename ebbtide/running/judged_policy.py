"""A policy judged on a log that says with which chance everything was shown: a learner's, another log's."""

import numpy as np

from ebbtide.report.comparisons import PolicyJudged
from ebbtide.running.plan import LIKE, policy_asked
from learners.judging.acting import Acted, ShowingPolicy, act
from learners.judging.measure import Measure
from learners.judging.off_policy import Shown, Target, evaluate
from learners.judging.policies import LikeLog, OneOfBest
from learners.tables.catalogue import Catalogue
from learners.training.trainer import Trainer
from replay.log import Log
from state.arrays import Doubles
from state.examples import ExampleBatch

_BATCH = 4096


def _like(log: str, catalogue: Catalogue) -> LikeLog:
    policy = LikeLog(catalogue)
    for events in Log.open(log).batches(_BATCH):
        policy.add(events.scene_B, events.item_B)
    return policy


class JudgedPolicy:
    """Says before every micro-batch what the policy would show; judges at the end."""

    columns = tuple(name.removesuffix("_B") for name in Acted._fields)
    """Of the predictions."""

    def __init__(self, asked: str, trainer: Trainer) -> None:
        self.asked, self.catalogue = asked, trainer.catalogue
        self.policy: ShowingPolicy
        if asked.startswith(LIKE):
            self.policy = _like(asked.removeprefix(LIKE), trainer.catalogue)
        else:
            name, best = policy_asked(asked)
            self.policy = OneOfBest(trainer.learners[name], trainer.had, best)
        self.acted: dict[str, Doubles] = {}
        """Of the micro-batch at hand."""

    def before(self, batch: ExampleBatch) -> None:
        """To be called before the trainer learns from a micro-batch."""
        self.acted = dict(zip(self.columns, act(self.policy, self.catalogue, batch), strict=True))

    def judge(self, measure: Measure, score_from: float | int) -> PolicyJudged:
        """Given what was measured of the whole run."""
        kept = measure.scored(("label", "user", *self.columns), score_from)
        known_E = ~np.isnan(kept["target"])
        label_E, user_E, propensity_E, target_E, predicted_E, expected_E = (
            column_E[known_E] for column_E in kept.values()
        )
        estimated = None
        if known_E.any():
            shown = Shown(label_E.astype(np.float64), propensity_E, user_E)
            estimated = evaluate(shown, Target(target_E, predicted_E, expected_E))
        return PolicyJudged(policy=self.asked, left_out=int((~known_E).sum()), found=estimated)
