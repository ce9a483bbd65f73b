"""The page's section on a policy that was judged: its estimates with intervals, and what they can say."""

from ebbtide.report.comparisons import PolicyJudged
from ebbtide.report.markup import Markup, el, join
from ebbtide.report.report import Report
from ebbtide.report.svg import Plot, nice_ticks, padded
from ebbtide.report.words import count
from learners.judging.off_policy import Estimate, OffPolicy

_ROW, _AIR = 30, 64
_STYLE = {"better": "good", "worse": "bad", "cannot tell": "even"}


class _Estimates(Plot):
    """A plot with room for names on the left."""

    LEFT = 96


def policy_section(report: Report) -> Markup | None:
    """The estimates drawn beside what the log's own policy earned, and the verdict."""
    judged = report.off_policy
    if judged is None:
        return None
    heading = el("h2", "What another policy would have earned")
    if judged.found is None:
        return join(heading, el("p", nothing(judged), class_="hint"))
    text = (
        f"Mean reward of the log's own policy, and what {judged.policy} would have earned by three estimates,"
        " with 95% intervals over users: from what was shown, weighted by how much likelier the policy shows"
        " it. Choices that the log could not show, and what another choice changes later on, are not in it."
    )
    return join(
        heading,
        el("p", text, class_="hint"),
        el("div", _plot(judged.found), el("p", conclusion(judged), class_="hint"), class_="card"),
    )


def nothing(judged: PolicyJudged) -> str:
    """Where there was nothing to judge by."""
    return f"{judged.policy}: cannot tell, as no scored event has a propensity"


def conclusion(judged: PolicyJudged) -> str:
    """The verdict, why, and what it rests on."""
    policy = judged.found
    if policy is None:
        return nothing(judged)
    text = (
        f"{judged.policy}: {policy.verdict}, {policy.reason}. {count(policy.events)} events are "
        f"worth {count(policy.effective_events)} of this policy; weights average {policy.mean_weight:.2f}, "
        f"clipping at {policy.clip:g} took {policy.clipped:.1%}"
    )
    return (
        f"{text}; {count(judged.left_out)} left out without a propensity." if judged.left_out else f"{text}."
    )


def estimates(policy: OffPolicy) -> dict[str, Estimate]:
    """By name, as far as there are any."""
    named = {"log's own": policy.logged, "IPS": policy.ips, "SNIPS": policy.snips, "DR": policy.dr}
    return {name: estimate for name, estimate in named.items() if estimate is not None}


def _plot(policy: OffPolicy) -> Markup:
    rows = list(estimates(policy).items())
    size = len(rows)
    domain = padded(
        [
            end
            for _, estimate in rows
            for end in (estimate.low, estimate.high, estimate.value)
            if end is not None
        ]
    )
    plot = _Estimates(
        title="mean reward by policy",
        x=domain,
        y=(0.0, float(size)),
        x_ticks=nice_ticks(*domain, 4),
        y_ticks=[size - i - 0.5 for i in range(size)],
        x_text=lambda v: f"{v:.3g}",
        y_text=lambda y: rows[round(size - y - 0.5)][0],
        x_label="mean reward",
        height=_AIR + _ROW * size,
    )
    plot.line([(policy.logged.value, 0.0), (policy.logged.value, float(size))], "ideal")
    for i, (name, estimate) in enumerate(rows):
        y, kind = size - i - 0.5, "even" if estimate is policy.logged else _STYLE[policy.verdict]
        if estimate.low is not None and estimate.high is not None:
            plot.line([(estimate.low, y), (estimate.high, y)], f"interval {kind}")
        plot.dots([(estimate.value, y, f"{name}\n{shown(estimate)}")], kind, 4.0)
    return plot.render()


def shown(estimate: Estimate) -> str:
    """A value with its interval.

    >>> shown(Estimate(value=0.0051, low=0.002, high=None)), shown(Estimate(value=0.5, low=0.25, high=0.75))
    ('0.0051', '0.5 (0.25 to 0.75)')
    """
    if estimate.low is None or estimate.high is None:
        return f"{estimate.value:.3g}"
    return f"{estimate.value:.3g} ({estimate.low:.3g} to {estimate.high:.3g})"
