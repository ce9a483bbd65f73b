"""Options of the commands that are given a log."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from replay.log import Log

Items = Annotated[
    Path | None, typer.Option("--items", metavar="FILE", help="A table of what is known of items.")
]
Users = Annotated[
    Path | None, typer.Option("--users", metavar="FILE", help="A table of what is known of users.")
]


@dataclass(frozen=True, slots=True, kw_only=True)
class LogReading:
    """How a log is read; what is left out is found in the log."""

    map: Annotated[
        list[str] | None,
        typer.Option(
            "--map",
            metavar="ROLE=COLUMN",
            help="Which column plays a role (repeat), or a TOML file of such lines.",
        ),
    ] = None
    items: Items = None
    users: Users = None
    time_format: Annotated[
        str | None,
        typer.Option(
            "--time-format",
            metavar="FORM",
            help="The form of the log's times, as in strptime: '%d/%m/%Y %H:%M'. [found in the log]",
        ),
    ] = None
    label: Annotated[
        str | None,
        typer.Option(
            "--label", metavar="RULE", help="What counts as a positive: rating>=4, action==buy; or none."
        ),
    ] = None

    def open(self, log: str, **part: Any) -> "Log":
        """The log, or the part of it that `ebbtide.api.Opening` names. Raises InputError."""
        from ebbtide.api import open_log

        return open_log(
            log,
            map=_mapping(self.map),
            items=self.items,
            users=self.users,
            time_format=self.time_format,
            label=self.label,
            **part,
        )


def _mapping(pairs: list[str] | None) -> dict[str, str] | str | None:
    """What `--map` says: roles and their columns, or the path of a TOML file. Raises InputError."""
    from replay.meaning.mapping import Mapping

    if not pairs:
        return None
    if len(pairs) == 1 and "=" not in pairs[0]:
        return pairs[0]
    Mapping.of(pairs)
    return dict(pair.split("=", 1) for pair in pairs)
