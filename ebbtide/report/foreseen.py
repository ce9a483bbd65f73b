"""What scores let expect before labels came, beside what these told: log loss and AUC, window by window."""

from ebbtide.report.along import PlotLine, along_events
from ebbtide.report.markup import Markup, el, join
from ebbtide.report.plots import legend
from ebbtide.report.report import Report
from ebbtide.report.words import measure

_LEAST = 4
"""Windows below which a plot says nothing."""

Points = list[tuple[float, float]]


def foreseen_section(report: Report) -> Markup | None:
    """A plot of the log loss and one of the AUC."""
    windows = report.foreseen
    cards = []
    for title, expected, came in (
        ("Log loss", "expected_log_loss", "log_loss"),
        ("AUC, each event against those known before it", "expected_auc", "auc"),
    ):
        lines = [
            [
                (one.event + one.events / 2, value)
                for one in windows
                if (value := getattr(one, field)) is not None
            ]
            for field in (expected, came)
        ]
        if min(map(len, lines)) >= _LEAST:
            cards.append(_card(title, *lines))
    if not cards:
        return None
    hint = (
        "What scores let expect at arrival, by what such scores had come to mean, and what labels told. "
        "Where the lines part, scores have come to mean something else."
    )
    return join(
        el("h2", "Before labels arrived"),
        el("p", hint, class_="hint"),
        legend(["expected", "came"]),
        el("div", *cards, class_="plots"),
    )


def _card(title: str, expected: Points, came: Points) -> Markup:
    lines = [
        PlotLine(points, [f"{title}, {word}: {measure(y, 3)}" for _, y in points])
        for points, word in ((expected, "expected"), (came, "came"))
    ]
    return along_events(title, lines)
