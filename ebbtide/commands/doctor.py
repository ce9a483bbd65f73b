"""`ebbtide doctor`: is everything there that the live path needs, and how is what is missing to be had?"""

import importlib
import os
import platform
import shutil
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from ebbtide import waiting
from ebbtide.commands.live_options import Brokers, Json, Store
from ebbtide.commands.output import print_json
from state.errors import InputError, bringing

_NEEDED_GB, _CLOCK_MS = 1.0, 1000.0
_STYLE = {"ok": "green", "missing": "yellow", "problem": "red"}


@dataclass(frozen=True, slots=True)
class Check:
    """One part: how it is, and what to do."""

    name: str
    state: Literal["ok", "missing", "problem"]
    said: str
    todo: str = ""
    needed: bool = True


def doctor(brokers: Brokers = None, store: Store = None, as_json: Json = False) -> None:
    """Check every part of the live path, and say how to get what is missing; exit code 1 if it is needed."""
    with waiting.looking("Looking for what the live path needs ...", quiet=as_json):
        results = list(checks(brokers, store))
    if as_json:
        print_json([asdict(check) for check in results])
    else:
        table = Table(box=None, show_header=False)
        for check in results:
            optional = "" if check.needed or check.state == "ok" else " (not needed)"
            lines = Text(check.said + optional)
            if check.todo:
                lines.append(f"\n{check.todo}", style="cyan")
            table.add_row(Text(check.state, _STYLE[check.state]), check.name, lines)
        Console().print(table)
    if any(check.needed and check.state != "ok" for check in results):
        raise typer.Exit(1)


def checks(brokers: str | None, store: str | None) -> Iterator[Check]:
    """Each part in turn."""
    yield Check("Python", "ok", f"{platform.python_version()} on {platform.platform(terse=True)}")
    yield _packages("live", ("faust", "aiokafka", "cramjam", "prometheus_client"))
    yield _packages("serve", ("fastapi", "uvicorn", "hiredis"), needed=False)
    broker = _broker(brokers)
    ours = broker.state != "ok"
    yield _java(needed=ours)
    yield _jars()
    yield broker
    yield from _store(store)
    yield _disk(Path("runs"))
    yield _torch()


def _packages(extra: str, modules: tuple[str, ...], *, needed: bool = True) -> Check:
    lost = []
    for module in modules:
        try:
            importlib.import_module(module)
        except ImportError as error:
            lost.append(f"{module} ({error})")
    if lost:
        return Check(f"packages of {extra}", "missing", ", ".join(lost), bringing(extra), needed)
    return Check(f"packages of {extra}", "ok", ", ".join(modules), needed=needed)


def _java(*, needed: bool) -> Check:
    from ebbtide.services import broker

    try:
        return Check("Java", "ok", broker.java(), needed=needed)
    except InputError as error:
        what, _, todo = str(error).partition("; ")
        return Check("Java", "missing", what, todo, needed)


def _jars() -> Check:
    """Never needed: they are fetched by whoever needs them."""
    from ebbtide.services import jars

    missing = jars.missing_jars()
    if not missing:
        return Check("Apache Kafka", "ok", f"{jars.KAFKA} in {jars.cache()}", needed=False)
    size_mb = sum(jar.size for jar in missing) / 1e6
    todo = f"`ebbtide services up` fetches {size_mb:.0f} MB, from EBBTIDE_MAVEN where that is set"
    sentence = f"{len(missing)} jars are not in {jars.cache()}"
    return Check("Apache Kafka", "missing", sentence, todo, needed=False)


def _broker(given: str | None) -> Check:
    from ebbtide.commands import addresses
    from streams.kafka import client

    def probe(at: str) -> str:
        return f"{at} speaks the protocol of Kafka {client.transactions(at)} and takes transactions"

    return _asked("broker", lambda: addresses.brokers(given), probe)


def _store(given: str | None) -> Iterator[Check]:
    from ebbtide.commands import addresses
    from state.store.embedded import open_store

    ahead_ms: list[float] = []
    policies: list[str | None] = []

    def probe(url: str) -> str:
        with open_store(url) as held:
            ahead_ms.append(held.probe())
            policies.append(held.policy())
            return f"{held!r} answers and can be written"

    yield _asked("store", lambda: addresses.store(given), probe)
    for policy in policies:
        yield _eviction(policy)
    for ahead in ahead_ms:
        sentence = f"the store's is {ahead:+,.0f} ms from ours"
        if abs(ahead) < _CLOCK_MS:
            yield Check("clock", "ok", sentence)
        else:
            yield Check("clock", "problem", sentence, "set both by NTP: freshness and late events go by them")


def _eviction(policy: str | None) -> Check:
    from state.store.health import KEEPS_ALL

    todo = f"CONFIG SET maxmemory-policy {KEEPS_ALL}, there and in its configuration"
    if policy is None:
        sentence = "this user may not ask for the store's maxmemory-policy"
        return Check(
            "eviction", "missing", sentence, f"it must be {KEEPS_ALL}: ask whoever runs it", needed=False
        )
    if policy != KEEPS_ALL:
        sentence = f"maxmemory-policy {policy}: a store that is full drops all users of a run at once"
        return Check("eviction", "problem", sentence, todo)
    return Check("eviction", "ok", f"maxmemory-policy {policy}: what is published stays")


def _asked(name: str, find: Callable[[], str], probe: Callable[[str], str]) -> Check:
    try:
        address = find()
    except InputError as error:
        what, _, todo = str(error).partition("; ")
        return Check(name, "missing", what, todo)
    try:
        return Check(name, "ok", probe(address))
    except InputError as error:
        what, _, todo = str(error).rpartition("; ")
        return Check(name, "problem", what or todo, todo if what else "")


def _disk(folder: Path) -> Check:
    place = next(path for path in (folder.resolve(), *folder.resolve().parents) if path.exists())
    free_gb = shutil.disk_usage(place).free / 1e9
    sentence = f"{free_gb:,.1f} GB free at {place}"
    if not os.access(place, os.W_OK):
        return Check("disk", "problem", f"{place} cannot be written", "run in a folder of yours")
    if free_gb < _NEEDED_GB:
        return Check(
            "disk", "problem", sentence, f"expected {_NEEDED_GB:.0f} GB for checkpoints and topics; make room"
        )
    return Check("disk", "ok", sentence)


def _torch() -> Check:
    try:
        import torch
    except ImportError as error:
        todo = f"{bringing('torch')}; without it models that are torch networks cannot be used"
        return Check("torch", "missing", str(error), todo, needed=False)
    devices = [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]
    sentence = f"{torch.__version__}, {', '.join(devices) or 'no GPU'}, {torch.get_num_threads()} threads"
    return Check("torch", "ok", sentence, needed=False)
