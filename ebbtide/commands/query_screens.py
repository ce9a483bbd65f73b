"""Answers on the terminal. Needs no numba, so that a question is answered at once."""

from collections.abc import Callable, Mapping

from rich.console import Console
from rich.table import Table
from rich.text import Text

from serving.answers import Because, ItemAnswer, PastEvent, RecommendAnswer, SimilarAnswer, UserAnswer
from serving.said import Answer
from state.printable import printable

_FIRST = 8
"""Numbers of a vector that are shown; all of them come with --json."""


def show(console: Console, answer: Answer, titles: Mapping[str, str]) -> None:
    """An answer for a person; `titles` are what people call the items."""

    def called(item: str) -> str:
        return printable(f"{item} {titles[item]}" if item in titles else item)

    match answer:
        case UserAnswer(user, version, event_time, interests):
            console.print(_title(printable(f"user {user}"), version, event_time))
            console.print(_vectors(interests))
        case ItemAnswer(item, version, event_time, vector):
            console.print(_title(f"item {called(item)}", version, event_time))
            console.print(_vectors([vector]))
        case RecommendAnswer(user, version, items, by):
            console.print(_title(printable(f"for user {user}"), version) + Text(f", by {by}", "dim"))
            table = Table("", "item", "score", "why", box=None, header_style="dim", leading=1)
            for place, recommended in enumerate(items, 1):
                why = "\n".join(_reason(reason, called) for reason in recommended.why)
                table.add_row(
                    str(place), Text(called(recommended.item)), f"{recommended.score:.3f}", Text(why)
                )
            console.print(table)
        case SimilarAnswer(item, items):
            console.print(Text(f"like item {called(item)}", style="bold"))
            table = Table("", "item", "cosine", box=None, header_style="dim")
            for place, like in enumerate(items, 1):
                table.add_row(str(place), Text(called(like.item)), f"{like.score:.3f}")
            console.print(table)


def _title(name: str, version: int, event_time: str | None = None) -> Text:
    known = f"  version {version}" + (f", last event {event_time}" if event_time else "")
    return Text.assemble((name, "bold"), (known, "dim"))


def _vectors(rows: list[list[float]]) -> Table:
    table = Table(box=None, show_header=False)
    for number, row in enumerate(rows, 1):
        more = f" ... {len(row)} numbers" if len(row) > _FIRST else ""
        table.add_row(str(number), " ".join(f"{value:+.3f}" for value in row[:_FIRST]) + more)
    return table


def _reason(reason: PastEvent | Because, called: Callable[[str], str]) -> str:
    if isinstance(reason, Because):
        return reason.reason
    matches = [
        f"{name} {value:.0%}"
        for name, value in (("hour", reason.hour), ("week", reason.week), ("place", reason.place))
        if value >= 0.01
    ]
    times = f" x{reason.times}" if reason.times > 1 else ""
    words = [f"{reason.contribution:.0%} from {called(reason.item)}{times}, {reason.when[:10]}"]
    return ", ".join([*words, f"retention {reason.retention:.0%}", *matches])
