"""Options that the commands around the workers share."""

from typing import Annotated

import typer

Brokers = Annotated[
    str | None,
    typer.Option(metavar="HOST:PORT[,..]", help="Kafka. [EBBTIDE_BROKERS, or services that are up]"),
]
Store = Annotated[
    str | None, typer.Option(metavar="URL", help="Redis or Valkey. [EBBTIDE_STORE, or services that are up]")
]
DeadLetters = Annotated[str, typer.Option("--topic", metavar="TOPIC", help="Where they are.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON for scripts.")]
