"""`ebbtide flink verify`: a log through Flink and through replay."""

from dataclasses import asdict
from typing import Annotated, Literal

import typer
from rich.console import Console

from ebbtide.commands.built_by import built_by
from ebbtide.commands.flink.options import Parallelism
from ebbtide.commands.live_options import Json
from ebbtide.commands.log_options import LogReading
from ebbtide.commands.output import print_json


@built_by(LogReading)
def verify(
    reading: LogReading,
    log: Annotated[
        str, typer.Argument(metavar="LOG", help="A file, a folder, or a known log (`ebbtide data list`).")
    ],
    brokers: Annotated[
        str | None, typer.Option(metavar="HOST:PORT[,..]", help="Kafka. [one of its own, for the while]")
    ] = None,
    form: Annotated[
        Literal["json", "arrow"], typer.Option("--format", help="How the events are sent.")
    ] = "json",
    partitions: Annotated[int, typer.Option(metavar="N", min=1, help="Of the topic of events.")] = 4,
    parallelism: Parallelism = 1,
    limit: Annotated[int | None, typer.Option(metavar="N", min=1, help="Only the first N events.")] = None,
    as_json: Json = False,
) -> None:
    """Send a log through Flink and through replay, and compare: exit code 1 unless all is equal."""
    from ebbtide.flink import runtime

    runtime.here()
    from ebbtide.flink import verify as verifying

    opened = reading.open(log, limit=limit)
    how = verifying.How(brokers=brokers, form=form, partitions=partitions, parallelism=parallelism)
    verified = verifying.verify(opened, how)
    if as_json:
        print_json(asdict(verified))
    else:
        for sentence in verifying.in_words(verified):
            Console().print(sentence, highlight=False)
    if not verified.well:
        raise typer.Exit(1)
