"""`ebbtide dead-letters`: what was no event, why, and another try."""

import heapq
import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import closing
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from ebbtide import waiting
from ebbtide.commands.built_by import built_by
from ebbtide.commands.group_options import NamedGroup, named_group
from ebbtide.commands.live_options import Json
from ebbtide.commands.output import print_json
from state.errors import InputError

if TYPE_CHECKING:
    from ebbtide.live.dead_letters import Letter

dead_letters = typer.Typer(
    help="Messages and events that were set aside: what they are, and another try.", no_args_is_help=True
)

Reason = Annotated[
    str | None, typer.Option(metavar="REASON", help="Only those with this reason, such as 'malformed json'.")
]
Offset = Annotated[
    str | None,
    typer.Option(metavar="P:O", help="Only the one in partition P at offset O, as `list` shows it."),
]


@dead_letters.command("list")
@built_by(named_group)
def list_(
    group: NamedGroup,
    *,
    reason: Reason = None,
    offset: Offset = None,
    limit: Annotated[int, typer.Option(metavar="N", min=1, help="Show the newest N.")] = 20,
    as_json: Json = False,
) -> None:
    """How many there are by reason, and the newest."""
    from ebbtide.live import dead_letters as lying

    counts: Counter[str] = Counter()

    def counted(letters: "Iterable[Letter]") -> "Iterator[Letter]":
        for letter in letters:
            counts[letter.reason] += 1
            yield letter

    with (
        waiting.looking(f"Reading the topic {group.topics.dead_letters} ...", quiet=as_json),
        closing(lying.read(group.brokers, group.topics.dead_letters, reason, offset)) as letters,
    ):
        newest = heapq.nlargest(limit, counted(letters), key=lambda letter: letter.message.produced_ms)[::-1]
    if as_json:
        shown = [letter.shown() for letter in newest]
        print_json({"total": counts.total(), "reasons": dict(counts.most_common()), "letters": shown})
        return
    screen = Console()
    if not counts:
        screen.print("no dead letters", highlight=False)
        return
    table = Table("at", "source", "reason", "details", "value", box=None, header_style="dim")
    for letter in newest:
        cells = letter.shown()
        words = (cells[name] for name in ("at", "source", "reason", "detail", "value"))
        table.add_row(*(Text(word or "-", overflow="ellipsis") for word in words))
    screen.print(table)
    rest = f", the newest {len(newest)} above" if counts.total() > len(newest) else ""
    reasons = ", ".join(f"{count:,} {name}" for name, count in counts.most_common())
    screen.print(Text(f"{counts.total():,} dead letters{rest}: {reasons}", "dim"))


@dead_letters.command()
@built_by(named_group)
def replay(
    group: NamedGroup,
    *,
    reason: Reason = None,
    offset: Offset = None,
    to: Annotated[
        str | None, typer.Option(metavar="TOPIC", help="Where to send them. [where they came from]")
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    as_json: Json = False,
) -> None:
    """Send them again as they were; exit code 1 if some could not be.

    Nothing is marked or removed: a second replay sends them once more. What is still no event comes back.
    """
    from ebbtide.live import dead_letters as lying

    brokers, topic = group.brokers, group.topics.dead_letters
    if not yes:
        if as_json or not sys.stdin.isatty():
            raise InputError("dead-letters replay: nobody is there to be asked; say --yes")
        with closing(lying.read(brokers, topic, reason, offset)) as letters:
            counts = Counter(letter.reason for letter in letters)
        asked = ", ".join(f"{count:,} {name}" for name, count in counts.most_common()) or "none"
        if not counts or not typer.confirm(f"Send {counts.total():,} again ({asked})?", err=True):
            raise typer.Exit(0 if not counts else 1)
    resent = lying.resend(brokers, topic, reason, offset, to)
    if as_json:
        print_json({"sent": resent.sent, "refused": resent.refused})
    else:
        Console().print(f"sent {resent.sent:,} again", highlight=False)
        for refusal in resent.refused:
            sys.stderr.write(f"ebbtide: not sent: {refusal['at']}: {refusal['why']}\n")
    if resent.refused:
        raise typer.Exit(1)
