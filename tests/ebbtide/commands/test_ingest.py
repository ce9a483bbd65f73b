"""`ebbtide ingest`: what replay would make of the events, once each, whatever happens to the workers."""

import json
import os
import random
import signal
import subprocess
import time
from contextlib import closing
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from kafka import KafkaAdminClient, KafkaProducer  # type: ignore[import-untyped]
from kafka.admin import ConfigResource, ConfigResourceType  # type: ignore[import-untyped]

from ebbtide import api
from replay.traffic import send
from state.examples import ExampleBatch, concat, window_of
from state.memory.mask import narrowed, select
from state.memory.memory_config import MemoryConfig
from state.tree import digest
from streams.kafka.client import Producer, ensure_topic
from streams.operator import Operator, OperatorConfig
from streams.wire.message import Message
from tests.ebbtide.workers import WINDOW, Live, by_user, kill, stop
from tests.forked import Forked
from tests.patience import PATIENCE_S, until

LOG, EVENTS = "planted:users=60,items=80,events=3000,places=8", 3000


@pytest.fixture
def live(brokers: str, tmp_path: Path, request: pytest.FixtureRequest) -> Live:
    name = "".join(c if c.isalnum() else "-" for c in request.node.name)
    return Live(brokers, f"t{os.getpid()}-{name}", tmp_path)


@pytest.fixture(scope="module")
def replayed() -> str:
    """The digest of what the operator makes of the log in one go."""
    log = api.open_log(LOG)
    operator = Operator(OperatorConfig(), WINDOW)
    return digest(by_user([operator.process(events, 0) for events in log.batches(1000)]))


def traffic(live: Live, **options: object) -> None:
    send(api.open_log(LOG), f"kafka://{live.brokers}/{live.events}", **options)  # type: ignore[arg-type]


def identities(batches: list[ExampleBatch]) -> list[tuple[int, int, int]]:
    return [
        one
        for batch in batches
        for one in zip(
            batch.partition_B.tolist(), batch.offset_B.tolist(), batch.index_B.tolist(), strict=True
        )
    ]


def assert_once(live: Live, replayed: str) -> None:
    """Every event became an example once, in the user's order, and is what replay says."""
    said, made = live.progress(), live.examples()
    found = identities(made)
    assert len(set(found)) == len(found) == EVENTS
    assert sum(one.examples for one in said.values()) == EVENTS
    assert digest(by_user(made)) == replayed


@pytest.mark.parametrize(("partitions", "workers", "form"), [(1, 1, "json"), (4, 2, "arrow"), (4, 1, "json")])
def test_live_equals_replay(live: Live, replayed: str, partitions: int, workers: int, form: str) -> None:
    traffic(live, partitions=partitions, form=form, batch=64)
    with live.worker() as first:
        if workers == 2:
            with live.worker():
                live.until(EVENTS)
        live.until(EVENTS)
        stop(first)
    assert_once(live, replayed)


