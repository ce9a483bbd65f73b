"""What is known of items, live: from a file, from a topic that changes it, and through a kill -9."""

import json
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from subprocess import PIPE
from typing import Any

import numpy as np
import pytest

from ebbtide.config import RunConfig
from ebbtide.live import trainer as live_trainer
from ebbtide.live.arriving import item_topic
from ebbtide.live.arriving.journal import Journal
from ebbtide.live.arriving.side_tables import SideTables
from ebbtide.live.arriving.stream_facts import look
from ebbtide.live.session import train
from ebbtide.live.settings import TrainerSettings
from ebbtide.live.trainer import LiveTrainer
from ebbtide.running.learning import Learning
from state.errors import InputError
from state.examples import concat
from state.keys import key_of
from state.store.in_memory import DictStore
from state.tree import digest
from streams.kafka.client import Producer, admin, ensure_topic
from streams.wire.message import Message
from tests.ebbtide import keeping
from tests.ebbtide.sent_examples import batches, made_by, send
from tests.forked import Forked
from tests.patience import PATIENCE_S, until
from tests.streams.topics import messages

CONFIG = RunConfig(learner="gaussian", floors=False, drift=False)
MADE = batches(1, 100)
HALF = len(MADE) // 2
BEFORE, EVENTS = sum(map(len, MADE[:HALF])), sum(map(len, MADE))
CHANGED_MS = int(MADE[HALF].time_ms_B[0])
"""When what is known changes, between two messages of examples."""


def known_of(item: int, then: int = 0) -> dict[str, Any]:
    """What is known of an item at the beginning, and `then`."""
    return {
        **{"price": (item * 37 + 11 * then) % 50, "colour": ["red", "blue", "green"][(item + then) % 3]},
        **{"title": f"The item number {item}" + " again" * then, "photo": [item % 7, then, 0.5]},
    }


FIRST = {f"i{item}": known_of(item) for item in range(300)}
LATER = {f"i{item}": known_of(item, then=1) for item in range(0, 60, 2)}


