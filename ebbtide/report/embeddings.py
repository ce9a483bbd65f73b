"""Health of the published vectors over time: how many directions they use, and whether neighbours stay."""

from ebbtide.report.along import PlotLine, along_events
from ebbtide.report.markup import Markup, el, join
from ebbtide.report.report import Report
from ebbtide.report.words import count, measure

_LEAST = 4
"""Looks below which a plot says nothing."""


def embedding_section(report: Report) -> Markup | None:
    """Two plots, event by event."""
    looks = report.embeddings
    if len(looks) < _LEAST:
        return None
    last = looks[-1]
    rank = [(float(look.event), look.effective_rank) for look in looks]
    churn = [(float(look.event), look.neighbour_churn) for look in looks if look.neighbour_churn is not None]
    summary = (
        f"At the last look {last.covered:.0%} of a sample of {count(last.items)} items had a vector, of norm "
        f"{measure(last.norm, 3)} in the median; it used {measure(last.effective_rank, 1)} of {last.width} "
        "directions."
    )
    cards = [_card("Effective rank of item vectors", rank)]
    if len(churn) >= _LEAST:
        cards.append(_card("Share of the ten nearest items that are others than at the look before", churn))
    return join(el("h2", "Embeddings"), el("p", summary, class_="hint"), el("div", *cards, class_="plots"))


def _card(title: str, points: list[tuple[float, float]]) -> Markup:
    texts = [f"{title}: {measure(y, 3)}\nafter event {x:,.0f}" for x, y in points]
    return along_events(title, [PlotLine(points, texts)], least=0.0)
