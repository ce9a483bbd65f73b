"""The page's sections on variants and copies: what each part of the model, and what freshness, is worth."""

import math
from collections.abc import Sequence

from ebbtide.report.comparisons import (
    DECISIVE,
    Ablation,
    Copy,
    Retrained,
    Staleness,
    decisive,
    judged,
    same,
    sign,
)
from ebbtide.report.markup import Markup, el, join
from ebbtide.report.plots import legend
from ebbtide.report.report import Report
from ebbtide.report.svg import Plot, nice_ticks, padded
from ebbtide.report.words import METRIC_WORDS, by_how_much, count, duration, measure, signal_words, times
from state.difference import Difference, of_metric

_STYLE = {1: "good", -1: "bad", 0: "even", None: "even"}
_ROW, _AIR = 26, 64


class _Forest(Plot):
    """A plot with room for names on the left."""

    LEFT = 150


def ablation_section(report: Report) -> Markup | None:
    """One forest plot a metric, and the figures with a verdict."""
    ablation = report.ablation
    if ablation is None:
        return None
    metrics = decisive(variant.differences for variant in ablation.variants)
    cards = [
        el("div", el("h3", f"{METRIC_WORDS[metric][0]} without it"), _forest(ablation, metric), class_="card")
        for metric in metrics
    ]
    text = (
        f"Variants of {ablation.learner} with one part switched off each, run over the same events. A figure"
        " is the variant minus the whole model, with its paired 95% interval over users: where a part is"
        " worth something, the variant without it is worse. Intervals that hold 0 tell nothing. Variants"
        " that say the same as the whole model are not drawn."
    )
    return join(
        el("h2", "What each part is worth"),
        el("p", text, class_="hint"),
        el("div", *cards, class_="grid two"),
        el("div", _worth_table(ablation, metrics), class_="card wide"),
    )


def _forest(ablation: Ablation, metric: str) -> Markup:
    every = [
        (v.name, difference)
        for v in ablation.variants
        if (difference := of_metric(v.differences, metric)) is not None
    ]
    rows = [(name, difference) for name, difference in every if not same(difference)] or every
    size = len(rows)
    ends = [end for _, d in rows for end in (d.low, d.high, d.difference) if end is not None]
    domain = padded([*ends, 0.0])
    plot = _Forest(
        title=f"{METRIC_WORDS[metric][0]}: variant minus {ablation.learner}",
        x=domain,
        y=(0.0, float(size)),
        x_ticks=nice_ticks(*domain, 4),
        y_ticks=[size - i - 0.5 for i in range(size)],
        x_text=lambda v: f"{v:+.3g}" if v else "0",
        y_text=lambda y: rows[round(size - y - 0.5)][0],
        x_label=f"{METRIC_WORDS[metric][0]}, variant minus whole model",
        height=_AIR + _ROW * size,
    )
    plot.line([(0.0, 0.0), (0.0, float(size))], "ideal")
    for i, (name, difference) in enumerate(rows):
        y, kind = size - i - 0.5, _STYLE[sign(difference)]
        if difference.low is not None and difference.high is not None:
            plot.line([(difference.low, y), (difference.high, y)], f"interval {kind}")
        plot.dots([(difference.difference, y, f"{name}\n{_said(difference)}")], kind, 4.0)
    return plot.render()


def _said(difference: Difference) -> str:
    return f"{METRIC_WORDS[difference.metric][0]} {measure(difference.value, 4)}, {by_how_much(difference)}"


def _worth_table(ablation: Ablation, metrics: Sequence[str]) -> Markup:
    whole = [el("td", measure(ablation.scored.value(metric), 4)) for metric in metrics]
    rows = [
        el("tr", el("td", ablation.learner, el("small", "the whole model")), *whole, el("td"), class_="own")
    ]
    for variant in ablation.variants:
        cells = [_cell(of_metric(variant.differences, metric)) for metric in metrics]
        rows.append(el("tr", el("td", variant.name), *cells, el("td", variant.verdict, class_="left")))
    head = [el("th", METRIC_WORDS[metric][0]) for metric in metrics]
    return _table([el("th", "variant"), *head, el("th", "the part", class_="left")], rows)


def action_section(report: Report) -> Markup | None:
    """What acting on drift was worth, action by action."""
    known = judged(report.actions)
    if not known:
        return None
    metrics = decisive(worth.differences for _, worth in known)
    rows = []
    for action, worth in known:
        after = el("small", f"the {count(worth.events)} events after event {count(action.event)}")
        cells = [_cell(of_metric(worth.differences, metric)) for metric in metrics]
        name = el("td", f"{action.do}, since {signal_words(action.on)} changed", after)
        rows.append(el("tr", name, *cells, el("td", worth.verdict, class_="left")))
    head = [el("th", METRIC_WORDS[metric][0]) for metric in metrics]
    text = (
        "A copy of the model from just before each action, which learned on without it, minus the model "
        "itself, on the events after it and before the next."
    )
    table = _table([el("th", "action"), *head, el("th", "acting", class_="left")], rows)
    head_line = el("h2", "What acting on drift was worth")
    return join(head_line, el("p", text, class_="hint"), el("div", table, class_="card wide"))


def _cell(difference: Difference | None, *, plain: bool = False) -> Markup:
    if difference is None or plain:
        return el("td", measure(difference.value if difference else None, 4))
    if same(difference):
        return el("td", measure(difference.value, 4), el("small", "same", class_="even"))
    kind = _STYLE[sign(difference)]
    interval = (
        None
        if difference.low is None
        else el("small", f"{difference.low:+.4f} to {difference.high:+.4f}", class_=kind)
    )
    return el(
        "td",
        measure(difference.value, 4),
        el("small", f"{difference.difference:+.4f}", class_=kind),
        interval,
    )


