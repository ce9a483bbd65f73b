"""`ebbtide train --variant`: two settings learn the same side by side, each published under its own name."""

import os
import signal
from pathlib import Path
from subprocess import DEVNULL, PIPE

import numpy as np
import pytest

from ebbtide.commands.serve import named
from ebbtide.commands.variant_trainers import FOLDER
from state import checkpoint, progress
from state.errors import InputError
from state.store.embedded import open_store, variant_of
from state.store.redis import RedisStore
from tests.ebbtide.live.test_train import InProcess
from tests.ebbtide.live.test_train import here as here
from tests.ebbtide.live.test_train import store as store
from tests.ebbtide.live.test_train import topic as topic
from tests.ebbtide.sent_examples import batches, send
from tests.ebbtide.typed import run
from tests.forked import Forked
from tests.patience import PATIENCE_S, until
from tests.processes import children, lives

SENT = batches(2, 50)[:20]
EVENTS = sum(map(len, SENT))
"""All of them: where a trainer stops between two messages is not said."""


def began(here: InProcess, *more: object, stderr: int = DEVNULL) -> Forked:
    where = ("--checkpoint", here.folder, "--brokers", here.brokers, "--store", here.store)
    told = ("--examples", here.topic, "--learner", "twotower", *more)
    return Forked("train", *where, *told, stderr=stderr)


@pytest.fixture
def other(tmp_path: Path) -> Path:
    path = tmp_path / "other.toml"
    path.write_text("seed = 7\nfloors = false\n")
    return path


def trained(store: str) -> int:
    with open_store(store, create=True) as held:
        said = held.status()
        return 0 if said is None else progress.trainer_status(said).trained


def test_both_learn_it_all_and_each_is_published_under_its_name(here: InProcess, other: Path) -> None:
    send(here.brokers, here.topic, SENT)
    process = began(here, "--for", EVENTS, "--variant", f"b={other}", stderr=PIPE)
    _, said = process.communicate(PATIENCE_S)
    assert process.returncode == 0
    assert b"variant b: ebbtide train --checkpoint" in said
    base, beside = here.store, named("b", here.store)[1]
    assert trained(base) == trained(beside) == EVENTS
    assert checkpoint.load(here.folder / FOLDER / "b") is not None
    with RedisStore(base) as one, RedisStore(beside) as two:
        mine, theirs = one.user("u1"), two.user("u1")
        assert mine is not None
        assert theirs is not None
        assert mine.event_time_ms == theirs.event_time_ms
        assert not np.array_equal(mine.vectors_KD, theirs.vectors_KD), "other settings learn something else"


def test_a_variant_ends_with_its_base_whatever_ended_that_and_both_go_on(
    here: InProcess, other: Path
) -> None:
    send(here.brokers, here.topic, SENT)
    both, own = ("--variant", f"b={other}"), here.folder / FOLDER / "b"
    process = began(here, *both)
    until(lambda: trained(named("b", here.store)[1]) > 0)
    (variant,) = children(process.pid, own)
    process.kill()
    process.wait()
    until(lambda: not lives(variant))
    process = began(here, *both, stderr=PIPE)
    until(lambda: children(process.pid, own) and trained(here.store) > 0)
    (variant,) = children(process.pid, own)
    os.kill(variant, signal.SIGKILL)
    _, said = process.communicate(PATIENCE_S)
    assert process.returncode == 2
    assert b"--variant b: has ended (SIGKILL); the same command goes on where all were" in said
    process = began(here, *both)
    (variant,) = until(lambda: children(process.pid, own))
    process.terminate()
    assert process.wait(PATIENCE_S) == 0
    assert not lives(variant)


@pytest.mark.parametrize(
    ("variant", "said"),
    [
        ("b", "expected NAME=FILE"),
        ("b=there-is-none.toml", "expected NAME=FILE"),
        ("a b=pyproject.toml", "expected a short name"),
    ],
)
def test_what_is_no_variant_is_said_before_anything_begins(variant: str, said: str, tmp_path: Path) -> None:
    where = ("--checkpoint", tmp_path / "c", "--brokers", "127.0.0.1:1", "--store", "redis://127.0.0.1:1/0")
    done = run("train", *where, "--variant", variant, check=2)
    assert said in done.stderr
    assert not (tmp_path / "c").exists()


def test_what_is_served_beside_is_found_by_its_name() -> None:
    assert named("b", "redis://h:1/0?run=x") == ("b", "redis://h:1/0?run=x.b")
    assert named("b=runs/z", "runs/x") == ("b", "runs/z")
    assert variant_of("rediss://h/0?db=1", "b") == "rediss://h/0?db=1&run=default.b"
    with pytest.raises(InputError, match="expected NAME"):
        named("b=", "runs/x")
