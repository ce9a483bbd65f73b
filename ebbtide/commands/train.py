"""`ebbtide train`: learn from live examples."""

import logging
import signal
import time
from collections import deque
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Annotated, Any, Self

import typer
from rich.console import Console
from rich.text import Text

from ebbtide import waiting
from ebbtide.commands.live_options import Brokers, DeadLetters, Events, Examples, Group, Json, Store
from ebbtide.commands.log_options import Items, Users
from ebbtide.commands.output import log_to_stderr, print_line
from state.errors import InputError

if TYPE_CHECKING:
    from ebbtide.live.trainer import LiveTrainer

_TOLD_S = 10.0
log = logging.getLogger("ebbtide.train")


def train(
    context: typer.Context,
    checkpoint: Annotated[
        Path, typer.Option(metavar="DIR", help="Where the trainer saves itself, and goes on from.")
    ],
    brokers: Brokers = None,
    store: Store = None,
    events: Events = "events",
    examples: Examples = "examples",
    dead_letters: DeadLetters = "dead-letters",
    group: Group = "ebbtide",
    items: Items = None,
    users: Users = None,
    map: Annotated[
        list[str] | None,
        typer.Option(
            "--map",
            metavar="ROLE=COLUMN",
            help="What your log calls item or user, where the ids of --items or --users are called so.",
        ),
    ] = None,
    items_topic: Annotated[
        str, typer.Option("--items-topic", metavar="TOPIC", help="Where what is known of items changes.")
    ] = "items",
    expire: Annotated[
        str | None,
        typer.Option(
            metavar="TIME",
            help="Forget users and items that nothing was heard of for so long. [as the workers do]",
        ),
    ] = None,
    learner: Annotated[str | None, typer.Option(metavar="NAME", help="The model; by default stim.")] = None,
    config: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Settings (docs/configuration.md)."),
    ] = None,
    variant: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=FILE",
            help="Learn the same with other settings, too; `ebbtide serve --variant NAME` splits users,"
            " `ebbtide variants NAME` says who wins.",
        ),
    ] = None,
    every: Annotated[
        int, typer.Option(metavar="N", min=1, help="Examples between two checkpoints, at most.")
    ] = 200_000,
    every_seconds: Annotated[
        float, typer.Option(metavar="S", min=1, help="Time between two checkpoints, at most.")
    ] = 60.0,
    publish_ms: Annotated[
        int,
        typer.Option(
            metavar="MS", min=1, help="Time between two deltas to the store, unless they take long."
        ),
    ] = 50,
    keep_every: Annotated[
        float,
        typer.Option(
            metavar="S", min=1, help="Time between two versions kept to return to (`ebbtide versions`)."
        ),
    ] = 600.0,
    out: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Keep what was said of every example here.")
    ] = None,
    for_: Annotated[
        int | None, typer.Option("--for", metavar="N", min=1, help="Stop once N examples are learned.")
    ] = None,
    until_idle: Annotated[
        float | None, typer.Option(metavar="S", min=0.1, help="Stop when nothing has come for S seconds.")
    ] = None,
    clear: Annotated[
        bool, typer.Option("--clear", help="Begin in an empty store: remove what an earlier run published.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Learn from live examples: each is scored, then learned; vectors are in the store a moment later.

    The examples come from `ebbtide ingest`. What was learned is in --checkpoint, with the place in Kafka:
    whatever has ended it, the same command goes on as if nothing had happened. SIGTERM or Ctrl-C ends it.

    Try:  ebbtide train --checkpoint runs/live
    """
    from ebbtide.commands import addresses
    from ebbtide.commands.variant_trainers import VariantTrainers, commands
    from ebbtide.config import read
    from ebbtide.live import session
    from ebbtide.live.settings import TrainerSettings
    from state.store.embedded import open_store

    log_to_stderr()
    settings = TrainerSettings(
        brokers=addresses.brokers(brokers),
        topic=examples,
        dead_letters=dead_letters,
        directory=checkpoint,
        every=every,
        every_s=every_seconds,
        publish_ms=publish_ms,
        keep_every_s=keep_every,
        out=out,
        items=items,
        users=users,
        called=_called(map),
        items_topic=items_topic,
        at_most=for_,
        until_idle_s=until_idle,
    )
    chosen = read(config, {"floors": False}, expire=expire, learner=learner)
    ending: list[int] = []
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda number, _: ending.append(number))
    target = addresses.store(store)
    with (
        VariantTrainers(commands(context, variant or (), checkpoint), target, ending) as others,
        open_store(target, create=True) as held,
        _Teller(as_json) as tell,
    ):

        def stop() -> bool:
            return bool(ending) or others.fallen() is not None

        ended = session.train(settings, chosen, held, clear=clear, stop=stop, tell=tell)
    if ended is None:
        return
    if as_json:
        print_line({**_said(ended), "state_digest": ended.digest()})
    else:
        log.info("%s", _line(ended, 0.0))


class _Teller:
    """Says every second how it goes: a line on a terminal, JSON lines, or now and then a line in the log."""

    def __init__(self, as_json: bool) -> None:
        screen = Console(stderr=True)
        self._json = as_json
        self._screen = screen
        self._moving = screen.is_terminal and not as_json
        self._status = screen.status("waiting for examples")
        self._open = ExitStack()
        self._told_s = time.monotonic()
        self._before: deque[tuple[float, int]] = deque(maxlen=10)

    def __call__(self, trainer: "LiveTrainer") -> None:
        now_s, events = time.monotonic(), trainer.intake.events
        self._before.append((now_s, events))
        since_s, since = self._before[0]
        rate = (events - since) / max(now_s - since_s, 1.0)
        if self._json:
            print_line({**_said(trainer), "events_per_s": round(rate, 1), "lag": trainer.feed.reader.lag})
        elif self._moving:
            self._status.update(Text(_line(trainer, rate), style="cyan", no_wrap=True))
        elif now_s - self._told_s >= _TOLD_S:
            self._told_s = now_s
            log.info("%s", _line(trainer, rate))

    def __enter__(self) -> Self:
        from state.compiled import watched

        if self._moving:
            self._open.enter_context(self._status)
            compiling = watched(lambda kernel, of: self._status.update(waiting.compiling(kernel, of)))
            self._open.enter_context(compiling)
        else:
            self._open.enter_context(waiting.hint(self._screen))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._open.close()


def _called(pairs: list[str] | None) -> dict[str, str]:
    """Raises InputError on anything but names of items and users."""
    from replay.meaning.mapping import Mapping

    columns = Mapping.of(pairs or []).columns
    if other := [role for role in columns if role not in ("item", "user")]:
        raise InputError(f"--map {other[0]}: events come by roles; only item and user may be named here")
    return columns


def _line(trainer: "LiveTrainer", rate: float) -> str:
    """One line for people."""
    status = trainer.status()
    parts = [f"{status.trained:,} learned", f"{rate:,.0f}/s" if rate else ""]
    parts += [f"lag {trainer.feed.reader.lag:,}" if rate else "", f"version {status.version}"]
    parts += [f"fresh in {status.freshness_ms['p50']:,.0f} ms" if status.freshness_ms else ""]
    parts += [f"{name} {value:.3f}" for name, value in status.metrics.items()]
    parts += [f"TROUBLE: {status.trouble}" if status.trouble else ""]
    return " · ".join(part for part in parts if part)


def _said(trainer: "LiveTrainer") -> dict[str, Any]:
    import msgspec

    status: dict[str, Any] = msgspec.to_builtins(trainer.status())
    return status
