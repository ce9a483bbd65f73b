"""A card with lines along the events of a run."""

from collections.abc import Sequence
from typing import NamedTuple

from ebbtide.report.markup import Markup, el
from ebbtide.report.svg import Plot, nice_ticks, padded


class PlotLine(NamedTuple):
    """One of them; each point is the number of an event, and a value."""

    points: Sequence[tuple[float, float]]
    texts: Sequence[str]
    """Of each point, where one looks at it."""


def along_events(title: str, lines: Sequence[PlotLine], *, least: float = -float("inf")) -> Markup:
    """The card; no value can be below `least`."""
    ends = [x for line in lines for x, _ in line.points]
    low, high = padded([y for line in lines for _, y in line.points])
    x, y = (min(ends), max(ends)), (max(low, least), high)
    plot = Plot(
        title=title,
        x=x,
        y=y,
        x_ticks=nice_ticks(*x, 5),
        y_ticks=nice_ticks(*y, 4),
        x_text=lambda at: f"{at:,.0f}",
        y_text=lambda value: f"{value:.3g}",
        x_label="events",
    )
    for n, line in enumerate(lines):
        plot.line(list(line.points), f"s{n}")
        plot.dots([(*point, text) for point, text in zip(line.points, line.texts, strict=True)], f"s{n}", 2.2)
    return el("div", el("h3", title), plot.render(), class_="card")
