"""A trainer does not die on data: what cannot be learned is set aside, and leaves no trace in the model."""

import json
import sys
from collections.abc import Iterator
from dataclasses import replace
from subprocess import PIPE
from typing import Any

import numpy as np
import pytest

import learners.systems
from ebbtide.config import RunConfig
from ebbtide.live import dead_letters
from ebbtide.live.arriving.journal import Journal, Line
from ebbtide.live.arriving.set_aside import IN_A_ROW, Letters
from ebbtide.live.trainer import LiveTrainer
from learners.registry import learner
from learners.systems.twotower import TwoTower
from state.errors import InputError
from state.examples import ExampleBatch
from streams.kafka.client import Producer
from streams.wire.message import Message
from tests.ebbtide import keeping
from tests.ebbtide.live.test_train import EVENTS, InProcess, _newest
from tests.ebbtide.live.test_train import here as here
from tests.ebbtide.live.test_train import store as store
from tests.ebbtide.live.test_train import topic as topic
from tests.ebbtide.sent_examples import batches, send
from tests.ebbtide.typed import run
from tests.forked import Forked
from tests.patience import PATIENCE_S, until
from tests.planted_learners.poisoned import CANNOT_LEARN, CANNOT_SHOW, DIVERGES

CONFIG = RunConfig(learner="poisoned", floors=False, drift=False)


@pytest.fixture(autouse=True)
def poisoned() -> Iterator[None]:
    """The learner is one more file in the package; what a trainer has written is there when it has ended."""
    with pytest.MonkeyPatch.context() as patch:
        keeping.keep_everything(patch)
        patch.setattr(learners.systems, "__path__", [*learners.systems.__path__, str(keeping.PLANTED)])
        yield
    sys.modules.pop("learners.systems.poisoned", None)


def poison(batch: ExampleBatch, rating: float) -> ExampleBatch:
    """One of the examples, its last."""
    rating_B = np.full(len(batch), np.nan, np.float32)
    rating_B[-1] = rating
    return replace(batch, rating_B=rating_B)


def made() -> tuple[ExampleBatch, ...]:
    """Messages, of which 70 and 90 cannot be learned; 100 and 110 can, but nothing can be published then."""
    at = {70: CANNOT_LEARN, 90: CANNOT_LEARN, 100: DIVERGES, 110: CANNOT_SHOW}
    return tuple(
        poison(batch, at[number]) if number in at else batch for number, batch in enumerate(batches(2, 50))
    )


LOST = sum(len(made()[number]) for number in (70, 90, 100, 110))


def letters(here: InProcess) -> list[tuple[str, str, str]]:
    """Source, reason and detail of those of this topic."""
    found = dead_letters.read(here.brokers, f"{here.topic}-dead", None, None)
    return sorted((one.source, one.reason, one.detail) for one in found)


def train(here: InProcess, at_most: int) -> LiveTrainer:
    return here.train(config=CONFIG, dead_letters=f"{here.topic}-dead", at_most=at_most, every=600)


def at_once(here: InProcess) -> str:
    """The digest of a trainer that follows the journals from the beginning, and is never disturbed."""
    keeping.start_over(here.folder)
    lines = Journal(here.folder).follow(0)
    return train(here, at_most=lines[-1].events).digest()


def test_what_cannot_be_learned_is_a_dead_letter_and_learning_goes_on(here: InProcess) -> None:
    send(here.brokers, here.topic, made()[:60])
    with Producer(here.brokers, here.topic) as producer:
        producer.send(Message(b"junk", None, [], 0), 0)
    send(here.brokers, here.topic, made()[60:])
    ended = train(here, at_most=EVENTS)
    status = ended.status()
    assert status.trained == EVENTS - LOST
    assert status.dead_letters == {"not examples": 1, "not learned": 4}
    assert status.trouble == (
        "1 messages could not be read and were set aside (`ebbtide dead-letters list`); "
        f"4 messages with {LOST} examples could not be learned and were set aside "
        "(`ebbtide dead-letters list`)"
    )
    found = letters(here)
    assert [
        (source.rpartition("/")[0].removeprefix(here.topic), why, detail) for source, why, detail in found
    ]
    said = sorted(detail for _, reason, detail in found if reason == "not learned")
    assert said == [
        "FloatingPointError: overflow encountered in exp",
        "FloatingPointError: vectors with values that are no numbers: the learner has diverged",
        *["ZeroDivisionError: float division by zero"] * 2,
    ]
    (junk,) = [(source, detail) for source, reason, detail in found if reason == "not examples"]
    assert junk[0] == f"{here.topic}/0/30"
    assert junk[1].startswith("examples: expected an Arrow batch of examples, got")
    assert at_once(here) == ended.digest()
    assert letters(here) == found


