"""Cycles of co-evolution from end to end: served, answered, learned, judged, promoted; the trainer killed in
their midst.

    answers with explore slots -> events with the recommendation's id -> workers -> a trainer that runs cycles

An audience goes on until a cycle was refused for want of explored events, one was promoted by them, and the
trainer was killed with kill -9 so many times while a cycle ran. Then the version before is served again. At
the end another trainer, which is not killed, follows the same order of events: its state is the same.
"""

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ebbtide.report import cycle_file
from ebbtide.services import control
from learners.coevolution.record import Coevolution
from serving.exploring import SOURCE
from state import progress
from state.examples import concat
from state.ids import key_of
from state.progress import TrainerStatus
from state.store.embedded import open_store
from streams.kafka.client import ensure_topic
from tests.chaos.audience import Audience
from tests.ebbtide import keeping
from tests.ebbtide.typed import run as typed
from tests.ebbtide.workers import Live, kill, stop
from tests.patience import PATIENCE_S, until
from tests.serving.server import served

KILLS, LEAST_EVENTS = 10, 1000
DAYS = 200
"""After which it should have come to a promoted cycle."""
_PARTITIONS = 2
_SETTINGS = """
learner = "coea"
drift = false
floors = false
leave_out = "none"
[learners.coea]
explore = true
explore_share = 0.5
most_clusters = 32
codes = [4, 2]
lag = 448
[learners.coea.cycle]
every = 512
hold_back = 0.5
least_events = {least_events}
"""


class Trained(NamedTuple):
    """Where trainers are, and what they publish to."""

    live: Live
    store: str

    @property
    def folder(self) -> Path:
        return self.live.folder / "saved"

    def command(self, *options: object) -> list[str]:
        where = {
            "--brokers": self.live.brokers,
            "--examples": f"{self.live.name}-examples",
            "--store": self.store,
            "--checkpoint": self.folder,
            "--config": self.live.folder / "coea.toml",
            "--every": 1500,
        }
        said = [str(one) for pair in where.items() for one in pair] + [str(one) for one in options]
        return [sys.executable, keeping.__file__, "train", "--json", *said]

    def start(self) -> subprocess.Popen[bytes]:
        with (self.live.folder / "trainer.log").open("ab") as log:
            return subprocess.Popen(self.command(), stdout=log, stderr=log)

    def evolved(self) -> Coevolution | None:
        """As it is beside the checkpoints."""
        return cycle_file.read(self.folder) if (self.folder / cycle_file.CYCLES).exists() else None

    def status(self) -> TrainerStatus | None:
        with open_store(self.store) as store:
            said = store.status()
        return None if said is None else progress.trainer_status(said)


def run(
    seed: int, services: Path, folder: Path, *, kills: int = KILLS, least_events: int = LEAST_EVENTS
) -> str:
    """One seed; what it came to. Raises AssertionError where something is not as it should be."""
    found = control.up(services)
    assert found.brokers is not None
    name = f"cycles-{os.getpid()}-{seed}"
    live = Live(found.brokers, name, folder)
    here = Trained(live, f"{found.store}?run={name}")
    ensure_topic(live.brokers, live.events, _PARTITIONS)
    (folder / "coea.toml").write_text(_SETTINGS.format(least_events=least_events))
    with live.worker(), _trainer(here) as trainer, _server(here) as (web, key):
        audience, killed = Audience(seed, key), 0
        audience.begin(web)
        until(lambda: web.ask("/readyz").status == 200)
        _trained(here, audience.sent)
        tried = accepted = 0
        while not (killed >= kills and _came_to(here.evolved())):
            assert audience.day < DAYS, f"{killed} kills, and no more than {_in_words(here.evolved())}"
            answered = audience.visit(web)
            tried, accepted = tried + answered.explored, accepted + answered.accepted
            some = audience.sent - int(audience.rng.integers(answered.events))
            if killed < kills and _running(here, some):
                kill(trainer[0])
                trainer[0] = here.start()
                killed += 1
            _trained(here, audience.sent)
        evolved = here.evolved()
        assert evolved is not None
        _check_events(live, tried, accepted)
        _check_rollback(here, evolved)
        audience.visit(web)
        _trained(here, audience.sent)
        stop(trainer[0])
    _check_same(here, audience.sent)
    came_to = f"{audience.sent:,} events, {tried:,} explored, killed {killed} times in a cycle"
    return f"{came_to}; {_in_words(evolved)}"


