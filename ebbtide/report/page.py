"""`report.html`: the report as one page to look at, with nothing to fetch and nothing that runs.

Every id and name from a log goes through `ebbtide.report.markup`, which escapes it.
"""

import json
from importlib.resources import files
from pathlib import Path
from string import Template

from ebbtide.report.alarms import alarm_section
from ebbtide.report.comparison_page import ablation_section, action_section, staleness_section
from ebbtide.report.cycles import cycle_section
from ebbtide.report.embeddings import embedding_section
from ebbtide.report.figures import figures
from ebbtide.report.foreseen import foreseen_section
from ebbtide.report.markup import Markup, el, join
from ebbtide.report.metric_tables import learner_section, slice_section
from ebbtide.report.plots import calibration_plot, curve_plots, legend, time_plots
from ebbtide.report.policy_page import policy_section
from ebbtide.report.report import Report, replace_file
from ebbtide.report.svg import time_text
from ebbtide.report.words import (
    METRIC_WORDS,
    count,
    difference,
    duration,
    headline,
    measure,
    protocol,
    verdict,
)


def render(report: Report) -> str:
    """The page."""
    sections = [
        _head(report),
        _tiles(report),
        _over_time(report),
        learner_section(report),
        ablation_section(report),
        staleness_section(report),
        policy_section(report),
        _trust(report),
        _memory(report),
        _learned(report),
        _speed(report),
        alarm_section(report),
        action_section(report),
        foreseen_section(report),
        cycle_section(report),
        embedding_section(report),
        _rows(report),
        _fine_print(report),
    ]
    page = Template(files("ebbtide.report").joinpath("report_template.html").read_text("utf-8"))
    return page.substitute(title=join(f"Ebbtide: {report.log.name}"), body=join(*sections))


def write(report: Report, path: Path) -> None:
    """Write the page, whole or not at all."""
    replace_file(path, render(report).encode())


def _head(report: Report) -> Markup:
    log = report.log
    span = "no events"
    if log.start_ms is not None and log.end_ms is not None:
        apart = log.end_ms - log.start_ms
        span = (
            f"{time_text(log.start_ms, 400 * 86_400_000)} to {time_text(log.end_ms, 400 * 86_400_000)}"
            f" ({duration(apart / 1000)})"
        )
    facts = f"{count(report.events.used)} events, {count(log.users)} users, {count(log.items)} items, {span}"
    return join(el("h1", log.name), el("p", facts, class_="sub"), el("p", protocol(report), class_="hint"))


def _tiles(report: Report) -> Markup:
    good = [_metric_tile(report, metric) for metric in headline(report)]
    quick = [
        _tile(
            "events",
            count(report.events.used),
            f"of {count(report.events.read)} rows, {count(report.events.dead_letters)} dead letters",
        ),
        _tile("events a second", count(report.events_per_second), f"{duration(report.seconds)} in all"),
        _tile(
            "events a CPU-second",
            count(report.events_per_cpu_second),
            f"{duration(report.cpu_seconds)} of CPU",
        ),
        _tile("memory", f"{count(report.peak_rss_mb)} MB", "at most, resident"),
    ]
    return join(el("div", *good, class_="tiles"), el("div", *quick, class_="tiles"))


def _metric_tile(report: Report, metric: str) -> Markup:
    evaluation = report.evaluation
    floor, ours = evaluation.best_floor(metric), evaluation.speaks(metric)
    value = report.metrics.scored.value(metric)
    lines = [el("span", METRIC_WORDS[metric][0], class_="name"), el("b", measure(value))]
    if floor is not None and ours is not None and floor.name != ours.name:
        lines.append(el("span", f"floor {measure(floor.scored.value(metric))} ({floor.name})"))
        interval = ours.interval(floor.name, metric)
        if interval is not None:
            word, kind = verdict(interval)
            lines.append(
                el("span", f"{interval.difference:+.3f}, {word}", title=difference(interval), class_=kind)
            )
    return el("div", *lines, class_="tile", title=METRIC_WORDS[metric][1])


def _tile(name: str, value: str, below: str) -> Markup:
    parts = (el("span", name, class_="name"), el("b", value), el("span", below))
    return el("div", *parts, class_="tile")


def _over_time(report: Report) -> Markup | None:
    plots = time_plots(report, headline(report))
    if not plots:
        return None
    hint = "Each point is a window of equally many events, scored before they were learned."
    if report.drift:
        hint += " Red flags are drift alarms."
    if report.metrics.scored.events < report.metrics.all.events:
        hint += " The shaded stretch is the scored part."
    cards = [el("div", el("h3", title), legend(names), plot, class_="card") for title, names, plot in plots]
    return join(
        el("h2", "How good, over time"), el("p", hint, class_="hint"), el("div", *cards, class_="grid two")
    )


