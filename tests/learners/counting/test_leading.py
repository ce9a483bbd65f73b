"""A floor says what its best variant so far would have said alone."""

from collections.abc import Sequence

import numpy as np
import pytest

from learners.contract import Learner, Settings
from learners.counting.best_variant import EVERY, FADE
from learners.floors.habits import Habit, Habits, HabitsSettings
from learners.floors.popular import Popular, PopularSettings
from learners.floors.successors import Succession, Successors, SuccessorsSettings
from learners.tables.true_ranks import MISSED
from state.errors import InputError
from state.examples import ExampleBatch
from state.tree import digest
from tests.learners.streams import HOUR_MS, context, due, examples, steps

HALF_LIVES = (7.0, 0.01, 1.0)
HABITS = (Habit(), Habit(wide=1.0, popular=0.0), Habit(half_life_days=0.01))
SUCCESSIONS = (Succession(half_life_days=0.001, popular_days=0.001), Succession())
FLOORS: list[tuple[type[Learner], Settings, Sequence[Settings]]] = [
    (
        Popular,
        PopularSettings(half_life_days=HALF_LIVES),
        [PopularSettings(half_life_days=(h,)) for h in HALF_LIVES],
    ),
    (Habits, HabitsSettings(variants=HABITS), [HabitsSettings(variants=(h,)) for h in HABITS]),
    (
        Successors,
        SuccessorsSettings(variants=SUCCESSIONS),
        [SuccessorsSettings(variants=(s,)) for s in SUCCESSIONS],
    ),
]
each = pytest.mark.parametrize(("floor", "config", "alone"), FLOORS, ids=["popular", "habits", "successors"])


def fashions(delay_ms: int, labelled: bool, size: int = 600) -> ExampleBatch:
    """Items that come into fashion for some ten events, between events of old habits."""
    rng = np.random.default_rng(5)
    user = rng.integers(0, 6, size)
    fashion = 20 + np.arange(size) // 10
    item = np.where(rng.random(size) < np.arange(size) / size, fashion, user + rng.integers(0, 3, size))
    label = (rng.random(size) < 0.7).astype(float).tolist() if labelled else None
    time_ms = np.cumsum(rng.integers(0, 3, size) * HOUR_MS // 6)
    return examples(user.tolist(), item.tolist(), time_ms.tolist(), label, delay_ms=delay_ms)


def said(floor: type[Learner], config: Settings, batch: ExampleBatch, size: int) -> tuple[list[int], str]:
    setting = context(labelled=bool(batch.labelled))
    learner = floor(config, setting)
    left_out = {b: [int(batch.user_B[b])] for b in range(0, len(batch), 3)}
    ranks: list[int] = []
    for step in steps(batch, setting.catalogue, size, left_out):
        rank_R = learner.step(step).rank_R
        assert rank_R is not None
        ranks += rank_R.tolist()
    return ranks, digest(learner.tree())


def led(batch: ExampleBatch, ranks: list[list[int]]) -> tuple[list[int], int]:
    """What following the leader makes of the variants' ranks, and how often the leader changed."""
    score, trials, said, known, speaker, changes, judged = [0.0] * len(ranks), [], [], 0, 0, 0, 0
    for b in range(len(batch)):
        for j in range(judged, due(batch, b)):
            if j in trials and not batch.label_B[j] <= 0.5:
                score = [FADE * s + 1.0 / r[j] for s, r in zip(score, ranks, strict=True)]
                changes += speaker != int(np.argmax(score))
                speaker = int(np.argmax(score))
        judged = due(batch, b)
        said.append(ranks[speaker][b])
        if ranks[0][b] != MISSED:
            known += 1
            if known % EVERY == 0:
                trials.append(b)
    return said, changes


@each
@pytest.mark.parametrize("delay_ms", [0, 1, 5 * HOUR_MS])
@pytest.mark.parametrize("labelled", [False, True])
def test_the_variant_that_has_ranked_best_speaks(
    floor: type[Learner], config: Settings, alone: Sequence[Settings], delay_ms: int, labelled: bool
) -> None:
    batch = fashions(delay_ms, labelled)
    expected, changes = led(batch, [said(floor, one, batch, 40)[0] for one in alone])
    assert changes > 0
    assert said(floor, config, batch, 40)[0] == expected


@each
def test_micro_batches_change_nothing(
    floor: type[Learner], config: Settings, alone: Sequence[Settings]
) -> None:
    batch = fashions(3 * HOUR_MS, labelled=False)
    assert said(floor, config, batch, 1) == said(floor, config, batch, 100)


@each
def test_a_restart_with_trials_waiting_changes_nothing(
    floor: type[Learner], config: Settings, alone: Sequence[Settings]
) -> None:
    batch = fashions(24 * HOUR_MS, labelled=False)
    whole_context, rest_context = context(), context()
    whole, rest = floor(config, whole_context), floor(config, rest_context)
    for step in steps(batch.take(slice(0, 300)), whole_context.catalogue, 30):
        whole.step(step)
    waiting = whole.tree()["leader"]["row_W"]
    assert len(waiting) > 0
    rest.load(whole.tree())
    rest_context.catalogue.load(whole_context.catalogue.tree())
    for learner, setting in ((whole, whole_context), (rest, rest_context)):
        for step in steps(batch, setting.catalogue, 30, start=300):
            learner.step(step)
    assert digest(whole.tree()) == digest(rest.tree())
    assert rest.tree()["leader"]["counts"].tolist()[0] == len(batch)


@pytest.mark.parametrize(
    ("floor", "config"),
    [
        (Popular, PopularSettings(half_life_days=())),
        (Habits, HabitsSettings(variants=())),
        (Successors, SuccessorsSettings(variants=())),
    ],
)
def test_no_variant_at_all_is_refused(floor: type[Learner], config: Settings) -> None:
    with pytest.raises(InputError, match=f"learners.{floor.name}: expected one variant or more, got none"):
        floor(config, context())
