"""Options that the commands around the workers share.

All of them take the names of the four topics, so that one set of options fits every command, also where a
command has no use for one of them.
"""

from typing import Annotated

import typer

Brokers = Annotated[
    str | None,
    typer.Option(metavar="HOST:PORT[,..]", help="Kafka. [EBBTIDE_BROKERS, or services that are up]"),
]
Store = Annotated[
    str | None, typer.Option(metavar="URL", help="Redis or Valkey. [EBBTIDE_STORE, or services that are up]")
]
Events = Annotated[str, typer.Option("--events", metavar="TOPIC", help="Where events come from.")]
Examples = Annotated[str, typer.Option("--examples", metavar="TOPIC", help="Where workers send examples.")]
DeadLetters = Annotated[
    str,
    typer.Option(
        "--dead-letters", "--topic", metavar="TOPIC", help="Where what is no event goes, with the reason."
    ),
]
Group = Annotated[
    str, typer.Option("--group", metavar="NAME", help="The workers' name; their state is in NAME-changelog.")
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON for scripts.")]
