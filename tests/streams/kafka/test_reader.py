"""A topic that changes under its reader: it grows, goes away, or is made anew under the same name."""

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import pytest
from kafka import KafkaAdminClient  # type: ignore[import-untyped]

from streams.kafka.client import Producer, ensure_topic
from streams.kafka.reader import LostError, Reader
from streams.wire.message import Message
from tests.patience import until


@pytest.fixture
def topic(brokers: str) -> str:
    """With ten messages in each of two partitions."""
    name = f"reader-{time.time_ns()}"
    ensure_topic(brokers, name, 2)
    send(brokers, name, 20, 2)
    return name


@pytest.fixture
def admin(brokers: str) -> Iterator[KafkaAdminClient]:
    with closing(KafkaAdminClient(bootstrap_servers=brokers)) as found:
        yield found


def send(brokers: str, topic: str, count: int, partitions: int) -> None:
    with Producer(brokers, topic) as producer:
        for number in range(count):
            producer.send(Message(str(number).encode()), number % partitions)
    assert producer.failure is None


def read(reader: Reader, enough: Callable[[list[Message]], bool]) -> list[Message]:
    found: list[Message] = []

    def look() -> list[Message]:
        reader.fill(50)
        while (message := reader.take()) is not None:
            found.append(message)
        return found

    return until(look, enough)


def anew(admin: KafkaAdminClient, brokers: str, topic: str, messages: int) -> None:
    admin.delete_topics([topic])
    until(admin.list_topics, lambda topics: topic not in topics)
    time.sleep(0.1)  # nobody is quicker, and a reader counts on it
    ensure_topic(brokers, topic, 2)
    send(brokers, topic, messages, 2)


def test_partitions_that_are_added_are_read_from_their_beginning(
    brokers: str, topic: str, admin: KafkaAdminClient
) -> None:
    with Reader(brokers, topic, {}) as reader:
        assert len(read(reader, lambda found: len(found) == 20)) == 20
        admin.create_partitions({topic: 4})
        send(brokers, topic, 40, 4)
        later = read(reader, lambda found: len(found) == 40)
    assert sorted((one.partition, one.offset) for one in later) == [
        *((partition, offset) for partition in (0, 1) for offset in range(10, 20)),
        *((partition, offset) for partition in (2, 3) for offset in range(10)),
    ]


@pytest.mark.parametrize("reads", [True, False], ids=["reads meanwhile", "looks away"])
@pytest.mark.parametrize("messages", [0, 8, 60], ids=["empty", "shorter", "longer"])
def test_a_topic_made_anew_is_never_taken_for_the_old_one(
    brokers: str, topic: str, admin: KafkaAdminClient, messages: int, reads: bool
) -> None:
    with Reader(brokers, topic, {}) as reader, ThreadPoolExecutor(1) as beside:
        read(reader, lambda found: len(found) == 20)
        before = reader.topic_id
        made = beside.submit(anew, admin, brokers, topic, messages)
        if not reads:
            made.result()
        with pytest.raises(
            LostError, match=r"the topic was made anew: .* begin again with another --checkpoint"
        ):
            read(reader, lambda found: bool(found))
        made.result()
    with (
        Reader(brokers, topic, {0: 0, 1: 0}, before) as again,
        pytest.raises(LostError, match=f"{topic}/it is not the topic that was read"),
    ):
        read(again, lambda found: bool(found))


def test_a_topic_that_is_gone_is_said(brokers: str, topic: str, admin: KafkaAdminClient) -> None:
    with Reader(brokers, topic, {}) as reader:
        read(reader, lambda found: len(found) == 20)
        assert reader.trouble is None
        admin.delete_topics([topic])
        read(reader, lambda _: reader.trouble is not None)
        assert reader.trouble == f"there is no topic {topic!r} any more: start `ebbtide ingest`"