def _table(head: Sequence[Markup], rows: Sequence[Markup]) -> Markup:
    table = el("table", el("thead", el("tr", *head)), el("tbody", *rows))
    return el("div", table, class_="scroll", tabindex=0)


def staleness_section(report: Report) -> Markup | None:
    """Quality against staleness, one plot a metric, with retraining offline as a line across."""
    staleness = report.staleness
    if staleness is None:
        return None
    cards, tables, spoken = [], [], []
    for metric in DECISIVE:
        ours = report.evaluation.speaks(metric)
        copies = (
            [] if ours is None else [c for c in staleness.find(ours.name) if of_metric(c.differences, metric)]
        )
        if ours is None or not copies:
            continue
        offline = next((one for one in staleness.offline if one.learner == ours.name), None)
        cards.append(_staleness_card(metric, copies, offline))
        spoken += [ours.name] if ours.name not in spoken else []
    for name in spoken:
        copies = staleness.find(name)
        metrics = decisive(copy.differences for copy in copies)
        rows = [_row(one.sync, one, metrics) for one in copies]
        rows += [
            _row("offline, once a day", one, metrics) for one in staleness.offline if one.learner == name
        ]
        head = [el("th", "weights published"), *(el("th", METRIC_WORDS[m][0]) for m in metrics)]
        tables.append(
            el("div", el("h3", name), _table([*head, el("th", "events")], rows), class_="card wide")
        )
    return join(
        el("h2", "What freshness is worth"),
        el("p", _explained(staleness), class_="hint"),
        el("div", *cards, class_="grid two"),
        *tables,
    )


def _explained(staleness: Staleness) -> str:
    text = (
        "The model learned as ever; copies of it served from weights published only so often, with the user's"
        " own context live. Under each figure: the difference to the model itself, with the paired 95%"
        " interval over users. A model that learns batch by batch lags a little itself: a micro-batch took"
        f" {duration(staleness.batch_s)} of the stream on average."
    )
    for retrained in staleness.offline[:1]:
        days = (
            "every day" if retrained.stride == 1 else f"one day in {retrained.stride}, the only ones compared"
        )
        text += (
            f" Offline is a model trained afresh at the end of a day, {retrained.passes} passes over all"
            f" events so far where that helps, and served for the next; {days}. It was trained"
            f" {times(retrained.trainings)}, in {duration(staleness.offline_cpu_seconds)} of CPU"
        )
        daily = f"; every day would take {duration(staleness.offline_daily_cpu_seconds)}"
        text += f"{daily if retrained.stride > 1 else ''}."
    return text


def _row(how: str, served: Copy | Retrained, metrics: Sequence[str]) -> Markup:
    own = isinstance(served, Copy) and not served.sync_s
    cells = [_cell(of_metric(served.differences, metric), plain=own) for metric in metrics]
    return el("tr", el("td", how), *cells, el("td", count(served.events)), class_="own" if own else None)


def _staleness_card(metric: str, copies: Sequence[Copy], offline: Retrained | None) -> Markup:
    """Staleness on a logarithmic axis; the fresh model stands left of it.

    All are drawn as far from the fresh model as on the events on which both are compared.
    """
    stale = [copy.sync_s for copy in copies if copy.sync_s]
    left = math.log10(min(stale)) - 0.7 if stale else 0.0

    def x(copy: Copy) -> float:
        return math.log10(copy.sync_s) if copy.sync_s else left

    points = [
        (x(copy), copy, difference)
        for copy in copies
        if (difference := of_metric(copy.differences, metric)) is not None
    ]
    other = of_metric(offline.differences, metric) if offline else None
    fresh = points[0][2].value
    shown = [difference for _, _, difference in points] + ([other] if other else [])
    ends = [fresh + end for difference in shown for end in (difference.difference, *_interval(difference))]
    domain = padded(ends)
    name = METRIC_WORDS[metric][0]
    texts = {at: copy.sync for at, copy, _ in points}
    right = max(texts) + 0.2
    plot = Plot(
        title=f"{name} against staleness",
        x=(left - 0.2, right),
        y=domain,
        x_ticks=sorted(texts),
        y_ticks=nice_ticks(*domain),
        x_text=lambda at: texts[at],
        y_text=lambda v: f"{v:.3g}",
        x_label="how often weights are published",
        y_label="lower is better" if METRIC_WORDS[metric][2] < 0 else "higher is better",
    )
    plot.line([(left - 0.2, fresh), (right, fresh)], "ideal")
    names = [points[0][1].learner]
    if other is not None:
        names.append("retrained offline once a day")
        y = fresh + other.difference
        plot.line([(left - 0.2, y), (right, y)], "s1")
        plot.line([(right, fresh + end) for end in _interval(other)], "interval even")
        plot.dots([(right, y, f"retrained offline\n{_said(other)}")], "s1", 3.0)
    plot.line([(at, fresh + difference.difference) for at, _, difference in points], "s0")
    for at, copy, difference in points:
        plot.line([(at, fresh + end) for end in _interval(difference)], "interval")
        plot.dots([(at, fresh + difference.difference, f"{copy.sync}\n{_said(difference)}")], "s0", 3.2)
    return el("div", el("h3", name), legend(names), plot.render(), class_="card")


def _interval(difference: Difference) -> list[float]:
    return [] if difference.low is None or difference.high is None else [difference.low, difference.high]
