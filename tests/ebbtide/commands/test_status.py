"""`ebbtide status` and the metrics: what workers and trainer say, and how far behind they are."""

import json
import re
import socket
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import redis
from kafka import KafkaProducer  # type: ignore[import-untyped]

from ebbtide.commands import addresses
from ebbtide.live import prometheus
from ebbtide.live.status import Lag, TopicNames, look
from state.errors import InputError
from state.progress import HEADER, Progress, TrainerStatus, encode
from state.store.contract import ItemRows, UserRows
from state.store.redis import RedisStore
from streams.kafka.client import Producer, ensure_topic
from streams.wire.message import Message
from tests.ebbtide.typed import run

NOBODY = "127.0.0.1:9"


@pytest.fixture(scope="module")
def server(services: Path) -> str:
    """HOST:PORT of the real store."""
    return f"127.0.0.1:{json.loads((services / 'ports.json').read_bytes())['store']}"


def trainer(**changes: Any) -> TrainerStatus:
    now_ms = int(time.time() * 1000)
    said: dict[str, Any] = {
        "trained": 40,
        "duplicates": 1,
        "dead_letters": {"not learned": 3},
        "items": 30,
        "forgotten": 4,
        "readers_at": 7,
        "store_losses": 2,
        "version": 7,
        "offsets": {"0": 4, "1": 2},
        "trouble": None,
        "freshness_ms": {"p50": 80.0, "p95": 120.5, "p99": 300.0},
        "metrics": {"auc": 0.71},
        "checkpoint_ms": now_ms - 5000,
        "started_ms": now_ms - 60_000,
        "updated_ms": now_ms + 3_600_000,  # by its clock: never silent, however long a test takes
        "pid": 4242,
        "host": "here",
    }
    return TrainerStatus(**{**said, **changes})


def publish(store: str, status: TrainerStatus) -> None:
    """What a trainer that says so has in the store."""
    one, vector = np.array([1]), np.zeros((1, 1, 2), np.float32)
    with RedisStore(store) as held:
        users = UserRows(ids=["u"], event_time_ms_B=one, interests_BKD=vector)
        held.publish(status.version, users, ItemRows(ids=["i"], event_time_ms_B=one, vectors_BD=vector[0]))
        held.put_status(encode(status))


@contextmanager
def transactions(brokers: str, name: str) -> Iterator[Any]:
    producer = KafkaProducer(bootstrap_servers=brokers, transactional_id=name)
    producer.init_transactions()
    yield producer
    producer.close()


def say(producer: Any, topic: str, partition: int, *said: Progress, aborted: bool = False) -> None:
    """One transaction with a message for each progress."""
    producer.begin_transaction()
    for one in said:
        producer.send(topic, b"examples", partition=partition, headers=[(HEADER, encode(one))])
    if aborted:
        producer.flush()
        producer.abort_transaction()
    else:
        producer.commit_transaction()


@pytest.fixture(scope="module")
def path(brokers: str, server: str) -> list[str]:
    """A live path of two partitions: options that name it. A worker was killed in the midst of its work."""
    for topic in ("s-events", "s-examples"):
        ensure_topic(brokers, topic, 2)
    with Producer(brokers, "s-events") as events:
        for number in range(30):
            events.send(Message(b"{}", b"u"), number % 2)
    with transactions(brokers, "s-0") as producer:
        first = Progress(offset=3, events=4, examples=3, duplicates=1)
        counts: dict[str, Any] = {
            **{"offset": 14, "events": 15, "examples": 10, "duplicates": 2, "late": 1},
            **{"dead_letters": {"no key": 1, "no item": 1}, "unknown_fields": {"lable": 7}},
            **{"lost": 1069, "lost_last": (31, 1099), "base": 3, "remade": 1},
            **{"users": 6, "expired": 5, "user_bytes": 2400},
        }
        newest = Progress(**counts)
        say(producer, "s-examples", 0, first, newest)
        for _ in range(40):
            say(producer, "s-examples", 0, Progress(offset=99, events=99), aborted=True)
        say(producer, "s-examples", 1, Progress(offset=4, events=5, examples=4, dead_letters={"no key": 1}))
        last = Progress(
            offset=9,
            events=10,
            examples=9,
            dead_letters={"no key": 1},
            unknown_fields={"lable": 2},
            users=2,
            user_bytes=1200,
        )
        say(producer, "s-examples", 1, last)
    store = f"redis://{server}/0?run=status"
    publish(store, trainer())
    names = ["--events", "s-events", "--examples", "s-examples", "--group", "s"]
    return ["--brokers", brokers, "--store", store, *names]


