"""Where the broker and the store are: as told, by the environment, or the services that are up here."""

import os
from pathlib import Path
from typing import TYPE_CHECKING

from state.errors import InputError

if TYPE_CHECKING:
    from ebbtide.services.control import Status

BROKERS, STORE = "EBBTIDE_BROKERS", "EBBTIDE_STORE"
SERVICES = Path("runs/services")
"""Where `ebbtide services` keeps things unless told otherwise."""


def brokers(given: str | None) -> str:
    """Addresses of Kafka: HOST:PORT[,HOST:PORT]. Raises InputError where nobody says any."""
    addresses, origin = _said(given, "--brokers", BROKERS)
    if addresses is None:
        addresses, origin = _services().brokers, "services"
    if addresses is None:
        raise InputError(
            f"no broker: expected --brokers HOST:PORT or {BROKERS}, and none is up in {SERVICES}; "
            "start one with `ebbtide services up`, or give the address of yours"
        )
    for address in addresses.split(","):
        host, _, port = address.rpartition(":")
        if not host or not port.isdigit() or not 0 < int(port) < 65536 or "/" in host:
            raise InputError(
                f"{origin} {addresses}: expected HOST:PORT[,HOST:PORT], such as 127.0.0.1:9092, "
                f"got {address!r}"
            )
    return addresses


def without_workers(brokers: str, group: str) -> str:
    """The brokers, where a group has no worker at the moment. Raises InputError."""
    from streams.kafka.client import members

    count = members(brokers, group)
    if count:
        raise InputError(
            f"the group {group!r} has {count} worker{'s' * (count != 1)}: stop every `ebbtide ingest` first; "
            "one that was killed counts for a few seconds more"
        )
    return brokers


def store(given: str | None, option: str = "--store") -> str:
    """URL of the store. Raises InputError where nobody says any."""
    url, _ = _said(given, option, STORE)
    url = url or _services().store
    if url is None:
        raise InputError(
            f"no store: expected {option} redis://HOST:PORT/DB or {STORE}, and none is up in {SERVICES}; "
            "start one with `ebbtide services up`, or give the address of yours"
        )
    return url


def _said(given: str | None, option: str, variable: str) -> tuple[str | None, str]:
    if given is not None:
        return given, option
    return os.environ.get(variable) or None, variable


def _services() -> "Status":
    from ebbtide.services import control

    return control.status(SERVICES)
