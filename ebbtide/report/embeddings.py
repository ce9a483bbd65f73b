"""Health of the published vectors over time: how many directions they use, and whether neighbours stay."""

from ebbtide.report.markup import Markup, el, join
from ebbtide.report.report import Report
from ebbtide.report.svg import Plot, nice_ticks, padded
from ebbtide.report.words import count, measure

_LEAST = 4
"""Looks below which a plot says nothing."""


def embedding_section(report: Report) -> Markup | None:
    """Two plots, event by event."""
    looks = report.embeddings
    if len(looks) < _LEAST:
        return None
    last = looks[-1]
    rank = [(float(one.event), one.effective_rank) for one in looks]
    churn = [(float(one.event), one.neighbour_churn) for one in looks if one.neighbour_churn is not None]
    said = (
        f"At the last look {last.covered:.0%} of a sample of {count(last.items)} items had a vector, of norm "
        f"{measure(last.norm, 3)} in the median; it used {measure(last.effective_rank, 1)} of {last.width} "
        "directions."
    )
    cards = [_card("Effective rank of item vectors", rank)]
    if len(churn) >= _LEAST:
        cards.append(_card("Share of the ten nearest items that are others than at the look before", churn))
    return join(el("h2", "Embeddings"), el("p", said, class_="hint"), el("div", *cards, class_="plots"))


def _card(title: str, points: list[tuple[float, float]]) -> Markup:
    low, high = padded([y for _, y in points])
    first, last = points[0][0], points[-1][0]
    plot = Plot(
        title=title,
        x=(first, last),
        y=(max(low, 0.0), high),
        x_ticks=nice_ticks(first, last, 5),
        y_ticks=nice_ticks(max(low, 0.0), high, 4),
        x_text=lambda x: f"{x:,.0f}",
        y_text=lambda y: f"{y:.3g}",
        x_label="events",
    )
    plot.line(list(points), "s0")
    plot.dots([(x, y, f"{title}: {measure(y, 3)}\nafter event {x:,.0f}") for x, y in points], "s0", 2.2)
    return el("div", el("h3", title), plot.render(), class_="card")
