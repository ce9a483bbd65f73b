"""Alarms of drift in words and on the page: a sentence each, and the signal before and after."""

from ebbtide.report.markup import Markup, el, join
from ebbtide.report.report import Report
from ebbtide.report.svg import Plot, nice_ticks, padded, time_text
from ebbtide.report.words import count, measure
from state.drift_alarm import DriftAction, DriftAlarm

_SIGNALS = {
    "log_loss": "log loss",
    "calibration": "P(action) less the label",
    "recall@10": "recall@10",
    "positive": "the share of positives",
    "expected_log_loss": "the log loss to be expected, before labels,",
    "new_user": "the share of users met for the first time",
    "new_item": "the share of items met for the first time",
    "late": "the share of late events",
    "gap": "seconds without an event",
    "effective_rank": "the effective rank of item vectors",
}
_LISTED, _DRAWN = 200, 12


def signal_words(signal: str) -> str:
    """A signal for people.

    >>> signal_words("log_loss"), signal_words("shift of category")
    ('log loss', 'surprise at category')
    """
    column = signal.removeprefix("shift of ")
    return _SIGNALS.get(signal, signal if column == signal else f"surprise at {column}")


def sentence(alarm: DriftAlarm) -> str:
    """The alarm in a sentence.

    >>> sentence(DriftAlarm(signal="log_loss", learner="stim", detector="adwin", event=9000, time_ms=0,
    ...     since_event=8000, since_ms=0, before=0.5, after=0.56, worse=True, open=True))
    'log loss of stim grew worse, from 0.500 to 0.560, after event 8,000 (1 Jan 00:00); open'
    """
    whose = f" of {alarm.learner}" if alarm.learner else ""
    where = {None: "", "users": f" for {alarm.name} users"}.get(
        alarm.segment, f" in {alarm.segment} {alarm.name}"
    )
    moved = {True: "grew worse", False: "grew better", None: "changed"}[alarm.worse]
    since = alarm.since_event if alarm.since_event is not None else alarm.event
    said = (
        f"{signal_words(alarm.signal)}{whose}{where} {moved}, from {measure(alarm.before)} to "
        f"{measure(alarm.after)}, after event {count(since)} ({_when(alarm.since_ms or alarm.time_ms)})"
    )
    if alarm.psi is not None:
        said += f", PSI {measure(alarm.psi, 2)}"
    if alarm.open:
        return f"{said}; open"
    if alarm.worse and alarm.closed_ms is not None and alarm.closed_event is not None:
        return f"{said}; over at event {count(alarm.closed_event)} ({_when(alarm.closed_ms)})"
    return said


def action_sentence(action: DriftAction) -> str:
    """An action and its cause in a sentence.

    >>> action_sentence(DriftAction(do="doubt", share=0.5, event=9216, time_ms=0, on="late",
    ...     alarm_event=9000, before=0.0, after=0.5)).split(", since ")[0]
    'learners gave back 50% of their certainty after event 9,216 (1 Jan 00:00)'
    """
    done = {
        "doubt": f"learners gave back {action.share or 0.0:.0%} of their certainty",
        "cycle": "a cycle of co-evolution was asked for",
        "rollback": "readers were to be served what was kept before",
        "webhook": "a webhook was called",
    }[action.do]
    return (
        f"{done} after event {count(action.event)} ({_when(action.time_ms)}), since "
        f"{signal_words(action.on)} went from {measure(action.before)} to {measure(action.after)}"
    )


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


def _when(time_ms: int) -> str:
    return time_text(time_ms, 2 * 86_400_000)
