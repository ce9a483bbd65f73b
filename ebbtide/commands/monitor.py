"""`ebbtide monitor`: what has drifted, in a run's folder or on the live path."""

import time
from collections import deque
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from ebbtide import waiting
from ebbtide.commands import addresses
from ebbtide.commands.live_options import Brokers, Events, Examples, Json
from ebbtide.commands.live_options import Group as GroupName
from ebbtide.commands.output import print_json
from state.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable

    from ebbtide.live.status import PathState
    from ebbtide.report.report import Report
    from state.drift_alarm import DriftAction, DriftAlarm, EmbeddingHealth

_LOOK_S = 1.0
_KEPT = 60
_LISTED = 20
_BARS = "▁▂▃▄▅▆▇█"
OPEN = 4
"""Exit code while an alarm is open."""


def monitor(
    source: Annotated[
        str | None,
        typer.Option(
            "--from",
            metavar="DIR|URL",
            help="A folder of `replay --out`, or a trainer's store. [EBBTIDE_STORE, or services that are up]",
        ),
    ] = None,
    once: Annotated[bool, typer.Option("--once", help="Live: look once instead of staying.")] = False,
    brokers: Brokers = None,
    events: Events = "events",
    examples: Examples = "examples",
    group: GroupName = "ebbtide",
    as_json: Json = False,
) -> None:
    """Drift alarms with their evidence, and metrics over time; live, on one screen that stays.

    Exit code 4 while an alarm is open: something is worse than it was, and not back yet.
    Try:  ebbtide monitor --from runs/ml
    """
    if source is not None and "://" not in source:
        _of_run(Path(source), as_json)
        return
    from ebbtide.live import status

    store = addresses.store(source, "--from")
    try:
        broker: str | None = addresses.brokers(brokers)
    except InputError:
        if brokers is not None:
            raise
        broker = None
    names = status.TopicNames(events, examples, group)

    def look() -> "PathState":
        return status.look(broker, store, names) if broker is not None else status.look_at_store(store)

    if not once and not as_json and Console().is_terminal:
        _stay(look)
    with waiting.looking("Looking at the trainer ...", quiet=as_json):
        seen = look()
    if seen.trainer is None:
        raise InputError("; ".join(seen.trouble))
    alarms = seen.trainer.alarms
    if as_json:
        from msgspec import to_builtins

        print_json(
            {
                "drift": to_builtins(alarms),
                "actions": to_builtins(seen.trainer.actions),
                "embeddings": to_builtins(seen.trainer.embeddings),
                "status": to_builtins(seen.status()),
            }
        )
    else:
        Console().print(_Screen().of(seen))
    _leave(alarms)


def _of_run(folder: Path, as_json: bool) -> None:
    from ebbtide.report import report

    run_report = report.read(folder / "report.json")
    if as_json:
        from msgspec import to_builtins

        print_json(
            {
                "drift": to_builtins(run_report.drift),
                "actions": to_builtins(run_report.actions),
                "embeddings": to_builtins(run_report.embeddings),
                "windows": to_builtins(run_report.metrics.windows),
            }
        )
    else:
        Console().print(_run_screen(run_report))
    _leave(run_report.drift)


def _leave(alarms: "list[DriftAlarm]") -> None:
    if any(alarm.open for alarm in alarms):
        raise typer.Exit(OPEN)


def _alarms(seen: "PathState") -> "list[DriftAlarm]":
    return [] if seen.trainer is None else seen.trainer.alarms


def _stay(look: "Callable[[], PathState]") -> None:
    """Look every second until interrupted."""
    screen = _Screen()
    seen = look()
    try:
        with Live(screen.of(seen), console=Console(), screen=True, auto_refresh=False) as live:
            while True:
                time.sleep(_LOOK_S)
                seen = look()
                live.update(screen.of(seen), refresh=True)
    except KeyboardInterrupt:
        _leave(_alarms(seen))
        raise typer.Exit from None


