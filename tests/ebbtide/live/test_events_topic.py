"""What happens to the topic of events under a worker, or between two: noticed, said, and made good."""

import asyncio
import json
import os
import signal
import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from aiokafka import AIOKafkaProducer  # type: ignore[import-untyped]
from kafka import KafkaAdminClient, TopicPartition  # type: ignore[import-untyped]

from ebbtide.live.status import Status, TopicNames, look
from state.examples import concat
from streams.kafka.client import Producer, ensure_topic, partition_of
from streams.kafka.observer import Observer
from streams.wire.message import HEADER, Message
from tests.ebbtide.typed import run
from tests.ebbtide.workers import Live, stop
from tests.patience import until

USERS = 12


@pytest.fixture
def live(brokers: str, tmp_path: Path, request: pytest.FixtureRequest) -> Live:
    name = "".join(c if c.isalnum() else "-" for c in request.node.name)
    return Live(brokers, f"t{os.getpid()}-{name}", tmp_path)


@pytest.fixture
def admin(brokers: str) -> Iterator[Any]:
    with closing(KafkaAdminClient(bootstrap_servers=brokers)) as client:
        yield client


def event(number: int, **more: Any) -> Message:
    user = f"user {number % USERS}"
    said = {"user": user, "item": f"page {number}", "time": int(time.time() * 1000) - 1000, **more}
    return Message(json.dumps({"label": 1, **said}).encode(), user.encode())


def send(live: Live, messages: Sequence[Message], partitions: int) -> None:
    with Producer(live.brokers, live.events) as producer:
        for message in messages:
            producer.send(message, partition_of(message.key or b"", partitions))
    assert producer.failed == 0


def status(live: Live) -> Status:
    return look(live.brokers, None, TopicNames(live.events, f"{live.name}-examples", live.name)).status()


def test_partitions_that_are_added_are_read_and_hold_up_nobody(live: Live, admin: Any) -> None:
    ensure_topic(live.brokers, live.events, 2)
    send(live, [event(n) for n in range(60)], 2)
    with live.worker():
        live.until(60)
        admin.create_partitions({live.events: 4})
        until(live.said, lambda said: "4 partitions instead of 2" in said)
        for n in range(10):
            send(live, [event(n) for n in range(30 * n, 30 * n + 30)], 4)
        said = live.until(360)
    assert sorted(said) == [0, 1, 2, 3]
    assert said[2].events + said[3].events > 0
    assert sum(one.examples for one in said.values()) == 360
    assert live.said().count("instead of") == 1
    assert "begins there without memory" in live.said()
    assert "starting over" not in live.said()
    with live.worker(log="second"):
        send(live, [event(n) for n in range(40)], 4)
        live.until(400)


def test_partitions_that_were_added_between_two_workers_are_read(live: Live, admin: Any) -> None:
    ensure_topic(live.brokers, live.events, 1)
    send(live, [event(n) for n in range(20)], 1)
    with live.worker() as process:
        live.until(20)
        stop(process)
    admin.create_partitions({live.events: 3})
    trouble = status(live).trouble
    assert any(
        "has 3 partitions, and" in one and "`ebbtide ingest` makes them grow" in one for one in trouble
    )
    send(live, [event(n) for n in range(40)], 3)
    with live.worker():
        assert sorted(live.until(60)) == [0, 1, 2]
        assert not any("partitions, and" in one for one in status(live).trouble)


def test_messages_that_were_deleted_unread_are_counted_and_said(live: Live, admin: Any) -> None:
    ensure_topic(live.brokers, live.events, 1)
    send(live, [event(n) for n in range(30)], 1)
    with live.worker() as process:
        live.until(30)
        stop(process)
    send(live, [event(n) for n in range(200)], 1)
    admin.delete_records({TopicPartition(live.events, 0): 130})
    deleted = (
        "100 messages were deleted by the broker before a worker read them, the newest at offsets 30 to 129"
    )
    assert any(deleted in one for one in status(live).trouble)
    with live.worker():
        [said] = live.until(230).values()  # 100 of them are lost
        found = status(live)
    assert (said.lost, said.examples, said.offset) == (100, 130, 229)
    assert f"{live.events}/0: {deleted}; let it keep them for longer (retention.ms)" in live.said()
    assert (found.lost, found.lag.ingest) == (100, {0: 0})
    assert any(deleted in one for one in found.trouble)


def test_messages_deleted_before_memory_was_saved_are_said_and_stay_counted(live: Live, admin: Any) -> None:
    ensure_topic(live.brokers, live.events, 1)
    send(live, [event(n) for n in range(30)], 1)
    with live.worker("--state-every", "1h"):
        live.until(30)
    admin.delete_records({TopicPartition(live.events, 0): 30})
    send(live, [event(n) for n in range(5)], 1)
    with live.worker():
        [said] = live.until(35).values()
    assert (said.events, said.examples, said.lost, said.next) == (35, 35, 0, 35)
    assert "partition 0: 30 messages were deleted after they had been dealt with" in live.said()
    assert [len(batch) for batch in live.examples()] == [30, 5]


def test_messages_deleted_under_a_worker_that_waits_are_noticed_without_a_new_one(
    live: Live, admin: Any
) -> None:
    ensure_topic(live.brokers, live.events, 1)
    send(live, [event(n) for n in range(30)], 1)
    with live.worker() as process:
        live.until(30)
        process.send_signal(signal.SIGSTOP)
        send(live, [event(n) for n in range(50)], 1)
        admin.delete_records({TopicPartition(live.events, 0): 80})
        process.send_signal(signal.SIGCONT)
        [said] = until(live.progress, lambda found: found[0].offset == 79).values()
        send(live, [event(n) for n in range(5)], 1)
        live.until(said.events + 5)
    assert said.events + said.lost == 80