def _trust(report: Report) -> Markup | None:
    cards = [card for card in (_calibration(report), slice_section(report)) if card is not None]
    return el("div", *cards, class_="grid two") if cards else None


def _calibration(report: Report) -> Markup | None:
    plot = calibration_plot(report)
    if plot is None:
        return None
    text = (
        "Of all events that were given a probability near x, the share y happened. On the diagonal a"
        " probability means what it says. The bars show where the events are."
    )
    heading = el("h2", "Can the probabilities be believed")
    return el("section", heading, el("p", text, class_="hint"), el("div", plot, class_="card"))


def _memory(report: Report) -> Markup | None:
    cards = [
        el("div", el("h3", title), legend(names), plot, class_="card")
        for title, names, plot in curve_plots(report)
    ]
    if not cards:
        return None
    text = (
        "What is left of a past event: it fades, a repeat strengthens it, and a late repeat strengthens it"
        " most. Memories of the same hour of the day and of the week come back."
    )
    return join(
        el("h2", "How memory fades and returns"),
        el("p", text, class_="hint"),
        el("div", *cards, class_="grid"),
    )


def _learned(report: Report) -> Markup | None:
    cards = [
        el(
            "div",
            el("h3", shown.title),
            shown.legend,
            shown.picture,
            el("p", shown.says, class_="hint"),
            class_="card",
        )
        for shown in figures(report)
    ]
    if not cards:
        return None
    text = "Read from the model at the end of the run, and from all that it scored on the way."
    if report.insight is not None and report.insight.experts:
        text += (
            " A gate is how much an expert, or a view, counted on average; bars are strong where it is"
            " clearly above its mean, the dotted line."
        )
    return join(
        el("h2", "What the model has learned"),
        el("p", text, class_="hint"),
        el("div", *cards, class_="grid two" if len(cards) > 1 else "grid two only"),
    )


def _speed(report: Report) -> Markup | None:
    total = sum(report.phases.values())
    if not total > 0:
        return None
    kinds = [f"s{i}" if i < 6 else "other" for i in range(len(report.phases))]
    bar, keys = [], []
    for (name, seconds), kind in zip(report.phases.items(), kinds, strict=True):
        says = f"{name}: {seconds:.2f} s, {seconds / total:.0%}"
        bar.append(el("span", title=says, class_=kind, style=f"flex:{seconds / total:.4f}"))
        keys.append(el("li", el("span", class_=f"key {kind}"), says))
    setup = f"Setting up took another {duration(report.setup_seconds)} of wall time."
    return join(
        el("h2", "Where the CPU time went"),
        el(
            "div",
            el("div", *bar, class_="stack", role="img", aria_label="CPU seconds by phase"),
            el("ul", *keys, class_="legend"),
            el("p", setup, class_="hint"),
            class_="card",
        ),
    )


def _rows(report: Report) -> Markup:
    events = report.events
    facts = {
        "rows read": events.read,
        "events used": events.used,
        "dead letters": events.dead_letters,
        "duplicates": events.duplicates,
        "late": events.late,
        "left out by --from, --until or --limit": events.left_out,
    }
    cards = [el("div", el("h3", "What became of the rows"), _definitions(facts), class_="card")]
    if report.dead_letters:
        cards.append(
            el("div", el("h3", "Dead letters by reason"), _definitions(report.dead_letters), class_="card")
        )
    if report.warnings:
        warnings = el("ul", *(el("li", warning) for warning in report.warnings))
        cards.append(el("div", el("h3", "Warnings"), warnings, class_="card"))
    if report.notes:
        notes = el("ul", *(el("li", note) for note in report.notes))
        cards.append(el("div", el("h3", "Notes"), notes, class_="card"))
    return join(el("h2", "The rows"), el("div", *cards, class_="grid"))


def _fine_print(report: Report) -> Markup:
    log = report.log
    rules = {
        "path": log.path or "",
        "roles": ", ".join(log.roles),
        "label": log.label_rule or ("as given" if log.labelled else "none: every event is a positive"),
        "left out of the ranking": f"{log.leave_out} ({log.leave_out_reason})",
        "label delay": duration(log.label_delay_ms / 1000),
        "clock tick of the log": duration(log.tick_ms / 1000) if log.tick_ms else "unknown",
        "state digest": report.state_digest,
    }
    config = json.dumps(report.config, indent=2, ensure_ascii=False)
    made = " ".join(f"{name} {number}" for name, number in report.versions.items())
    return join(
        el("details", el("summary", "The log and its rules"), _definitions(rules)),
        el("details", el("summary", "Configuration"), el("pre", config)),
        el("footer", f"{made}. The same figures, and more, are in report.json beside this page."),
    )


def _definitions(pairs: dict[str, str] | dict[str, int]) -> Markup:
    def shown(value: str | int) -> str:
        return count(value) if isinstance(value, int) else value

    return el("dl", *(join(el("dt", name), el("dd", shown(value))) for name, value in pairs.items()))