def test_status_says_how_far_everybody_is(path: list[str]) -> None:
    said = json.loads(run("status", "--json", *path).stdout)
    assert said.pop("checkpoint_age_s") >= 5.0
    assert said.pop("trouble") == [
        "s-events/0: the topic was made anew, or has lost its end: reading goes on where it begins, users' "
        "memory stays, and what was there before and not read is lost",
        "s-events/0: 1,069 messages were deleted by the broker before a worker read them, the newest at "
        "offsets 31 to 1099; let it keep them for longer (retention.ms)",
        "no worker of the group 's' is there; start one with `ebbtide ingest`, unless a job of Flink makes "
        "the examples",
    ]
    assert said == {
        "events_in": 25,
        "examples_out": 19,
        "trained": 40,
        "duplicates": 2,
        "repeated": 1,
        "late": 1,
        "users": 8,
        "expired": 5,
        "bytes_per_user": 450.0,
        "dead_letters": {"no item": 1, "no key": 2},
        "set_aside": {"not learned": 3},
        "item_changes": 0,
        "unknown_fields": {"lable": 9},
        "lost": 1069,
        "lag": {"ingest": {"0": 3, "1": 5}, "train": {"0": 0, "1": 1}},
        "freshness_ms": {"p50": 80.0, "p95": 120.5, "p99": 300.0},
        "items": 30,
        "forgotten": 4,
        "store_losses": 2,
        "version": 7,
        "metrics": {"auc": 0.71},
        "drift_open": 0,
        "workers": 0,
        "broker_up": True,
    }


def test_people_get_one_screen(path: list[str]) -> None:
    said = run("status", *path).stdout
    for words in (
        "25 in, of them 2 duplicates, 1 too late, 3 dead letters",
        "8 remembered, 450 bytes each, 5 expired",
        "2 no key, 1 no item",
        "19 out, by 0 workers of s",
        "40, published version 7, 30 items, 4 users forgotten",
        "fields that are no roles: 9 lable",
        "8 messages: 0: 3, 1: 5",
        "p50 80 ms, p95 120 ms, p99 300 ms",
        "auc 0.7100",
        "! no worker of the group 's' is there",
    ):
        assert words in said
    assert len(said.splitlines()) <= 24


def test_what_is_not_there_yet_is_null_and_said(brokers: str, server: str) -> None:
    names = ["--events", "none", "--examples", "none-either", "--group", "none"]
    store = f"redis://{server}/0?run=none"
    said = json.loads(run("status", "--json", "--brokers", brokers, "--store", store, *names).stdout)
    numbers = ("events_in", "examples_out", "trained", "duplicates", "late", "version", "checkpoint_age_s")
    assert [said[name] for name in numbers] == [None] * len(numbers)
    assert said["freshness_ms"] == {"p50": None, "p95": None, "p99": None}
    assert said["lag"] == {"ingest": {}, "train": {}}
    assert said["trouble"] == [
        "no trainer has said anything in the store; start one with `ebbtide train`",
        "there is no topic 'none': nothing was sent, and no worker was started",
        "no worker of the group 'none' is there; start one with `ebbtide ingest`",
    ]


def test_without_a_broker_the_trainer_is_still_seen(path: list[str]) -> None:
    done = run("status", "--json", *path, "--brokers", NOBODY, check=1)
    said = json.loads(done.stdout)
    assert (said["trained"], said["events_in"], said["broker_up"]) == (40, None, False)
    assert said["trouble"][0].startswith(f"{NOBODY}: expected a Kafka broker, got")


def test_a_trainer_in_trouble_or_silent_is_said(path: list[str], server: str) -> None:
    store = f"redis://{server}/0?run=trouble"
    long_ago_ms = int(time.time() * 1000) - 90_000
    publish(store, trainer(trouble="disk full", updated_ms=long_ago_ms, checkpoint_ms=None))
    said = json.loads(run("status", "--json", *path, "--store", store).stdout)
    assert said["checkpoint_age_s"] is None
    silent, trouble, *_ = said["trouble"]
    found = re.fullmatch(r"the trainer \(process 4242 on here\) has said nothing for ([\d,]+) s", silent)
    assert found is not None
    assert int(found[1].replace(",", "")) >= 90
    assert trouble == "trainer: disk full"


@pytest.mark.parametrize("gone", ["version", "users", "items"])
def test_a_store_that_has_lost_what_was_published_is_said(path: list[str], server: str, gone: str) -> None:
    store = f"redis://{server}/0?run=lost"
    publish(store, trainer())
    with redis.Redis.from_url(store.partition("?")[0]) as client:
        client.unlink(f"ebbtide:{{lost}}:{gone}")
    found = look(path[1], store, TopicNames("s-events", "s-examples", "s"))
    assert found.trouble[0] == (
        "store: what the trainer published up to version 7 is not all there; it publishes all of it again "
        "within seconds, if it runs"
    )


def test_a_topic_of_something_else_is_said(path: list[str], brokers: str) -> None:
    ensure_topic(brokers, "s-other", 1)
    with Producer(brokers, "s-other") as other:
        other.send(Message(b"{}", b"u"), 0)
    said = json.loads(run("status", "--json", *path, "--examples", "s-other").stdout)
    assert said["events_in"] is None
    assert any("s-other/0/0: expected examples of `ebbtide ingest`" in one for one in said["trouble"])


