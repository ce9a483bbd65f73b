"""What became of interests over time, cycles marked: a plot of each figure that says something."""

from collections.abc import Sequence

from ebbtide.report.markup import Markup, el
from ebbtide.report.svg import Plot, nice_ticks, padded, time_text, time_ticks
from ebbtide.report.words import count, measure
from learners.coevolution.record import Coevolution, Moment

_LEAST = 3
"""Windows; fewer are no course of anything."""
_FLAT = 1e-9
FIGURES = {
    "relevance": ("Relevance", "share accepted"),
    "novelty": ("Novelty", "share of clusters new to their user"),
    "serendipity": ("Serendipity", "share accepted of what was new"),
    "coverage": ("Coverage", "share of clusters with anything shown"),
    "gini": ("Gini", "0: all clusters alike, 1: one has it all"),
    "lock_in": ("Lock-in", "cosine with the weeks before: 1 is for ever the same"),
    "gap": ("Confirmation gap", "what Relevance expected less what was accepted"),
}


def over_time(evolved: Coevolution, outcomes: Sequence[str]) -> Markup | None:
    """A card a figure, as far as it was measured and moves; `outcomes` is what came of each cycle."""
    moments = evolved.over_time
    cards = [
        el(
            "div",
            el("h3", title),
            el("p", what, class_="hint"),
            _plot(name, moments, evolved, outcomes),
            class_="card",
        )
        for name, (title, what) in FIGURES.items()
        if _speaks(name, moments)
    ]
    return el("div", *cards, class_="grid") if cards else None


def _speaks(name: str, moments: Sequence[Moment]) -> bool:
    values = [value for one in moments if (value := getattr(one, name)) is not None]
    return len(values) >= _LEAST and max(values) - min(values) > _FLAT


def _plot(name: str, moments: Sequence[Moment], evolved: Coevolution, outcomes: Sequence[str]) -> Markup:
    points: list[tuple[float, float | None]] = [
        (float(moment.time_ms), getattr(moment, name)) for moment in moments
    ]
    x, y = (points[0][0], points[-1][0]), padded([value for _, value in points if value is not None])
    plot = Plot(
        title=f"{FIGURES[name][0]} over time",
        x=x,
        y=y,
        x_ticks=time_ticks(*x),
        y_ticks=nice_ticks(*y, 4),
        x_text=lambda ms: time_text(ms, x[1] - x[0]),
        y_text=lambda value: f"{value:.3g}",
        x_label="time of the event (UTC)",
    )
    plot.line(points, "s0")
    plot.dots(
        [
            (
                at,
                value,
                f"{FIGURES[name][0]} {measure(value, 4)}\n"
                f"{count(moment.events)} events, version {moment.version}",
            )
            for (at, value), moment in zip(points, moments, strict=True)
            if value is not None
        ],
        "s0",
    )
    for record, outcome in zip(evolved.cycles, outcomes, strict=True):
        if x[0] <= record.time_ms <= x[1]:
            plot.mark(float(record.time_ms), f"cycle {record.number}: {outcome}")
    return plot.render()
