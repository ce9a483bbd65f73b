"""One seed, from its start to its checks."""

import contextlib
import os
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal

import numpy as np

from ebbtide import api
from ebbtide.services import control
from replay.faults import PlannedFault, misdated, rough
from state.errors import EbbtideError
from state.progress import TrainerStatus
from streams.kafka.client import ensure_topic
from streams.schema import EventBatch, concat_events
from tests.chaos.checks import check_partitions, check_training, check_versions
from tests.chaos.group import PARTITIONS, WORKERS, Group
from tests.chaos.sender import Sender
from tests.chaos.suffering import suffer
from tests.chaos.topics import forget
from tests.ebbtide.workers import Live
from tests.patience import until

Engine = Literal["ingest", "flink"]
SECONDS, FAULTS, RATE = 14.0, 5, 250
_SAID_S = 30.0
_FIRST = 50


def run(
    seed: int,
    services: Path,
    folder: Path,
    faults: Sequence[PlannedFault],
    *,
    seconds: float = SECONDS,
    rate: float = RATE,
    engine: Engine = "ingest",
    tell: Callable[[str], None] | None = None,
) -> str:
    """One seed; what it came to. Raises AssertionError where something was lost, doubled or taken back."""
    found = control.up(services)
    assert found.brokers is not None
    assert found.store is not None
    live = Live(found.brokers, f"chaos-{os.getpid()}-{seed}", folder, engine)
    ensure_topic(found.brokers, live.events, PARTITIONS)
    log = api.open_log(f"planted:users=50,items=60,events={int(seconds * rate)},places=8")
    planted = rough(_leaving(concat_events(list(log.batches(1000)))), seed)
    events, wrong_B = misdated(planted, faults, seconds)
    sender = Sender(found.brokers, live.events, PARTITIONS)
    group = Group(live, services, found.store, faults, sender)
    versions: list[int] = []
    helpers = [
        threading.Thread(target=_watch, args=(group, versions), daemon=True),
        threading.Thread(target=group.supervise, daemon=True),
        threading.Thread(target=_tell, args=(group, tell), daemon=True),
    ]
    try:
        for name in (*(f"worker-{i}" for i in range(WORKERS if engine == "ingest" else 1)), "trainer"):
            group.start(name)
        for helper in helpers:
            helper.start()
        if engine == "flink":  # begins slowly, and what fails before it has begun tries nothing
            sender.produce(events.take(slice(0, _FIRST)), 0.0)
            until(group.progress)
            events_left = events.take(slice(_FIRST, None))
        else:
            events_left = events
        sending = threading.Thread(target=_send, args=(group, events_left, seconds))
        sending.start()
        suffer(group)
        group.check()
        sending.join()
        group.check()
        examples = check_partitions(group, events, wrong_B)
        check_training(group, examples)
    finally:
        group.over.set()
        group.end()
    check_versions(versions)
    forget(group)
    wrong = f", {int(wrong_B.sum())} at no time" if wrong_B.any() else ""
    moves = f"partitions given out {group.moves()} times"
    return f"{len(events):,} events sent{wrong}, {len(examples):,} trained, {moves}"


def _leaving(events: EventBatch) -> EventBatch:
    """Half of the users do nothing after the middle: what is lost of them nobody brings back by chance."""
    early_B = np.arange(len(events)) < len(events) / 2
    return events.take(np.flatnonzero(early_B | (events.user_B % 2 == 0)))


def _send(group: Group, events: EventBatch, seconds: float) -> None:
    with group.noted():
        group.sender.produce(events, seconds)


def _watch(group: Group, versions: list[int]) -> None:
    """The versions that a reader sees, as often as the store answers."""
    while not group.over.wait(0.2):
        if isinstance(said := group.status(), TrainerStatus):
            versions.append(said.version)


def _tell(group: Group, tell: Callable[[str], None] | None) -> None:
    """Memory, lag and freshness, now and then."""
    began_s = time.monotonic()
    while tell is not None and not group.over.wait(_SAID_S):
        with contextlib.suppress(OSError, EbbtideError):
            said = group.status()
            pids = {name: process.pid for name, process in group.processes.items()}
            pids |= {name: group.service_pid(name) for name in ("broker", "store")}
            memory = {name: _resident_mb(pid) for name, pid in pids.items()}
            done = sum(one.events for one in group.live.progress().values())
            passed = f"{time.monotonic() - began_s:6.0f} s  {group.sender.sent:,} sent, {done:,} events in"
            tell(f"{passed}, {_line(said)}, MB {memory}")


def _line(said: TrainerStatus | str) -> str:
    if isinstance(said, str):
        return said
    return f"{said.trained:,} trained, version {said.version}, freshness {said.freshness_ms} ms"


def _resident_mb(pid: int) -> int:
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") // 1_000_000
