"""The gate: whether a new version may serve, judged on what held-back users did with the explore slot.

Nobody has learned Novelty from these users. Both versions are judged by SNIPS on the same events, with the
propensities that the slot gave: the new one is promoted if its estimate is no lower. Too few events say
nothing, nor do many that are worth few, as they show little of what the new version would: it is refused.

A likelihood of what was accepted does not see what a cycle changes, so it is no gate. All of it is ours; that
a cycle ends with re-evaluation is the paper's (arXiv:2508.00450).

Shape suffixes: E events, C clusters.
"""

import numpy as np

from learners.coevolution.contracts import Policy
from learners.coevolution.record import Verdict
from learners.coevolution.slates import Slates
from learners.judging.off_policy import Shown, effective, interval, less, snips, weights
from state.arrays import Doubles

LEAST_EVENTS = 1000
LEAST_WORTH = 0.25
"""How many effective events so many must be worth, as a share of the least."""


def judge(before: Doubles, after: Doubles, events: Slates, least: int = LEAST_EVENTS) -> Verdict:
    """Given what the slot of either version shows with which probability what was shown (E,)."""
    if events.size < least:
        return too_few(events.size, least)
    shown = Shown(events.accepted_BS[:, -1].astype(np.float64), events.propensity_B, events.user_B)
    weight_E = weights(shown, after)
    old, new = snips(shown.reward_E, weights(shown, before)), snips(shown.reward_E, weight_E)
    worth, better = effective(weight_E), new.value >= old.value
    reason = f"acceptance of {new.value:.4f} is {'no lower than' if better else 'below'} {old.value:.4f}"
    if worth < LEAST_WORTH * least:
        reason = (
            f"{events.size:,} explored events of held-back users are worth {worth:,.0f} of the new version,"
            f" {LEAST_WORTH * least:,.0f} are needed"
        )
    return Verdict(
        promoted=better and worth >= LEAST_WORTH * least,
        reason=reason,
        events=events.size,
        effective_events=worth,
        before=interval(old, shown.user_E),
        after=interval(new, shown.user_E),
        difference=interval(less(new, old), shown.user_E),
    )


def too_few(events: int, least: int) -> Verdict:
    """A refusal: so many explored events say nothing."""
    reason = f"{events:,} explored events of held-back users, {least:,} are needed"
    return Verdict(promoted=False, events=events, reason=reason)


def chances(policy: Policy, events: Slates) -> Doubles:
    """With which probability a policy shows what was shown (E,)."""
    p_EC = policy.propensities(events.asked)
    return np.asarray(p_EC[np.arange(events.size), events.cluster_BS[:, -1]])
