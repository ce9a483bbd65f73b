"""`ebbtide replay LOG --to kafka://...` as a user types it."""

import json
from pathlib import Path

import pytest
from kafka import KafkaAdminClient  # type: ignore[import-untyped]

from tests.ebbtide.commands.test_replay import LOG
from tests.ebbtide.typed import run, typed
from tests.replay.events import START_S, write_csv
from tests.streams.topics import messages


def test_a_log_is_sent(brokers: str) -> None:
    to = f"kafka://{brokers}/typed"
    done = typed("replay", LOG, "--to", to, "--limit", 200, "--partitions", 2, "--rate", 5000, "--json")
    sent = json.loads(done.stdout)
    found = messages(brokers, "typed", 2)
    assert sent == {
        "topic": "typed",
        "partitions": 2,
        "format": "json",
        "events": 200,
        "messages": 200,
        "bytes": sum(len(message.value or b"") for message in found),
        "seconds": sent["seconds"],
        "errors": 0,
        "failure": None,
        "read": 3000,
        "dead_letters": {},
        "left_out": 2800,
        "warnings": [],
    }
    assert len(found) == 200
    said = run("replay", LOG, "--to", to, "--limit", 100, "--format", "arrow").stdout
    assert "100 events in 2 messages" in said
    assert "to typed (2 partitions)" in said
    assert "2,900 of 3,000 rows left out by --from, --until or --limit" in said


def test_what_is_not_sent_is_said(brokers: str, tmp_path: Path) -> None:
    rows = [f"u{i % 3},i{i % 4},{START_S + i}" for i in range(30)]
    log = write_csv(tmp_path / "log.csv", "user,item,time", [*rows, ",i1,1500000000", "u1,i1,3000000000"])
    said = run("replay", log, "--to", f"kafka://{brokers}/partly").stdout
    assert "30 events in 30 messages" in said
    assert "2 of 32 rows are dead letters (1 x no user, 1 x bad time: far from all others)" in said
    assert "warning: 1 of 32 rows are years from all others" in said


def test_events_that_do_not_arrive_are_an_error(brokers: str) -> None:
    admin = KafkaAdminClient(bootstrap_servers=brokers)
    admin.create_topics({"tight": {"num_partitions": 1, "configs": {"max.message.bytes": "100"}}})
    admin.close()
    done = run("replay", LOG, "--to", f"kafka://{brokers}/tight", "--limit", 50, "--json", check=1)
    sent = json.loads(done.stdout)
    assert (sent["events"], sent["errors"]) == (0, 50)
    assert "MessageSizeTooLarge" in sent["failure"]
    assert "0 of 50 events were acknowledged, then" in done.stderr
    assert "`ebbtide services status`" in done.stderr


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ([], "expected --out DIR for the report, or --to kafka://HOST:PORT/TOPIC to send; got neither"),
        (["--out", "x", "--rate", "5"], "--rate: goes with --to kafka://HOST:PORT/TOPIC only"),
        (["--to", "kafka://127.0.0.1:9/e", "--learner", "gaussian"], "--learner: has no meaning with --to"),
        (["--to", "kafka://127.0.0.1:9/e", "--out", "x"], "--out: has no meaning with --to"),
        (["--to", "redis://127.0.0.1:9/e"], "--to redis://127.0.0.1:9/e: expected kafka://HOST:PORT/TOPIC"),
        (["--to", "kafka://127.0.0.1:9/e"], "127.0.0.1:9: expected a Kafka broker, got"),
    ],
)
def test_what_does_not_go_together_is_said(options: list[str], said: str) -> None:
    assert said in run("replay", LOG, *options, check=2).stderr
