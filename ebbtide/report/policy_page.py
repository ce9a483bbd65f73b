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
    found = judged.found
    if found is None:
        return nothing(judged)
    said = (
        f"{judged.policy}: {found.verdict}, {found.reason}. {count(found.events)} events are worth "
        f"{count(found.effective_events)} of this policy; weights average {found.mean_weight:.2f}, clipping "
        f"at {found.clip:g} took {found.clipped:.1%}"
    )
    return (
        f"{said}; {count(judged.left_out)} left out without a propensity." if judged.left_out else f"{said}."
    )


def estimates(found: OffPolicy) -> dict[str, Estimate]:
    """By name, as far as there are any."""
    named = {"log's own": found.logged, "IPS": found.ips, "SNIPS": found.snips, "DR": found.dr}
    return {name: estimate for name, estimate in named.items() if estimate is not None}


def _plot(found: OffPolicy) -> Markup:
    rows = list(estimates(found).items())
    size = len(rows)
    domain = padded([end for _, one in rows for end in (one.low, one.high, one.value) if end is not None])
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
    plot.line([(found.logged.value, 0.0), (found.logged.value, float(size))], "ideal")
    for i, (name, one) in enumerate(rows):
        y, kind = size - i - 0.5, "even" if one is found.logged else _STYLE[found.verdict]
        if one.low is not None and one.high is not None:
            plot.line([(one.low, y), (one.high, y)], f"interval {kind}")
        plot.dots([(one.value, y, f"{name}\n{shown(one)}")], kind, 4.0)
    return plot.render()


def shown(one: Estimate) -> str:
    """A value with its interval.

    >>> shown(Estimate(value=0.0051, low=0.002, high=None)), shown(Estimate(value=0.5, low=0.25, high=0.75))
    ('0.0051', '0.5 (0.25 to 0.75)')
    """
    if one.low is None or one.high is None:
        return f"{one.value:.3g}"
    return f"{one.value:.3g} ({one.low:.3g} to {one.high:.3g})"
