"""`ebbtide train` beside a real store that forgets, has no room, or takes nothing: noticed, said, mended."""

import json
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from ebbtide.live import status as live_look
from ebbtide.live.status import TopicNames
from ebbtide.live.trainer import LiveTrainer
from state.store.redis import RedisStore
from tests.ebbtide.live.test_train import InProcess
from tests.ebbtide.live.test_train import here as here
from tests.ebbtide.live.test_train import store as store
from tests.ebbtide.live.test_train import topic as topic
from tests.ebbtide.sent_examples import batches, send
from tests.patience import PATIENCE_S
from tests.valkeys import free_port, serving

USERS = 40
HALF = 60
"""Messages that are sent before something happens."""


class Server:
    """A Valkey of the test's own, which may be hurt."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.port = folder, free_port()
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self._process = self._started()

    def _started(self) -> "subprocess.Popen[bytes]":
        self.folder.mkdir(exist_ok=True)
        return serving(self.folder, self.port)

    def do(self, *command: object) -> None:
        with redis.Redis(port=self.port) as client:
            client.execute_command(*map(str, command))

    def restart_empty(self) -> None:
        self.end()
        shutil.rmtree(self.folder)
        self._process = self._started()

    def end(self) -> None:
        self._process.kill()
        self._process.wait()


@pytest.fixture
def server(here: InProcess, tmp_path: Path) -> Iterator[Server]:
    found = Server(tmp_path / "server")
    here.store = found.url
    yield found
    found.end()


Rows = dict[str, tuple[tuple[int, int], bytes]]


def everything(url: str) -> Rows:
    """Stamp and vectors of every user."""
    with RedisStore(url) as held:
        users = {f"u{user}": held.user(f"u{user}") for user in range(USERS)}
        return {name: (one.stamp, one.vectors_KD.tobytes()) for name, one in users.items() if one is not None}


def items(url: str) -> dict[str, bytes]:
    with RedisStore(url) as held:
        found = held.items()
    return {name: found.vectors_ND[n].tobytes() for n, name in enumerate(found.ids)}


@pytest.mark.parametrize("way", ["flushed", "restarted empty", "users evicted", "items evicted"])
def test_what_a_store_forgets_is_published_again(here: InProcess, server: Server, way: str) -> None:
    """Also of those who do not act again."""
    made = batches(2, 50)
    examples = sum(map(len, made[:HALF]))
    send(here.brokers, here.topic, made[:HALF])
    before: list[tuple[Rows, dict[str, bytes]]] = []
    versions: list[int] = []

    def tell(trainer: LiveTrainer) -> None:
        versions.append(trainer.status().version)
        if trainer.intake.events == examples and not before and trainer.delivery.drain(PATIENCE_S):
            before.append((everything(server.url), items(server.url)))
            if way == "flushed":
                server.do("FLUSHALL")
            elif way == "restarted empty":
                server.restart_empty()
            else:
                server.do("UNLINK", f"ebbtide:{{default}}:{way.split()[0]}")

    def healed() -> bool:
        with RedisStore(server.url) as held:
            said = held.status()
        return bool(before) and said is not None and json.loads(said)["store_losses"] == 1

    ended = here.train(tell=tell, stop=healed)
    assert len(before[0][0]) == USERS
    assert (everything(server.url), items(server.url)) == before[0]
    assert ended.status().store_losses == 1
    assert ended.status().trouble is None
    with RedisStore(server.url) as held:
        assert held.info() is not None
        assert held.version() == ended.status().version > max(versions[:1])
    assert versions == sorted(versions)


def test_a_trainer_that_goes_on_finds_its_store_empty(here: InProcess, server: Server) -> None:
    made = batches(2, 50)
    send(here.brokers, here.topic, made[:HALF])
    here.train(at_most=sum(map(len, made[:HALF])))
    whole = everything(server.url)
    assert len(whole) == USERS
    server.do("FLUSHALL")
    send(here.brokers, here.topic, made[HALF : HALF + 1])
    acted = {f"u{user}" for user in range(USERS)} & _users(made[HALF].user_B.tolist())
    ended = here.train(at_most=sum(map(len, made[: HALF + 1])))
    again = everything(server.url)
    assert set(again) == set(whole)
    assert {name: again[name] for name in again if name not in acted} == {
        name: whole[name] for name in whole if name not in acted
    }
    assert all(again[name][0] > whole[name][0] for name in acted)
    assert ended.status().store_losses == 1


def test_a_store_that_evicts_is_warned_of(
    here: InProcess, server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    server.do("CONFIG", "SET", "maxmemory-policy", "allkeys-lru")
    send(here.brokers, here.topic, batches(2, 50)[:HALF])
    ended = here.train(until_idle_s=0.2)
    warned = "may evict what it holds, all users of a run at once (maxmemory-policy allkeys-lru)"
    assert any(warned in record.message for record in caplog.records)
    assert ended.status().trouble is None


def _users(keys: list[int]) -> set[str]:
    from tests.ebbtide.sent_examples import log

    names = dict(log().names.items())
    return {names[key] for key in keys}


@pytest.mark.parametrize(
    ("hurt", "mend", "said"),
    [
        (
            [("CONFIG", "SET", "maxmemory", "1mb")],
            [("CONFIG", "SET", "maxmemory", "0")],
            "is full (",
        ),
        (
            [("REPLICAOF", "127.0.0.1", "1")],
            [("REPLICAOF", "NO", "ONE")],
            "is a replica of 127.0.0.1:1, which takes no writes",
        ),
    ],
    ids=["full", "replica"],
)
def test_a_store_that_takes_nothing_is_waited_for_and_seen_by_status(
    here: InProcess,
    server: Server,
    hurt: list[tuple[str, ...]],
    mend: list[tuple[str, ...]],
    said: str,
) -> None:
    made = batches(2, 50)
    half, whole = sum(map(len, made[:HALF])), sum(map(len, made))
    send(here.brokers, here.topic, made[:HALF])
    troubles: list[str] = []
    seen: list[str] = []
    stages: list[str] = []

    def tell(trainer: LiveTrainer) -> None:
        status = trainer.status()
        if status.trained == half and not stages and trainer.delivery.drain(PATIENCE_S):
            for command in hurt:
                server.do(*command)
            stages.append("hurt")
            send(here.brokers, here.topic, made[HALF:])
        elif status.trained == whole and status.trouble and len(stages) == 1:
            troubles.append(status.trouble)
            seen.extend(live_look.look(here.brokers, server.url, TopicNames(examples=here.topic)).trouble)
            for command in mend:
                server.do(*command)
            stages.append("mended")

    def over() -> bool:
        return len(stages) == 2 and _arrived(server.url, whole)

    ended = here.train(tell=tell, stop=over)
    assert troubles[0].startswith("store: ")
    assert any(said in one for one in seen), seen
    assert not any("has said nothing" in one for one in seen)
    assert ended.status().trouble is None
    assert ended.status().store_losses == 0
    assert len(everything(server.url)) == USERS


def _arrived(url: str, whole: int) -> bool:
    with RedisStore(url) as held:
        said = held.status()
    return said is not None and (json.loads(said)["trained"], json.loads(said)["trouble"]) == (whole, None)