def _came_to(evolved: Coevolution | None) -> bool:
    """To a promoted cycle that was judged, after one that was refused for want of events."""
    cycles = [] if evolved is None else evolved.cycles[1:]
    promoted = [one.number for one in cycles if one.verdict.promoted]
    return bool(promoted) and any(one.verdict.after is None for one in cycles)


def _in_words(evolved: Coevolution | None) -> str:
    if evolved is None:
        return "no cycle"
    refused = [one.verdict for one in evolved.cycles if not one.verdict.promoted]
    promoted = [one.verdict for one in evolved.cycles[1:] if one.verdict.promoted]
    said = f"{len(evolved.cycles)} cycles, {len(refused)} refused"
    said += f" (such as: {refused[0].reason})" if refused else ""
    return said + "".join(f", promoted by {one.events:,} events ({one.reason})" for one in promoted)


def _running(here: Trained, events: int) -> bool:
    """Whether a cycle runs, once so many events are learned."""
    _trained(here, events)
    evolved = here.evolved()
    return evolved is not None and evolved.running


def _trained(here: Trained, events: int) -> None:
    until(here.status, lambda said: said is not None and said.trained >= events)


def _check_events(live: Live, tried: int, accepted: int) -> None:
    """What was explored has come back with its propensity, and nothing else has one."""
    examples = concat(live.examples())
    explored_B = examples.source_B == key_of(SOURCE)
    p_B = examples.propensity_B
    assert int(explored_B.sum()) == tried
    assert int(examples.label_B[explored_B].sum()) == accepted
    assert ((p_B[explored_B] > 0.0) & (p_B[explored_B] <= 1.0)).all()
    assert np.isnan(p_B[~explored_B]).all()


def _check_rollback(here: Trained, evolved: Coevolution) -> None:
    """Readers are told of the cycles; nothing is served any longer by the version that is withdrawn."""
    told = [json.loads(typed("cycle", "list", at, "--json").stdout) for at in (here.folder, here.store)]
    assert told[0]["cycles"] == told[1]["cycles"]
    kept = json.loads(typed("versions", "list", "--from", here.store, "--json").stdout)["kept"]
    assert f"before version {evolved.serving} of what is explored" in [one["note"] for one in kept]
    assert evolved.serving in _explores_by(here)
    typed("cycle", "rollback", here.store)
    until(lambda: _explores_by(here), lambda versions: evolved.serving not in versions)


def _explores_by(here: Trained) -> Sequence[int]:
    """Versions whose word holds, as readers are told."""
    with open_store(here.store) as store:
        info = store.info()
    assert info is not None
    return info.explores_by


def _check_same(here: Trained, events: int) -> None:
    """One that is not killed ends in the same state, with the same cycles."""
    evolved = here.evolved()
    assert evolved is not None
    with open_store(here.store) as store:
        store.clear()
    keeping.start_over(here.folder)
    ended = subprocess.run(here.command("--for", events), capture_output=True, timeout=PATIENCE_S, check=True)
    said = json.loads(ended.stdout.splitlines()[-1])
    lines = (here.live.folder / "trainer.log").read_text().splitlines()
    killed = json.loads(next(line for line in reversed(lines) if line.startswith("{")))
    assert said["state_digest"] == killed["state_digest"]
    again = here.evolved()
    assert again is not None
    assert [one.verdict for one in again.cycles] == [one.verdict for one in evolved.cycles]
    assert again.serving == evolved.serving


@contextmanager
def _trainer(here: Trained) -> Iterator[list[subprocess.Popen[bytes]]]:
    """The one that is at work, in a list: another may take its place. Killed at the end."""
    held = [here.start()]
    try:
        yield held
    finally:
        held[0].kill()
        held[0].wait()


@contextmanager
def _server(here: Trained) -> Iterator[Any]:
    """It, and a key of those who may post."""
    made = json.loads(typed("new-key", "audience", "--json").stdout)
    keys = here.live.folder / "keys"
    keys.write_text(made["line"] + "\n")
    options = ("--keys", str(keys), "--brokers", here.live.brokers, "--events", here.live.events)
    with served(here.store, *options, ready=False) as web:
        yield web, made["key"]
