"""What a run says on the terminal: progress while it goes, and an end that one wants to read.

Nothing is said with `quiet`; the moving bar is for a terminal only, so logs and pipes stay clean.
"""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.table import Column, Table
from rich.text import Text

from ebbtide import waiting
from ebbtide.report.comparison_tables import comparison_tables
from ebbtide.report.cycles import in_short
from ebbtide.report.report import Report
from ebbtide.report.words import METRIC_WORDS, count, duration, headline, measure, protocol, verdict
from learners.judging.metrics import METRICS
from state.compiled import watched
from state.printable import printable


class Looker(Protocol):
    """Whoever can say how the last events went, as `learners.judging.measure.Measure` can."""

    def recent(self) -> Mapping[str, Mapping[str, float]]: ...


Tell = Callable[[int, int, Looker], None]
"""Called with (events done, events in all, who knows how they went), as often as one likes."""

_REDRAW_S, _LOOK_S = 0.1, 1.0
_STYLE = {"good": "green", "bad": "red", "even": "dim"}
_WIDE = 100
_SHOWN = ("auc", "log_loss", "calibration_error", "recall@1", "recall@10", "ndcg@10", "mrr")


class _Rate(ProgressColumn):
    """Events a second since the start."""

    def render(self, task: Task) -> Text:
        elapsed = task.elapsed or 0.0
        return Text(f"{count(task.completed / elapsed)} events/s" if elapsed > 0 else "", style="cyan")


@contextmanager
def progress(console: Console, *, quiet: bool = False) -> Iterator[Tell]:
    """A bar with the rate and the metrics of the last events; gives the function to call as events pass."""
    if quiet or not console.is_terminal:
        with waiting.silent() if quiet else waiting.hint(console):
            yield lambda done, total, looker: None
        return
    whole = Column(no_wrap=True)
    columns = (
        BarColumn(bar_width=24),
        TextColumn("{task.fields[done]}", table_column=whole),
        _Rate(table_column=whole),
        TimeRemainingColumn(compact=True, table_column=whole),
        TextColumn(
            "{task.fields[last]}", markup=False, style="dim", table_column=Column(no_wrap=True, ratio=1)
        ),
    )
    with Progress(*columns, console=console, transient=True, expand=True, refresh_per_second=5) as bar:
        task = bar.add_task("", total=None, done="preparing", last="")
        drawn = looked = float("-inf")

        def tell(done: int, total: int, looker: Looker) -> None:
            nonlocal drawn, looked
            now = time.monotonic()
            if now - drawn < _REDRAW_S:
                return
            drawn = now
            bar.update(task, completed=done, total=total or None, done=f"{count(done)} events")
            if now - looked >= _LOOK_S:
                looked = now
                bar.update(task, last=_recent_text(looker.recent()))

        with watched(lambda kernel, of: bar.update(task, last=waiting.compiling(kernel, of))):
            yield tell


def _recent_text(recent: Mapping[str, Mapping[str, float]]) -> str:
    texts = (
        f"{learner} {METRIC_WORDS[metric][0]} {measure(value)}"
        for learner, metrics in recent.items()
        for metric, value in metrics.items()
    )
    return "  ".join(texts)


def summary(
    console: Console, report: Report, out: Path, commands: Sequence[str] = (), *, quiet: bool = False
) -> None:
    """The end of a run: how good beside the floors, how fast, where the files are, what to try next."""
    if quiet:
        return
    parts: list[RenderableType] = [Text(protocol(report), style="dim"), Text()]
    table = _table(report, narrow=console.width < _WIDE)
    parts += [table, Text()] if table.row_count else []
    for compared in comparison_tables(report):
        parts += [compared, Text()]
    parts.append(_facts(report, out))
    if commands:
        parts += [Text(), Text("Try next", style="bold")]
        parts += [Text(f"  {command}", style="cyan", no_wrap=True, overflow="ignore") for command in commands]
    console.print(Padding(Group(*parts), (1, 0, 1, 1)), highlight=False, soft_wrap=False)


def _table(report: Report, *, narrow: bool) -> Table:
    """Learners by metrics on the scored part; figures of the run's own learners say how they compare."""
    wanted = headline(report) if narrow else _SHOWN
    metrics = [m for m in METRICS if m in wanted and report.metrics.scored.value(m) is not None]
    events = report.metrics.scored.events
    title = f"{report.log.name}: {count(events)} event{'s' * (events != 1)} scored"
    table = Table(title=Text(title), title_justify="left", title_style="bold", box=None, pad_edge=False)
    table.add_column("", overflow="fold")
    for metric in metrics:
        table.add_column(METRIC_WORDS[metric][0], justify="right", no_wrap=True)
    for judged in sorted(report.learners, key=lambda judged: judged.floor):
        if all(judged.scored.value(metric) is None for metric in metrics):
            continue
        cells = [
            Text(judged.name + (" (floor)" if judged.floor else ""), style="" if judged.floor else "bold")
        ]
        for metric in metrics:
            value = judged.scored.value(metric)
            floor = report.evaluation.best_floor(metric)
            interval = judged.interval(floor.name, metric) if floor else None
            style = _STYLE[verdict(interval)[1]] if interval else ""
            mark = {"green": " +", "red": " -"}.get(style, "  ")
            cells.append(Text((measure(value, 4) if value is not None else "") + mark, style=style))
        table.add_row(*cells)
    if any(judged.intervals for judged in report.learners):
        table.caption = "+ better, - worse than the hardest floor (95% interval over users)"
        table.caption_justify = "left"
    return table


def _facts(report: Report, out: Path) -> Table:
    events = report.events
    dropped = [
        f"{count(number)} {name}"
        for number, name in (
            (events.dead_letters, "dead letters"),
            (events.duplicates, "duplicates"),
            (events.late, "late"),
            (events.left_out, "left out by --from, --until or --limit"),
        )
        if number
    ]
    speed = (
        f"{count(report.events_per_second)} events/s, {count(report.events_per_cpu_second)} per CPU-second,"
        f" {duration(report.seconds)}, {count(report.peak_rss_mb)} MB"
    )
    facts = {
        "events": ", ".join([f"{count(events.used)} of {count(events.read)} rows", *dropped]),
        "speed": speed,
        "drift": f"{count(len(report.drift))} alarms" if report.drift else "no alarm",
        **({} if report.coevolution is None else {"cycles": in_short(report.coevolution)}),
        "report": str(out / "report.html"),
    }
    if report.warnings:
        facts["warning"] = "\n".join(report.warnings)
    if report.notes:
        facts["note"] = "\n".join(map(printable, report.notes))
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(style="dim")
    table.add_column(overflow="fold")
    for name, value in facts.items():
        table.add_row(Text(name), Text(value))
    return table
