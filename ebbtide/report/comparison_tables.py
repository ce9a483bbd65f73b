"""What a run says on the terminal of variants and copies of its models, and of a policy that was judged."""

from collections.abc import Sequence

from rich.table import Table
from rich.text import Text

from ebbtide.report.comparisons import DECISIVE, decisive, judged, same, sign
from ebbtide.report.policy_page import conclusion, estimates, shown
from ebbtide.report.report import Report
from ebbtide.report.words import METRIC_WORDS, duration, measure, times
from state.difference import Difference, of_metric

_STYLE = {1: "green", -1: "red", 0: "dim", None: ""}


def comparison_tables(report: Report) -> list[Table]:
    """A table of variants, one of each model's copies, one of a policy, as far as the run had any."""
    speak = [ours.name for metric in DECISIVE if (ours := report.evaluation.speaks(metric)) is not None]
    tables = [
        _ablation(report),
        _actions(report),
        *(_staleness(report, name) for name in dict.fromkeys(speak)),
        _policy(report),
    ]
    return [table for table in tables if table is not None]


def _ablation(report: Report) -> Table | None:
    ablation = report.ablation
    if ablation is None:
        return None
    metrics = decisive(variant.differences for variant in ablation.variants)
    table = _titled(f"What each part of {ablation.learner} is worth: variant minus model", metrics)
    table.add_column("the part", overflow="fold")
    whole = [Text(measure(ablation.scored.value(metric), 4)) for metric in metrics]
    table.add_row(Text(ablation.learner, style="bold"), *whole, "")
    for variant in ablation.variants:
        cells = [_difference(variant.differences, metric) for metric in metrics]
        table.add_row(Text(variant.name), *cells, Text(variant.verdict))
    table.caption = "± 95% interval, paired over users; worth nothing where it holds 0"
    return table


def _actions(report: Report) -> Table | None:
    known = judged(report.actions)
    if not known:
        return None
    metrics = decisive(worth.differences for _, worth in known)
    table = _titled("What acting on drift was worth: without the action minus with it", metrics)
    table.add_column("acting", overflow="fold")
    for action, worth in known:
        cells = [_difference(worth.differences, metric) for metric in metrics]
        table.add_row(Text(f"{action.do} after event {action.event:,}"), *cells, Text(worth.verdict))
    table.caption = "on the events after each action and before the next; ± 95% interval, paired over users"
    return table


def _staleness(report: Report, learner: str) -> Table | None:
    staleness = report.staleness
    copies = staleness.find(learner) if staleness else []
    if staleness is None or not copies:
        return None
    metrics = decisive(copy.differences for copy in copies)
    table = _titled(f"What freshness is worth to {learner}", metrics)
    for copy in copies:
        shown = _both if copy.sync_s else _value
        table.add_row(Text(copy.sync), *(shown(copy.differences, metric) for metric in metrics))
    for retrained in (retrained for retrained in staleness.offline if retrained.learner == learner):
        table.add_row(Text("offline"), *(_both(retrained.differences, metric) for metric in metrics))
        days = "every day" if retrained.stride == 1 else f"one day in {retrained.stride}, compared on these"
        took = f"{times(retrained.trainings)}, {duration(staleness.offline_cpu_seconds)} of CPU"
        table.caption = f"offline: trained afresh for {days}; {took}"
    return table


def _policy(report: Report) -> Table | None:
    judged = report.off_policy
    if judged is None:
        return None
    table = _titled(f"What {judged.policy} would have earned", [])
    table.add_column("mean reward (95% over users)")
    for name, estimate in estimates(judged.found).items() if judged.found else ():
        table.add_row(Text(name), shown(estimate))
    table.caption = Text(conclusion(judged))
    return table


def _titled(title: str, metrics: Sequence[str]) -> Table:
    table = Table(title=Text(title), title_justify="left", title_style="bold", box=None, pad_edge=False)
    table.caption_justify = "left"
    table.add_column("", overflow="fold")
    for metric in metrics:
        table.add_column(METRIC_WORDS[metric][0], justify="right")
    return table


def _value(differences: Sequence[Difference], metric: str) -> Text:
    difference = of_metric(differences, metric)
    return Text("" if difference is None else measure(difference.value, 4))


def _difference(differences: Sequence[Difference], metric: str) -> Text:
    difference = of_metric(differences, metric)
    if difference is None:
        return Text("")
    if same(difference):
        return Text("same", style="dim")
    half = (
        ""
        if difference.low is None or difference.high is None
        else f" ±{(difference.high - difference.low) / 2:.4f}"
    )
    return Text(f"{difference.difference:+.4f}{half}", style=_STYLE[sign(difference)])


def _both(differences: Sequence[Difference], metric: str) -> Text:
    return Text.assemble(_value(differences, metric), "  ", _difference(differences, metric))
