"""`ebbtide up`: all of it, on this machine, by one command."""

import socket
import time
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.text import Text

from ebbtide.commands.built_by import built_by
from ebbtide.commands.log_options import LogReading
from ebbtide.commands.output import print_line
from state.errors import InputError

_DIR = Path("runs/up")
_PORT = 8080
_COLOURS = {"send": "magenta", "ingest": "blue", "train": "green", "serve": "yellow", "services": "cyan"}


@built_by(LogReading)
def up(
    reading: LogReading,
    directory: Annotated[
        Path, typer.Option("--dir", metavar="D", help="Where all data and logs are; it is gone on with.")
    ] = _DIR,
    port: Annotated[
        int | None,
        typer.Option(metavar="N", min=0, max=65535, help="Where to listen. [8080, or a free one]"),
    ] = None,
    log: Annotated[
        str | None,
        typer.Option(
            "--log", metavar="LOG", help="A log of your own, sent as live traffic. [a demo, in an empty D]"
        ),
    ] = None,
    rate: Annotated[
        float | None, typer.Option(metavar="N", min=0.001, help="Events a second of the log. [20]")
    ] = None,
    history: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            min=0,
            help="Events of the log that are past, and sent at once. [20000, and 3/4 at most]",
        ),
    ] = None,
    brokers: Annotated[
        str | None,
        typer.Option(
            metavar="HOST:PORT[,..]", help="Your Kafka, with --store; nothing is sent without --log."
        ),
    ] = None,
    store: Annotated[
        str | None, typer.Option(metavar="URL", help="Your Redis or Valkey, with --brokers.")
    ] = None,
    learner: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="What learns, in an empty D; one with cycles explores. [stim]"),
    ] = None,
    variant: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=FILE",
            help="Learn with other settings, too, and split users: the page says who wins.",
        ),
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print JSON once all is up: url, key, pid.")
    ] = False,
) -> None:
    """Everything at once: services, ingest, train, serve and a log sent as live traffic, on one page.

    Ctrl-C ends what it has started, and nothing else; the same command goes on where it was. What is killed
    is started again. Each line that it prints first is a command that you could run yourself.

    Try:  ebbtide up
    """
    began_s, screen = time.monotonic(), Console(stderr=True)

    def say(part: str, line: str) -> None:
        head = Text(f"{time.monotonic() - began_s:6.1f} s  ", style="dim")
        screen.print(head + Text(f"{part:<9}", style=_COLOURS.get(part, "bold")) + Text(line), soft_wrap=True)

    say("up", f"all of it in {directory}")
    import asyncio

    from ebbtide.commands import addresses
    from ebbtide.live import api_keys
    from ebbtide.supervising import tree
    from ebbtide.supervising.folder import Folder, Holder
    from ebbtide.supervising.plan import DEMO, RATE, Addresses, Pace, SentLog, UpPlan

    if (brokers is None) != (store is None):
        raise InputError("--brokers and --store: expected both, or neither; got one of them")
    given = None if brokers is None else Addresses(addresses.brokers(brokers), addresses.store(store))
    folder = Folder(directory)
    with folder.held():
        asked = None
        if log is not None:
            say("send", f"looking at {log}")
            called, paths = _called(log, reading), _paths(reading)
            asked = SentLog(log=_absolute(log), options=_options(reading), called=called, **paths)
        sent = folder.remembered(asked, SentLog)
        if sent is None and given is None:
            say("send", f"the demo log {DEMO}: fetched, if it is not there yet")
            sent = folder.remembered(SentLog.demo(), SentLog)
        listen, key = _free(port), api_keys.new()
        url = f"http://127.0.0.1:{listen}"
        pace = Pace(rate or RATE, history)
        plan = UpPlan(folder, sent, pace, listen, given, _variants(variant), learner)
        plan.prepare(api_keys.line("page", key))
        holder = Holder.here(url, given is None)
        folder.hold(holder)

        def listens() -> None:
            page = f"{url}/#key={key}"
            screen.print(Text(f"\n  {page}\n", style="bold"), soft_wrap=True)
            say("up", "that is the page; whoever has the address may send events. Ctrl-C ends everything")

        def ready() -> None:
            say("up", "everything can be answered")
            if as_json:
                print_line({"url": url, "key": key, "pid": holder.pid})

        asyncio.run(tree.run(plan, holder, say, tree.Opened(listens, ready)))
    say("up", f"all has ended; `ebbtide up --dir {directory}` goes on")


def _options(reading: LogReading) -> tuple[str, ...]:
    """How the log is read, as `ebbtide replay` takes it."""
    pairs: list[tuple[str, str | None]] = [("--map", _absolute(pair)) for pair in reading.map or []]
    pairs += [("--time-format", reading.time_format), ("--label", reading.label)]
    pairs += [(f"--{table}", path) for table, path in _paths(reading).items()]
    return tuple(word for option, value in pairs if value is not None for word in (option, value))


def _paths(reading: LogReading) -> dict[str, str | None]:
    """Of the side tables, found from wherever this is gone on with."""
    tables = {"items": reading.items, "users": reading.users}
    return {table: None if path is None else str(path.resolve()) for table, path in tables.items()}


def _called(log: str, reading: LogReading) -> tuple[str, ...]:
    """What the log calls item and user. Raises InputError where it cannot be opened so."""
    columns = reading.open(log).mapping.columns
    return tuple(f"{role}={columns[role]}" for role in ("item", "user") if columns.get(role))


def _variants(pairs_given: list[str] | None) -> tuple[str, ...]:
    """NAME=FILE of each, with files that are found from wherever this is gone on with."""
    pairs = (pair.partition("=") for pair in pairs_given or ())
    return tuple(f"{name}={_absolute(file)}" for name, _, file in pairs)


def _absolute(path: str) -> str:
    """Of what is a path, so that it is found from wherever this is gone on with."""
    return str(Path(path).resolve()) if Path(path).exists() else path


def _free(port: int | None) -> int:
    """A port to listen at. Raises InputError where the one that was asked for is taken."""
    for number in (_PORT, 0) if port is None else (port,):
        try:
            with socket.create_server(("127.0.0.1", number)) as held:
                return int(held.getsockname()[1])
        except OSError as error:
            why = error.strerror
    raise InputError(f"--port {port}: cannot listen there ({why}); give another, or leave it out")
