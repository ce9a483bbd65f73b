"""`ebbtide mend`: clocks that an event from the future has moved are set right."""

import time
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from ebbtide.commands.built_by import built_by
from ebbtide.commands.group_options import NamedGroup, named_group
from ebbtide.commands.live_options import Json
from ebbtide.commands.output import print_json

if TYPE_CHECKING:
    from streams.engines.mending import Clock


@built_by(named_group)
def mend(
    group: NamedGroup,
    *,
    ahead: Annotated[
        str, typer.Option(metavar="TIME", help="How far ahead of the broker's time a clock may be.")
    ] = "1h",
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Set them right, not only show them.")] = False,
    as_json: Json = False,
) -> None:
    """Show each partition's clock beside the broker's time; with --yes set right those that are ahead of it.

    An event of the year 2099 that an earlier version took for true has moved its partition's clock: every
    honest event is too late since. This takes such events out of users' memories and of what waits, and sets
    the clock to the newest that is left, in one transaction a partition. The workers have to be stopped.
    """
    from ebbtide.units import duration_ms
    from streams.engines.mending import clocks
    from streams.kafka.observer import Observer

    ahead_ms = duration_ms(ahead, "--ahead")
    place = group.place()
    now_ms = int(time.time() * 1000)
    with Observer(place.brokers) as observer:
        newest = observer.newest(place.topics.events)
    broker_ms = {p: min(message.produced_ms, now_ms) for p, message in newest.items()}
    looked = clocks(place, {p: ms + ahead_ms for p, ms in broker_ms.items()}, write=yes)
    if as_json:
        print_json({"mended": yes, "partitions": [_said(one) for one in looked]})
    else:
        _show(looked, yes=yes)


def _said(clock: "Clock") -> dict[str, object]:
    ahead = None if clock.found is None else clock.found._asdict()
    return {
        "partition": clock.partition,
        "clock_ms": clock.clock_ms,
        "most_ms": clock.most_ms,
        "ahead": ahead,
    }


def _show(looked: "list[Clock]", *, yes: bool) -> None:
    screen = Console()
    if not looked:
        screen.print("no partition has a state: nothing to mend", highlight=False)
        return
    for clock in looked:
        screen.print(_line(clock, yes=yes), highlight=False, soft_wrap=True)
    ahead = sum(clock.found is not None for clock in looked)
    if ahead and not yes:
        screen.print(f"{ahead} ahead; nothing was changed: say --yes to set right", style="yellow")


def _line(clock: "Clock", *, yes: bool) -> str:
    words = f"partition {clock.partition}: clock {_time(clock.clock_ms)}"
    ahead = clock.found
    if ahead is None:
        return f"{words}, as it should be"
    what = f"{ahead.entries:,} entries of {ahead.users:,} users and {ahead.waiting:,} events that waited"
    done = "were taken out, and the clock set to" if yes else "lie ahead; without them it is"
    most, rest = _time(clock.most_ms), _time(ahead.clock_ms)
    return f"{words}, ahead of {most}, the most that it can be: {what} {done} {rest}"


def _time(time_ms: int | None) -> str:
    from streams.wire.message import iso

    return "-" if time_ms is None else iso(time_ms)
