"""`ebbtide train` on a real broker and a real store: learned once, published, saved, gone on with."""

import json
import resource
import shutil
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from subprocess import PIPE
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
import pytest

from ebbtide.config import RunConfig
from ebbtide.live import trainer as live_trainer
from ebbtide.live.session import train
from ebbtide.live.settings import TrainerSettings
from ebbtide.live.trainer import LiveTrainer
from serving.run import Run
from state import progress
from state.errors import InputError
from state.store.embedded import open_store
from state.store.redis import RedisStore
from tests.ebbtide import keeping
from tests.ebbtide.sent_examples import batches, log, made_by, send
from tests.forked import Forked
from tests.patience import PATIENCE_S, until
from tests.valkeys import free_port, serving

CONFIG = RunConfig(learner="twotower", floors=False, drift=False)
EVENTS = 6000


@pytest.fixture
def topic(request: pytest.FixtureRequest) -> str:
    """A topic of the test's own."""
    return f"{request.node.originalname[:60]}-{time.time_ns()}"


@pytest.fixture
def store(services: Path, topic: str) -> str:
    """URL of a run of the test's own."""
    port = json.loads((services / "ports.json").read_bytes())["store"]
    return f"redis://127.0.0.1:{port}/0?run={topic}"


class InProcess:
    """Trainers that run here."""

    def __init__(self, brokers: str, topic: str, store: str, folder: Path) -> None:
        self.brokers, self.topic, self.store = brokers, topic, store
        self.folder = folder / "saved"

    def train(
        self,
        *,
        tell: Callable[[LiveTrainer], None] = lambda _: None,
        stop: Callable[[], bool] = lambda: False,
        config: RunConfig = CONFIG,
        **settings: Any,
    ) -> LiveTrainer:
        where = {"brokers": self.brokers, "topic": self.topic, "directory": self.folder}
        with RedisStore(self.store) as held:
            ended = train(
                TrainerSettings(**{**where, **settings}), config, held, clear=False, stop=stop, tell=tell
            )
        assert ended is not None
        return ended


