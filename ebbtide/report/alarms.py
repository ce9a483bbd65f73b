"""Alarms of drift on the page: a sentence each, and the signal before and after."""

from ebbtide.report.markup import Markup, el, join
from ebbtide.report.report import Report
from ebbtide.report.svg import Plot, nice_ticks, padded
from ebbtide.report.words import action_sentence, count, sentence, signal_words
from state.drift_alarm import DriftAlarm

_LISTED, _DRAWN = 200, 12


def alarm_section(report: Report) -> Markup | None:
    """Every alarm in a sentence, those for the worse first; the largest stretches drawn."""
    if not report.drift:
        return None
    alarms = sorted(report.drift, key=lambda a: (a.worse is not True, a.segment is not None))
    cards = [
        el("div", el("h3", sentence(alarm)), _plot(alarm), class_="card")
        for alarm in alarms[:_DRAWN]
        if len(alarm.means) > 1
    ]
    rest = [alarm for alarm in alarms if alarm not in alarms[:_DRAWN] or len(alarm.means) < 2]
    listed = [el("li", sentence(alarm)) for alarm in rest[:_LISTED]]
    more = len(rest) - len(listed)
    actions = [el("li", action_sentence(action)) for action in report.actions]
    return join(
        el("h2", "Drift alarms"),
        el("ul", *actions) if actions else None,
        el("div", *cards, class_="plots") if cards else None,
        el("ul", *listed) if listed else None,
        el("p", f"and {count(more)} more in report.json", class_="hint") if more else None,
    )


def _plot(alarm: DriftAlarm) -> Markup:
    values = (alarm.values_before + alarm.values_after) / len(alarm.means)
    low, high = padded([*alarm.means])
    total = len(alarm.means) * values
    plot = Plot(
        title=f"{signal_words(alarm.signal)} before and after",
        x=(-alarm.change * values, total - alarm.change * values),
        y=(low, high),
        x_ticks=nice_ticks(-alarm.change * values, total - alarm.change * values, 5),
        y_ticks=nice_ticks(low, high, 4),
        x_text=lambda x: f"{x:,.0f}",
        y_text=lambda y: f"{y:.3g}",
        x_label="values since the change",
    )
    at = [(n + 0.5 - alarm.change) * values for n in range(len(alarm.means))]
    plot.line(list(zip(at, alarm.means, strict=True)), "s0")
    before, after = alarm.before, alarm.after
    plot.line([(plot.x[0], before), (0.0, before)], "s1")
    plot.line([(0.0, after), (plot.x[1], after)], "s1")
    plot.mark(0.0, sentence(alarm))
    return plot.render()