def test_it_is_listed_and_not_sent_back_among_the_examples(here: InProcess) -> None:
    send(here.brokers, here.topic, made()[:72])
    train(here, at_most=sum(map(len, made()[:72])))
    where = ["--brokers", here.brokers, "--topic", f"{here.topic}-dead"]
    said = json.loads(run("dead-letters", "list", "--json", *where).stdout)
    assert said["reasons"] == {"not learned": 1}
    assert said["letters"][0]["source"].startswith(f"{here.topic}/0/")
    refused = run("dead-letters", "replay", "--yes", *where, check=1).stderr
    assert "it was among examples, which only workers may send there; name another topic by --to" in refused
    assert "sent 1 again" in run("dead-letters", "replay", "--yes", *where, "--to", f"{here.topic}-x").stdout


def test_killed_wherever_it_is_it_ends_in_the_same_state(here: InProcess) -> None:
    send(here.brokers, here.topic, made())
    where = {
        "--brokers": here.brokers,
        "--store": here.store,
        "--examples": here.topic,
        "--dead-letters": f"{here.topic}-dead",
        "--checkpoint": here.folder,
        "--learner": "poisoned",
        "--config": here.folder.parent / "settings.toml",
        "--for": EVENTS,
        "--every": 600,
    }
    (here.folder.parent / "settings.toml").write_text("drift = false\n")
    said = [str(one) for pair in where.items() for one in pair]
    words = ("train", *said, "--json")
    for after in (1, 4000):
        with Forked(*words, program=keeping.planted) as process:
            until(lambda: _newest(here.folder) >= after or process.poll() is not None)  # noqa: B023
            process.kill()
    with Forked(*words, stdout=PIPE, program=keeping.planted) as process:
        out, _ = process.communicate(PATIENCE_S)
    assert process.returncode == 0
    killed = json.loads(out.splitlines()[-1])
    assert killed["trained"] == EVENTS - LOST
    assert killed["dead_letters"] == {"not learned": 4}
    assert len({source for source, _, _ in letters(here)}) == 4
    assert at_once(here) == killed["state_digest"]


@pytest.mark.parametrize(
    ("owner", "step", "done", "sent"),
    [
        (Letters, "send", False, 1),
        (Letters, "send", True, 2),
        (Journal, "write", False, 2),
        (Journal, "write", True, 1),
    ],
    ids=["before the letter", "after the letter", "before the line", "after the line"],
)
def test_ended_between_two_steps_it_takes_the_others(
    here: InProcess, owner: type, step: str, done: bool, sent: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a process that is killed there: the next one finds what was written by then, and no more."""
    real = getattr(owner, step)
    send(here.brokers, here.topic, made()[:80])
    examples = sum(map(len, made()[:80]))

    def die(self: Any, what: Any, *rest: Any) -> None:
        last = bool(what.why) if isinstance(what, Line) else bool(what)
        if done or not last:
            real(self, what, *rest)
        if last:
            raise KeyboardInterrupt

    monkeypatch.setattr(owner, step, die)
    with pytest.raises(KeyboardInterrupt):
        train(here, at_most=examples)
    monkeypatch.setattr(owner, step, real)
    ended = train(here, at_most=examples)
    assert ended.status().trained == examples - len(made()[70])
    assert ended.status().dead_letters == {"not learned": 1}
    assert len(letters(here)) == sent
    assert at_once(here) == ended.digest()


def test_what_could_be_learned_once_and_cannot_any_more_is_set_aside_too(
    here: InProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As after an update: it is somewhere in the journal, and more was learned after it."""
    send(here.brokers, here.topic, made()[:100])
    examples = sum(map(len, made()[:100]))

    def die(trainer: LiveTrainer) -> None:
        if trainer.intake.events == examples:
            raise KeyboardInterrupt

    where: dict[str, Any] = {"config": CONFIG, "dead_letters": f"{here.topic}-dead"}
    monkeypatch.setattr(learner("poisoned"), "step", TwoTower.step)
    with pytest.raises(KeyboardInterrupt):
        here.train(tell=die, **where)
    monkeypatch.undo()
    ended = here.train(at_most=examples, **where)
    assert ended.status().trained == examples - sum(len(made()[number]) for number in (70, 90))
    assert [detail for _, _, detail in letters(here)] == ["ZeroDivisionError: float division by zero"] * 2


def test_if_nothing_can_be_learned_any_more_it_ends_rather_than_set_all_aside(here: InProcess) -> None:
    good, bad = batches(2, 50)[:40], batches(2, 50)[40:60]
    send(here.brokers, here.topic, good)
    send(here.brokers, here.topic, tuple(poison(batch, CANNOT_LEARN) for batch in bad))
    for _ in range(2):
        with pytest.raises(
            InputError, match=rf"nor could the {IN_A_ROW} messages before it: .* no more are set"
        ):
            train(here, at_most=EVENTS)
        assert len(letters(here)) == IN_A_ROW
