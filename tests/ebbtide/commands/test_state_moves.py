"""`ebbtide state`: a group's state leaves it, and another goes on as if nothing had happened."""

import os
import signal
from dataclasses import replace
from pathlib import Path

import pytest

from ebbtide import api
from state.tree import digest
from streams.kafka.client import Producer, ensure_topic, members
from streams.kafka.observer import Observer
from streams.operator import Operator, OperatorConfig
from streams.wire.message import Message
from tests.ebbtide.typed import run, typed
from tests.ebbtide.workers import WINDOW, Live, by_user, kill, stop
from tests.forked import Forked
from tests.patience import PATIENCE_S, until

LOG, EVENTS = "planted:users=60,items=80,events=3000,places=8", 3000


@pytest.fixture
def live(brokers: str, tmp_path: Path, request: pytest.FixtureRequest) -> Live:
    return Live(brokers, f"m{os.getpid()}-{request.node.name.replace('_', '-')[:24]}", tmp_path)


@pytest.fixture(scope="module")
def replayed() -> str:
    """The digest of what the operator makes of the log in one go."""
    operator = Operator(OperatorConfig(), WINDOW)
    return digest(by_user([operator.process(events, 0) for events in api.open_log(LOG).batches(1000)]))


def sending(live: Live) -> Forked:
    to = f"kafka://{live.brokers}/{live.events}"
    return Forked("replay", LOG, "--to", to, "--rate", 100)


def some(live: Live, sender: Forked) -> int:
    """Hold the sender when some events have been dealt with; how many, when no more are there."""
    live.until(EVENTS // 10)
    sender.send_signal(signal.SIGSTOP)
    with Observer(live.brokers) as observer:
        sent = sum(one.offset + 1 for one in observer.newest(live.events).values())
    live.until(sent)
    return sent


def files(path: Path) -> dict[str, bytes]:
    return {str(one.relative_to(path)): one.read_bytes() for one in path.rglob("*") if one.is_file()}


def saved(live: Live) -> dict[int, Message]:
    with Observer(live.brokers) as observer:
        return observer.newest(f"{live.name}-changelog")


def moved(live: Live, what: str, path: Path, *more: object) -> str:
    """Export or import of a state, out of or into a group (`--group`) or a job (`--checkpoints`)."""
    names = {"events": live.events, "examples": f"{live.name}-examples", "dead-letters": f"{live.name}-dead"}
    said = [word for name, text in names.items() for word in (f"--{name}", text)]
    command = typed if "--checkpoints" in more else run  # the client of Flink has a machine of Java
    return command("state", what, path, "--brokers", live.brokers, *said, *more).stdout


def assert_once(live: Live, replayed: str) -> None:
    assert sum(one.examples for one in live.progress().values()) == EVENTS
    assert digest(by_user(live.examples())) == replayed


def test_a_group_goes_on_where_one_that_was_killed_left_its_users(live: Live, replayed: str) -> None:
    ensure_topic(live.brokers, live.events, 2)
    out, again = live.folder / "state", live.folder / "again"
    with sending(live) as sender:
        with live.worker() as process:
            some(live, sender)
            until(lambda: saved(live), lambda partitions: len(partitions) == 2)
            kill(process)
        until(lambda: members(live.brokers, live.name), lambda count: not count)
        assert "2 partitions in" in moved(live, "export", out, "--group", live.name)
        other = ("--group", f"{live.name}-other")
        moved(live, "import", out, *other)
        moved(live, "export", again, *other)
        assert files(again) == files(out)
        sender.send_signal(signal.SIGCONT)
        with live.worker(*other) as process:
            live.until(EVENTS)
            count = members(live.brokers, other[1])
            said = run("state", "export", live.folder / "no", "--brokers", live.brokers, *other, check=2)
            assert f"has {count} worker" in said.stderr
            stop(process)
        assert sender.wait(PATIENCE_S) == 0
    assert_once(live, replayed)
    taken = moved(live, "import", out, "--checkpoints", live.folder / "flink")
    assert "2 partitions" in taken, "what it lacks is computed again"
    with pytest.raises(AssertionError, match="the state is of offset"):
        moved(replace(live, name=f"{live.name}-x"), "import", out, "--events", live.events, *other)


@pytest.mark.flink
def test_a_job_of_flink_takes_over_and_gives_back(live: Live, replayed: str) -> None:
    ensure_topic(live.brokers, live.events, 2)
    flink = replace(live, engine="flink")
    out, again, back, last = (live.folder / name for name in ("out", "again", "back", "last"))
    job = ("--checkpoints", flink.checkpoints)
    with sending(live) as sender:
        with live.worker() as process:
            some(live, sender)
            stop(process)
        moved(live, "export", out, "--group", live.name)
        moved(live, "import", out, *job)
        moved(live, "export", again, *job)
        assert files(again) == files(out)
        sender.send_signal(signal.SIGCONT)
        with flink.worker(log="flink") as process:
            live.until(EVENTS)
            stop(process)
        assert sender.wait(PATIENCE_S) == 0
    moved(live, "export", back, *job)
    other = ("--group", f"{live.name}-other")
    moved(live, "import", back, *other)
    moved(live, "export", last, *other)
    assert files(last) == files(back)
    assert_once(live, replayed)
    with Producer(live.brokers, live.events) as producer:
        producer.send(Message(b'{"user": 1, "item": 1, "time": "2026-01-01", "label": 1}', b"1"), 0)
    with live.worker(*other, log="last worker") as process:
        said = live.until(EVENTS + 1)
        stop(process)
    assert sum(one.examples for one in said.values()) == EVENTS + 1
    assert "partition 0: state of offset" in live.said("last worker")
