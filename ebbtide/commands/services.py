"""Commands of the live path: `ebbtide services`, and `ebbtide replay LOG --to kafka://...`."""

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from ebbtide import waiting
from ebbtide.commands.addresses import SERVICES
from ebbtide.commands.live_options import Json
from ebbtide.commands.output import print_json
from state.errors import EbbtideError, InputError

if TYPE_CHECKING:
    from ebbtide.services.control import Status
    from replay.log import Log
    from replay.traffic import Sent

services = typer.Typer(
    help="A real Apache Kafka and a real Valkey on this machine, out of packages.", no_args_is_help=True
)

Folder = Annotated[Path, typer.Option("--dir", metavar="D", help="Where data and logs are kept.")]
To = Annotated[
    str | None,
    typer.Option(
        "--to",
        metavar="kafka://HOST:PORT/TOPIC",
        help="Send the events to Kafka instead of learning from them.",
    ),
]
Rate = Annotated[
    float | None, typer.Option(metavar="N", min=1e-3, help="With --to: so many events a second. [all it can]")
]
Form = Annotated[
    Literal["json", "arrow"],
    typer.Option("--format", help="With --to: one JSON object an event, or Arrow batches."),
]
Partitions = Annotated[
    int | None,
    typer.Option(metavar="N", min=1, max=10_000, help="With --to: of the topic, if it is created. [4]"),
]
Now = Annotated[
    bool,
    typer.Option(
        "--now", help="With --to and --rate: move times, so that every event is of when it is sent."
    ),
]
History = Annotated[
    int | None,
    typer.Option(
        metavar="N",
        min=0,
        help="With --now: the first N events are sent at once, as what is past. [20000, and 3/4 at most]",
    ),
]
SentFile = Annotated[
    Path | None,
    typer.Option(
        "--sent", metavar="FILE", help="With --now: note there how far it is, and go on from there."
    ),
]

_DIR = SERVICES
_SENDING = frozenset(("to", "rate", "format", "partitions", "now", "history", "sent"))
_MOVING = ("now", "history", "sent")
_BOTH = frozenset(("log", "map", "items", "users", "label", "seed", "limit", "from_", "until"))
_BOTH |= {"speed", "batch", "time_format", "as_json", "quiet"}


@services.command()
def up(
    folder: Folder = _DIR,
    kafka_port: Annotated[
        int | None, typer.Option(metavar="P", min=1, max=65535, help="Kafka's. [as before, or free]")
    ] = None,
    store_port: Annotated[
        int | None, typer.Option(metavar="P", min=1, max=65535, help="Valkey's. [as before, or free]")
    ] = None,
    as_json: Json = False,
) -> None:
    """Start what is not running, on 127.0.0.1; returns when both answer. The first time fetches 46 MB."""
    from ebbtide.services import control

    with _fetching(Console(stderr=True)) as tell:
        status = control.up(folder, kafka_port=kafka_port, store_port=store_port, tell=tell)
    if as_json:
        print_json({"brokers": status.brokers, "store": status.store})
        return
    screen = Console()
    _show(screen, status)
    screen.print("\nTry next", style="bold")
    option = "" if folder == _DIR else f" --dir {folder}"
    for line in (
        f"ebbtide replay movielens-100k --to kafka://{status.brokers}/events --rate 2000",
        f"ebbtide services down{option}",
    ):
        screen.print(f"  {line}", style="cyan", highlight=False, markup=False, soft_wrap=True)


@services.command()
def down(folder: Folder = _DIR, as_json: Json = False) -> None:
    """End what `up` has started in this folder, and nothing else. The data stay."""
    from ebbtide.services import control

    with waiting.looking("Ending the services ...", quiet=as_json):
        ended = control.down(folder)
    if as_json:
        print_json({"ended": ended})
    else:
        Console().print(f"ended {len(ended)} services" if ended else "nothing was running", highlight=False)


@services.command()
def status(folder: Folder = _DIR, as_json: Json = False) -> None:
    """What runs in this folder; exit code 1 unless both services answer."""
    import msgspec

    from ebbtide.services import control

    seen = control.status(folder)
    if as_json:
        print_json(msgspec.to_builtins(seen))
    else:
        _show(Console(), seen)
    if not seen.up:
        raise typer.Exit(1)


def wants(context: typer.Context, to: str | None, out: Path | None) -> None:
    """Raises InputError where options of `replay` do not go together, or nothing listens at `--to`."""
    given = {
        name
        for name in context.params
        if (source := context.get_parameter_source(name)) is not None and source.name == "COMMANDLINE"
    }
    wrong = given - _SENDING - _BOTH if to is not None else given & _SENDING
    if wrong:
        flags = {p.name: p.opts[0] for p in context.command.params}
        flag = flags[sorted(wrong)[0]]
        raise InputError(
            f"{flag}: has no meaning with --to, which sends events and learns nothing; leave one of them out"
            if to is not None
            else f"{flag}: goes with --to kafka://HOST:PORT/TOPIC only; say where to send, or leave it out"
        )
    if to is not None:
        from streams.kafka.client import check
        from streams.kafka.target import target

        check(target(to)[0])
    elif out is None:
        raise InputError(
            "expected --out DIR for the report, or --to kafka://HOST:PORT/TOPIC to send; got neither"
        )