def test_a_user_of_the_store_with_a_password_which_nobody_sees(path: list[str], server: str) -> None:
    """What the page on operations tells to allow is enough, and wrong passwords stay secret, too."""
    host, _, port = server.partition(":")
    admin = redis.Redis(host=host, port=int(port))
    admin.acl_setuser(
        "ann",
        enabled=True,
        passwords=["+s3cret-word"],
        keys=["ebbtide:*"],
        categories=["+@all", "-@dangerous"],
    )
    try:
        right = f"redis://ann:s3cret-word@{server}/0?run=status"
        done = run("status", "--json", *path, "--store", right)
        assert json.loads(done.stdout)["trained"] == 40
        assert "s3cret" not in done.stdout + done.stderr
        with RedisStore(right) as held:
            held.put_status(encode(trainer()))
            assert abs(held.probe()) < 60_000
            assert held.advance(7) == held.version() == 7
            assert "s3cret" not in repr(held)
        wrong = f"redis://ann:other-word@{server}/0?run=status"
        done = run("status", "--json", *path, "--store", wrong)
        (refused,) = [one for one in json.loads(done.stdout)["trouble"] if "refuses" in one]
        assert f"redis://{server}/0: refuses the user or password; check the URL" in refused
        assert "other-word" not in done.stdout + done.stderr
        with RedisStore(wrong) as held, pytest.raises(InputError) as caught:
            held.put_status(b"")
        assert "other-word" not in str(caught.value)
    finally:
        admin.acl_deluser("ann")
        admin.close()


def test_where_things_are_is_asked_for_in_order(path: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    brokers, store = path[1], path[3]
    monkeypatch.setenv("EBBTIDE_BROKERS", NOBODY)
    monkeypatch.setenv("EBBTIDE_STORE", store)
    assert json.loads(run("status", "--json", "--brokers", brokers, *path[4:]).stdout)["trained"] == 40
    assert json.loads(run("status", "--json", check=1).stdout)["trained"] == 40
    monkeypatch.setenv("EBBTIDE_BROKERS", "here")
    assert "EBBTIDE_BROKERS here: expected HOST:PORT[,HOST:PORT], such as" in run("status", check=2).stderr


def test_without_any_one_is_told_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("EBBTIDE_BROKERS", "EBBTIDE_STORE"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(
        InputError, match=r"no broker: expected --brokers .* start one with `ebbtide services up`"
    ):
        addresses.brokers(None)
    with pytest.raises(
        InputError, match=r"no store: expected --store .* start one with `ebbtide services up`"
    ):
        addresses.store(None)


def test_services_that_are_up_are_found(
    services: Path, brokers: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("EBBTIDE_BROKERS", raising=False)
    monkeypatch.setattr(addresses, "SERVICES", services)
    assert addresses.brokers(None) == brokers


def test_prometheus_reads_what_workers_and_trainer_say() -> None:
    counts: dict[str, Any] = {
        "events": 10,
        "examples": 8,
        "duplicates": 1,
        "dead_letters": {'a "b"': 1},
        "lost": 4,
    }
    progress = {2: Progress(offset=9, unknown_fields={"lable": 3}, **counts)}
    lag = Lag({2: 5}, {2: 0})

    def collect() -> Iterator[Any]:
        yield from prometheus.of_workers(progress)
        yield from prometheus.of_trainer(trainer())
        yield from prometheus.of_lag(lag)

    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    stop = prometheus.serve(("127.0.0.1", port), collect)
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics") as answer:
            said = answer.read().decode()
        with pytest.raises(InputError, match=rf"metrics at 127.0.0.1:{port}: cannot listen there"):
            prometheus.serve(("127.0.0.1", port), collect)
    finally:
        stop()
    for line in (
        'ebbtide_events_total{partition="2"} 10.0',
        'ebbtide_examples_total{partition="2"} 8.0',
        'ebbtide_duplicates_total{partition="2"} 1.0',
        'ebbtide_late_total{partition="2"} 0.0',
        'ebbtide_dead_letters_total{partition="2",reason="a \\"b\\""} 1.0',
        'ebbtide_unknown_fields_total{field="lable",partition="2"} 3.0',
        'ebbtide_lost_total{partition="2"} 4.0',
        'ebbtide_remade_total{partition="2"} 0.0',
        "ebbtide_trained_total 40.0",
        'ebbtide_trainer_dead_letters_total{reason="not learned"} 3.0',
        'ebbtide_freshness_seconds{quantile="0.99"} 0.3',
        'ebbtide_lag{partition="2",stage="ingest"} 5.0',
        "ebbtide_published_version 7.0",
        "ebbtide_store_losses_total 2.0",
        "ebbtide_items 30.0",
        "ebbtide_forgotten_users_total 4.0",
        "ebbtide_checkpoint_age_seconds 3605.0",
        'ebbtide_metric{name="auc"} 0.71',
    ):
        assert line in said.splitlines()
    assert list(prometheus.of_trainer(None)) == []
