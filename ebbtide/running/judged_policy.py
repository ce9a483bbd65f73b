"""A policy judged on a log that says with which chance everything was shown: a learner's, another log's."""

from collections.abc import Collection

import numpy as np

from ebbtide.config import RunConfig
from ebbtide.report.comparisons import PolicyJudged
from learners.judging.acting import Acted, Policy, act
from learners.judging.measure import Measure
from learners.judging.off_policy import Shown, Target, evaluate
from learners.judging.policies import LikeLog, OneOfBest
from learners.registry import able, learner
from learners.tables.catalogue import Catalogue
from learners.training.trainer import Trainer
from replay.log import Log
from state.arrays import Doubles
from state.errors import InputError
from state.examples import ExampleBatch

_OPTION, _LIKE = "--off-policy", "like:"
_BATCH = 4096


def judged_learner(config: RunConfig, *, labelled: bool, roles: Collection[str]) -> list[str]:
    """The learner whose policy is to be judged, if there is one.

    Raises InputError where it cannot be, or the log does not say what was shown with which chance.
    """
    if config.off_policy is None:
        return []
    if "propensity" not in roles:
        raise InputError(
            f"{_OPTION}: the log has no propensity, the chance with which an item was shown; without it "
            "nothing can be said of another policy. Map one with --map propensity=COLUMN"
        )
    if not labelled:
        raise InputError(f"{_OPTION}: the log has no label, so no reward; give --label RULE")
    if config.off_policy.startswith(_LIKE):
        return []
    name, _ = _parsed(config.off_policy)
    if not learner(name).ranks:
        raise InputError(
            f"{_OPTION} {name}: a policy has to rank, and it predicts only; take one of "
            + ", ".join(able(lambda one: one.ranks))
        )
    return [name]


def _parsed(said: str) -> tuple[str, int]:
    name, colon, best = said.partition(":")
    if colon and not (best.isdecimal() and int(best) > 0):
        raise InputError(
            f"{_OPTION} {said}: expected LEARNER or LEARNER:K with K at least 1, such as stim:10"
        )
    return name, int(best) if colon else 1


def _like(log: str, catalogue: Catalogue) -> LikeLog:
    policy = LikeLog(catalogue)
    for events in Log.open(log).batches(_BATCH):
        policy.add(events.scene_B, events.item_B)
    return policy


class JudgedPolicy:
    """Says before every micro-batch what the policy would show; judges at the end."""

    columns = tuple(name.removesuffix("_B") for name in Acted._fields)
    """Of the predictions."""

    def __init__(self, said: str, trainer: Trainer) -> None:
        self.said, self.catalogue = said, trainer.catalogue
        self.policy: Policy
        if said.startswith(_LIKE):
            self.policy = _like(said.removeprefix(_LIKE), trainer.catalogue)
        else:
            name, best = _parsed(said)
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
        found = None
        if known_E.any():
            shown = Shown(label_E.astype(np.float64), propensity_E, user_E)
            found = evaluate(shown, Target(target_E, predicted_E, expected_E))
        return PolicyJudged(policy=self.said, left_out=int((~known_E).sum()), found=found)
