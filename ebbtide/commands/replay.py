"""`ebbtide replay`: a log, scored, learned from, published and reported; or sent to Kafka."""

import shlex
import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from ebbtide import waiting
from ebbtide.commands import services
from ebbtide.commands.built_by import built_by
from ebbtide.commands.live_options import Json
from ebbtide.commands.log_options import LogReading


@built_by(LogReading)
def replay(
    reading: LogReading,
    context: typer.Context,
    log: Annotated[
        str, typer.Argument(metavar="LOG", help="A file, a folder, or a known log (`ebbtide data list`).")
    ],
    out: Annotated[
        Path | None, typer.Option("--out", metavar="DIR", help="Where report, predictions and embeddings go.")
    ] = None,
    to: services.To = None,
    rate: services.Rate = None,
    format: services.Form = "json",
    partitions: services.Partitions = None,
    now: services.Now = False,
    history: services.History = None,
    sent: services.SentFile = None,
    learner: Annotated[
        str | None, typer.Option(metavar="NAME", help="The model; by default what suits the log.")
    ] = None,
    config: Annotated[
        Path | None, typer.Option(metavar="FILE", help="TOML settings (docs/configuration.md).")
    ] = None,
    seed: Annotated[
        int | None, typer.Option(metavar="N", min=0, help="Seed of everything random. [0]")
    ] = None,
    batch: Annotated[
        int | None,
        typer.Option(metavar="N", min=1, help="Events a micro-batch. [1024, fewer on a short log]"),
    ] = None,
    limit: Annotated[
        int | None, typer.Option(metavar="N", min=1, help="Replay only the first N events.")
    ] = None,
    from_: Annotated[
        str | None, typer.Option("--from", metavar="T", help="Leave out events before this time.")
    ] = None,
    until: Annotated[
        str | None, typer.Option(metavar="T", help="Leave out events from this time on.")
    ] = None,
    score_from: Annotated[
        str | None, typer.Option(metavar="FRACTION|TIME", help="Where the scored part begins. [0.5]")
    ] = None,
    label_delay: Annotated[
        str | None,
        typer.Option(metavar="DURATION", help="Nothing younger is known yet: 1s, 10m, 1h, 1d. [0]"),
    ] = None,
    expire: Annotated[
        str | None,
        typer.Option(
            metavar="TIME", help="Forget users and items that nothing was heard of for so long: 90d. [never]"
        ),
    ] = None,
    leave_out: Annotated[
        str | None,
        typer.Option(metavar="RULE", help="What a ranking leaves out: auto, none, user, session. [auto]"),
    ] = None,
    rank_share: Annotated[
        float | None,
        typer.Option(
            metavar="X",
            min=0,
            max=1,
            help="Share of events whose whole catalogue is ranked. [about 25,000 events]",
        ),
    ] = None,
    speed: Annotated[
        float | None, typer.Option(metavar="X", min=1e-6, help="Pace the replay at X times recorded time.")
    ] = None,
    store: Annotated[
        str | None,
        typer.Option(metavar="URL", help="Publish to this Redis instead of a server of our own in DIR."),
    ] = None,
    checkpoint: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Save the run here as it goes.")
    ] = None,
    every: Annotated[int, typer.Option(metavar="N", min=1, help="Events between two checkpoints.")] = 100_000,
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the newest whole checkpoint.")] = False,
    ablate: Annotated[
        bool,
        typer.Option(
            "--ablate",
            help="Run the model beside variants with one part switched off each: what is a part worth here?",
        ),
    ] = False,
    sync_every: Annotated[
        str | None,
        typer.Option(
            metavar="DURATIONS",
            help="What is freshness worth? Serve copies from weights published only so often, such as"
            " immediate,1m,10m,1h,6h,1d, and retrain offline once a day.",
        ),
    ] = None,
    off_policy: Annotated[
        str | None,
        typer.Option(
            metavar="POLICY",
            help="What would another policy earn, on a log of what was shown, with propensities? LEARNER"
            " shows its best item, LEARNER:K any of its K best, like:LOG every item as often as that log.",
        ),
    ] = None,
    as_json: Json = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Say nothing but errors.")] = False,
) -> None:
    """Replay a log: score every event, then learn from it; publish embeddings; end with a report.

    With --to the events become live traffic instead: they are sent to Kafka.
    Try:  ebbtide replay movielens-100k --out runs/ml
    """
    services.wants(context, to, out)
    if resume and checkpoint is None:
        raise typer.BadParameter("--resume needs --checkpoint DIR")
    screen = Console(stderr=as_json)
    with waiting.status(screen, f"Opening {log} ...", quiet=quiet or as_json):
        from ebbtide import api
        from ebbtide.report import terminal

        opened = reading.open(log, from_=from_, until=until, limit=limit, seed=seed or 0)
    if to is not None:
        how: dict[str, Any] = {"form": format, "partitions": partitions, "speed": speed, "rate": rate}
        how |= {"batch": batch, "now": now, "history": history, "sent": sent}
        services.send(opened, to, quiet=quiet, as_json=as_json, **how)
        return
    assert out is not None
    with terminal.progress(screen, quiet=quiet or as_json) as tell:
        report = api.replay(
            opened,
            out,
            learner=learner,
            config=config,
            seed=seed,
            batch=batch,
            score_from=score_from,
            label_delay=label_delay,
            expire=expire,
            leave_out=leave_out,
            rank_share=rank_share,
            speed=speed,
            store=store,
            checkpoint=checkpoint,
            every=every,
            resume=resume,
            ablate=ablate or None,
            off_policy=off_policy,
            sync_every=sync_every,
            progress=tell,
        )
    if as_json:
        sys.stdout.write((out / "report.json").read_text())
    else:
        source = store or str(out)
        terminal.summary(screen, report, out, _next(out, source, opened.names), quiet=quiet)


def _next(out: Path, source: str, names: Any) -> list[str]:
    """Commands to try on what was just published, with ids that exist."""
    import pyarrow as pa

    with pa.ipc.open_file(str(max((out / "predictions").glob("part-*.arrow")))) as reader:
        last = reader.get_batch(0)
    user, item = (shlex.quote(names[last.column(role)[-1].as_py()]) for role in ("user", "item"))
    asked = [f"recommend {user}", f"similar {item}", f"user {user}"]
    return [f"ebbtide query {ask} --from {shlex.quote(source)}" for ask in asked] + [
        f"ebbtide monitor --from {out}"
    ]
