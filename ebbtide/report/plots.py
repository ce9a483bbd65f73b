"""The plots of the report: metrics over time, calibration, and the curves of memory."""

from collections.abc import Sequence
from itertools import pairwise

from ebbtide.report.curves import Curve
from ebbtide.report.markup import Markup, el
from ebbtide.report.report import Report
from ebbtide.report.svg import Plot, nice_ticks, padded, time_text, time_ticks
from ebbtide.report.words import METRIC_WORDS, count, measure, sentence
from learners.judging.evaluation import CalibrationPoint, Judged
from learners.judging.metrics import RANKING
from state.drift_alarm import DriftAlarm

Card = tuple[str, list[str], Markup]
"""Title, names of the series in order, plot."""

_FLOORS = 3
_TICKS = {"hour": [0.0, 12.0, 24.0, 36.0, 48.0, 60.0, 72.0], "week": [0.0, 7.0, 14.0, 21.0]}
_CURVES = {
    "forgetting": "Fading, and what repeats are worth",
    "hour": "The same hour of the day returns",
    "week": "The same hour of the week returns",
}


def legend(names: Sequence[str], kinds: Sequence[str] | None = None) -> Markup | None:
    """What each line stands for; none where there is one line only. Kinds are s0, s1, ... if left out."""
    if len(names) < 2:
        return None
    entries = []
    for i, name in enumerate(names):
        kind = kinds[i] if kinds else f"s{i}"
        sample = el(
            "svg", el("path", d="M0 5H30", class_=f"line {kind}"), viewBox="0 0 30 10", aria_hidden="true"
        )
        entries.append(el("li", sample, name))
    return el("ul", *entries, class_="legend")


def time_plots(report: Report, metrics: Sequence[str]) -> list[Card]:
    """One plot a metric: the run's learner and the floors, window by window, with drift marks."""
    cards = []
    for metric in metrics:
        shown = _beside(report, metric)
        values = [v for one in shown for w in one.windows if (v := w.value(metric)) is not None]
        if values:
            names = [one.name + (" (floor)" if one.floor else "") for one in shown]
            cards.append((METRIC_WORDS[metric][0], names, _time_plot(report, metric, shown, values)))
    return cards


def _beside(report: Report, metric: str) -> list[Judged]:
    ours = report.evaluation.speaks(metric)
    if ours is None:
        return []
    floors = [
        one
        for one in report.learners
        if one.floor and one.name != ours.name and one.scored.value(metric) is not None
    ]
    sign = METRIC_WORDS[metric][2]
    floors.sort(key=lambda one: -sign * (one.scored.value(metric) or 0.0))
    return [ours, *floors[:_FLOORS]]


def _time_plot(report: Report, metric: str, shown: Sequence[Judged], values: Sequence[float]) -> Markup:
    starts = [w.start_ms for w in shown[0].windows if w.start_ms is not None]
    ends = [w.end_ms for w in shown[0].windows if w.end_ms is not None]
    low, high = float(min(starts)), float(max(ends))
    span, domain = high - low, padded(values)
    lower = METRIC_WORDS[metric][2] < 0
    plot = Plot(
        title=f"{METRIC_WORDS[metric][0]} over time",
        x=(low, high),
        y=domain,
        x_ticks=time_ticks(low, high),
        y_ticks=nice_ticks(*domain),
        x_text=lambda ms: time_text(ms, span),
        y_text=lambda v: f"{v:.3g}",
        x_label="time of the event (UTC)",
        y_label="lower is better" if lower else "higher is better",
    )
    scored = report.metrics.scored
    if scored.start_ms is not None and scored.events < report.metrics.all.events:
        plot.band(float(scored.start_ms), high, "the scored part")
    for i, judged in reversed(list(enumerate(shown))):
        points = [
            (float(w.start_ms + w.end_ms) / 2, w.value(metric), w)
            for w in judged.windows
            if w.start_ms is not None and w.end_ms is not None
        ]
        plot.line([(x, y) for x, y, _ in points], f"s{i}")
        says = f"{judged.name}, {METRIC_WORDS[metric][0]}"
        dots = [
            (x, y, f"{says} {measure(y, 4)}\n{_when(w.start_ms, w.end_ms)}\n{count(w.events)} events")
            for x, y, w in points
            if y is not None
        ]
        plot.dots(dots, f"s{i}", 2.2 if i == 0 else 1.6)
    for alarm in _alarms(report, metric):
        if low <= alarm.time_ms <= high:
            plot.mark(float(alarm.time_ms), f"drift alarm: {sentence(alarm)}")
    return plot.render()


