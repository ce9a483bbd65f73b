"""The figures of what the model has learned: retention curves, kernels, gates by the clock, views, codes."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from ebbtide.report import findings
from ebbtide.report.curves import Curve
from ebbtide.report.markup import Markup, el, join, meter, meters
from ebbtide.report.plots import legend
from ebbtide.report.report import Report
from ebbtide.report.svg import Plot, nice_ticks
from ebbtide.report.words import count, measure
from learners.insight import AgeCurve, Codes, Insight, Kernel, ReturnCurve, View

_MOST = 6
"""Lines that can be told apart; the others are in report.json."""
_FLAT = 0.05
"""A line whose weights lie closer together than this tells nothing, and is not drawn."""
_FIXED = "the memory's fixed curve"
_AGES = {"1 min": 60, "10 min": 600, "1 h": 3600, "6 h": 21_600, "1 d": 86_400, "7 d": 604_800}
_AGES |= {"30 d": 2_592_000, "1 y": 31_536_000}
_DAY_S = 86_400.0
_GROUPS = {24: "hour", 168: "week"}
"""Period of a learned kernel in hours -> the memory's fixed curve of the same period."""

_WIDTH, _NAME, _STRIP, _GAP, _FOOT = 420, 15, 30, 9, 20
"""Of gate strips: width of the drawing, heights of a name, a strip, what is below it, and the axis."""


class InsightCard(NamedTuple):
    """A card: what it is, what its lines stand for, the picture, what is seen."""

    title: str
    legend: Markup | None
    picture: Markup
    says: str


def figures(report: Report) -> list[InsightCard]:
    """All that the run's insight can feed, in the order in which they are shown."""
    insight = report.insight
    if insight is None:
        return []
    clock = "local time" if {"tz", "lon"} & set(report.log.roles) else "UTC"
    possible = [
        _curves(insight.curves, report.retention),
        _returns(insight.returns, report.retention),
        *(_kernels(insight.kernels, period_h, report.retention) for period_h in (24, 168)),
        _gates(
            f"What counts, by hour of the day ({clock})",
            insight,
            insight.gate_by_hour,
            insight.rows_by_hour,
            [f"{h}" if h % 6 == 0 else "" for h in range(24)],
            [f"{h}:00 to {h + 1}:00" for h in range(24)],
            findings.of_hours,
        ),
        _gates(
            f"What counts, by weekday ({clock})",
            insight,
            insight.gate_by_weekday,
            insight.rows_by_weekday,
            [day[:3] for day in findings.WEEKDAYS],
            list(findings.WEEKDAYS),
            findings.of_weekdays,
        ),
        _views(insight.views),
        _codes(insight.codes),
    ]
    return [figure for figure in possible if figure is not None]


def _curves(curves: Sequence[AgeCurve], memory: Sequence[Curve]) -> InsightCard | None:
    telling = [curve for curve in curves if _moves(curve.weight)]
    shown = telling[:_MOST]
    if not shown:
        return None
    low = min(curve.age_s[0] for curve in shown)
    high = max(curve.age_s[-1] for curve in shown)
    bottom = min([0.0, *(w for curve in shown for w in curve.weight if w is not None)])
    ticks = _age_ticks(low, high)
    plot = Plot(
        title="learned retention curves",
        x=(math.log10(low), math.log10(high)),
        y=(bottom, 1.0),
        x_ticks=list(ticks),
        y_ticks=nice_ticks(bottom, 1.0, 4),
        x_text=lambda x: ticks[x],
        y_text=lambda v: f"{v:g}",
        x_label="age of the event (log)",
        y_label="weight, relative to the largest",
    )
    names = [curve.name for curve in shown]
    kinds = [f"s{i}" for i in range(len(shown))]
    fixed = _fixed(memory, low, high)
    if fixed is not None:
        plot.line(fixed, "ideal")
        names, kinds = [*names, f"{_FIXED} (met once)"], [*kinds, "ideal"]
    for i, curve in reversed(list(enumerate(shown))):
        points = [(math.log10(age_s), w) for age_s, w in zip(curve.age_s, curve.weight, strict=True)]
        plot.line(points, f"s{i}")
        dots = [
            (x, w, f"{curve.name}\n{findings.age(10**x)} old: {w:.2f}")
            for x, w in points[::4]
            if w is not None
        ]
        plot.dots(dots, f"s{i}", 0.0)
    half_s = next((10**x for x, left in fixed or () if left <= 0.5), None)
    says = findings.of_curves(shown, half_s)
    if len(telling) > _MOST:
        says += f" {len(telling) - _MOST} more curves are in report.json."
    return InsightCard("Learned retention", legend(names, kinds), plot.render(), says)


