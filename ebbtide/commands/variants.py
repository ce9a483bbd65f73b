"""`ebbtide variants`: which of those that are compared wins."""

from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from ebbtide.commands.live_options import Brokers, Events, Json
from ebbtide.commands.output import print_json


def variants(
    names: Annotated[
        list[str], typer.Argument(metavar="NAME...", help="As in `ebbtide serve --variant NAME=...`.")
    ],
    brokers: Brokers = None,
    events: Events = "events",
    as_json: Json = False,
) -> None:
    """Which variant wins: events that came of its recommendations, a user of those it was given to.

    Users were split by a hash of their ids; the interval is over users. Decide beforehand when to look: who
    looks every day and stops at the first winner finds one where there is none.
    """
    import msgspec

    from ebbtide.commands import addresses
    from ebbtide.live.variants import VariantTally, read

    verdict = read(addresses.brokers(brokers), events, VariantTally(names))
    if as_json:
        print_json(msgspec.to_builtins(verdict))
        return
    rows = Table("variant", "users", "events", "of recommendations", "a user", box=None, header_style="dim")
    for arm in verdict.arms:
        share = "-" if arm.per_user is None else f"{arm.per_user:.4f}"
        rows.add_row(arm.name, f"{arm.users:,}", f"{arm.events:,}", f"{arm.taken:,}", share)
    screen = Console()
    screen.print(rows)
    for pair in verdict.compared:
        line = f"{pair.variant} - {pair.other}: {pair.difference:+.4f} [{pair.low:+.4f}, {pair.high:+.4f}]"
        screen.print(Text(line))
    screen.print(Text(verdict.said, style="bold"))
