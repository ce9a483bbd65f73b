"""One seed, from its start to its checks."""

import contextlib
import json
import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from ebbtide import api
from ebbtide.services import control
from replay.faults import Fault, misdated, rough
from state.errors import EbbtideError
from state.progress import TrainerStatus
from streams import wire_json
from streams.kafka import Producer, ensure_topic, partition_of
from streams.schema import EventBatch, concat_events
from streams.wire import HEADER, JSON, Message
from tests.chaos.checks import check_partitions, check_training, check_versions
from tests.chaos.group import PARTITIONS, WORKERS, Group
from tests.chaos.suffering import suffer
from tests.chaos.topics import forget
from tests.ebbtide.workers import Live

SECONDS, FAULTS, RATE = 14.0, 5, 250
_SAID_S = 30.0


def run(
    seed: int,
    services: Path,
    folder: Path,
    faults: Sequence[Fault],
    *,
    seconds: float = SECONDS,
    rate: float = RATE,
    tell: Callable[[str], None] | None = None,
) -> str:
    """One seed; what it came to. Raises AssertionError where something was lost, doubled or taken back."""
    found = control.up(services)
    assert found.brokers is not None
    assert found.store is not None
    live = Live(found.brokers, f"chaos-{os.getpid()}-{seed}", folder)
    ensure_topic(found.brokers, live.events, PARTITIONS)
    log = api.open_log(f"planted:users=50,items=60,events={int(seconds * rate)},places=8")
    planted = rough(_leaving(concat_events(list(log.batches(1000)))), seed)
    events, wrong_B = misdated(planted, faults, seconds)
    group = Group(live, services, found.store, faults)
    versions: list[int] = []
    helpers = [
        threading.Thread(target=_watch, args=(group, versions), daemon=True),
        threading.Thread(target=group.supervise, daemon=True),
        threading.Thread(target=_tell, args=(group, tell), daemon=True),
    ]
    try:
        for name in (*(f"worker-{i}" for i in range(WORKERS)), "trainer"):
            group.start(name)
        for helper in helpers:
            helper.start()
        sending = threading.Thread(target=produce, args=(group, events, seconds))
        sending.start()
        suffer(group)
        group.check()
        sending.join()
        group.check()
        live.until(len(events))
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


def messages(events: EventBatch) -> Iterator[tuple[Message, int]]:
    """JSON messages and their partitions; the time is the number that it is, in whatever unit."""
    good = wire_json.encode(replace(events, time_ms_B=np.zeros(len(events), np.int64)), {})
    for user, number, event in zip(events.user_B.tolist(), events.time_ms_B.tolist(), good, strict=True):
        key = str(user).encode()
        value = json.dumps({**json.loads(event), "time": number}).encode()
        yield Message(value, key, ((HEADER, JSON.encode()),)), partition_of(key, PARTITIONS)


def produce(group: Group, events: EventBatch, seconds: float) -> None:
    """At a steady pace, as long as the faults last."""
    with group.noted():
        with Producer(group.live.brokers, group.live.events) as producer:
            started_s = time.monotonic()
            for i, (message, partition) in enumerate(messages(events)):
                time.sleep(max(0.0, started_s + seconds * i / len(events) - time.monotonic()))
                producer.send(message, partition)
                group.sent = i + 1
        assert producer.failure is None, producer.failure


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
            passed = f"{time.monotonic() - began_s:6.0f} s  {group.sent:,} sent, {done:,} events in"
            tell(f"{passed}, {_line(said)}, MB {memory}")


def _line(said: TrainerStatus | str) -> str:
    if isinstance(said, str):
        return said
    return f"{said.trained:,} trained, version {said.version}, freshness {said.freshness_ms} ms"


def _resident_mb(pid: int) -> int:
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") // 1_000_000
