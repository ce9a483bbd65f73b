"""`ebbtide status`: the live path on one screen, as JSON, or as metrics."""

import sys
import time
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console, RenderableType
from rich.console import Group as Lines
from rich.live import Live
from rich.table import Table
from rich.text import Text

from ebbtide import waiting
from ebbtide.commands.live_options import Brokers, DeadLetters, Events, Examples, Group, Json, Store
from state.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ebbtide.live.status import Status, TopicNames

_WATCH_S = 1.0
_SHOWN = 8
"""Partitions that are listed one by one."""


def status(
    brokers: Brokers = None,
    store: Store = None,
    events: Events = "events",
    examples: Examples = "examples",
    dead_letters: DeadLetters = "dead-letters",
    group: Group = "ebbtide",
    watch: Annotated[bool, typer.Option("--watch", help="Look again every second.")] = False,
    metrics_port: Annotated[
        int | None,
        typer.Option(
            metavar="P", min=1, max=65535, help="Serve all of it as Prometheus metrics until ended."
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Events in, examples out, trained, lag, freshness, published version; exit code 1 without a broker."""
    import msgspec

    from ebbtide.commands import addresses
    from ebbtide.live import prometheus
    from ebbtide.live import status as live_look

    names = live_look.TopicNames(events, examples, group)
    broker, held, missing = addresses.brokers(brokers), None, None
    try:
        held = addresses.store(store)
    except InputError as error:
        missing = str(error)

    def look() -> "Status":
        seen = live_look.look(broker, held, names).status()
        return seen if missing is None else msgspec.structs.replace(seen, trouble=[*seen.trouble, missing])

    if metrics_port is not None:
        address = (prometheus.host(), metrics_port)
        prometheus.serve(address, lambda: prometheus.of_all(live_look.look(broker, held, names)))
        while True:
            time.sleep(_WATCH_S)
    while watch and as_json:
        print(msgspec.json.encode(look()).decode(), flush=True)
        time.sleep(_WATCH_S)
    if watch:
        with Live(_screen(look(), names), console=Console(), auto_refresh=False) as live:
            while True:
                time.sleep(_WATCH_S)
                live.update(_screen(look(), names), refresh=True)
    with waiting.looking("Looking at the broker and the store ...", quiet=as_json):
        seen = look()
    if as_json:
        sys.stdout.write(msgspec.json.format(msgspec.json.encode(seen), indent=2).decode() + "\n")
    else:
        Console().print(_screen(seen, names))
    if not seen.broker_up:
        raise typer.Exit(1)


def _screen(status: "Status", names: "TopicNames") -> RenderableType:
    rows = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    rows.add_column(style="dim", no_wrap=True)
    rows.add_column()
    dead = sum(status.dead_letters.values())
    reasons = sorted(status.dead_letters.items(), key=lambda one: -one[1])
    rows.add_row(
        "events",
        f"{_count(status.events_in)} in, of them {_count(status.duplicates)} duplicates, "
        f"{_count(status.late)} too late, {dead:,} dead letters",
    )
    if dead:
        rows.add_row("", Text(", ".join(f"{many:,} {reason}" for reason, many in reasons), style="yellow"))
    if status.unknown_fields:
        fields = ", ".join(f"{many:,} {name}" for name, many in status.unknown_fields.items())
        rows.add_row("not read", Text(f"fields that are no roles: {fields}", style="yellow"))
    count = status.workers
    workers = "" if count is None else f", by {count} worker{'s' * (count != 1)} of {names.group}"
    rows.add_row("examples", f"{_count(status.examples_out)} out{workers}")
    size = "" if status.bytes_per_user is None else f", {status.bytes_per_user:,.0f} bytes each"
    rows.add_row("users", f"{_count(status.users)} remembered{size}, {_count(status.expired)} expired")
    changes = f" ({status.item_changes:,} messages about them)" if status.item_changes else ""
    known = f"{_count(status.items)} items{changes}, {_count(status.forgotten)} users forgotten"
    version = _count(status.version)
    rows.add_row("trained", f"{_count(status.trained)}, published version {version}, {known}")
    age = status.checkpoint_age_s
    rows.add_row("checkpoint", "none yet" if age is None else f"{_ago(age)} old")
    for stage, lag in (("ingest", status.lag.ingest), ("train", status.lag.train)):
        rows.add_row(f"lag of {stage}", _lag(lag))
    fresh = [f"{name} {value:,.0f} ms" for name, value in status.freshness_ms.items() if value is not None]
    rows.add_row("freshness", ", ".join(fresh) or "-")
    scores = ", ".join(f"{name} {value:.4f}" for name, value in status.metrics.items())
    rows.add_row("metrics", scores or "-")
    if status.drift_open:
        still = f"{status.drift_open} alarm{'s' * (status.drift_open != 1)} open: `ebbtide monitor` tells"
        rows.add_row("drift", Text(still, style="red"))
    lines: list[RenderableType] = [rows]
    lines += [Text(f"! {sentence}", style="yellow") for sentence in status.trouble]
    return Lines(*lines)


def _lag(lag: "Mapping[int, int]") -> str:
    if not lag:
        return "-"
    most = max(lag, key=lambda partition: lag[partition])
    total = f"{sum(lag.values()):,} messages"
    if not lag[most]:
        return total
    if len(lag) > _SHOWN:
        return f"{total} in {len(lag)} partitions, most in {most}: {lag[most]:,}"
    return f"{total}: " + ", ".join(f"{partition}: {count:,}" for partition, count in lag.items())


def _count(value: int | None) -> str:
    return "-" if value is None else f"{value:,}"


def _ago(seconds: float) -> str:
    return f"{seconds:,.0f} s" if seconds < 600 else f"{seconds / 60:,.0f} min"
