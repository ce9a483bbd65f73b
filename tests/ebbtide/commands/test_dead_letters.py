"""`ebbtide dead-letters`: what was set aside is listed, and sent again as it was."""

import json
from typing import Any

import pytest

from streams.kafka.client import Producer, ensure_topic
from streams.wire.letters import DETAIL, OMITTED, REASON, SOURCE
from streams.wire.message import HEADER, Message
from tests.ebbtide.typed import run
from tests.streams.topics import messages


def letter(value: bytes | None, key: bytes | None, reason: str, source: str, **more: str) -> Message:
    headers = {REASON: reason, DETAIL: f"what is wrong: {reason}", SOURCE: source, **more}
    return Message(value, key, [(name, text.encode()) for name, text in headers.items()])


def fill(brokers: str, name: str) -> list[str]:
    """Topics of its own: options that name its dead letters."""
    ensure_topic(brokers, f"{name}-events", 3)
    ensure_topic(brokers, f"{name}-dead", 2)
    source = f"{name}-events"
    with Producer(brokers, f"{name}-dead") as dead:
        for partition, one in (
            (0, letter(b"{oops\x1b[31m", b"ann", "malformed json", f"{source}/2/17")),
            (0, letter(b"row", b"bob", "no item", f"{source}/1/4/3", **{HEADER: "event+arrow/1"})),
            (1, letter(None, b"eve", "oversized", f"{source}/0/9", **{OMITTED: "2000000"})),
            (1, letter(b"{}", None, "no key", f"{source}/1/5")),
        ):
            dead.send(one, partition)
    return ["--brokers", brokers, "--topic", f"{name}-dead"]


def said(*args: object, check: int = 0) -> Any:
    return json.loads(run("dead-letters", *args, "--json", check=check).stdout)


def test_dead_letters_are_listed(brokers: str) -> None:
    where = fill(brokers, "listed")
    found = said("list", *where)
    assert found["total"] == 4
    assert found["reasons"] == {"malformed json": 1, "no item": 1, "no key": 1, "oversized": 1}
    by_place = {one["at"]: one for one in found["letters"]}
    assert set(by_place) == {"0:0", "0:1", "1:0", "1:1"}
    first = by_place["0:0"]
    assert first.pop("time_ms") > 1_700_000_000_000
    assert first == {
        "at": "0:0",
        "source": "listed-events/2/17",
        "reason": "malformed json",
        "detail": "what is wrong: malformed json",
        "key": "ann",
        "bytes": 10,
        "omitted": False,
        "value": "{oops\\x1b[31m",
    }
    assert (by_place["1:0"]["bytes"], by_place["1:0"]["omitted"]) == (2_000_000, True)
    only = said("list", *where, "--reason", "no item", "--limit", 1)
    assert (only["total"], [one["at"] for one in only["letters"]]) == (1, ["0:1"])
    newest = said("list", *where, "--limit", 1)
    assert (newest["total"], len(newest["letters"])) == (4, 1)
    table = run("dead-letters", "list", *where).stdout
    assert "4 dead letters: " in table
    assert "\x1b[31m" not in table


def test_they_are_sent_again_as_they_were(brokers: str) -> None:
    where = fill(brokers, "again")
    done = said("replay", *where, "--yes", check=1)
    assert done["sent"] == 3
    (refused,) = done["refused"]
    assert refused["at"] == "1:0"
    assert refused["why"] == (
        "its value of 2,000,000 bytes was too large to be kept here; "
        "it is still at topic again-events, partition 0, offset 9"
    )
    assert [message[:4] for message in messages(brokers, "again-events", 3)] == [
        (b"row", b"bob", [(HEADER, b"event+arrow/1")], 1),
        (b"{}", None, [], 1),
        (b"{oops\x1b[31m", b"ann", [], 2),
    ]
    assert said("list", *where)["total"] == 4


def test_one_or_some_are_sent_elsewhere(brokers: str) -> None:
    where = fill(brokers, "some")
    ensure_topic(brokers, "some-other", 1)
    assert said("replay", *where, "--yes", "--to", "some-other", "--offset", "0:1")["sent"] == 1
    assert said("replay", *where, "--yes", "--to", "some-other", "--reason", "malformed json")["sent"] == 1
    found = messages(brokers, "some-other", 1)
    assert [message.value for message in found] == [b"row", b"{oops\x1b[31m"]
    done = run("dead-letters", "replay", *where, "--yes", "--offset", "1:0", check=1)
    assert "ebbtide: not sent: 1:0: its value of 2,000,000 bytes" in done.stderr
    assert messages(brokers, "some-events", 3) == []


def test_a_letter_of_unknown_source_needs_a_place_to_go(brokers: str) -> None:
    ensure_topic(brokers, "lost-dead", 1)
    with Producer(brokers, "lost-dead") as dead:
        dead.send(Message(b"{}", b"ann"), 0)
    where = ["--brokers", brokers, "--topic", "lost-dead"]
    assert said("list", *where)["reasons"] == {"no reason given": 1}
    (refused,) = said("replay", *where, "--yes", check=1)["refused"]
    assert refused["why"].endswith("(header ebbtide-source); give --to TOPIC")


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["replay"], "nobody is there to be asked; say --yes"),
        (["list", "--offset", "7"], "--offset 7: expected P:O, a partition and an offset, such as 0:17"),
        (["list", "--offset", "0:99"], "--offset 0:99: no such dead letter"),
        (["list", "--topic", "nowhere"], "there is no topic 'nowhere'; start `ebbtide ingest`"),
        (["list", "--brokers", "127.0.0.1:9"], "127.0.0.1:9: expected a Kafka broker"),
    ],
)
def test_what_cannot_be_done_is_said(brokers: str, arguments: list[str], expected: str) -> None:
    ensure_topic(brokers, "asked-dead", 1)
    command, *options = arguments
    where = ["--brokers", brokers, "--topic", "asked-dead"]
    assert expected in run("dead-letters", command, *where, *options, check=2).stderr