def _returns(curves: Sequence[ReturnCurve], memory: Sequence[Curve]) -> InsightCard | None:
    """The chance to return by the time since the last time, each curve relative to its highest."""
    shown = [curve for curve in curves if findings.tells(curve)]
    if not shown:
        return None
    known = [[(s, c) for s, c in zip(v.gap_s, v.chance, strict=True) if c is not None] for v in shown]
    low, high = (edge(gap_s for points in known for gap_s, _ in points) for edge in (min, max))
    ticks = _age_ticks(low, high)
    plot = Plot(
        title="learned curve of return",
        x=(math.log10(low), math.log10(high)),
        y=(0.0, 1.0),
        x_ticks=list(ticks),
        y_ticks=nice_ticks(0.0, 1.0, 4),
        x_text=lambda x: ticks[x],
        y_text=lambda v: f"{v:g}",
        x_label="since the last time (log)",
        y_label="chance to return, relative to the largest",
    )
    names: list[str] = []
    fixed = _fixed(memory, low, high)
    if fixed is not None:
        plot.line(fixed, "ideal")
    for i, (curve, points) in reversed(list(enumerate(zip(shown, known, strict=True)))):
        most = max(chance for _, chance in points)
        whole = zip(curve.gap_s, curve.chance, strict=True)
        plot.line([(math.log10(s), None if c is None else c / most) for s, c in whole], f"s{i}")
        dots = [
            (math.log10(s), c / most, f"{curve.name}\n{findings.age(s)} ago: {findings.share(c)}")
            for s, c in points
        ]
        plot.dots(dots, f"s{i}", 0.0)
        names.insert(0, f"{curve.name}, at most {findings.share(most)}")
    kinds = [f"s{i}" for i in range(len(shown))]
    if fixed is not None:
        names, kinds = [*names, f"{_FIXED} (met once)"], [*kinds, "ideal"]
    return InsightCard(
        "Learned curve of return", legend(names, kinds), plot.render(), findings.of_returns(shown)
    )


def _fixed(memory: Sequence[Curve], low_s: float, high_s: float) -> list[tuple[float, float]] | None:
    """What is left of an event by the memory's fixed curve, by log10 of its age."""
    once = next((c for c in memory if c.group == "forgetting" and c.name == "met once"), None)
    if once is None:
        return None
    ages_s = np.geomspace(low_s, high_s, 121)
    left = np.exp(np.interp(ages_s / _DAY_S, once.x, np.log(np.maximum(once.y, 1e-30))))
    return list(zip(np.log10(ages_s).tolist(), left.tolist(), strict=True))


def _age_ticks(low_s: float, high_s: float) -> dict[float, str]:
    return {math.log10(age_s): text for text, age_s in _AGES.items() if low_s <= age_s <= 1.01 * high_s}


def _kernels(kernels: Sequence[Kernel], period_h: int, memory: Sequence[Curve]) -> InsightCard | None:
    shown = [kernel for kernel in kernels if kernel.period_h == period_h and _moves(kernel.weight)][:_MOST]
    if not shown:
        return None
    span, unit, unit_h = ("day", "hours", 1) if period_h == 24 else ("week", "days", 24)
    half = period_h / 2
    bottom = min([0.0, *(w for kernel in shown for w in kernel.weight if w is not None)])
    plot = Plot(
        title=f"learned kernel over a {span}",
        x=(-half, half),
        y=(bottom, 1.0),
        x_ticks=[6.0 * h for h in range(-2, 3)] if span == "day" else [24.0 * d for d in range(-3, 4)],
        y_ticks=nice_ticks(bottom, 1.0, 4),
        x_text=lambda apart_h: f"{apart_h / unit_h:+g}" if apart_h else "same",
        y_text=lambda v: f"{v:g}",
        x_label=f"{unit} apart",
        y_label="weight, relative to the largest",
    )
    names, kinds = [kernel.name for kernel in shown], [f"s{i}" for i in range(len(shown))]
    fixed = next((c for c in memory if c.group == _GROUPS[period_h]), None)
    if fixed is not None:
        apart_h = np.linspace(-half, half, 169)
        weight = np.interp(np.abs(apart_h) / unit_h, fixed.x, fixed.y)
        plot.line(list(zip(apart_h.tolist(), weight.tolist(), strict=True)), "ideal")
        names, kinds = [*names, _FIXED], [*kinds, "ideal"]
    for i, kernel in reversed(list(enumerate(shown))):
        plot.line(list(zip(kernel.apart_h, kernel.weight, strict=True)), f"s{i}")
    title = f"Learned return of the hour of the {span}"
    return InsightCard(title, legend(names, kinds), plot.render(), findings.of_kernels(shown))


