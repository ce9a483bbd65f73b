"""The counting floors rank exactly as plain counting over everything that was known would."""

from collections import defaultdict
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from learners.contract import Learner, Settings
from learners.floors.habits import Habit, Habits, HabitsSettings, hour_kernel
from learners.floors.popular import Popular, PopularSettings
from learners.floors.successors import Succession, Successors, SuccessorsSettings
from learners.tables.true_ranks import MISSED
from state.examples import ExampleBatch
from state.tree import digest
from tests.learners.streams import HOUR_MS, context, due, examples, steps

DAY_MS = 24 * HOUR_MS
Scores = dict[int, float]
Event = tuple[int, int, int, float, list[int]]
Reference = Callable[[ExampleBatch, int, Any], Scores]


def known(batch: ExampleBatch, b: int) -> list[int]:
    return list(range(due(batch, b)))


def positives(batch: ExampleBatch, b: int) -> list[int]:
    return [j for j in known(batch, b) if not batch.label_B[j] <= 0.5]


def faded(batch: ExampleBatch, b: int, half_life_days: float) -> Scores:
    scores: Scores = defaultdict(float)
    for j in positives(batch, b):
        age = int(batch.time_ms_B[b] - batch.time_ms_B[j])
        scores[int(batch.item_B[j])] += 2.0 ** (-age / (half_life_days * DAY_MS))
    return scores


def share(batch: ExampleBatch, b: int, half_life_days: float) -> Scores:
    counts = faded(batch, b, half_life_days)
    total = sum(counts.values())
    return {item: count / total for item, count in counts.items()}


def popular(batch: ExampleBatch, b: int, config: PopularSettings) -> Scores:
    (half_life_days,) = config.half_life_days
    return share(batch, b, half_life_days)


