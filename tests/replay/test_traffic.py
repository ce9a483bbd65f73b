"""A log that became traffic, read back from a real broker."""

import time
from pathlib import Path

import numpy as np
import pytest

from replay.log import Log
from replay.traffic import Form, Sent, send
from state.errors import InputError
from state.keys import key_of
from streams.kafka.client import partition_of
from streams.schema import EventBatch
from streams.wire.decode import Decoded, decode
from tests.replay.events import read, write_csv
from tests.streams.topics import messages
from tests.streams.wired import differing

PLANTED = "planted:users=60,items=80,events=5000"


@pytest.fixture(scope="module")
def log() -> Log:
    """With text ids, labels, places and a time zone."""
    return Log.open(PLANTED)


@pytest.fixture(scope="module")
def sent(form: Form, log: Log, brokers: str) -> tuple[Sent, Decoded]:
    """The log sent in one form, and what is in the topic then."""
    topic = f"planted-{form}"
    result = send(log, f"kafka://{brokers}/{topic}", form=form, partitions=4, batch=100)
    return result, decode(messages(brokers, topic, 4))


def in_log_order(events: EventBatch, log: EventBatch) -> EventBatch:
    """Events of several partitions in the order of a log that has the same of each user, in order."""
    by_user, log_by_user = (np.argsort(one.user_B, kind="stable") for one in (events, log))
    order = np.empty(len(by_user), np.int64)
    order[log_by_user] = by_user
    return events.take(order)


def test_what_is_read_back_is_the_log_with_every_users_order(sent: tuple[Sent, Decoded], log: Log) -> None:
    result, found = sent
    whole = read(log)
    assert found.rejected == []
    assert len(found.events) == len(whole) == 5000
    assert differing(in_log_order(found.events, whole), whole) == []
    used = {*whole.user_B.tolist(), *whole.item_B.tolist(), *whole.category_B.tolist()}
    assert {key: log.names[key] for key in used if key >= 2**62}.items() <= found.names.items()
    assert (result.events, result.errors, result.failure, result.partitions) == (5000, 0, None, 4)


def test_a_user_is_where_kafka_puts_the_users_id(sent: tuple[Sent, Decoded], log: Log) -> None:
    events = sent[1].events
    for user in np.unique(events.user_B).tolist():
        there = set(events.partition_B[events.user_B == user].tolist())
        assert there == {partition_of(log.names[user].encode(), 4)}
    assert len(np.unique(events.partition_B)) == 4


def test_messages_say_what_they_are_and_keep_to_the_bounds(
    log: Log, brokers: str, sent: tuple[Sent, Decoded]
) -> None:
    result, _ = sent
    found = messages(brokers, result.topic, 4)
    assert len(found) == result.messages
    assert sum(len(message.value or b"") for message in found) == result.bytes
    assert {tuple(message.headers) for message in found} == {
        (("ebbtide-schema", f"event+{result.format}/1".encode()),)
    }
    for message in found:
        assert message.key is not None
        assert partition_of(message.key, 4) == message.partition
        assert len(decode([message]).events) <= (1 if result.format == "json" else 100)


def test_ids_without_a_name_come_back_too(form: Form, brokers: str, tmp_path: Path) -> None:
    rows = [f"u{n % 7},i{n % 5},{1_500_000_000 + n},visit-{n // 3},{n * 10**15}" for n in range(40)]
    path = write_csv(tmp_path / "log.csv", "user,item,time,session,event_id", rows)
    log = Log.open(path)
    result = send(log, f"kafka://{brokers}/nameless-{form}", form=form, partitions=1)
    found = decode(messages(brokers, f"nameless-{form}", 1))
    assert result.events == 40
    assert differing(found.events, read(log)) == []
    assert key_of("visit-3") in found.events.session_B


@pytest.mark.parametrize("pace", ["rate", "speed"])
def test_traffic_keeps_its_pace(pace: str, brokers: str) -> None:
    log = Log.open(PLANTED, limit=60)
    span_s = (read(log).time_ms_B[-1] - log.survey.first_ms) / 1000
    rate, speed = (100.0, None) if pace == "rate" else (None, span_s / 0.5)
    seen: list[tuple[int, int]] = []
    began = time.monotonic()
    result = send(
        log, f"kafka://{brokers}/paced", rate=rate, speed=speed, progress=lambda *at: seen.append(at)
    )
    assert time.monotonic() - began >= (0.59 if pace == "rate" else 0.5)
    assert result.events == 60
    assert seen == sorted(seen)
    assert {total for _, total in seen} == {60}


def test_a_paced_sender_gathers_what_falls_due_together(log: Log, brokers: str) -> None:
    """Into one Arrow message a partition every 20 ms."""
    result = send(log, f"kafka://{brokers}/gathered", form="arrow", rate=5000.0)
    assert result.messages <= 4 * (result.seconds / 0.02 + 3)


def test_one_pace_at_a_time(log: Log) -> None:
    with pytest.raises(
        InputError, match=r"--speed and --rate: expected one of them, got both; leave one out"
    ):
        send(log, "kafka://a:1/events", speed=1.0, rate=1.0)