def send(log: "Log", to: str, *, quiet: bool, as_json: bool, **options: Any) -> None:
    """Send a log, with a bar, and say how it went; raises EbbtideError where events are missing."""
    from replay import traffic
    from replay.moved import MovedLog

    now, history, file = (options.pop(name) for name in _MOVING)
    rate = options["rate"]
    if now and (rate is None or options["speed"] is not None or options["form"] != "json"):
        raise InputError("--now: goes with --rate N, and with neither --speed nor --format arrow")
    if not now and (history is not None or file is not None):
        raise InputError(
            f"{'--history' if history is not None else '--sent'}: goes with --now only; leave it out"
        )
    if quiet and (lost := _dead(log.survey.dead, log.rows + sum(log.survey.dead.values()) + log.left_out)):
        Console(stderr=True).print(lost, highlight=False, markup=False, soft_wrap=True)
    with _sending(Console(stderr=True), quiet=quiet or as_json) as tell:
        if now:
            sent = traffic.send_now(MovedLog(log, rate, history, file), to, progress=tell)
        else:
            sent = traffic.send(log, to, progress=tell, **options)
    if as_json:
        print_json(dataclasses.asdict(sent))
    elif not quiet:
        for sentence in (_said(sent), *_not_sent(sent)):
            Console().print(sentence, highlight=False, markup=False, soft_wrap=True)
    if sent.errors:
        raise EbbtideError(
            f"{to}: {sent.events:,} of {log.rows:,} events were acknowledged, then {sent.failure}; "
            "is the broker up (`ebbtide services status`)?"
        )


def _said(sent: "Sent") -> str:
    rate = sent.events / max(sent.seconds, 1e-9)
    return (
        f"{sent.events:,} events in {sent.messages:,} messages ({sent.bytes / 1e6:,.1f} MB) to {sent.topic} "
        f"({sent.partitions} partitions) in {sent.seconds:,.1f} s: {rate:,.0f} events/s"
    )


def _dead(reasons: Mapping[str, int], read: int) -> str | None:
    """What to say of rows that are no events."""
    if not reasons:
        return None
    by_reason = ", ".join(f"{count:,} x {reason}" for reason, count in reasons.items())
    return (
        f"{sum(reasons.values()):,} of {read:,} rows are dead letters ({by_reason}); "
        "`ebbtide replay` with --out writes them down"
    )


def _not_sent(sent: "Sent") -> Iterator[str]:
    """What of the log was no event, or not asked for."""
    if dead := _dead(sent.dead_letters, sent.read):
        yield dead
    if sent.left_out:
        yield f"{sent.left_out:,} of {sent.read:,} rows left out by --from, --until or --limit"
    yield from (f"warning: {warning}" for warning in sent.warnings)


def _show(screen: Console, status: "Status") -> None:
    addresses = (status.brokers, status.store)
    for service, address in zip(status.services, addresses, strict=True):
        if service.up:
            state = f"{address}  (process {service.pid})"
        elif service.pid is not None:
            state = f"does not answer (process {service.pid}); see {service.log}"
        else:
            state = "not running"
        screen.print(f"{service.name:<14}{state}", highlight=False, markup=False, soft_wrap=True)
    screen.print(
        f"{'data, logs':<14}{status.dir}", style="dim", highlight=False, markup=False, soft_wrap=True
    )


@contextmanager
def _fetching(screen: Console) -> Iterator[Callable[[int, int], None]]:
    """Progress of a download: a bar on a terminal, else a line at its start."""
    columns = (TextColumn("fetching Apache Kafka"), BarColumn(bar_width=24), DownloadColumn())
    with Progress(*columns, console=screen, transient=True, disable=not screen.is_terminal) as bar:
        task: Any = None

        def tell(done: int, total: int) -> None:
            nonlocal task
            if task is None:
                task = bar.add_task("", total=total)
                if not screen.is_terminal:
                    screen.print(f"fetching Apache Kafka ({total / 1e6:.0f} MB) ...", highlight=False)
            bar.update(task, completed=done)

        yield tell


class _PerSecond(ProgressColumn):
    """Events a second since the start."""

    def render(self, task: Task) -> Text:
        elapsed = task.elapsed or 0.0
        return Text(f"{task.completed / elapsed:,.0f} events/s" if elapsed else "", style="cyan")


@contextmanager
def _sending(screen: Console, *, quiet: bool) -> Iterator[Callable[[int, int], None]]:
    columns = (
        BarColumn(bar_width=24),
        TextColumn("{task.completed:,.0f} of {task.total:,.0f} events"),
        _PerSecond(),
        TimeRemainingColumn(compact=True),
    )
    with Progress(*columns, console=screen, transient=True, disable=quiet or not screen.is_terminal) as bar:
        task: Any = None

        def tell(done: int, total: int) -> None:
            nonlocal task
            if task is None:
                task = bar.add_task("", total=total)
            bar.update(task, completed=done)

        yield tell
