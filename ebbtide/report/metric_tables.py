"""The report's tables of figures: the model beside the floors, and by who and what had been met before."""

from collections.abc import Sequence

from ebbtide.report.markup import Markup, el, join
from ebbtide.report.report import Report
from ebbtide.report.words import METRIC_WORDS, count, headline, measure, verdict
from learners.judging.evaluation import Judged
from learners.judging.metrics import PREDICTION, RANKING

_SLICE_WORDS = {
    "warm_user": "users met before",
    "cold_user": "users never met before",
    "warm_item": "items met before",
    "cold_item": "items never met before",
}


def learner_section(report: Report) -> Markup:
    tables = [
        _metric_table(report, title, family)
        for title, family in (
            ("Will it happen: P(action) against what happened", PREDICTION),
            ("What comes next: the whole catalogue ranked", RANKING),
        )
    ]
    hint = (
        "On the scored part. Under each figure of a model: its difference to the hardest floor, with the 95%"
        " interval over users. The best figure of a column is bold."
    )
    heading = el("h2", "The model beside the floors")
    return join(heading, el("p", hint, class_="hint"), *tables)


def _metric_table(report: Report, title: str, family: Sequence[str]) -> Markup | None:
    metrics = [m for m in family if any(judged.scored.value(m) is not None for judged in report.learners)]
    learners = [
        judged
        for judged in report.learners
        if any(judged.scored.value(metric) is not None for metric in metrics)
    ]
    if not metrics:
        return None
    best = {metric: _best(metric, learners) for metric in metrics}
    own = report.evaluation.speaks(metrics[0])
    rows = []
    for judged in sorted(learners, key=lambda judged: judged.floor):
        cells = [el("td", judged.name, el("small", "floor" if judged.floor else "model"))]
        for metric in metrics:
            kind = "best" if best[metric] == judged.name else None
            cells.append(
                el(
                    "td",
                    measure(judged.scored.value(metric), 4),
                    _against(report, judged, metric),
                    class_=kind,
                )
            )
        rows.append(el("tr", *cells, class_="own" if own and judged.name == own.name else None))
    head = [el("th", "learner"), *(el("th", METRIC_WORDS[m][0], title=METRIC_WORDS[m][1]) for m in metrics)]
    return el("div", el("h3", title), _table(head, rows), class_="card wide")


def _against(report: Report, judged: Judged, metric: str) -> Markup | None:
    floor = report.evaluation.best_floor(metric)
    interval = judged.interval(floor.name, metric) if floor else None
    if interval is None:
        return None
    kind = verdict(interval)[1]
    return join(
        el("small", f"{interval.difference:+.4f}", class_=kind),
        el("small", f"{interval.low:+.4f} to {interval.high:+.4f}", class_=kind),
    )


def _best(metric: str, learners: Sequence[Judged]) -> str | None:
    sign = METRIC_WORDS[metric][2]
    known = [(one.scored.value(metric), one.name) for one in learners]
    return max(((sign * value, name) for value, name in known if value is not None), default=(0, None))[1]


def slice_section(report: Report) -> Markup | None:
    metrics = headline(report)
    if not metrics:
        return None
    rows = []
    for name, words in _SLICE_WORDS.items():
        part = report.slices[name]
        cells = [el("td", words, el("small", f"{count(part.events)} events"))]
        for metric in metrics:
            floor = report.evaluation.best_floor(metric)
            theirs = floor.slices[name].value(metric) if floor else None
            beside = el("small", f"floor {measure(theirs)}") if theirs is not None else None
            cells.append(el("td", measure(part.value(metric)), beside))
        rows.append(el("tr", *cells))
    head = [el("th", "events of"), *(el("th", METRIC_WORDS[metric][0]) for metric in metrics)]
    text = (
        "Whether the user, or the item, had been met before the event. A stream always brings new ones;"
        " a model that only knows old ones is of little use."
    )
    heading = el("h2", "Cold and warm")
    return el("section", heading, el("p", text, class_="hint"), el("div", _table(head, rows), class_="card"))


def _table(head: Sequence[Markup | None], rows: Sequence[Markup]) -> Markup:
    table = el("table", el("thead", el("tr", *head)), el("tbody", *rows))
    return el("div", table, class_="scroll", tabindex=0)
