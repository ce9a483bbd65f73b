"""The stack: better than its base where there is something to be learned, and bounded."""

import msgspec
import numpy as np
import pytest
from msgspec.structs import replace

from learners.contract import Context
from learners.residuals.asymmetric import Asymmetric
from learners.residuals.exposure import Exposure
from learners.residuals.neighbours import Neighbours, UserNeighbours
from learners.residuals.practice import Practice
from learners.residuals.session import Session
from learners.systems.gaussian import Gaussian, GaussianRows
from learners.systems.stack import Stack, StackSettings
from state.errors import InputError
from state.tree import digest
from tests.learners.labelled import HOUR_MS, Drive, auc, context, full_context, planted_log

OFF = StackSettings(
    session=Session(on=False),
    neighbour_items=Neighbours(on=False),
    neighbour_users=UserNeighbours(on=False),
    asymmetric=Asymmetric(on=False),
    exposure=Exposure(on=False),
    practice=Practice(on=False),
)


def test_each_part_has_its_switch() -> None:
    assert list(Stack(StackSettings(), context()).parts) == [
        "session",
        "neighbour_items",
        "neighbour_users",
        "asymmetric",
        "exposure",
        "practice",
    ]
    assert "practice" not in Stack(StackSettings(), bare_context()).parts  # no category
    bare = Stack(OFF, context())
    assert bare.parts == {}
    assert bare.names == ("constant",)
    with_one = StackSettings(
        **{name: getattr(OFF, name) for name in OFF.__struct_fields__ if name != "session"}
    )
    assert list(Stack(with_one, context()).parts) == ["session"]


def bare_context() -> Context:
    """A log of ids, times and labels alone."""
    return context(roles=frozenset({"user", "item", "time", "label"}))


@pytest.fixture(scope="module")
def base_auc() -> float:
    log = planted_log(4000, 1)
    return auc(
        log.label_B[2000:], np.array(Drive(GaussianRows(Gaussian(), bare_context())).run(log).p[2000:])
    )


@pytest.mark.parametrize("part", ["neighbour_items", "neighbour_users", "asymmetric"])
def test_parts_find_tastes_that_the_base_cannot(part: str, base_auc: float) -> None:
    """Each user likes the items of one hidden kind; the base has one weight a user and one an item."""
    log = planted_log(4000, 1)
    config = replace(OFF, **{part: getattr(StackSettings(), part)})
    drive = Drive(Stack(config, bare_context())).run(log)
    assert auc(log.label_B[2000:], np.array(drive.p[2000:])) > base_auc + 0.03


def test_without_its_base_the_parts_correct_even_odds() -> None:
    log = planted_log(4000, 1)
    drive = Drive(Stack(StackSettings(base=False), full_context())).run(log)
    assert drive.p[0] == 0.5
    assert auc(log.label_B[2000:], np.array(drive.p[2000:])) > 0.75
    stack, again = drive.learner, Stack(StackSettings(base=False), full_context())
    assert isinstance(stack, Stack)
    assert stack.base is None
    again.load(stack.tree())
    rows = log.take(slice(3990, 4000))
    assert again.score(rows).tolist() == stack.score(rows).tolist()


def test_shuffled_labels_teach_nothing() -> None:
    log = planted_log(4000, 2)
    np.random.default_rng(0).shuffle(log.label_B)
    drive = Drive(Stack(StackSettings(), bare_context())).run(log)
    assert auc(log.label_B, np.array(drive.p)) == pytest.approx(0.5, abs=0.03)


@pytest.mark.parametrize("delay_ms", [0, HOUR_MS])
def test_what_it_says_does_not_depend_on_the_micro_batch_even_where_ids_are_forgotten(delay_ms: int) -> None:
    log = planted_log(600, 3, delay_ms)
    config = replace(StackSettings(), most_users=7, most_items=11)
    runs = [Drive(Stack(config, full_context())).run(log, size) for size in (1, 17, 600)]
    assert all(run.p == runs[0].p for run in runs)
    assert len({digest(run.learner.tree()) for run in runs}) == 1
    learner = runs[0].learner
    assert isinstance(learner, Stack)
    assert len(learner.directory.keys(0)) <= 7
    assert Drive(Stack(StackSettings(), full_context())).run(log).p != runs[0].p


def test_rows_that_were_never_scored_are_learned_too() -> None:
    log = planted_log(300, 4)
    scored, unscored = Stack(StackSettings(), context()), Stack(StackSettings(), context())
    whole = Drive(scored).run(log.take(slice(0, 200)), 50)
    whole.trainer.finish()
    unscored.learn(log.take(slice(0, 200)))
    assert len(unscored.waiting) == len(scored.waiting) == 0
    assert unscored.kalman.belief.mean_F.any()


def test_what_was_shown_counts_before_its_outcome_is_known() -> None:
    """Nothing ever becomes known; only what was shown differs between the two users."""
    log = planted_log(200, 5, 10_000 * HOUR_MS)
    for exposure, expected in ((True, True), (False, False)):
        config = StackSettings(
            neighbour_items=Neighbours(exposure=exposure),
            neighbour_users=UserNeighbours(exposure=exposure),
            asymmetric=Asymmetric(exposure=exposure),
            exposure=Exposure(on=exposure),
        )
        stack = Stack(config, context())
        Drive(stack).run(log)
        made = stack.waiting.tree()["made"][:, 1:]
        assert bool(made.any()) is expected


def test_a_log_without_labels_is_refused() -> None:
    with pytest.raises(InputError, match=r"'stack' learns P\(action\).*--label"):
        Stack(StackSettings(), context(labelled=False))


@pytest.mark.parametrize(
    "settings", [{"most_users": 1}, {"asymmetric": {"room": 0}}, {"neighbour_items": {"room": 0}}]
)
def test_settings_that_leave_no_room_are_refused(settings: dict[str, object]) -> None:
    with pytest.raises(msgspec.ValidationError, match=">="):
        msgspec.convert(settings, StackSettings)