@pytest.fixture
def where(
    brokers: str, request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> TrainerSettings:
    """Topics of the test's own; changes are looked for at every step."""
    monkeypatch.setattr(live_trainer, "_PATIENCE_S", PATIENCE_S)
    monkeypatch.setattr(item_topic, "_LOOK_S", 0.0)
    keeping.keep_everything(monkeypatch)
    topic = f"{request.node.originalname[:60]}-{time.time_ns()}"
    return TrainerSettings(
        brokers=brokers,
        topic=topic,
        directory=tmp_path / "saved",
        items_topic=f"{topic}-items",
        dead_letters=f"{topic}-dead",
    )


@pytest.fixture
def store(services: Path, where: TrainerSettings) -> str:
    """URL of a run of the test's own."""
    port = json.loads((services / "ports.json").read_bytes())["store"]
    return f"redis://127.0.0.1:{port}/0?run={where.topic}"


def table(folder: Path, rows: Sequence[dict[str, Any]]) -> Path:
    path = folder / "items.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def tell(where: TrainerSettings, known: dict[str, Any], since_ms: int | None = None) -> None:
    """Send messages about items, and wait until they are there; None deletes."""
    since = {} if since_ms is None else {"since": since_ms}
    ensure_topic(where.brokers, where.items_topic, 1)
    with Producer(where.brokers, where.items_topic) as producer:
        for item, said in known.items():
            value = None if said is None else json.dumps(said | since if isinstance(said, dict) else said)
            producer.send(Message(None if value is None else value.encode(), item.encode()), 0)
    assert producer.failure is None


def trained(
    where: TrainerSettings, enough: Callable[[LiveTrainer], bool] = lambda _: False, **changes: Any
) -> LiveTrainer:
    """A trainer to its end, or until it is enough, which keeps its whole journal."""
    running: list[LiveTrainer] = []
    ended = train(
        replace(where, **changes),
        CONFIG,
        DictStore(),
        clear=False,
        stop=lambda: bool(running) and enough(running[-1]),
        tell=running.append,
    )
    assert ended is not None
    return ended


def told_of(messages: int) -> Callable[[LiveTrainer], bool]:
    """Whether a trainer has had so many messages about items, those included that it has set aside."""
    return lambda one: one.parts.sides.changes + one.parts.sides.set_aside >= messages


def replayed(items: Path, cuts: Sequence[int]) -> str:
    """The state after micro-batches up to these many examples, with all that is known there from the
    beginning."""
    examples = concat(list(MADE))
    stream = look(concat(list(MADE[:10])), CONFIG, made_by())
    learning = Learning(stream.subject(SideTables.read(items, None)), CONFIG, DictStore())
    for first, end in pairwise([0, *cuts]):
        learning.step(examples.take(slice(first, end)))
    return learned(learning)


def learned(learning: Learning) -> str:
    """Of all that is learned: weights, and what the catalogue counts; not how far it was published."""
    learner, catalogue = learning.trainer.learners[CONFIG.learner], learning.trainer.catalogue
    vectors_ND = learning.embedder.item_vectors(catalogue.items.keys[: len(catalogue)])
    assert vectors_ND is not None
    return digest({"learner": learner.tree(), "catalogue": catalogue.tree(), "vectors": vectors_ND})


def test_what_changes_live_is_what_a_table_with_times_says(where: TrainerSettings, tmp_path: Path) -> None:
    """Half of the examples, then messages about items, then the others."""
    first = [{"item": item, **known} for item, known in FIRST.items()]
    later = [{"item": item, **known, "since": CHANGED_MS} for item, known in LATER.items()]
    send(where.brokers, where.topic, MADE[:HALF], partitions=1)
    began = trained(where, items=table(tmp_path, first), at_most=BEFORE)
    tell(where, LATER, CHANGED_MS)
    changed = trained(where, told_of(len(LATER)), items=table(tmp_path, first))
    send(where.brokers, where.topic, MADE[HALF:], partitions=1)
    ended = trained(where, items=table(tmp_path, first), at_most=EVENTS)
    assert (began.status().item_changes, changed.status().item_changes) == (0, len(LATER))

    cuts = [line.events for line in Journal(where.directory).follow(0) if line.told is None]
    live = learned(ended.parts.learning)
    assert live == replayed(table(tmp_path, first + later), cuts)
    assert live != replayed(table(tmp_path, first), cuts)
    titles = ended.parts.learning.info(CHANGED_MS).titles
    assert (titles["i2"], titles["i3"]) == ("The item number 2 again", "The item number 3")


def test_killed_in_between_it_ends_in_the_state_of_one_that_was_not(
    where: TrainerSettings, store: str, tmp_path: Path
) -> None:
    """The topic forgets what was said anew; the journal does not."""
    tell(where, FIRST)
    send(where.brokers, where.topic, MADE[:HALF], partitions=1)
    (tmp_path / "settings.toml").write_text("drift = false\n")
    words: list[object] = ["train", "--learner", "gaussian", "--json", "--config", tmp_path / "settings.toml"]
    words += ["--brokers", where.brokers, "--examples", where.topic, "--store", store]
    words += ["--dead-letters", where.dead_letters, "--checkpoint", where.directory]
    words += ["--items-topic", where.items_topic]
    with Forked(*words, "--every", 600, stdout=PIPE, program=keeping.program) as process:
        try:
            told = until(lambda: _said(process), lambda said: said["trained"] >= 600)
            assert told["item_changes"] == len(FIRST)
            tell(where, LATER)
            until(lambda: _said(process), lambda said: said["item_changes"] == len(FIRST) + len(LATER))
            tell(where, dict.fromkeys(LATER))
            until(lambda: _said(process), lambda said: said["item_changes"] == len(FIRST) + 2 * len(LATER))
            send(where.brokers, where.topic, MADE[HALF:], partitions=1)
            until(lambda: _said(process), lambda said: said["trained"] > BEFORE)
        finally:
            process.kill()
    with Forked(*words, "--for", EVENTS, stdout=PIPE, program=keeping.program) as process:
        out, _ = process.communicate(PATIENCE_S)
    assert process.returncode == 0
    killed = json.loads(out.splitlines()[-1])
    assert (killed["trained"], killed["item_changes"]) == (EVENTS, len(FIRST) + 2 * len(LATER))

    keeping.start_over(where.directory)
    whole = trained(where, items_topic=f"{where.items_topic}-gone", at_most=EVENTS)
    assert whole.digest() == killed["state_digest"]
    assert whole.parts.sides.items is not None
    assert len(whole.parts.sides.items) == len(FIRST) + 2 * len(LATER)


def test_what_is_no_message_about_an_item_is_set_aside_and_said(
    where: TrainerSettings, caplog: pytest.LogCaptureFixture
) -> None:
    tell(where, {**FIRST, "i1": [1, 2]})
    send(where.brokers, where.topic, MADE[:2], partitions=1)
    first = trained(where, at_most=len(MADE[0]))
    assert first.parts.sides.set_aside == 1
    later = {"i2": "no object", "i3": known_of(3) | {"stock": 5}, "i4": None}
    tell(where, later)
    ended = trained(where, told_of(len(FIRST) + len(later)))
    said = str(ended.status().trouble)
    assert "2 messages about items could not be read" in said
    assert "that were not there when learning began: left out are stock" in said
    dead = messages(where.brokers, where.dead_letters, 1)
    assert [letter.value for letter in dead] == [b"[1, 2]", b'"no object"']
    assert ended.parts.sides.items is not None
    [row] = ended.parts.sides.items.rows(np.array([key_of("i4")]), np.array([CHANGED_MS])).tolist()
    assert np.isnan(ended.parts.sides.items.numbers["price"][row])


def test_a_topic_that_was_made_anew_is_read_from_its_beginning(
    where: TrainerSettings, caplog: pytest.LogCaptureFixture
) -> None:
    tell(where, FIRST)
    send(where.brokers, where.topic, MADE[:2], partitions=1)
    trained(where, at_most=len(MADE[0]))
    with closing(admin(where.brokers)) as asked:
        asked.delete_topics([where.items_topic])
        until(lambda: where.items_topic not in asked.list_topics())
    tell(where, {"i5": known_of(5, then=1)})
    ended = trained(where, told_of(len(FIRST) + 1))
    assert f"{where.items_topic}: is not the topic that was read" in caplog.text
    assert ended.status().item_changes == len(FIRST) + 1
    assert ended.parts.sides.items is not None
    [row] = ended.parts.sides.items.rows(np.array([key_of("i5")]), np.array([CHANGED_MS])).tolist()
    assert ended.parts.sides.items.numbers["price"][row] == known_of(5, then=1)["price"]


def test_a_file_is_read_as_replay_reads_it_and_once(
    where: TrainerSettings, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "items.csv"
    with pytest.raises(InputError, match="no such file"):
        trained(where, items=path, at_most=1)
    path.write_text("name,price\na,1\n")
    with pytest.raises(InputError, match="no column holds the item's id"):
        trained(where, items=path, at_most=1)
    path.write_text("item,price\ni1,1\n,2\ni3,3\n")
    send(where.brokers, where.topic, MADE[:2], partitions=1)
    first = trained(where, items=path, at_most=len(MADE[0]))
    assert first.parts.sides.items is not None
    assert first.parts.sides.items.numbers["price"].tolist() == [1.0, 3.0]
    assert "1 of 3 rows are left out (1 x no item)" in caplog.text
    path.write_text("item,price\ni1,100\n")
    again = trained(where, items=path, at_most=len(MADE[0]))
    assert again.parts.sides.items is not None
    assert again.parts.sides.items.numbers["price"].tolist() == [1.0, 3.0]
    assert "--items: not the file that this run began with" in caplog.text


def _said(process: Forked) -> dict[str, Any]:
    """The next line of a trainer's JSON."""
    assert process.stdout is not None
    said: dict[str, Any] = json.loads(process.stdout.readline())
    return said
