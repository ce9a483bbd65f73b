"""`ebbtide query`: what was published, of a user or an item; recommendations with reasons; likenesses."""

from typing import Annotated, Any

import typer
from rich.console import Console

from ebbtide.commands.live_options import Json
from ebbtide.commands.output import print_json
from state.errors import UnknownIdError

query = typer.Typer(
    help="Ask what was published: a user, an item, recommendations, likenesses.", no_args_is_help=True
)

Source = Annotated[
    str,
    typer.Option(
        "--from", metavar="DIR|URL", help="A folder of `replay --out`, a redis:// or an http:// URL."
    ),
]
Count = Annotated[int, typer.Option("-k", min=1, max=1000, help="How many.")]


@query.command("user")
def query_user(
    identifier: Annotated[str, typer.Argument(metavar="ID")], source: Source, as_json: Json = False
) -> None:
    """A user's interest vectors."""
    _answer(source, as_json, lambda run: run.user(identifier))


@query.command("item")
def query_item(
    identifier: Annotated[str, typer.Argument(metavar="ID")], source: Source, as_json: Json = False
) -> None:
    """An item's vector."""
    _answer(source, as_json, lambda run: run.item(identifier))


@query.command("recommend")
def query_recommend(
    identifier: Annotated[str, typer.Argument(metavar="ID")],
    source: Source,
    k: Count = 10,
    at: Annotated[
        str | None, typer.Option(metavar="T", help="As of this time, rather than the last event's.")
    ] = None,
    lat: Annotated[float | None, typer.Option(min=-90, max=90, help="At this place (with --lon).")] = None,
    lon: Annotated[float | None, typer.Option(min=-180, max=180, help="At this place (with --lat).")] = None,
    as_json: Json = False,
) -> None:
    """What to recommend to a user, and why: which past events, how faded, which hour and place.

    An unknown user gets what is popular, with that reason, and exit code 3.
    """
    from streams.times import time_ms

    at_ms = None if at is None else time_ms(at, "--at")
    _answer(source, as_json, lambda run: run.recommend(identifier, k, at_ms=at_ms, lat=lat, lon=lon))


@query.command("similar")
def query_similar(
    identifier: Annotated[str, typer.Argument(metavar="ID")],
    source: Source,
    k: Count = 10,
    as_json: Json = False,
) -> None:
    """The items most like an item."""
    _answer(source, as_json, lambda run: run.similar(identifier, k))


def _answer(source: str, as_json: bool, ask: Any) -> None:
    from ebbtide.commands import query_screens
    from serving.answers import UnknownUserError
    from serving.connection import connect
    from serving.said import Answer, json_of

    with connect(source) as run:

        def show(answer: Answer) -> None:
            if as_json:
                print_json(json_of(answer))
            else:
                query_screens.show(Console(), answer, run.titles)

        try:
            show(ask(run))
        except UnknownUserError as error:
            show(error.answer)
            raise UnknownIdError(str(error)) from None