def habits(batch: ExampleBatch, b: int, config: HabitsSettings) -> Scores:
    (s,) = config.variants
    scores: Scores = defaultdict(float)
    for item, part in share(batch, b, s.popular_days).items():
        scores[item] += s.popular * part
    minute = [(t // 60_000 + z) % 1440 for t, z in zip(batch.time_ms_B, batch.tz_min_B, strict=True)]
    for j in positives(batch, b):
        if batch.user_B[j] == batch.user_B[b]:
            age = max(int(batch.time_ms_B[b] - batch.time_ms_B[j]), 0)
            kernel = hour_kernel(s.hour_sd, s.wide)[(minute[b] - minute[j]) % 1440]
            scores[int(batch.item_B[j])] += 2.0 ** (-age / (s.half_life_days * DAY_MS)) * kernel
    return scores


def successors(batch: ExampleBatch, b: int, config: SuccessorsSettings) -> Scores:
    ((s,), last) = config.variants, config.last
    half_life_ms = s.half_life_days * DAY_MS
    had: dict[int, list[int]] = defaultdict(list)
    follows: dict[int, Scores] = defaultdict(lambda: defaultdict(float))
    for j in known(batch, b):
        user, item = int(batch.user_B[j]), int(batch.item_B[j])
        if j in positives(batch, b):
            now = 2.0 ** (-int(batch.time_ms_B[b] - batch.time_ms_B[j]) / half_life_ms)
            for back, z in enumerate(reversed(had[user][-last:])):
                follows[z][item] += s.fade**back * now
        had[user].append(item)
    scores: Scores = defaultdict(float)
    for item, part in share(batch, b, s.popular_days).items():
        scores[item] += s.popular * part
    for back, z in enumerate(reversed(had[int(batch.user_B[b])][-last:])):
        total = sum(follows[z].values())
        for item, count in follows[z].items():
            scores[item] += s.fade**back * count / (total + s.prior) ** s.power
    return scores


def habit(**settings: float) -> HabitsSettings:
    return HabitsSettings(variants=(Habit(**settings),))


def succession(last: int, **settings: float) -> SuccessorsSettings:
    return SuccessorsSettings(last=last, variants=(Succession(**settings),))


FLOORS: list[tuple[type[Learner], Settings, Reference]] = [
    (Popular, PopularSettings(half_life_days=(2.0,)), popular),
    (Habits, habit(half_life_days=3.0, popular=0.5), habits),
    (Habits, habit(popular=20.0, popular_days=1.0, hour_sd=3.0, wide=0.0), habits),
    (Successors, succession(7, half_life_days=4.0), successors),
    (Successors, succession(2, fade=0.5, power=1.0, popular=3.0, popular_days=2.0), successors),
]

EVENTS = st.lists(
    st.tuples(
        st.integers(0, 2),  # user
        st.integers(0, 6),  # item
        st.sampled_from([0, 1, 1, HOUR_MS // 4, 5 * HOUR_MS, 40 * HOUR_MS]),  # time since the last event
        st.sampled_from([0.0, 1.0, 1.0]),
        st.lists(st.integers(0, 6), max_size=3, unique=True),  # left out of the ranking
    ),
    min_size=1,
    max_size=30,
)


def stream(events: list[Event], *, labelled: bool, delay_ms: int) -> ExampleBatch:
    time_ms = np.cumsum([1_400_000_000_000] + [e[2] for e in events])[1:].tolist()
    label = [e[3] for e in events] if labelled else None
    batch = examples([e[0] for e in events], [e[1] for e in events], time_ms, label, delay_ms=delay_ms)
    return replace(batch, tz_min_B=np.full(len(batch), -240))


@pytest.mark.parametrize(("floor", "config", "reference"), FLOORS)
@settings(max_examples=40, deadline=None)
@given(
    events=EVENTS,
    labelled=st.booleans(),
    delay_ms=st.sampled_from([0, 1, DAY_MS]),
    size=st.sampled_from([1, 3, 50]),
)
def test_ranks_are_those_of_counting_everything_known(
    floor: type[Learner],
    config: Settings,
    reference: Reference,
    events: list[Event],
    labelled: bool,
    delay_ms: int,
    size: int,
) -> None:
    batch = stream(events, labelled=labelled, delay_ms=delay_ms)
    left_out = {b: event[4] for b, event in enumerate(events)}
    setting = context(labelled=labelled)
    learner = floor(config, setting)
    ranks: list[int] = []
    for step in steps(batch, setting.catalogue, size, left_out):
        rank_R = learner.step(step).rank_R
        assert rank_R is not None
        ranks += rank_R.tolist()
    for b, rank in enumerate(ranks):
        there = {int(batch.item_B[j]) for j in known(batch, b)}
        true = int(batch.item_B[b])
        others = there - set(left_out[b]) - {true}
        if true not in there:
            assert rank == MISSED
            continue
        scores = reference(batch, b, config)
        score = scores.get(true, 0.0)
        surely = sum(scores.get(item, 0.0) > score + 1e-9 for item in others)
        perhaps = sum(scores.get(item, 0.0) >= score - 1e-9 for item in others)
        assert 1 + surely <= rank <= 1 + perhaps


@pytest.mark.parametrize(("floor", "config", "reference"), FLOORS)
def test_rank_scores_the_catalogue_as_step_ranks_it(
    floor: type[Learner], config: Settings, reference: Reference
) -> None:
    rng = np.random.default_rng(0)
    events: list[Event] = [(int(u), int(i), HOUR_MS, 1.0, []) for u, i in rng.integers(0, 6, (80, 2))]
    batch = stream(events, labelled=False, delay_ms=0)
    setting = context()
    learner = floor(config, setting)
    setting.catalogue.learn(batch.take(slice(0, 79)))
    learner.learn(batch.take(slice(0, 79)))
    before = digest(learner.tree())
    scores_BN = learner.rank(batch.take(slice(70, 80)))
    assert digest(learner.tree()) == before
    expected = reference(batch, 79, config)
    scale = [expected[int(key)] for key in setting.catalogue.items]
    ratio = scores_BN[-1] / scale
    assert np.allclose(ratio, ratio[0], rtol=1e-5)
    for row, score_N in zip(range(70, 80), scores_BN, strict=True):
        assert np.array_equal(learner.rank(batch.take(slice(row, row + 1)))[0], score_N)


@pytest.mark.parametrize(("floor", "config", "reference"), FLOORS)
def test_a_restart_changes_nothing(floor: type[Learner], config: Settings, reference: Reference) -> None:
    rng = np.random.default_rng(1)
    events: list[Event] = [
        (int(u), int(i), int(g) * HOUR_MS, 1.0, []) for u, i, g in rng.integers(0, 40, (400, 3))
    ]
    batch = stream(events, labelled=False, delay_ms=0)
    whole_context, rest_context = context(), context()
    whole = floor(config, whole_context)
    for step in steps(batch.take(slice(0, 200)), whole_context.catalogue, 16):
        whole.step(step)
    rest = floor(config, rest_context)
    rest.load(whole.tree())
    rest_context.catalogue.load(whole_context.catalogue.tree())
    tails = [
        [learner.step(step).rank_R for step in steps(batch, setting.catalogue, 16, start=200)]
        for learner, setting in ((whole, whole_context), (rest, rest_context))
    ]
    assert all(np.array_equal(a, b) for a, b in zip(*tails, strict=True))
    assert digest(whole.tree()) == digest(rest.tree())


@pytest.mark.parametrize(("floor", "config", "reference"), FLOORS)
def test_no_item_is_known_at_first(floor: type[Learner], config: Settings, reference: Reference) -> None:
    setting = context()
    learner = floor(config, setting)
    batch = stream([(0, 0, 0, 1.0, [])], labelled=False, delay_ms=0)
    (step,) = steps(batch, setting.catalogue, 1)
    assert learner.step(step).rank_R == [MISSED]
    assert learner.rank(batch).shape == (1, 0)


@pytest.mark.parametrize(
    "learner",
    [
        Popular(PopularSettings(half_life_days=(1 / 720,)), context()),
        Habits(habit(half_life_days=1 / 720, popular_days=1 / 720), context()),
        Successors(succession(7, half_life_days=1 / 720, popular_days=1 / 720), context()),
    ],
    ids=lambda learner: learner.name,
)
def test_half_lives_of_minutes_last_for_years(learner: Learner) -> None:
    minutes = np.arange(2000) * np.where(np.arange(2000) % 100, 3, 2_000_000)
    time_ms = np.sort(minutes * 60_000 + 1_000_000_000_000)
    batch = examples([0] * 2000, (np.arange(2000) % 7).tolist(), time_ms.tolist())
    learner.context.catalogue.learn(batch)
    learner.learn(batch)
    scores_BN = learner.rank(batch.take(slice(1990, 2000)))
    assert np.isfinite(scores_BN).all()
    assert scores_BN.max() > 0.0


def test_ties_go_against_us() -> None:
    setting = context()
    learner = Popular(PopularSettings(), setting)
    batch = examples([0, 1, 2, 3], [1, 2, 3, 2], [5, 5, 5, 5])
    (step,) = steps(batch, setting.catalogue, 4)
    rank_R = learner.step(step).rank_R
    assert rank_R is not None
    assert rank_R.tolist() == [MISSED, MISSED, MISSED, 3]


def test_habits_follow_the_local_hour() -> None:
    """Coffee at eight and beer at eight in the evening, by local time five hours behind."""
    days = np.arange(20)
    time_ms = np.sort(np.concatenate([days * 24 + 13, days * 24 + 25])) * HOUR_MS
    batch = examples([7] * 40, [1, 2] * 20, time_ms.tolist())
    batch = replace(batch, tz_min_B=np.full(40, -300))
    learner = Habits(HabitsSettings(), context())
    learner.context.catalogue.learn(batch)
    learner.learn(batch)
    later = replace(batch.take(slice(0, 2)), time_ms_B=time_ms[-2:] + DAY_MS)
    assert learner.rank(later).argmax(1).tolist() == [0, 1]


def test_a_users_visits_are_bounded() -> None:
    forever = Habit(wide=1.0, popular=0.0, half_life_days=1e9)
    learner = Habits(HabitsSettings(cap=64, variants=(forever,)), context())
    for start in range(0, 1000, 100):
        part = examples([1] * 100, list(range(start, start + 100)), list(range(start, start + 100)))
        learner.context.catalogue.learn(part)
        learner.learn(part)
    kept = np.flatnonzero(learner.rank(examples([1], [0], [2000]))[0] > 0.0)
    assert 64 - 15 <= len(kept) <= 64
    assert kept.tolist() == list(range(1000 - len(kept), 1000))
    assert learner.visits.tree()["item_VE"].size == 64


def test_an_items_successors_are_bounded_and_the_frequent_ones_stay() -> None:
    rng = np.random.default_rng(0)
    rare = rng.integers(100, 3000, 4000)
    item = np.where(np.arange(12000) % 3 == 0, 0, np.where(np.arange(12000) % 3 == 1, 1, np.repeat(rare, 3)))
    forever = Succession(popular=0.0, half_life_days=1e9)
    learner = Successors(SuccessorsSettings(cap=32, last=2, variants=(forever,)), context())
    batch = examples([5] * 12000, item.tolist(), list(range(12000)))
    learner.context.catalogue.learn(batch)
    learner.learn(batch)
    assert learner.pairs.arrays.home_N[:, 2].max() <= 32
    assert learner.pairs.arrays.home_N[:, 1].max() <= 32
    after_zero = learner.rank(examples([5], [0], [12001]))[0]
    assert learner.context.catalogue.items.keys[after_zero.argmax()] == 0