@pytest.mark.parametrize("running", [True, False])
def test_a_topic_that_was_made_anew_is_read_from_its_beginning(live: Live, admin: Any, running: bool) -> None:
    ensure_topic(live.brokers, live.events, 1)
    send(live, [event(n) for n in range(40)], 1)
    with live.worker() as process:
        live.until(40)
        if not running:
            stop(process)
        admin.delete_topics([live.events])
        until(admin.list_topics, lambda names: live.events not in names)
        ensure_topic(live.brokers, live.events, 1)
        send(live, [event(n) for n in range(100, 125)], 1)
        if not running:
            assert any("was made anew" in one for one in status(live).trouble)
            with live.worker():
                [said] = live.until(65).values()
        else:
            [said] = live.until(65).values()
        found = status(live)
    assert (said.examples, said.remade, said.next, said.lost) == (65, 1, 25, 0)
    offset_B = concat(live.examples()).offset_B.tolist()
    assert offset_B == list(range(65))
    assert live.said().count("the topic was made anew") == 1
    assert len(live.said().splitlines()) < 40
    assert any("the topic was made anew" in one for one in found.trouble)
    assert found.lag.ingest == {0: 0}


@pytest.mark.parametrize("by_broker", [False, True])
def test_compressed_messages_are_read(live: Live, by_broker: bool) -> None:
    kinds = ("gzip", "snappy", "lz4", "zstd")

    async def sent(kind: str) -> None:
        async with AIOKafkaProducer(bootstrap_servers=live.brokers, compression_type=kind) as producer:
            for message in (*(event(n) for n in range(50)), Message(b"{", b"k")):
                await producer.send(live.events, message.value, message.key, 0)

    ensure_topic(live.brokers, live.events, None, 1, {"compression.type": "zstd"} if by_broker else None)
    for kind in kinds:
        asyncio.run(sent(kind))
    with live.worker():
        [said] = live.until(51 * len(kinds)).values()
    assert (said.examples, said.dead_letters) == (50 * len(kinds), {"malformed json": len(kinds)})


def test_a_header_without_a_value_is_as_if_it_were_not_there(live: Live) -> None:
    good, bad = event(1), Message(b"{", b"ann")

    async def sent() -> None:
        async with AIOKafkaProducer(bootstrap_servers=live.brokers) as producer:
            for message in (good, bad):
                for name in ("trace", HEADER):
                    await producer.send(live.events, message.value, message.key, 0, headers=[(name, None)])

    ensure_topic(live.brokers, live.events, 1)
    asyncio.run(sent())
    with live.worker():
        [said] = live.until(4).values()
    assert (said.examples, said.dead_letters) == (2, {"malformed json": 2})


def test_one_event_of_2099_and_a_sender_in_seconds_are_dead_letters(live: Live) -> None:
    ensure_topic(live.brokers, live.events, 1)
    now_s = int(time.time())
    wrong = [event(1, time="2099-01-01T00:00:00Z"), event(2, time=now_s), event(3, time=now_s + 0.5)]
    late = event(4, time="1998-01-01T00:00:00Z")
    framed = event(5)._replace(value=b"\0\0\0\0\x07" + (event(5).value or b""))
    with live.worker():
        send(live, [event(0), *wrong, event(6, lable=1), framed, late], 1)
        [said] = live.until(7).values()
        found = status(live)
    assert (said.examples, said.late) == (3, 1)
    assert said.dead_letters == {"bad time: ahead of the broker": 1, "bad time: looks like seconds": 2}
    assert found.unknown_fields == {"lable": 1}
    assert (found.events_in, found.examples_out, found.late, sum(found.dead_letters.values())) == (7, 3, 1, 3)
    with Observer(live.brokers) as observer:
        letters = list(observer.read(f"{live.name}-dead"))
    assert [letter.value for letter in letters] == [message.value for message in (*wrong, late)]
    assert dict(letters[-1].headers)["ebbtide-reason"] == b"late"


def test_a_partition_that_an_earlier_build_made_deaf_is_mended(live: Live) -> None:
    ensure_topic(live.brokers, live.events, 2)
    names = live.command()[4:14]
    mend = ["mend", "--json", *names]
    with live.worker("--ahead", "90000d") as process:
        send(live, [*(event(n) for n in range(20)), event(3, time="2099-01-01T00:00:00Z")], 2)
        send(live, [event(n) for n in range(20)], 2)
        said = live.until(41)
        assert sum(one.late for one in said.values()) > 0
        refused = run(*mend, check=2)
        assert f"the group '{live.name}' has 1 worker: stop every `ebbtide ingest` first" in refused.stderr
        stop(process)
    deaf = partition_of(b"user 3", 2)
    shown = json.loads(run(*mend).stdout)
    ahead = {one["partition"]: one["ahead"] for one in shown["partitions"]}
    assert shown["mended"] is False
    assert ahead[1 - deaf] is None
    assert (ahead[deaf]["entries"], ahead[deaf]["users"]) == (1, 1)
    assert "were taken out, and the clock set to 20" in run(*mend[:1], *names, "--yes").stdout
    assert all(one["ahead"] is None for one in json.loads(run(*mend).stdout)["partitions"])
    late = sum(one.late for one in said.values())
    with live.worker("--ahead", "90000d"):
        send(live, [event(n) for n in range(20)], 2)
        said = live.until(61)
    assert sum(one.late for one in said.values()) == late
    assert sum(one.examples for one in said.values()) == 61 - late
    assert (said[deaf].clock_ms or 0) < time.time() * 1000
