"""What ran beside a run's models in its report: the parts `ablation`, `staleness` and `off_policy`."""

from collections.abc import Iterable

import msgspec

from learners.judging.evaluation import Compared, Evaluation, Part
from learners.judging.metrics import LOWER_IS_BETTER, METRICS
from learners.judging.off_policy import OffPolicy
from state.difference import Difference
from state.drift_alarm import DriftAction, Worth

DECISIVE = ("auc", "log_loss", "recall@10", "ndcg@10")
"""The metrics that a verdict goes by."""
NEVER = "never acted"


class Variant(msgspec.Struct, frozen=True, kw_only=True):
    """The model with one part switched off; differences are variant minus model."""

    name: str
    events: int
    differences: list[Difference]
    verdict: str


class Ablation(msgspec.Struct, frozen=True, kw_only=True):
    """What each part of the model is worth, in the same pass over the log."""

    learner: str
    scored: Part
    """The whole model."""
    variants: list[Variant]


class PolicyJudged(msgspec.Struct, frozen=True, kw_only=True):
    """What a policy would have earned on the scored part."""

    policy: str
    """LEARNER shows its best item, LEARNER:K any of its K best, like:LOG each as often as that log."""
    left_out: int
    """Scored events without a propensity, or with nothing that the policy could show."""
    found: OffPolicy | None
    """None where that was all of them."""


class Copy(msgspec.Struct, frozen=True, kw_only=True):
    """A learner served from weights published every `sync_s` seconds of stream time; 0 is itself."""

    learner: str
    sync: str
    sync_s: float
    published: int
    events: int
    differences: list[Difference]


class Retrained(msgspec.Struct, frozen=True, kw_only=True):
    """A learner retrained offline on everything so far, and served for `every_s`."""

    learner: str
    every_s: float
    stride: int
    """Every so-manieth day was served; on the others nothing is compared."""
    passes: int
    trainings: int
    events: int
    differences: list[Difference]


class Staleness(msgspec.Struct, frozen=True, kw_only=True):
    """What freshness is worth: quality against how old the served weights are."""

    batch_s: float
    """Mean stream time of a micro-batch: what a learner that learns batch by batch lags by itself."""
    copies: list[Copy]
    offline: list[Retrained]
    offline_cpu_seconds: float
    """What the retrainings took, for all learners together."""
    offline_daily_cpu_seconds: float
    """What they would take if every day were served."""

    def find(self, learner: str) -> list[Copy]:
        """A learner's copies, the freshest first."""
        return [copy for copy in self.copies if copy.learner == learner]


def ablation(evaluation: Evaluation, model: str, prefix: str, never: str | None) -> Ablation:
    """Of a finished run; variants are those compared whose name begins with `prefix`, and `never` is the one
    whose lack made no difference since nobody acted."""
    full = next(judged for judged in evaluation.learners if judged.name == model)
    variants = [
        judged for judged in evaluation.compared if judged.of == model and judged.name.startswith(prefix)
    ]
    return Ablation(
        learner=model,
        scored=full.scored,
        variants=[
            Variant(
                name=judged.name.removeprefix(prefix),
                events=judged.events,
                differences=judged.differences,
                verdict=NEVER if judged.name == never else worth(judged.differences),
            )
            for judged in variants
        ],
    )


def decisive(samples: Iterable[Iterable[Difference]]) -> list[str]:
    """Those metrics of DECISIVE in which any of them differ."""
    named = {difference.metric for differences in samples for difference in differences}
    return [metric for metric in DECISIVE if metric in named]


def judged(actions: Iterable[DriftAction]) -> list[tuple[DriftAction, Worth]]:
    """Actions of which is known what they were worth, and that."""
    return [(action, action.worth) for action in actions if action.worth is not None]


def worth(differences: Iterable[Difference]) -> str:
    """In words, what the part that the variant lacks is worth."""
    signs = {sign(one) for one in differences if one.metric in DECISIVE}
    if signs <= {None}:
        return "too few users to tell"
    if {1, -1} <= signs:
        return "helps in one way, harms in another"
    return "earns its place" if -1 in signs else "harms here" if 1 in signs else "worth nothing here"


def sign(difference: Difference) -> int | None:
    """+1 where the variant is clearly better, -1 where it is clearly worse, 0 where its interval holds 0."""
    if difference.low is None or difference.high is None:
        return None
    up = -1 if difference.metric in LOWER_IS_BETTER else 1
    return up if difference.low > 0 else -up if difference.high < 0 else 0


def same(difference: Difference) -> bool:
    """Whether there is none at all: what differs has no say in this metric."""
    return not (difference.difference or difference.low or difference.high)


def immediate(evaluation: Evaluation, learner: str) -> Copy:
    """The learner itself as a copy that is never stale."""
    judged = next(one for one in evaluation.learners if one.name == learner)
    part = judged.scored
    values = [(metric, part.value(metric)) for metric in METRICS]
    return Copy(
        learner=learner,
        sync="immediate",
        sync_s=0.0,
        published=0,
        events=part.events if judged.predicts else part.ranked,
        differences=[
            Difference(metric=metric, value=value, difference=0.0, low=0.0, high=0.0)
            for metric, value in values
            if value is not None
        ],
    )


def copy(compared: Compared, sync: str, sync_s: float, published: int) -> Copy:
    """A copy as it was judged."""
    return Copy(
        learner=compared.of,
        sync=sync,
        sync_s=sync_s,
        published=published,
        events=compared.events,
        differences=compared.differences,
    )