def _alarms(report: Report, metric: str) -> list[DriftAlarm]:
    """Of the model's errors in all events, and of the metric's family; the page lists the others."""
    ranking = metric in RANKING
    return [
        alarm
        for alarm in report.drift
        if alarm.segment is None and alarm.learner is not None and (alarm.signal in RANKING) == ranking
    ]


def _when(start_ms: int | None, end_ms: int | None) -> str:
    fine = 2 * 86_400_000
    return f"{time_text(start_ms or 0, fine)} to {time_text(end_ms or 0, fine)}"


def calibration_plot(report: Report) -> Markup | None:
    """P(action) against what happened, with the number of events along the bottom."""
    points = report.calibration
    if not points:
        return None
    top = max(max(p.predicted, p.happened) for p in points)
    high = 1.0 if top > 0.5 else min(1.0, top * 1.15 or 1.0)
    ticks = nice_ticks(0.0, high)
    plot = Plot(
        title="calibration",
        x=(0.0, high),
        y=(0.0, high),
        x_ticks=ticks,
        y_ticks=ticks,
        x_text=lambda v: f"{v:.3g}",
        y_text=lambda v: f"{v:.3g}",
        x_label="probability that was given",
        y_label="share that happened",
        height=300,
    )
    plot.bars(_histogram(points, high), "count")
    plot.line([(0.0, 0.0), (high, high)], "ideal")
    plot.line([(p.predicted, p.happened) for p in points], "s0")
    plot.dots(
        [
            (
                p.predicted,
                p.happened,
                f"said {measure(p.predicted)}, happened {measure(p.happened)}\n{count(p.events)} events",
            )
            for p in points
        ],
        "s0",
        3.2,
    )
    return plot.render()


def _histogram(points: Sequence[CalibrationPoint], high: float) -> list[tuple[float, float, float, str]]:
    """Where the events are: bars that meet half-way between the bins, a fifth of the plot high at most."""
    middles = [(a.predicted + b.predicted) / 2 for a, b in pairwise(points)]
    first, last = points[0].predicted, points[-1].predicted
    edges = [max(2 * first - middles[0], 0.0) if middles else 0.0, *middles]
    edges.append(min(2 * last - middles[-1], high) if middles else high)
    spans = [max(end - start, high / 400) for start, end in pairwise(edges)]
    density = [point.events / span for point, span in zip(points, spans, strict=True)]
    return [
        (
            edges[i],
            edges[i + 1],
            0.2 * high * density[i] / max(density),
            f"{count(point.events)} events near {measure(point.predicted)}",
        )
        for i, point in enumerate(points)
    ]


def curve_plots(report: Report) -> list[Card]:
    """The forgetting curve with spaced and crammed repeats, and the kernels that come round."""
    cards = []
    for group, title in _CURVES.items():
        curves = [curve for curve in report.retention if curve.group == group]
        if curves:
            cards.append((title, [curve.name for curve in curves], _curve_plot(title, curves)))
    return cards


def _curve_plot(title: str, curves: Sequence[Curve]) -> Markup:
    low, high = min(min(c.x) for c in curves), max(max(c.x) for c in curves)
    plot = Plot(
        title=title,
        x=(low, high),
        y=(0.0, 1.0),
        x_ticks=_TICKS.get(curves[0].group) or nice_ticks(low, high),
        y_ticks=[0.0, 0.25, 0.5, 0.75, 1.0],
        x_text=lambda v: f"{v:g}",
        y_text=lambda v: f"{v:g}",
        x_label=curves[0].unit,
        y_label="what is left" if curves[0].group == "forgetting" else "how much of it returns",
    )
    for i, curve in reversed(list(enumerate(curves))):
        points = list(zip(curve.x, curve.y, strict=True))
        plot.line(points, f"s{i}")
        unit = curve.unit
        plot.dots([(x, y, f"{curve.name}\n{x:.1f} {unit}: {y:.2f}") for x, y in points[::4]], f"s{i}", 0.0)
    return plot.render()
