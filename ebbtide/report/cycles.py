"""Cycles of co-evolution in words and on the page."""

from ebbtide.report.cycle_plots import over_time
from ebbtide.report.markup import Markup, el, join
from ebbtide.report.report import Report
from ebbtide.report.svg import Plot, nice_ticks, padded, time_text
from ebbtide.report.words import count, measure
from learners.coevolution.record import Coevolution, Record
from learners.judging.off_policy import Estimate
from state.progress import CycleAnswer

_DAY_MS = 86_400_000
_CLUSTERS, _LARGEST = 40, 6


def in_short(evolved: Coevolution) -> str:
    """Clusters and cycles in a line."""
    promoted = sum(record.verdict.promoted for record in evolved.cycles)
    text = f"{count(len(evolved.clusters) - 1)} clusters by {evolved.clusters_by}; "
    if not evolved.cycles:
        return text + "no cycle yet"
    newest = evolved.cycles[-1]
    return text + (
        f"{count(len(evolved.cycles))} cycles, {count(promoted)} promoted; version {evolved.serving} serves; "
        f"the last was {outcome(newest)}"
    )


def outcome(record: Record) -> str:
    """What became of a cycle, and why.

    >>> from learners.coevolution.record import Verdict, Verified
    >>> nothing = Verified(slates=0, accepted=None, expected=None, log_loss=None)
    >>> verdict = Verdict(promoted=False, reason="12 explored events, 1,000 are needed", events=12)
    >>> outcome(Record(number=3, time_ms=0, from_version=1, to_version=1, verified=nothing, lessons=9,
    ...     codes_changed=0.0, divergence=0.0, expected_before=None, expected_after=None, verdict=verdict))
    'refused: 12 explored events, 1,000 are needed'
    """
    return f"{'promoted' if record.verdict.promoted else 'refused'}: {record.verdict.reason}"


def answered(answer: CycleAnswer) -> str:
    """What became of what was asked of a live trainer.

    >>> why = "version 1 serves, and none before it is kept"
    >>> answered(CycleAnswer(request="1", what="rollback", time_ms=None, said=why, refused=True))
    'rollback was asked for: refused: version 1 serves, and none before it is kept'
    """
    at = "" if answer.time_ms is None else f" at {time_text(answer.time_ms, 2 * _DAY_MS)}"
    return f"{answer.what} was asked for{at}: {'refused: ' * answer.refused}{answer.said}"


def largest(evolved: Coevolution) -> str:
    """The largest clusters by name, and how many there are."""
    ordered = sorted(evolved.clusters[1:], key=lambda cluster: -cluster.items)
    names = ", ".join(cluster.name for cluster in ordered[:_LARGEST]) or "none yet"
    rest = len(ordered) - _LARGEST
    return f"{names} and {count(rest)} more" if rest > 0 else names


def between(estimate: Estimate | None) -> str:
    """A value with its interval."""
    if estimate is None:
        return "-"
    if estimate.low is None or estimate.high is None:
        return measure(estimate.value)
    return f"{measure(estimate.value)} [{measure(estimate.low)}, {measure(estimate.high)}]"


def moved(record: Record) -> str:
    """What has moved, and how far."""
    return (
        f"{record.divergence:.3f} nats, {record.codes_changed:.0%} of codes, {count(record.lessons)} lessons"
    )


COLUMNS = ("cycle", "at", "version", "moved", "before", "after", "CPU s", "outcome")


def row(record: Record) -> tuple[str, ...]:
    """A cycle as cells of COLUMNS."""
    version = f"{record.from_version} to {record.to_version}" if record.verdict.promoted else "stays"
    return (
        str(record.number),
        time_text(record.time_ms, 2 * _DAY_MS),
        version,
        moved(record),
        between(record.verdict.before),
        between(record.verdict.after),
        "-" if record.cpu_seconds is None else f"{record.cpu_seconds:.2f}",
        outcome(record),
    )


IN_SHORT = ("cycle", "at", "version", "CPU s", "what came of it")


def row_in_short(record: Record) -> tuple[str, ...]:
    """A cycle as cells of IN_SHORT, which a terminal of 80 columns has room for."""
    number, at, version, changed, before, after, cpu_s, what = row(record)
    judged = () if record.verdict.before is None else (f"acceptance before: {before}", f"after: {after}")
    return number, at, version, cpu_s, "\n".join((what, changed, *judged))


def cycle_section(report: Report) -> Markup | None:
    """Every cycle in a row, acceptance before and after drawn, and the clusters."""
    evolved = report.coevolution
    if evolved is None:
        return None
    text = (
        f"{in_short(evolved)}. Before and after are acceptance in the explore slot by SNIPS, on what"
        " held-back users did, with 95% intervals. A flag is a cycle."
    )
    head = el("tr", *(el("th", name) for name in COLUMNS))
    rows = [el("tr", *(el("td", cell) for cell in row(record))) for record in evolved.cycles]
    clusters = sorted(evolved.clusters[1:], key=lambda cluster: -cluster.items)[:_CLUSTERS]
    listed = [
        el("li", f"{cluster.name}: {count(cluster.items)} items, such as {', '.join(cluster.popular)}")
        for cluster in clusters
    ]
    return join(
        el("h2", "Co-evolution"),
        el("p", text, class_="hint"),
        el("div", el("table", el("thead", head), el("tbody", *rows)), class_="scroll") if rows else None,
        _plot(evolved),
        over_time(evolved, [outcome(record) for record in evolved.cycles]),
        el("details", el("summary", "Clusters"), el("ul", *listed)) if listed else None,
    )


def _plot(evolved: Coevolution) -> Markup | None:
    """Acceptance that each cycle found, before and after; promoted ones are marked."""
    judged = [
        record
        for record in evolved.cycles
        if record.verdict.after is not None and record.verdict.before is not None
    ]
    if len(judged) < 2:
        return None
    at = [float(record.number) for record in judged]
    both = [
        [estimate.value for record in judged if (estimate := getattr(record.verdict, side)) is not None]
        for side in ("before", "after")
    ]
    low, high = padded([*both[0], *both[1]])
    x = padded(at)
    plot = Plot(
        title="acceptance in the explore slot, before and after each cycle",
        x=x,
        y=(low, high),
        x_ticks=at,
        y_ticks=nice_ticks(low, high, 4),
        x_text=lambda number: f"{number:.0f}",
        y_text=lambda value: f"{value:.3g}",
        x_label="cycle",
    )
    for values, kind in zip(both, ("s1", "s0"), strict=True):
        plot.line(list(zip(at, values, strict=True)), kind)
    for record in judged:
        if record.verdict.promoted:
            plot.mark(float(record.number), outcome(record))
    return el("div", plot.render(), class_="card")
