"""What `ebbtide up` starts: the product's own commands, with everything that they ask for."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import msgspec

from ebbtide import config
from ebbtide.supervising.folder import Folder
from state.errors import InputError

DEMO = "movielens-100k"
RATE = 20.0
"""Events a second that one can watch."""
_SETTINGS = """\
# Settings of `ebbtide train` here (docs/configuration.md); other ones need another --dir.
floors = true # the counting floors run beside the model
"""


class SentLog(msgspec.Struct, frozen=True, kw_only=True):
    """A log that is sent as live traffic, and how it is opened."""

    log: str
    options: tuple[str, ...] = ()
    """Of `ebbtide replay`: mapping, label, form of times."""
    items: str | None = None
    users: str | None = None
    called: tuple[str, ...] = ()
    """What it calls item and user, as ROLE=COLUMN."""

    @classmethod
    def demo(cls) -> "SentLog":
        """Films, with their titles. Raises InputError where it cannot be fetched."""
        from replay.logs.known import open_known

        (items,) = open_known(DEMO).items
        return cls(log=DEMO, items=str(items.path))


class Pace(NamedTuple):
    """How a log is sent."""

    rate: float
    """Events a second."""
    history: int | None
    """Events that come first, at once, where somebody has said how many."""


@dataclass(frozen=True, slots=True)
class Addresses:
    """Where Kafka and the store are."""

    brokers: str
    store: str


@dataclass(frozen=True, slots=True)
class UpPlan:
    """Everything that was asked for; `given` are addresses of services that are not ours."""

    folder: Folder
    sent: SentLog | None
    pace: Pace
    port: int
    given: Addresses | None
    variants: tuple[str, ...] = ()
    """NAME=FILE of settings that are learned with, too."""
    learner: str | None = None
    """What learns, where somebody has said so."""

    def prepare(self, key_line: str) -> None:
        """Write what the commands read: settings, unless they are there, and the key of this time.

        Raises InputError where there is no such learner, or another one learns here.
        """
        settings = self.folder.settings
        if not settings.exists():
            settings.write_text(_SETTINGS + ("" if self.learner is None else _of(self.learner)))
        elif self.learner is not None and (other := config.read(settings).learner) != self.learner:
            raise InputError(
                f"--learner {self.learner}: here learns {other or 'what suits the log'} ({settings}); "
                "begin with another --dir"
            )
        self.folder.keys.touch(0o600)
        self.folder.keys.write_text(key_line + "\n")

    def services(self) -> list[str]:
        return ["services", "up", "--dir", str(self.folder.services), "--json"]

    def environment(self, at: Addresses) -> dict[str, str]:
        """What commands are told where nobody reads it: the store's address may have a password in it."""
        return {**os.environ, "EBBTIDE_STORE": at.store}

    def parts(self, at: Addresses) -> Iterator[tuple[str, list[str]]]:
        """The name and the arguments of each command."""
        folder, sent = self.folder, self.sent
        yield "ingest", ["ingest", "--brokers", at.brokers]
        sides = (("--items", sent.items), ("--users", sent.users)) if sent is not None else ()
        given = [word for option, path in sides if path is not None for word in (option, path)]
        given += [word for pair in (sent.called if given and sent else ()) for word in ("--map", pair)]
        if sent is not None:
            past = [] if self.pace.history is None else ["--history", str(self.pace.history)]
            paced = ["--rate", f"{self.pace.rate:g}", "--now", *past]
            kept = ["--sent", str(folder.sent), "--quiet"]
            to = ["--to", f"kafka://{at.brokers}/events"]
            yield "send", ["replay", sent.log, *to, *paced, *kept, *sent.options]
        yield (
            "train",
            [
                "train",
                "--brokers",
                at.brokers,
                "--checkpoint",
                str(folder.checkpoint),
                "--config",
                str(folder.settings),
                *given,
                *(word for variant in self.variants for word in ("--variant", variant)),
            ],
        )
        listen = ["--port", str(self.port), "--keys", str(folder.keys), "--brokers", at.brokers]
        names = [variant.partition("=")[0] for variant in self.variants]
        compared = [word for name in names for word in ("--variant", name)]
        yield "serve", ["serve", *listen, *compared]


def _of(name: str) -> str:
    """Settings of a learner: one with cycles explores, which is what they are judged by."""
    from learners.registry import learner

    explores = f"\n[learners.{name}]\nexplore = true\n" if learner(name).cycles else ""
    return f'learner = "{name}"\n{explores}'