@pytest.fixture
def here(brokers: str, topic: str, store: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> InProcess:
    """At its end it waits for the store for as long as a test does."""
    monkeypatch.setattr(live_trainer, "_PATIENCE_S", PATIENCE_S)
    return InProcess(brokers, topic, store, tmp_path)


def test_what_was_learned_can_be_asked_for(here: InProcess) -> None:
    produced_ms = round(time.time() * 1000)
    send(here.brokers, here.topic, batches(2, 50), produced_ms=produced_ms)
    out = here.folder.parent / "out"
    ended = here.train(at_most=EVENTS, out=out)
    said = ended.status()
    with pa.ipc.open_file(str(out / "predictions" / "part-00000.arrow")) as kept:
        assert kept.get_batch(0).num_rows == EVENTS
    assert (said.trained, said.duplicates, said.trouble) == (EVENTS, 0, None)
    assert said.metrics["recall@10"] > 0.3
    since_ms = time.time() * 1000 - produced_ms
    assert 0 < said.freshness_ms["p50"] <= said.freshness_ms["p99"] < 1.06 * since_ms  # of classes of 5%
    with Run(open_store(here.store)) as answers:
        assert answers.info.log == "live"
        assert answers.info.leave_out == "none"
        assert len(answers.info.popular) > 20
        assert answers.store.version() == said.version > 0
        assert len(answers.recommend("u1", 5).items) == 5
        last = max(int(b.time_ms_B[b.user_B == _key("u1")].max(initial=0)) for b in batches(2, 50))
        record = answers.store.user("u1")
        assert record is not None
        assert record.event_time_ms == last
        status = answers.store.status()
        assert status is not None
        assert progress.trainer_status(status).trained == EVENTS


def test_examples_that_come_again_are_dropped(here: InProcess) -> None:
    made = batches(2, 50)
    send(here.brokers, here.topic, made[:40])
    send(here.brokers, here.topic, made[20:60])
    twice = sum(map(len, made[20:40]))
    first = here.train(at_most=sum(map(len, made[:60])))
    assert first.status().trained == sum(map(len, made[:60]))
    assert first.status().duplicates == twice
    send(here.brokers, here.topic, made[50:70])
    again = sum(map(len, made[50:60]))
    resumed = here.train(at_most=sum(map(len, made[:70])))
    assert resumed.status().trained == sum(map(len, made[:70]))
    assert resumed.status().duplicates == twice + again


def test_killed_and_resumed_it_ends_in_the_state_of_one_that_was_not(here: InProcess) -> None:
    """A kill -9 while examples come; the order in which they were learned is then gone through at once."""
    made, random = batches(2, 25), np.random.default_rng(1)
    send(here.brokers, here.topic, made[:20])
    with _sending(here, made[20:], rate=1000):
        with _running(here, "--every", "600", "--publish-ms", "50") as process:
            until(lambda: _newest(here.folder) > 0)
            time.sleep(random.uniform(0.0, 0.6))
            process.kill()
        out, _ = ended(here, "--every", 600, "--for", EVENTS)
    killed = json.loads(out.splitlines()[-1])
    assert killed["trained"] == EVENTS
    assert killed["duplicates"] == 0

    keeping.start_over(here.folder)
    whole = here.train(at_most=EVENTS)
    assert whole.digest() == killed["state_digest"]


def test_one_trainer_to_a_folder_and_sigterm_saves(here: InProcess) -> None:
    send(here.brokers, here.topic, batches(2, 50)[:60])
    trained = sum(map(len, batches(2, 50)[:60]))
    with _running(here) as process:
        until(lambda: _status(here.store), lambda said: said is not None and said.trained == trained)
        assert f"another trainer learns here (process {process.pid})" in ended(here, code=2)[1]
        process.send_signal(signal.SIGTERM)
        said_at_end, _ = process.communicate(PATIENCE_S)
    assert process.returncode == 0
    assert _newest(here.folder) == trained
    said = json.loads(said_at_end.splitlines()[-1])
    assert said["trained"] == trained
    assert here.train(at_most=trained).digest() == said["state_digest"]


def test_what_was_to_be_published_arrives_when_the_store_is_back(here: InProcess, tmp_path: Path) -> None:
    port, made = free_port(), batches(2, 50)
    here.store = f"redis://127.0.0.1:{port}/0"
    server = serving(tmp_path, port)
    versions: list[int] = []
    troubles: list[str] = []

    def tell(trainer: LiveTrainer) -> None:
        nonlocal server
        status = trainer.status()
        versions.append(status.version)
        if status.trained == half and not troubles:
            server.terminate()
            server.wait()
            troubles.append("")
            send(here.brokers, here.topic, made[60:])
        elif status.trained == EVENTS and status.trouble and len(troubles) == 1:
            troubles.append(status.trouble)
            server = serving(tmp_path, port)

    half = sum(map(len, made[:60]))
    send(here.brokers, here.topic, made[:60])
    try:
        ended = here.train(tell=tell, stop=lambda: _over(troubles, here.store))
        assert "cannot be reached" in troubles[1]
        assert ended.status().trained == EVENTS
        assert versions == sorted(versions)
        with RedisStore(here.store) as held:
            assert held.version() == ended.status().version
            for user in range(40):
                record = held.user(f"u{user}")
                times = [b.time_ms_B[b.user_B == _key(f"u{user}")] for b in made]
                assert record is not None
                assert record.event_time_ms == np.concatenate(times)[-1]
    finally:
        server.terminate()
        server.wait()


def test_without_room_for_a_checkpoint_it_goes_on(here: InProcess) -> None:
    """A file may not be longer than 60 kB, from the first word of the trainer on."""
    send(here.brokers, here.topic, batches(2, 50)[:40])
    told: list[progress.TrainerStatus] = []

    def tell(trainer: LiveTrainer) -> None:
        told.append(trainer.status())
        if len(told) == 1:
            resource.setrlimit(resource.RLIMIT_FSIZE, (60_000, hard))
            send(here.brokers, here.topic, batches(2, 50)[40:])

    def out_of_room() -> bool:
        return bool(told) and told[-1].trained == EVENTS and unkept in str(told[-1].trouble)

    unkept = "published.sqlite3: what is published cannot be kept on disk"
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        full = here.train(tell=tell, every=500, stop=out_of_room)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    status = full.status()
    assert status.trained == EVENTS
    assert str(status.trouble).startswith("no checkpoint could be written (File too large); trying again; ")
    assert unkept in str(status.trouble)
    assert _newest(here.folder) < EVENTS
    assert not list(here.folder.glob(".writing-*"))
    again = here.train(at_most=EVENTS)
    assert again.status().trouble is None
    assert again.digest() == full.digest()


@pytest.mark.parametrize(
    ("made_by_first", "made_by_then", "said"),
    [
        (
            {},
            {"window": 64},
            "the learners need windows of 100, .* sends 64 with 16; start it",
        ),
        ({"window": 32}, None, "the learners need windows of 100, .* sends 32 with 16"),
        ({"window": "wide"}, None, "made by settings that are not known here"),
    ],
)
def test_examples_that_do_not_fit_are_refused(
    here: InProcess, made_by_first: dict[str, Any], made_by_then: dict[str, Any] | None, said: str
) -> None:
    made = batches(2, 50)
    send(here.brokers, here.topic, made[:40], settings=made_by(**made_by_first))
    if made_by_then is not None:
        send(here.brokers, here.topic, made[40:], settings=made_by(**made_by_then))
    with pytest.raises(InputError, match=said):
        here.train(at_most=EVENTS)


def test_a_store_with_another_runs_vectors_is_left_alone(here: InProcess) -> None:
    send(here.brokers, here.topic, batches(2, 50)[:40])
    here.train(until_idle_s=0.2)
    shutil.rmtree(here.folder)
    with pytest.raises(InputError, match=r"holds what twotower learned of 'live'.*--clear"):
        here.train(until_idle_s=0.2)


def test_other_settings_do_not_go_on_from_a_checkpoint(here: InProcess) -> None:
    send(here.brokers, here.topic, batches(2, 50)[:40])
    here.train(until_idle_s=0.2)
    with pytest.raises(InputError, match="made with other settings"):
        here.train(until_idle_s=0.2, config=msgspec.structs.replace(CONFIG, seed=1))


def test_a_message_that_is_none_of_ours_is_passed_over_and_said(here: InProcess) -> None:
    from streams.kafka.client import Producer
    from streams.wire.message import Message

    send(here.brokers, here.topic, batches(2, 50)[:40])
    with Producer(here.brokers, here.topic) as producer:
        producer.send(Message(b"junk", None, [], 0), 0)
    send(here.brokers, here.topic, batches(2, 50)[40:])
    status = here.train(at_most=EVENTS).status()
    assert status.trained == EVENTS
    assert status.trouble == "1 messages could not be read and were set aside (`ebbtide dead-letters list`)"


def _key(user: str) -> int:
    return next(key for key, name in log().names.items() if name == user)


def _newest(folder: Path) -> int:
    """Events of the newest checkpoint; -1 without one."""
    return max((int(path.name[-12:]) for path in folder.glob("checkpoint-*")), default=-1)


def began(here: InProcess, *options: object, program: Callable[[], None] = keeping.program) -> Forked:
    """`ebbtide train`."""
    settings = here.folder.parent / "settings.toml"
    settings.write_text("drift = false\n")
    where = ("--brokers", here.brokers, "--store", here.store, "--examples", here.topic)
    saved = ("--checkpoint", here.folder, "--config", settings, "--learner", "twotower", "--json")
    return Forked("train", *where, *saved, *options, stdout=PIPE, stderr=PIPE, program=program)


def ended(
    here: InProcess, *options: object, code: int = 0, program: Callable[[], None] = keeping.program
) -> tuple[str, str]:
    """What `ebbtide train` printed and told of errors when it had ended."""
    process = began(here, *options, program=program)
    out, errors = process.communicate(PATIENCE_S)
    assert process.returncode == code, errors.decode()
    return out.decode(), errors.decode()


@contextmanager
def _running(here: InProcess, *options: object) -> Iterator[Forked]:
    process = began(here, *options)
    try:
        yield process
    finally:
        process.kill()
        process.close()
        process.wait()


@contextmanager
def _sending(here: InProcess, made: Any, rate: int) -> Iterator[None]:
    """Send at so many examples a second, meanwhile."""

    def run() -> None:
        for start in range(0, len(made), 8):
            send(here.brokers, here.topic, made[start : start + 8])
            time.sleep(sum(map(len, made[start : start + 8])) / rate)

    thread = threading.Thread(target=run)
    thread.start()
    yield
    thread.join()


def _status(store: str) -> progress.TrainerStatus | None:
    with RedisStore(store) as held:
        said = held.status()
    return None if said is None else progress.trainer_status(said)


def _over(troubles: list[str], store: str) -> bool:
    """Whether the store is back and knows the end."""
    if len(troubles) < 2:
        return False
    with suppress(InputError):
        status = _status(store)
        return status is not None and status.trouble is None and status.trained == EVENTS
    return False