def _gates(
    title: str,
    insight: Insight,
    gates: Sequence[Sequence[float | None]],
    rows: Sequence[int],
    ticks: Sequence[str],
    names: Sequence[str],
    says: findings.Says,
) -> InsightCard | None:
    """A strip an expert: its mean gate as bars, strong where clearly above its mean over all, the line."""
    known = [gate for gate_E in gates for gate in gate_E if gate is not None]
    if not known or not sum(rows):
        return None
    top, wide = max([*known, 1e-9]), _WIDTH / len(rows)
    tall = _NAME + _STRIP + _GAP
    drawn: list[Markup] = []
    for e, expert in enumerate(insight.experts):
        base = e * tall + _NAME + _STRIP
        values = [gate_E[e] for gate_E in gates]
        mean = sum((v or 0.0) * n for v, n in zip(values, rows, strict=True)) / sum(rows)
        drawn.append(el("text", expert, x=0, y=e * tall + 11, class_="tick ink"))
        drawn.append(el("text", f"mean {mean:.2f}", x=_WIDTH, y=e * tall + 11, class_="tick end"))
        for i, value in enumerate(values):
            if value is None:
                continue
            high = max(value, 0.0) / top * _STRIP
            text = f"{expert}, {names[i]}: {measure(value)}\n{count(rows[i])} rows"
            box = {"x": i * wide + 1, "y": base - high, "width": wide - 2, "height": max(high, 0.5)}
            kind = "bar s0" if value >= mean + findings.CLEAR else "bar s0 pale"
            drawn.append(el("rect", el("title", text), class_=kind, **box))
        at = base - max(mean, 0.0) / top * _STRIP
        drawn.append(el("line", x1=0, x2=_WIDTH, y1=at, y2=at, class_="mean"))
        drawn.append(el("line", x1=0, x2=_WIDTH, y1=base, y2=base, class_="axis"))
    foot = len(insight.experts) * tall + 6
    for i, text in enumerate(ticks):
        if text:
            drawn.append(el("text", text, x=(i + 0.5) * wide, y=foot, class_="tick middle"))
    size = f"0 0 {_WIDTH} {len(insight.experts) * tall + _FOOT}"
    picture = el("svg", el("title", title), join(*drawn), viewBox=size, role="img")
    return InsightCard(title, None, picture, says(insight))


def _views(views: Sequence[View]) -> InsightCard | None:
    shown = [view for view in views if view.empty is not None and view.entries]
    if not shown:
        return None
    most = max([*(view.entries or 0.0 for view in shown), 1e-9])
    rows = [
        el(
            "tr",
            el("td", view.name),
            el("td", meter(1.0 - (view.empty or 0.0)), f"{1.0 - (view.empty or 0.0):.0%}"),
            el("td", meter((view.entries or 0.0) / most), f"{view.entries or 0.0:.1f}"),
            el("td", meter(view.gate) if view.gate is not None else None, measure(view.gate, 2)),
        )
        for view in shown
    ]
    picture = meters(("view", "not empty", "entries", "gate"), rows)
    return InsightCard("What each view holds", None, picture, findings.of_views(shown))


def _codes(codes: Codes | None) -> InsightCard | None:
    if codes is None:
        return None
    rows = [
        el(
            "tr",
            el("td", f"book {number}"),
            el("td", meter(book.utilisation), f"{book.utilisation:.0%}"),
            el("td", meter(book.entropy), measure(book.entropy, 2)),
        )
        for number, book in enumerate(codes.books, 1)
    ]
    kept = "" if codes.kept is None else f", which left {codes.kept:.0%} of earlier codes as they were"
    says = f"Version {codes.version} of the books, fitted to {count(codes.items)} items{kept}."
    return InsightCard("Codes of items", None, meters(("", "codes in use", "entropy"), rows), says)


def _moves(weights: Sequence[float | None]) -> bool:
    """Whether a line has a course that one could look at."""
    known = [weight for weight in weights if weight is not None]
    return bool(known) and max(known) - min(known) >= _FLAT
