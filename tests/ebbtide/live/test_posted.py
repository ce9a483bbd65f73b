"""Events over HTTP: to the topic as they were sent, and nothing without a key."""

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ebbtide.live import api_keys, posted
from serving.web.problems import Problem
from state.errors import InputError
from state.store.embedded import open_store
from streams.wire.decode import decode
from streams.wire.message import Message
from tests.serving.server import Reply, Served, served
from tests.serving.test_answers import published
from tests.streams.topics import messages
from tests.valkeys import free_port

TOPIC = "posted-events"
EVENT = {"user": "ann", "item": 42, "time": "2026-11-27T18:00:00Z", "label": 1}


@pytest.fixture(scope="module")
def web(brokers: str, key: tuple[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("run")
    published(open_store(folder, create=True)).close()
    options = ("--keys", str(key[1]), "--brokers", brokers, "--events", TOPIC)
    with served(str(folder), *options) as found:
        yield found


@pytest.fixture
def post(web: Served, key: tuple[str, Path]) -> Any:
    def sent(body: object, **headers: str) -> Reply:
        return web.ask("/events", body, headers={"authorization": f"Bearer {key[0]}", **headers})

    return sent


class Topic:
    """What has come since it was made."""

    def __init__(self, brokers: str) -> None:
        self._brokers = brokers
        self._before = {(m.partition, m.offset) for m in self._all()}

    def new(self) -> list[Message]:
        return [m for m in self._all() if (m.partition, m.offset) not in self._before]

    def _all(self) -> list[Message]:
        return messages(self._brokers, TOPIC, 4)


def test_what_is_accepted_is_on_the_topic_as_it_was_sent(post: Any, brokers: str) -> None:
    topic = Topic(brokers)
    assert post(EVENT).json() == {"accepted": 1, "recommendation_ids": [None]}
    several = [{**EVENT, "user": 7, "item": "a"}, {**EVENT, "user": "7", "item": "b", "shoe_size": 3}]
    reply = post(several)
    assert reply.status == 202
    found = topic.new()
    by_key = {message.key: [m.value for m in found if m.key == message.key] for message in found}
    assert {k: [json.loads(v or b"") for v in values] for k, values in by_key.items()} == {
        b"ann": [EVENT],
        b"7": several,
    }
    decoded = decode(found)
    assert (len(decoded.events), decoded.rejected) == (3, [])
    assert decoded.unknown == {"shoe_size": 1}


def test_an_event_says_which_recommendation_it_came_of(web: Served, post: Any, brokers: str) -> None:
    topic = Topic(brokers)
    given = web.ask("/users/ann/recommendations").headers["recommendation-id"]
    assert given != web.ask("/users/ann/recommendations").headers["recommendation-id"]
    assert post({**EVENT, "recommendation_id": given}).json()["recommendation_ids"] == [given]
    (message,) = topic.new()
    assert json.loads(message.value or b"") == EVENT
    assert (posted.RECOMMENDATION, given.encode()) in message.headers


NONSENSE: list[tuple[object, int, str]] = [
    ({**EVENT, "time": "then"}, 422, "event 0: bad time"),
    ([EVENT, {"user": 1}], 422, "event 1: no item"),
    ([EVENT, 3], 422, "event 1: not an event"),
    ({**EVENT, "label": 7}, 422, "event 0: bad label"),
    ({**EVENT, "recommendation_id": 3}, 422, "bad recommendation_id"),
    ([], 422, "expected 1 to 1000 events, got 0"),
    ([EVENT] * 1001, 422, "got 1001"),
    (b"[1", 400, "no JSON"),
    (b"\xff", 422, "malformed json"),
    (b"", 422, "malformed json"),
    (b"[" * 100_000, 400, "no JSON"),
    (b" " * 1_000_001, 413, "1,000,000 bytes"),
]


def test_what_is_no_event_is_told_and_none_is_sent(post: Any, brokers: str) -> None:
    topic = Topic(brokers)
    for body, status, said in NONSENSE:
        reply = post(body)
        assert (reply.status, said in json.dumps(reply.json())) == (status, True), reply.body
    assert topic.new() == []


def test_nothing_is_written_without_a_key(web: Served, key: tuple[str, Path], brokers: str) -> None:
    topic = Topic(brokers)
    said: tuple[dict[str, str], ...] = (
        {},
        {"authorization": "Bearer wrong"},
        {"authorization": f"Basic {key[0]}"},
        {"authorization": "Bearer"},
    )
    for headers in said:
        reply = web.ask("/events", EVENT, headers=headers)
        assert (reply.status, reply.headers["www-authenticate"]) == (401, "Bearer")
    assert topic.new() == []
    assert key[0] not in key[1].read_text()


def test_a_broker_that_is_gone_is_said_and_one_that_is_back_is_found(brokers: str) -> None:
    topic, sender = Topic(brokers), posted.Posted(brokers, TOPIC)
    (wired,) = posted.of_body(json.dumps(EVENT).encode())
    sender._brokers = f"127.0.0.1:{free_port()}"
    with pytest.raises(Problem, match="expected a Kafka broker") as refused:
        asyncio.run(sender.send([wired.message]))
    assert refused.value.status == 503
    sender._brokers = brokers
    asyncio.run(sender.send([wired.message]))
    sender.close()
    assert len(topic.new()) == 1


def test_without_keys_there_is_no_such_route(tmp_path: Path) -> None:
    published(open_store(tmp_path, create=True)).close()
    with served(str(tmp_path)) as web:
        assert web.ask("/events", EVENT).status == 404


def test_keys_are_told_apart_and_a_key_in_the_clear_is_refused() -> None:
    mine, yours = api_keys.new(), api_keys.new()
    kept = api_keys.read(
        f"{api_keys.line('mine', mine)},\n {api_keys.line('yours', yours)}\n", "EBBTIDE_KEYS"
    )
    assert (api_keys.owner(mine, kept), api_keys.owner(yours, kept)) == ("mine", "yours")
    assert api_keys.owner(mine + "x", kept) is None
    assert api_keys.owner("\ud800", kept) is None
    with pytest.raises(InputError, match="EBBTIDE_KEYS: entry 1 is no NAME:SHA256") as refused:
        api_keys.read(mine, "EBBTIDE_KEYS")
    assert mine not in str(refused.value)
    with pytest.raises(InputError, match="expected a name of letters"):
        api_keys.line("no name", mine)
    with pytest.raises(Problem):
        posted.check(None, kept)


def test_a_message_is_what_the_wire_takes() -> None:
    (wired,) = posted.of_body(json.dumps({**EVENT, "user": {"key": 2**62 + 5}}).encode())
    assert wired.message.key == str(2**62 + 5).encode()
    assert isinstance(wired.message, Message)
    assert len(decode([wired.message]).events) == 1
