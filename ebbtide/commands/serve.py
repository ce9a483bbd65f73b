"""`ebbtide serve`: answers over HTTP."""

import logging
import os
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated

import typer

from ebbtide.commands.live_options import Brokers, Events
from ebbtide.commands.output import log_to_stderr, print_line
from state.errors import InputError

KEYS = "EBBTIDE_KEYS"
BLAS_THREADS = "OPENBLAS_NUM_THREADS"
"""Numpy looks at it when it is imported first: by no command, before it runs."""

log = logging.getLogger("ebbtide.serve")


def serve(
    source: Annotated[
        str | None,
        typer.Option(
            "--from",
            metavar="DIR|URL",
            help="A folder of `replay --out`, or a redis:// URL. [EBBTIDE_STORE, or services that are up]",
        ),
    ] = None,
    host: Annotated[str, typer.Option(metavar="ADDRESS", help="Where to listen; 0.0.0.0 is everywhere.")] = (
        "127.0.0.1"
    ),
    port: Annotated[int, typer.Option(metavar="N", min=0, max=65535, help="0 takes a free one.")] = 8080,
    rate: Annotated[
        float | None,
        typer.Option(metavar="N", min=0.001, help="Requests a second of one address, at most. [no bound]"),
    ] = None,
    keys: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Keys (`ebbtide new-key`) of those who may roll back, and POST events, which go to Kafka."
            " [EBBTIDE_KEYS]",
        ),
    ] = None,
    variant: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME[=DIR|URL]",
            help="Compare: users are split by hash among --from and these; `ebbtide variants` says who wins."
            " Without DIR or URL it is what `ebbtide train --variant NAME=FILE` publishes beside --from.",
        ),
    ] = None,
    brokers: Brokers = None,
    events: Events = "events",
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for scripts.")] = False,
) -> None:
    """Answer over HTTP: users, items, recommendations with reasons, likenesses, sessions, changes.

    Answers are those of `ebbtide query --json`, as fresh as what was published a tenth of a second ago.
    /openapi.json declares all routes. SIGTERM or Ctrl-C ends it.

    Try:  ebbtide serve --from runs/ml
          curl http://127.0.0.1:8080/users/729/recommendations?k=5
    """
    os.environ.setdefault(BLAS_THREADS, "1")  # else two wait for each other at every product, on busy cores
    from ebbtide.commands import addresses
    from ebbtide.live import api_keys
    from serving.web import replayed, server
    from serving.web.app import Mount, application
    from serving.web.desk import Desk
    from serving.web.doors import Limits
    from serving.web.variants import Variants
    from state.store.embedded import open_store
    from streams.times import time_ms

    log_to_stderr()
    keys_text = os.environ.get(KEYS) if keys is None else keys.read_text()
    with ExitStack() as open_:
        held = open_.enter_context(server.listening(host, port))
        target = source or addresses.store(None)
        store = open_.enter_context(open_store(target))
        url, mounts = server.url_of(held), list[Mount]()
        folder = None if "://" in target else Path(target.removeprefix("embedded:"))
        desk = Desk(store, report=None if folder is None else folder / "report.json")
        broker = _broker(brokers) if keys_text or variant else None
        if keys_text:
            from ebbtide.live import cycle_routes, version_routes
            from ebbtide.live.posted import Posted, mount

            known = api_keys.read(keys_text, KEYS if keys is None else str(keys))
            mounts.append(lambda app: version_routes.mount(app, desk, known))
            mounts.append(lambda app: cycle_routes.mount(app, desk, known))
            if broker is None:
                log.info("no broker, so no POST /events; --brokers HOST:PORT names one")
            else:
                posted = Posted(broker, events)
                open_.callback(posted.close)
                mounts.append(lambda app: mount(app, posted, known))

        if folder is not None and (folder / "report.json").exists():
            mounts.append(lambda app: replayed.mount(app, folder))

        def started() -> None:
            if as_json:
                print_line({"url": url})
            log.info("%s answers from %s; Ctrl-C ends it", url, store)

        others = dict[str, Desk]()
        for name, where in (named(pair, target) for pair in variant or []):
            others[name] = Desk(open_.enter_context(open_store(where)))
        if others and broker is not None:
            from ebbtide.live import variant_routes

            mounts.append(lambda app: variant_routes.mount(app, broker, events, [*others]))
        app = application(Variants(desk, others), lambda text: time_ms(text, "at"), Limits(rate=rate), mounts)
        server.run(app, held, started, desk.ending.set)


def _broker(given: str | None) -> str | None:
    """Where Kafka is, as far as anybody says. Raises InputError where it is no address."""
    from ebbtide.commands import addresses

    try:
        return addresses.brokers(given)
    except InputError:
        if given is not None or os.environ.get(addresses.BROKERS):
            raise
        return None


def named(pair: str, base: str) -> tuple[str, str]:
    """The name of a variant of `base`, and where it is published. Raises InputError."""
    from state.store.embedded import variant_of

    name, equals, value = pair.partition("=")
    if equals and not value:
        raise InputError(f"--variant {pair!r}: expected NAME, NAME=DIR or NAME=redis://...")
    return name, value or variant_of(base, name)
