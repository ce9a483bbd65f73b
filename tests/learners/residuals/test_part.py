"""What every part must do, on each part."""

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from learners.residuals.asymmetric import Asymmetric, AsymmetricPart
from learners.residuals.exposure import Exposure, ExposurePart
from learners.residuals.neighbours import NeighbourPart, Neighbours
from learners.residuals.part import ResidualPart
from learners.residuals.practice import Practice, PracticePart
from learners.residuals.session import Session, SessionPart
from state.tree import digest, flatten, unflatten
from tests.learners.parts import ITEMS, USERS, Drive, Log

PARTS: dict[str, Callable[[], ResidualPart]] = {
    "session": lambda: SessionPart(Session()),
    "items": lambda: NeighbourPart(Neighbours(room=5), "items"),
    "users": lambda: NeighbourPart(Neighbours(room=5), "users"),
    "items, known only": lambda: NeighbourPart(Neighbours(room=5, exposure=False), "items"),
    "asymmetric": lambda: AsymmetricPart(Asymmetric(room=5, width=4), seed=1),
    "asymmetric, known only": lambda: AsymmetricPart(Asymmetric(room=5, width=4, exposure=False), seed=1),
    "exposure": lambda: ExposurePart(Exposure()),
    "practice": lambda: PracticePart(Practice()),
}

each = pytest.mark.parametrize("name", PARTS)


@each
@given(size=st.integers(1, 60), delay=st.integers(0, 30))
@settings(max_examples=15, deadline=None)
def test_features_do_not_depend_on_the_micro_batch(name: str, size: int, delay: int) -> None:
    log = Log(60, delay=delay)
    one, many = Drive(PARTS[name](), log), Drive(PARTS[name](), log)
    singles, batches = one.run(0, 60, 1), many.run(0, 60, size)
    assert singles.tolist() == batches.tolist()
    assert digest(one.tree()) == digest(many.tree())


@each
def test_peeking_gives_the_next_features_and_changes_nothing(name: str) -> None:
    log = Log(80)
    drive = Drive(PARTS[name](), log)
    drive.run(0, 70, 70)
    drive.part.step(log.rows(slice(0, 0)), log.known(slice(69, 70)), np.zeros(0, np.int64))
    drive.learned = 70
    before = digest(drive.tree())
    said = drive.part.peek(log.rows(slice(70, 71)))
    assert digest(drive.tree()) == before
    assert said.tolist() == drive.run(70, 71, 1).tolist()
    assert said.shape == (1, len(drive.part.names))


@each
def test_users_and_items_that_are_not_known_say_nothing(name: str) -> None:
    log = Log(60)
    drive = Drive(PARTS[name](), log)
    drive.run(0, 60, 60)
    rows = log.rows(slice(0, 3))
    nobody = np.full(3, -1)
    assert not drive.part.peek(rows._replace(user_B=nobody, item_B=nobody)).any()


@each
def test_saved_and_loaded_it_goes_on(name: str) -> None:
    log = Log(120, delay=7)
    whole, resumed = Drive(PARTS[name](), log), Drive(PARTS[name](), log)
    whole.run(0, 60, 13)
    resumed.part.load(unflatten(dict(flatten({**whole.tree(), "none": {}}))))
    resumed.learned = whole.learned
    assert whole.run(60, 120, 13).tolist() == resumed.run(60, 120, 13).tolist()
    assert digest(whole.tree()) == digest(resumed.tree())


@each
def test_who_is_forgotten_is_new_and_the_others_are_as_they_were(name: str) -> None:
    """Users 0 to 2 and items 0 to 3 live apart from the others, so they do not miss them."""
    log, apart = Log(200, delay=5), Log(200, delay=5)
    low = log.user < 3
    log.item = np.where(low, log.item % 4, 4 + log.item % 5)
    apart.user, apart.item = log.user, log.item
    drive, reference = Drive(PARTS[name](), log), Drive(PARTS[name](), apart)
    drive.run(0, 100, 100)
    reference.run(0, 100, 100)
    drive.part.keep(np.arange(3), np.arange(4))
    rows = log.rows(slice(100, 140))
    kept = low[100:140]
    rows_kept = rows._replace(**{f: getattr(rows, f)[kept] for f in rows._fields})
    assert drive.part.peek(rows_kept).tolist() == reference.part.peek(rows_kept).tolist()
    drive.part.admit(np.arange(USERS), np.arange(ITEMS))
    queue = log.known(slice(drive.learned, 100))
    for column in (queue.user_Q, queue.item_Q):
        column[queue.user_Q >= 3] = -1
    assert np.isfinite(drive.part.step(rows, queue, np.zeros(40, np.int64))).all()