class _Screen:
    """The live path, with what it looked like in the last minute."""

    def __init__(self) -> None:
        self._kept: dict[str, deque[float]] = {}
        self._before: tuple[float, int] | None = None

    def of(self, seen: "PathState") -> RenderableType:
        status, now_s = seen.status(), time.monotonic()
        rows = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
        rows.add_column(style="dim", no_wrap=True)
        rows.add_column(justify="right")
        rows.add_column(no_wrap=True)
        values: dict[str, float | None] = {
            "events a second": None,
            "freshness p99, ms": status.freshness_ms["p99"],
        }
        if status.trained is not None:
            if self._before is not None and now_s > self._before[0]:
                values["events a second"] = (status.trained - self._before[1]) / (now_s - self._before[0])
            self._before = now_s, status.trained
        values["lag, messages"] = float(sum(status.lag.ingest.values()) + sum(status.lag.train.values()))
        values |= status.metrics
        for name, value in values.items():
            kept = self._kept.setdefault(name, deque(maxlen=_KEPT))
            if value is not None:
                kept.append(value)
            shown = (
                "-" if value is None else f"{value:,.0f}" if name not in status.metrics else f"{value:.4f}"
            )
            rows.add_row(name, shown, sparkline(kept))
        trained = "-" if status.trained is None else f"{status.trained:,}"
        head = Text(f"{trained} events learned, version {status.version or '-'}", style="bold")
        troubles = [Text(f"! {sentence}", style="yellow") for sentence in status.trouble]
        actions = [] if seen.trainer is None else seen.trainer.actions
        health = [] if seen.trainer is None else embedding_lines(seen.trainer.embeddings)
        return Group(head, rows, *health, _alarm_lines(_alarms(seen), actions), *troubles)


def sparkline(values: "deque[float]") -> str:
    """The values as bars between the least and the largest of them.

    >>> sparkline(deque([0.0, 1.0, 2.0]))
    '▁▅█'
    """
    if len(values) < 2:
        return ""
    low, high = min(values), max(values)
    step = (high - low) / (len(_BARS) - 1)
    return "".join(_BARS[round((value - low) / step) if step else 0] for value in values)


def _alarm_lines(alarms: "list[DriftAlarm]", actions: "list[DriftAction]") -> RenderableType:
    from ebbtide.report.words import action_sentence, sentence

    if not alarms:
        return Text("no drift alarm", style="green")
    still = [alarm for alarm in alarms if alarm.open]
    past = [alarm for alarm in reversed(alarms) if not alarm.open]
    lines = [Text(f"{len(alarms)} drift alarms, {len(still)} open", style="bold")]
    lines += [Text(f"! {sentence(alarm)}", style="red") for alarm in still[:_LISTED]]
    lines += [Text(f"  {sentence(alarm)}", style="dim") for alarm in past[:_LISTED]]
    lines += [Text(f"> {action_sentence(action)}", style="cyan") for action in actions[-_LISTED:]]
    more = len(still[_LISTED:]) + len(past[_LISTED:])
    if more:
        lines.append(Text(f"  and {more} more: --json has them", style="dim"))
    return Group(*lines)


def embedding_lines(health: "EmbeddingHealth | None") -> list[Text]:
    """The newest look at the vectors published, in a line; none where there was none."""
    if health is None:
        return []
    line = f"embeddings use {health.effective_rank:.1f} of {health.width} directions"
    line += f", {health.covered:.0%} of {health.items:,} items have one"
    if health.neighbour_churn is not None:
        line += f", {health.neighbour_churn:.0%} of neighbours are others than at the look before"
    return [Text(line, style="dim")]


def _run_screen(report: "Report") -> RenderableType:
    from ebbtide.report.svg import time_text
    from ebbtide.report.words import METRIC_WORDS, headline, measure
    from learners.judging.metrics import METRICS

    windows = report.metrics.windows
    metrics = [metric for metric in METRICS if metric in headline(report)]
    span_ms = (windows[-1].end_ms or 0) - (windows[0].start_ms or 0) if windows else 0
    names = (METRIC_WORDS[metric][0] for metric in metrics)
    table = Table("window from", "events", *names, box=None, header_style="dim")
    for window in windows:
        values = ("" if (v := window.value(metric)) is None else measure(v, 4) for metric in metrics)
        table.add_row(time_text(window.start_ms or 0, span_ms), f"{window.events:,}", *values)
    head = Text(report.log.name, style="bold")
    health = embedding_lines(next(reversed(report.embeddings), None))
    return Group(head, *health, _alarm_lines(report.drift, report.actions), table)
