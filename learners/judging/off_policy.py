"""What a policy would have earned, judged on what another one has shown.

Every event of the log says what was shown, what came of it, and with which probability it was shown (the
propensity). The weight of an event is how much likelier the judged policy shows the same:
target / propensity.

    IPS     mean(weight x reward)                              unbiased where the log had every choice open
    SNIPS   sum(weight x reward) / sum(weight)                 Swaminathan and Joachims, NeurIPS 2015
    DR      mean(expected + weight x (reward - predicted))     Dudik, Langford and Li, ICML 2011

All three are means, or quotients of means, so each event's influence is known in closed form, and an interval
comes from the influences summed over users (`learners.judging.metrics.standard_error`): events of one user
are not independent. Large weights are clipped, and what clipping takes away is said. The verdict is "cannot
tell", with the reason, where clipping took more than `MOST_CLIPPED` of all weight, where the log is worth
fewer than `LEAST_EFFECTIVE` events, where weights do not average 1, as they do if propensities are right and
the log could show whatever the policy would, and where the interval holds both answers.

Shape suffixes: E events, U users.
"""

import math
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
FAR_FROM_1, FAR_ERRORS = 0.1, 3.3
"""Weights do not average 1 where they are off by so much, and by so many standard errors: one log in a
thousand, by chance."""

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
    ips: Estimate | None
    snips: Estimate | None
    dr: Estimate | None
    """None without a model of the reward; all are where the log never shows what the policy would."""
    difference: Estimate | None
    """SNIPS less the log's own reward, paired by event."""
    verdict: Verdict
    reason: str
    """Why that is the verdict."""


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


def less(left: Estimated, right: Estimated) -> Estimated:
    """A difference, paired by event."""
    return Estimated(left.value - right.value, left.influence_E - right.influence_E)


def effective(weight_E: Doubles) -> float:
    squares = float(np.square(weight_E).sum())
    return float(weight_E.sum()) ** 2 / squares if squares else 0.0


def evaluate(shown: Shown, target: Target, clip: float = CLIP) -> OffPolicy:
    """Everything that a log says of a policy. Raises InputError as `weights` does."""
    if not len(shown.reward_E):
        raise InputError("off-policy: expected events with a reward and a propensity, got none")
    whole_E, weight_E = weights(shown, target.target_E, np.inf), weights(shown, target.target_E, clip)
    logged, worth, whole = mean(shown.reward_E), effective(weight_E), float(whole_E.sum())
    clipped = 1.0 - float(weight_E.sum()) / whole if whole else 0.0
    estimates: dict[str, Estimate | None] = dict.fromkeys(("ips", "snips", "dr", "difference"))
    if whole:
        own = snips(shown.reward_E, weight_E)
        made = {"ips": ips(shown.reward_E, weight_E), "snips": own, "difference": less(own, logged)}
        if target.predicted_E is not None and target.expected_E is not None:
            made["dr"] = doubly_robust(shown.reward_E, weight_E, target.predicted_E, target.expected_E)
        estimates |= {name: interval(estimated, shown.user_E) for name, estimated in made.items()}
    doubt = _doubt(clipped, clip, worth, interval(mean(whole_E), shown.user_E))
    verdict, reason = _verdict(estimates["difference"], doubt)
    return OffPolicy(
        events=len(shown.reward_E),
        effective_events=worth,
        mean_weight=whole / len(whole_E),
        clip=clip,
        clipped=clipped,
        logged=interval(logged, shown.user_E),
        **estimates,
        verdict=verdict,
        reason=reason,
    )


def _doubt(clipped: float, clip: float, worth: float, weight: Estimate) -> str | None:
    """Why nothing can be told, whatever the estimates say."""
    if worth < LEAST_EFFECTIVE:
        return (
            f"the log is worth {worth:.1f} events of this policy, {LEAST_EFFECTIVE:g} are needed: it hardly "
            "ever shows what the policy would"
        )
    if clipped > MOST_CLIPPED:
        return f"clipping at {clip:g} took {clipped:.0%} of all weight, at most {MOST_CLIPPED:.0%} is honest"
    off = abs(weight.value - 1.0)
    error = math.inf if weight.high is None else (weight.high - weight.value) / Z95
    if off > FAR_FROM_1 and off > FAR_ERRORS * error:
        return (
            f"weights average {weight.value:.2f}, and 1 is expected: propensities are not right, or the log "
            "could not show what the policy would"
        )
    return None


def _verdict(difference: Estimate | None, doubt: str | None) -> tuple[Verdict, str]:
    if doubt:
        return "cannot tell", doubt
    if difference is None or difference.low is None or difference.high is None:
        return "cannot tell", "one user has no interval"
    between = f"between {difference.low:+.3g} and {difference.high:+.3g} of the log's own reward"
    if difference.low > 0.0:
        return "better", between
    return ("worse", between) if difference.high < 0.0 else ("cannot tell", f"{between}: both are possible")
