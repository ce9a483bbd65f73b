"""Alarms of drift on the terminal."""

import numpy as np
from rich.console import Console
from rich.table import Table
from rich.text import Text

from ebbtide.report.report import Report
from ebbtide.report.svg import time_text
from ebbtide.report.words import METRIC_WORDS, headline, measure
from learners.judging.metrics import METRICS


def show(console: Console, report: Report) -> None:
    """Alarms with their evidence, and the run's metrics over time."""
    console.print(Text(f"{report.log.name}: {len(report.drift)} drift alarms", style="bold"))
    if report.drift:
        columns = ("when", "event", "detector", "signal", "scene", "before", "after")
        table = Table(*columns, box=None, header_style="dim")
        for alarm in report.drift:
            table.add_row(
                str(np.datetime64(alarm.time_ms, "ms").astype("datetime64[m]")).replace("T", " "),
                f"{alarm.evidence.get('event', 0):,}",
                alarm.detector,
                alarm.metric,
                Text(alarm.scene or "all"),
                _number(alarm.before),
                _number(alarm.after),
            )
        console.print(table)
    windows = report.metrics.windows
    metrics = [metric for metric in METRICS if metric in headline(report)]
    span_ms = (windows[-1].end_ms or 0) - (windows[0].start_ms or 0) if windows else 0
    table = Table(
        "window from", "events", *(METRIC_WORDS[m][0] for m in metrics), box=None, header_style="dim"
    )
    for window in windows:
        start = time_text(window.start_ms or 0, span_ms)
        table.add_row(start, f"{window.events:,}", *(_number(window.value(metric)) for metric in metrics))
    console.print(table)


def _number(value: float | None) -> str:
    return "" if value is None else measure(value, 4)
