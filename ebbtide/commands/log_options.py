"""Options of the commands that are given a log."""

from pathlib import Path
from typing import Annotated

import typer

Maps = Annotated[
    list[str] | None,
    typer.Option(
        "--map",
        metavar="ROLE=COLUMN",
        help="Which column plays a role (repeat), or a TOML file of such lines.",
    ),
]
LabelOption = Annotated[
    str | None,
    typer.Option(
        "--label", metavar="RULE", help="What counts as a positive: rating>=4, action==buy; or none."
    ),
]
Items = Annotated[
    Path | None, typer.Option("--items", metavar="FILE", help="A table of what is known of items.")
]
TimeFormat = Annotated[
    str | None,
    typer.Option(
        "--time-format",
        metavar="FORM",
        help="The form of the log's times, as in strptime: '%d/%m/%Y %H:%M'. [found in the log]",
    ),
]
Users = Annotated[
    Path | None, typer.Option("--users", metavar="FILE", help="A table of what is known of users.")
]


def mapping_of(pairs: list[str] | None) -> dict[str, str] | str | None:
    """What `--map` says: roles and their columns, or the path of a TOML file. Raises InputError."""
    from replay.meaning.mapping import Mapping

    if not pairs:
        return None
    if len(pairs) == 1 and "=" not in pairs[0]:
        return pairs[0]
    Mapping.of(pairs)
    return dict(pair.split("=", 1) for pair in pairs)