def test_killed_workers_lose_and_double_nothing(
    live: Live, replayed: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor do they leave anything behind on the machine."""
    ensure_topic(live.brokers, live.events, 2)
    (tmp_path / "tmp").mkdir()
    monkeypatch.setenv("TMPDIR", str(tmp_path / "tmp"))
    chance = random.Random(5)
    with sending(live, rate=250) as sender:
        for _ in range(2):
            with live.worker() as process:
                until(live.progress, bool)
                time.sleep(chance.uniform(0.3, 2.0))
                kill(process)
        with live.worker():
            live.until(EVENTS)
        assert sender.wait(PATIENCE_S) == 0
    assert_once(live, replayed)
    assert "computed up to" in live.said()
    assert not list((tmp_path / "tmp").iterdir())


def test_workers_forget_as_a_replay_does_and_over_kills(live: Live) -> None:
    config = OperatorConfig(memory=MemoryConfig(expire_ms=6 * 3_600_000))
    operator = Operator(config, WINDOW)
    whole = [operator.process(events, 0) for events in api.open_log(LOG).batches(1000)]
    ensure_topic(live.brokers, live.events, 2)
    with sending(live, rate=400) as sender:
        with live.worker("--expire", "6h") as process:
            live.until(EVENTS // 2)
            kill(process)
        with live.worker("--expire", "6h"):
            said = live.until(EVENTS)
        assert sender.wait(PATIENCE_S) == 0
    width = max(int(window_of(one).length_B.max()) for one in whole)
    expected, found = (
        by_user([narrowed(one, select(width)) for one in part]) for part in (whole, live.examples())
    )
    assert digest(found) == digest(expected)
    assert sum(one.expired for one in said.values()) > 200
    assert sum(one.users for one in said.values()) < 60


def test_partitions_move_and_come_back(live: Live, replayed: str) -> None:
    ensure_topic(live.brokers, live.events, 4)
    with sending(live, rate=250) as sender, live.worker():
        until(live.progress, bool)
        for log in ("second", "third"):
            with live.worker(log=log) as second:
                until(partial(live.said, log), lambda said: "partitions [" in said)
                before = sum(one.events for one in live.progress().values())
                live.until(min(before + 200, EVENTS))
                stop(second)
        live.until(EVENTS)
        assert sender.wait(PATIENCE_S) == 0
    assert_once(live, replayed)


def test_a_worker_that_wakes_up_late_is_refused(live: Live, replayed: str) -> None:
    ensure_topic(live.brokers, live.events, 2)
    with sending(live, rate=250) as sender, live.worker() as zombie:
        until(live.progress, bool)
        zombie.send_signal(signal.SIGSTOP)
        with live.worker():
            before = sum(one.events for one in live.progress().values())
            live.until(min(before + 500, EVENTS))
            zombie.send_signal(signal.SIGCONT)
            live.until(EVENTS)
        assert sender.wait(PATIENCE_S) == 0
    assert_once(live, replayed)


def test_an_owner_whose_transaction_was_ended_goes_on(live: Live, replayed: str) -> None:
    """As a broker does with one that takes too long: the group knows that nobody else has taken over."""
    to = f"kafka://{live.brokers}/{live.events}"
    half = int(np.concatenate([events.time_ms_B for events in api.open_log(LOG).batches(1000)])[EVENTS // 2])
    earlier, later = (api.open_log(LOG, until=str(half)), api.open_log(LOG, from_=str(half)))
    with live.worker() as process:
        live.until(send(earlier, to, partitions=1).events)
        other = KafkaProducer(bootstrap_servers=live.brokers, transactional_id=f"{live.name}-{live.events}-0")
        other.init_transactions()
        other.close()
        send(later, to)
        live.until(EVENTS)
        stop(process)
    assert_once(live, replayed)
    assert "the broker ended its transaction" in live.said()
    assert "taken over by another worker" not in live.said()


def sending(live: Live, rate: int) -> Forked:
    to = f"kafka://{live.brokers}/{live.events}"
    return Forked("replay", LOG, "--to", to, "--rate", rate, "--quiet")


def test_impressions_wait_for_their_feedback(live: Live) -> None:
    ensure_topic(live.brokers, live.events, 1)

    def event(number: int, minute: int, label: int | None) -> Message:
        said = {"user": "ann", "item": f"page {number}", "event_id": number, "label": label}
        time_ms = 1_700_000_000_000 + 60_000 * minute
        return Message(json.dumps({**said, "time": time_ms}).encode(), b"ann")

    first, second, answer, much_later, too_late = (
        *(event(1, 0, None), event(2, 1, None), event(1, 2, 1)),
        *(event(3, 60, None), event(2, 61, 1)),
    )
    with Producer(live.brokers, live.events) as producer:
        for message in (first, second, answer):
            producer.send(message, 0)
    with live.worker("--join-window", "10m"):
        until(live.examples, lambda made: sum(map(len, made)) == 1)
    with Producer(live.brokers, live.events) as producer:
        for message in (much_later, too_late):
            producer.send(message, 0)
    with live.worker("--join-window", "10m"):
        live.until(5)
        [said] = live.progress().values()
        shipments = live.shipments()
    batch = concat([one.batch for one in shipments])
    assert batch.offset_B.tolist() == [0, 1]
    assert batch.label_B.tolist() == [1.0, 0.0]
    names = {key: text for one in shipments for key, text in one.names.items()}
    assert [names[key] for key in batch.item_B.tolist()] == ["page 1", "page 2"]
    assert said.dead_letters == {"late label": 1}


def test_the_changelog_is_compacted_while_it_grows(live: Live) -> None:
    """In small segments: the one that is written to is never compacted, and by default it holds 1 GB."""
    changelog = f"{live.name}-changelog"
    with live.worker(), closing(KafkaAdminClient(bootstrap_servers=live.brokers)) as admin:
        until(admin.list_topics, lambda topics: changelog in topics)
        asked = ConfigResource(ConfigResourceType.TOPIC, changelog)
        [found] = admin.describe_configs([asked])["topic"].values()
    assert found["cleanup.policy"]["value"] == "compact"
    assert int(found["segment.bytes"]["value"]) <= 16 << 20


def test_workers_of_a_group_have_the_same_settings(live: Live) -> None:
    traffic(live, partitions=1)
    with live.worker() as process:
        live.until(EVENTS)
        stop(process)
    done = subprocess.run(
        live.command("--label-delay", "1h"), capture_output=True, text=True, timeout=PATIENCE_S
    )
    assert done.returncode == 2
    assert "operator.label_delay_ms was 0, is 3600000" in done.stderr
    assert np.array_equal(sorted(live.progress()), [0])
