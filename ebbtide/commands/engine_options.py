"""Options of the commands that make examples of events: what decides the examples, in every engine."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import msgspec
import typer

if TYPE_CHECKING:
    from streams.engines.engine_config import EngineConfig

Partitions = Annotated[
    int | None, typer.Option(metavar="N", min=1, max=10_000, help="Of the events, if they are new. [4]")
]
Places = Annotated[
    Literal["item", "request"],
    typer.Option(help="Whose places the events carry: the item's (a venue), or the user's (a phone)."),
]
SolarTime = Annotated[
    bool, typer.Option("--solar-time", help="Take local time from the longitude: events without tz.")
]
LabelDelay = Annotated[
    str | None, typer.Option(metavar="TIME", help="Nothing younger is known yet: 60s, 1h. [0s]")
]
Expire = Annotated[
    str | None,
    typer.Option(metavar="TIME", help="Forget users who have done nothing for so long: 90d, 52w. [never]"),
]
JoinWindow = Annotated[
    str | None,
    typer.Option(
        metavar="TIME",
        help="Impressions (event_id, no label) wait so long for their feedback (same event_id, label).",
    ),
]
Ahead = Annotated[
    str,
    typer.Option(metavar="TIME", help="An event this far ahead of its message's time is a dead letter."),
]
Window = Annotated[
    int,
    typer.Option(metavar="N", min=1, max=65_536, help="Entries of the memory in an example, at most."),
]
Newest = Annotated[
    int,
    typer.Option(metavar="N", min=0, help="How many are just the newest; the others are chosen by hour."),
]
Config = Annotated[
    Path | None, typer.Option(metavar="FILE", help="Settings, as for replay; those of its operator count.")
]


def engine_config(
    *,
    places: Places = "item",
    solar_time: SolarTime = False,
    label_delay: LabelDelay = None,
    expire: Expire = None,
    join_window: JoinWindow = None,
    ahead: Ahead = "1h",
    window: Window = 64,
    newest: Newest = 16,
    config: Config = None,
) -> "EngineConfig":
    """What the options come to. Raises InputError."""
    from ebbtide.config import read
    from ebbtide.units import duration_ms
    from streams.engines.engine_config import EngineConfig
    from streams.join.impressions import JoinConfig

    run = read(
        config,
        expire=expire,
        label_delay_ms=None if label_delay is None else duration_ms(label_delay, "--label-delay"),
    )
    operator = msgspec.structs.replace(
        run.operator,
        label_delay_ms=run.label_delay_ms,
        own_place=places == "request",
        solar_time=solar_time or run.operator.solar_time,
    )
    join = JoinConfig(window_ms=0 if join_window is None else duration_ms(join_window, "--join-window"))
    ahead_ms = duration_ms(ahead, "--ahead")
    return EngineConfig(operator=operator, join=join, window=window, newest=newest, ahead_ms=ahead_ms)
