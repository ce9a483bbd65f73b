"""What a policy would have earned, judged on what another one has shown.

Every event of the log says what was shown, what came of it, and with which probability it was shown (the
propensity). The weight of an event is how much likelier the judged policy shows the same:
target / propensity.

    IPS     mean(weight x reward)                              unbiased where the log had every choice open
    SNIPS   sum(weight x reward) / sum(weight)                 Swaminathan and Joachims, NeurIPS 2015
    DR      mean(expected + weight x (reward - predicted))     Dudik, Langford and Li, ICML 2011

All three are means, or quotients of means, so each event's influence is known in closed form, and an interval
comes from the influences summed over users (`learners.judging.metrics.standard_error`): events of one user
are not independent. Large weights are clipped, and what clipping takes away is said: beyond `MOST_CLIPPED` of
all weight, with fewer than `LEAST_EFFECTIVE` effective events, or where an interval holds both answers, the
verdict is "cannot tell".

Shape suffixes: E events, U users.
"""

from typing import Literal, NamedTuple

import msgspec
import numpy as np

from learners.judging.metrics import Z95, standard_error
from state.arrays import Doubles, Int64s
from state.errors import InputError

CLIP = 50.0
"""The largest weight that an event may have, unless said otherwise."""
MOST_CLIPPED = 0.05
LEAST_EFFECTIVE = 30.0

Verdict = Literal["better", "worse", "cannot tell"]


class Estimated(NamedTuple):
    """A value, and what each event adds to its deviation."""

    value: float
    influence_E: Doubles


class Shown(NamedTuple):
    """What was shown, and what came of it."""

    reward_E: Doubles
    propensity_E: Doubles
    """In (0, 1]: with which the log's policy showed it."""
    user_E: Int64s
    """Any number for each user."""


class Target(NamedTuple):
    """The policy that is judged, and what a model of the reward says, if there is one."""

    target_E: Doubles
    """With which probability it shows what was shown."""
    predicted_E: Doubles | None = None
    """The reward that the model expects of what was shown."""
    expected_E: Doubles | None = None
    """The same of what the policy would show: the mean over its choices."""


class Estimate(msgspec.Struct, frozen=True, kw_only=True):
    """A value with its 95% interval; no bounds where there are fewer than two users."""

    value: float
    low: float | None
    high: float | None


class OffPolicy(msgspec.Struct, frozen=True, kw_only=True):
    """What a log says of a policy."""

    events: int
    effective_events: float
    """(sum of weights)^2 / sum of their squares: how many events of the policy's own the log is worth."""
    mean_weight: float
    """Before clipping. Far from 1, propensities are wrong, or the log never shows what the policy would."""
    clip: float
    clipped: float
    """Share of all weight that clipping took away."""
    logged: Estimate
    """The reward of the log's own policy."""
    ips: Estimate
    snips: Estimate
    dr: Estimate | None
    difference: Estimate
    """SNIPS less the log's own reward, paired by event."""
    verdict: Verdict


def weights(shown: Shown, target_E: Doubles, clip: float = CLIP) -> Doubles:
    """target / propensity, at most `clip`. Raises InputError where a propensity is not in (0, 1]."""
    wrong_E = ~((shown.propensity_E > 0.0) & (shown.propensity_E <= 1.0 + 1e-9))
    if wrong_E.any():
        raise InputError(
            f"propensity: expected numbers above 0 and at most 1, got {shown.propensity_E[wrong_E][0]}"
            f" ({int(wrong_E.sum())} of {len(wrong_E)} events); leave those events out of the log"
        )
    return np.asarray(np.minimum(target_E / shown.propensity_E, clip))


def mean(reward_E: Doubles) -> Estimated:
    """The log's own reward."""
    value = float(reward_E.mean())
    return Estimated(value, (reward_E - value) / len(reward_E))


def ips(reward_E: Doubles, weight_E: Doubles) -> Estimated:
    return mean(weight_E * reward_E)


def snips(reward_E: Doubles, weight_E: Doubles) -> Estimated:
    """Raises InputError where all weights are 0: the log never shows what the policy would."""
    total = float(weight_E.sum())
    if total <= 0.0:
        raise InputError("off-policy: the log never shows what the policy would show; nothing can be said")
    value = float((weight_E * reward_E).sum() / total)
    return Estimated(value, weight_E * (reward_E - value) / total)


def doubly_robust(
    reward_E: Doubles, weight_E: Doubles, predicted_E: Doubles, expected_E: Doubles
) -> Estimated:
    return mean(expected_E + weight_E * (reward_E - predicted_E))


def interval(estimated: Estimated, user_E: Int64s) -> Estimate:
    """95%, over users."""
    _, row_E = np.unique(user_E, return_inverse=True)
    users = int(row_E.max()) + 1 if len(row_E) else 0
    if users < 2:
        return Estimate(value=estimated.value, low=None, high=None)
    half = Z95 * standard_error(np.bincount(row_E, estimated.influence_E, users).astype(np.float64), users)
    return Estimate(value=estimated.value, low=estimated.value - half, high=estimated.value + half)


def less(one: Estimated, other: Estimated) -> Estimated:
    """A difference, paired by event."""
    return Estimated(one.value - other.value, one.influence_E - other.influence_E)


def effective(weight_E: Doubles) -> float:
    squares = float(np.square(weight_E).sum())
    return float(weight_E.sum()) ** 2 / squares if squares else 0.0


def evaluate(shown: Shown, target: Target, clip: float = CLIP) -> OffPolicy:
    """Everything that a log says of a policy. Raises InputError as `weights` and `snips` do."""
    if not len(shown.reward_E):
        raise InputError("off-policy: expected events with a reward and a propensity, got none")
    whole_E, weight_E = weights(shown, target.target_E, np.inf), weights(shown, target.target_E, clip)
    logged, own = mean(shown.reward_E), snips(shown.reward_E, weight_E)
    difference = interval(less(own, logged), shown.user_E)
    clipped, worth = 1.0 - float(weight_E.sum() / whole_E.sum()), effective(weight_E)
    told = clipped <= MOST_CLIPPED and worth >= LEAST_EFFECTIVE
    robust = None
    if target.predicted_E is not None and target.expected_E is not None:
        robust = interval(
            doubly_robust(shown.reward_E, weight_E, target.predicted_E, target.expected_E), shown.user_E
        )
    return OffPolicy(
        events=len(shown.reward_E),
        effective_events=worth,
        mean_weight=float(whole_E.mean()),
        clip=clip,
        clipped=clipped,
        logged=interval(logged, shown.user_E),
        ips=interval(ips(shown.reward_E, weight_E), shown.user_E),
        snips=interval(own, shown.user_E),
        dr=robust,
        difference=difference,
        verdict=_verdict(difference) if told else "cannot tell",
    )


def _verdict(difference: Estimate) -> Verdict:
    if difference.low is not None and difference.low > 0.0:
        return "better"
    return "worse" if difference.high is not None and difference.high < 0.0 else "cannot tell"
