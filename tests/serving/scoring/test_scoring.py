"""Recommending by a published copy score: the hour, the place and the past that it goes by, in any store."""

import math
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TypedDict, Unpack

import msgspec
import numpy as np
import pytest

from ebbtide.config import RunConfig
from ebbtide.running.plan import operator_of, selection_of
from ebbtide.running.run import ReplayRun
from learners.copying.candidates.evidence import MEMORY
from replay.log import Log
from serving.answers import Because, PastEvent, RecommendAnswer, Recommended
from serving.reasons import iso
from serving.recommending import _Ranked, _shared
from serving.run import Run
from serving.said import json_of
from serving.scoring.copy import followed
from state.evidence import LONGEST_S, STIM
from state.examples import ExampleBatch, concat
from state.keys import NO_KEY, key_of
from state.memory.after import after
from state.returns import COUNTS, EVENTS, GAPS, INTERVALS, LEAST, Rates
from state.store.contract import EmbeddingStore, ItemRows, RunInfo, UserRows
from state.store.copy_score import AMONG, LEADING, CopyScore, ItemTerms, packed_gaps
from state.store.embedded import EmbeddedStore
from state.store.in_memory import DictStore
from state.store.records import MEMORY_ENTRY, NO_TOTALS, TOTAL, Entries, Totals, linked
from state.store.redis import RedisStore
from tests.replay.events import write_csv
from tests.valkeys import free_port, serving

HOUR_MS, DAY_MS = 3_600_000, 86_400_000
WEEK_MS = 7 * DAY_MS
MONDAY_MS = 1_500_854_400_000  # 24 July 2017, 00:00 UTC
FRIDAY_19, MONDAY_8 = 4 * DAY_MS + 19 * HOUR_MS, 8 * HOUR_MS
LAST_MS = MONDAY_MS + 8 * WEEK_MS + DAY_MS
NEXT_FRIDAY, NEXT_MONDAY = MONDAY_MS + 8 * WEEK_MS + FRIDAY_19, MONDAY_MS + 9 * WEEK_MS + MONDAY_8
ITEMS = ("bar", "cafe", "hit", "twin", "dull")
"""Fridays, Mondays; popular; like what the user had last; nothing."""
PLACE_N2 = np.array([[-73.99, 40.75], [-73.9, 40.8], [-73.8, 40.9], [np.nan, np.nan], [-73.7, 40.6]])


def rates(soon: float) -> Rates:
    """Nobody has ever returned but within two hours, which adds `soon` to the logarithm of the chance."""
    gap = [math.expm1(soon) * LEAST] * 5 + [0.0] * (GAPS - 5)
    return Rates(
        return_all=[gap] * COUNTS,
        return_interval=[[0.0] * INTERVALS] * COUNTS,
        return_events=[[0.0] * EVENTS] * COUNTS,
    )


def copy_score(overlap: float = 0.8, near: float = 0.0, interest: float = 0.0) -> CopyScore:
    """Weights of a memory that goes by hour and week, and against what was done a moment ago."""
    specification = msgspec.structs.replace(STIM, returns=rates(0.5))
    memory = dict.fromkeys(MEMORY, 0.0) | {"count": 0.3, "hour_1h": 0.6, "week_90m": 0.9}
    score = CopyScore(
        memory=memory,
        past=dict.fromkeys(specification.past, 0.0) | {"return_all": -4.0},
        specification=specification,
        overlap=overlap,
        r2=0.9,
        requests=80,
        base=0.2,
        near=near,
        interest=interest,
    )
    return score.with_terms(
        ItemTerms(
            np.array([key_of(item) for item in ITEMS]),
            np.array([0.0, 0.0, 1.5, 0.0, -1.0]),
            np.array([0.01, 0.01, 0.2, 0.01, 0.001]),
            PLACE_N2,
            np.array([AMONG | LEADING] * 4 + [0], np.uint8),
        )
    )


def habits() -> Entries:
    """Eight weeks of Friday evenings at the bar and Monday mornings at the cafe, the twin's likeness last."""
    rows = []
    for week in range(8):
        for item, at_ms in (("cafe", MONDAY_8), ("bar", FRIDAY_19)):
            time_ms = MONDAY_MS + week * WEEK_MS + at_ms
            minute = time_ms // 60_000 % 10_080
            rows.append((key_of(item), time_ms, time_ms, NO_KEY, 20 * 86_400.0, np.nan, minute, 0.0, NO_KEY))
    return linked(np.array(rows, MEMORY_ENTRY))


def published(
    store: EmbeddingStore,
    copy: CopyScore | None,
    memory: Entries | None = None,
    totals: Totals = NO_TOTALS,
) -> Run:
    vectors_BD = np.array([[0, 1, 0], [1, 0, 0], [0, 0, 0.5], [0.9, 0.1, 0], [0, 0, 0]], np.float32)
    store.put_info(RunInfo(log="planted", learner="stim", width=3, interests=("recent",), copy=copy))
    store.publish(
        1,
        UserRows(
            ids=["ann"],
            event_time_ms_B=np.array([LAST_MS]),
            interests_BKD=np.array([[[1.0, 0.0, 1.0]]], np.float32),
            memory_B=[habits() if memory is None else memory],
            totals_B=[totals],
        ),
        ItemRows(ids=list(ITEMS), event_time_ms_B=np.full(5, LAST_MS), vectors_BD=vectors_BD),
    )
    return Run(store)


class Place(TypedDict, total=False):
    lat: float
    lon: float


def recommend(copy: CopyScore | None, at_ms: int | None = None, **place: Unpack[Place]) -> RecommendAnswer:
    return published(DictStore(), copy).recommend("ann", 5, at_ms=at_ms, **place)


def of_all(memory: Entries, kept: int) -> tuple[Entries, Totals]:
    """The newest entries of a memory, and what all of it says of its items as of LAST_MS."""
    totals = np.zeros(2, TOTAL)
    for t, item in enumerate(("bar", "cafe")):
        at = np.flatnonzero(memory["item"] == key_of(item))
        time_ms = memory["time_ms"][at]
        faded = np.exp2((time_ms - LAST_MS) / 1000.0 / LONGEST_S).sum()
        totals[t] = (key_of(item), time_ms[0], time_ms[-1], len(at), faded, len(memory) - 1 - at[-1])
    return memory[len(memory) - kept :], totals


@pytest.mark.parametrize("kept", [15, 6, 1])
@pytest.mark.parametrize("at_ms", [LAST_MS, NEXT_FRIDAY])
def test_totals_speak_for_entries_that_were_not_selected(kept: int, at_ms: int) -> None:
    """What the whole memory adds up to is the same, whatever part of it is there as entries."""
    memory = dict.fromkeys(MEMORY, 0.0) | {"share": 0.3, "count": 0.6}
    rates_of = rates(0.5)
    rates_of = msgspec.structs.replace(
        rates_of,
        return_interval=[[0.01 * i for i in range(INTERVALS)]] * COUNTS,
        return_events=[[0.02 * (k + e) for e in range(EVENTS)] for k in range(COUNTS)],
    )
    specification = msgspec.structs.replace(STIM, returns=rates_of, own={"count": 0.1})
    past = dict.fromkeys(specification.past, 0.7)
    copy = msgspec.structs.replace(copy_score(), memory=memory, past=past, specification=specification)
    entries, totals = of_all(habits(), kept)
    whole = published(DictStore(), copy).recommend("ann", 5, at_ms=at_ms)
    part = published(DictStore(), copy, entries, totals).recommend("ann", 5, at_ms=at_ms)
    assert order(part) == order(whole)
    assert [one.score for one in part.items] == pytest.approx([one.score for one in whole.items], rel=1e-6)


def test_why_tells_of_an_item_of_which_no_entry_is_left() -> None:
    entries, totals = of_all(habits(), 1)
    why = {
        one.item: one.why
        for one in published(DictStore(), copy_score(), entries, totals).recommend("ann", 5).items
    }
    assert Because("had 8 times, last 2017-09-11T08:00:00.000Z") in why["cafe"]
    assert not any(isinstance(reason, Because) and "had" in reason.reason for reason in why["bar"])


def order(answer: RecommendAnswer) -> list[str]:
    return [one.item for one in answer.items]


def test_the_hour_of_the_week_decides() -> None:
    friday, monday = (order(recommend(copy_score(), at_ms)) for at_ms in (NEXT_FRIDAY, NEXT_MONDAY))
    assert friday.index("bar") < friday.index("hit") < friday.index("cafe")
    assert monday.index("cafe") < monday.index("hit") < monday.index("bar")


def test_why_names_the_habit_and_its_shares_add_up() -> None:
    answer = recommend(copy_score(), NEXT_FRIDAY)
    assert answer.by == "copy score"
    (bar,) = answer.items[0].why
    assert isinstance(bar, PastEvent)
    assert (bar.item, bar.times, bar.when) == ("bar", 8, "2017-09-15T19:00:00.000Z")
    assert (bar.hour, bar.week) == (1.0, 1.0)
    assert bar.contribution == pytest.approx(1.0)
    assert sum(bar.parts.values()) == pytest.approx(1.0)
    assert bar.parts["week"] > bar.parts["hour"] > bar.parts["retention"] > 0.05


def test_other_times_are_told_apart_and_the_last_reason_stands_for_the_rest() -> None:
    memory = habits()
    memory["item"] = key_of("bar")
    memory["minute"][1:6:2] += 300  # three of the Fridays at midnight
    memory["minute"][0] += 700  # and a Monday at night
    run = published(DictStore(), copy_score(), memory)
    why = run.recommend("ann", 1, at_ms=NEXT_FRIDAY).items[0].why
    events = [reason for reason in why if isinstance(reason, PastEvent)]
    assert len(events) == 3
    assert sum(event.times for event in events) == len(memory)
    assert events[0].contribution > events[1].contribution
    assert sum(event.contribution for event in events) == pytest.approx(1.0)


@pytest.mark.parametrize("weeks", [-20, -1, 0, 1, 400])
def test_a_far_time_is_answered_for_that_minute_of_the_next_week(weeks: int) -> None:
    far = recommend(copy_score(), NEXT_FRIDAY + weeks * WEEK_MS)
    near = recommend(copy_score(), NEXT_FRIDAY)
    assert [without_retention(one) for one in far.items] == [without_retention(one) for one in near.items]


def without_retention(one: Recommended) -> Recommended:
    """The same, whatever will be left of the events by then."""
    why = [replace(reason, retention=0.0) if isinstance(reason, PastEvent) else reason for reason in one.why]
    return replace(one, why=why)


@pytest.mark.parametrize("days", [0, 1, 6, 7, 40, 10_000])
def test_a_reason_tells_what_is_left_at_the_time_asked_for(days: int) -> None:
    answer = recommend(copy_score(), LAST_MS + days * 86_400_000)
    (event,) = next(one.why for one in answer.items if one.item == "bar")
    assert isinstance(event, PastEvent)
    entries = habits()
    entry = entries[[iso(ms) for ms in entries["time_ms"].tolist()].index(event.when)]
    since_s = (LAST_MS + days * 86_400_000 - int(entry["last_ms"])) / 1000
    assert event.retention == pytest.approx(math.exp(-since_s / float(entry["strength_s"])))


def test_what_was_done_a_moment_ago_is_not_done_again() -> None:
    memory = habits()
    memory["time_ms"][-1] = memory["last_ms"][-1] = LAST_MS - HOUR_MS  # at the bar, an hour ago
    always = msgspec.structs.replace(STIM, returns=rates(0.0))
    still = msgspec.structs.replace(copy_score(), specification=always)
    answers = [published(DictStore(), copy, memory).recommend("ann", 5) for copy in (still, copy_score())]
    before, after = ({one.item: one.score for one in answer.items} for answer in answers)
    assert {item: round(after[item] - before[item], 9) for item in ITEMS if item != "dull"} == {
        **dict.fromkeys(("cafe", "hit", "twin"), 0.0),
        "bar": -2.0,
    }


@pytest.mark.parametrize(
    ("bound_h", "said"),
    [
        ((144.0, 192.0), "usually again after 6 to 8 days"),
        ((90.0, 192.0), "usually again after 3.8 to 8 days"),
        ((23.0, 26.0), None),
        ((168.5, 500.0), None),
    ],
)
def test_when_one_comes_back_is_said_at_that_time(bound_h: tuple[float, float], said: str | None) -> None:
    """The bar was last a week before; more times than one are told by one reason fewer then."""
    gaps = packed_gaps(np.array([key_of("bar")]), np.array([bound_h]))
    answer = recommend(msgspec.structs.replace(copy_score(), gaps=gaps), NEXT_FRIDAY)
    why = {one.item: one.why for one in answer.items}
    assert [one.reason for one in why["bar"] if isinstance(one, Because)] == ([said] if said else [])
    assert sum(one.contribution for one in why["bar"] if isinstance(one, PastEvent)) == pytest.approx(1.0)
    assert not [one for item in ITEMS if item != "bar" for one in why[item] if "usually" in str(one)]


def test_what_carries_an_item_is_said() -> None:
    by_item = {one.item: one.why for one in recommend(copy_score(interest=3.0), NEXT_FRIDAY).items}
    assert by_item["hit"] == [Because("popular now")]
    assert by_item["twin"] == [Because("like what you had lately: cafe, bar")]
    assert isinstance(by_item["bar"][0], PastEvent)
    first, *events = by_item["cafe"]
    assert first == Because("to your taste")  # nothing else that was had is like it
    assert sum(one.contribution for one in events if isinstance(one, PastEvent)) == pytest.approx(1.0)


def test_the_place_asked_for_brings_what_is_near() -> None:
    there = recommend(copy_score(near=-0.7), lat=40.9, lon=-73.8)
    elsewhere = recommend(copy_score(near=-0.7), lat=40.6, lon=-73.7)
    assert order(there)[0] == "hit"
    assert order(elsewhere)[0] == "dull"
    assert elsewhere.items[0].why == [Because("near")]


def test_what_is_no_candidate_ranks_behind_by_popularity() -> None:
    """The dull item leads nowhere; it is near, which makes any item with a place a candidate."""
    terms = copy_score().terms()
    nowhere = copy_score().with_terms(terms._replace(place_N2=np.full((5, 2), np.nan)))
    answer = recommend(nowhere, NEXT_FRIDAY)
    assert order(answer)[-1] == "dull"
    assert answer.items[-1].score < answer.items[-2].score - 1.0


def test_items_are_not_repeated_where_nobody_does() -> None:
    once = msgspec.structs.replace(copy_score(), repeats=False)
    assert {*order(recommend(once, NEXT_FRIDAY))[-2:]} == {"bar", "cafe"}


def test_a_copy_score_that_does_not_follow_the_ranking_is_not_used_and_said_so() -> None:
    poor = copy_score(overlap=0.4)
    assert recommend(poor, NEXT_FRIDAY) == recommend(None, NEXT_FRIDAY)
    assert recommend(poor).by == "interests"
    (note,) = followed(RunInfo(log="-", learner="stim", interests=("recent",), copy=poor))
    assert note == (
        "recommend goes by the published interests alone: a sum of few terms does not follow stim's ranking "
        "here (top-10 overlap 0.40, R² 0.90, over 80 requests that it was not fitted to)"
    )


def test_a_report_says_what_recommend_goes_by() -> None:
    info = RunInfo(log="-", learner="stim", interests=("recent",), copy=copy_score())
    assert followed(info) == [
        "recommend follows stim's ranking by a published sum of few terms: top-10 overlap 0.80, R² 0.90, "
        "over 80 requests that it was not fitted to"
    ]
    without = msgspec.structs.replace(info, copy=None)
    assert followed(without) == [
        "recommend goes by the inner product of stim's published interests and items"
    ]
    assert followed(None) == []


def test_every_store_gives_the_same_answer(tmp_path: Path) -> None:
    copy = copy_score(interest=0.5, near=-0.1)
    expected = json_of(recommend(copy, NEXT_FRIDAY, lat=40.8, lon=-73.9))
    with closing(EmbeddedStore(tmp_path / "store")) as embedded, over_tcp(tmp_path) as tcp:
        for store in (embedded, tcp):
            run = published(store, copy)
            assert run.info.copy == copy
            assert json_of(run.recommend("ann", 5, at_ms=NEXT_FRIDAY, lat=40.8, lon=-73.9)) == expected


@contextmanager
def over_tcp(folder: Path) -> Iterator[RedisStore]:
    port = free_port()
    process = serving(folder, port)
    try:
        with closing(RedisStore(f"redis://127.0.0.1:{port}/0?run=copy")) as store:
            yield store
    finally:
        process.terminate()
        process.wait()


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Log, ReplayRun, EmbeddingStore]]:
    """Forty weeks in which everybody has a place for Friday evenings and one for Monday mornings."""
    folder = tmp_path_factory.mktemp("weeks")
    rng = np.random.default_rng(0)
    events = []
    for week in range(40):
        for u in range(10):
            for name, at_ms in ((f"A{u % 7}", FRIDAY_19), (f"B{u % 4}", MONDAY_8)):
                events.append((MONDAY_MS + week * WEEK_MS + at_ms, f"u{u}", name))
            for day in rng.choice([1, 2, 3, 5, 6], 2, replace=False).tolist():
                events.append((MONDAY_MS + week * WEEK_MS + day * DAY_MS + 13 * HOUR_MS, f"u{u}", "C"))
    times_ms = [at_ms + int(rng.integers(0, 1_200)) * 1000 for at_ms, *_ in events]
    rows = [
        f"{user},{f'C{rng.integers(0, 30)}' if item == 'C' else item},{time_ms // 1000}"
        for time_ms, (_, user, item) in sorted(zip(times_ms, events, strict=True))
    ]
    log = Log.open(write_csv(folder / "log.csv", "user,item,time", rows))
    config = RunConfig(learner="stim", floors=False, batch=64, leave_out="none")
    store = DictStore()
    with closing(ReplayRun(log, config, store, folder)) as run:
        for batch in log.batches(64):
            run.step(batch)
        run.finish()
        yield log, run, store


def test_a_learned_habit_is_recommended_at_its_hour(
    planted: tuple[Log, ReplayRun, EmbeddingStore],
) -> None:
    log, _, store = planted
    run = Run(store)
    friday, monday = (week + log.survey.last_ms // WEEK_MS * WEEK_MS for week in (FRIDAY_19, MONDAY_8))
    friday, monday = friday + MONDAY_MS % WEEK_MS, monday + MONDAY_MS % WEEK_MS
    for u in range(10):
        for name, at_ms in ((f"A{u % 7}", friday), (f"B{u % 4}", monday)):
            first = run.recommend(f"u{u}", 3, at_ms=at_ms).items[0]
            events = [reason for reason in first.why if isinstance(reason, PastEvent)]
            assert first.item == name
            assert {event.item for event in events} == {name}
            assert sum(event.contribution for event in events) == pytest.approx(1.0)
            assert events[0].week > 0.8


def test_recommend_follows_the_learners_ranking(
    planted: tuple[Log, ReplayRun, EmbeddingStore],
) -> None:
    log, run, store = planted
    assert run.learning.info(run.log.survey.last_ms).copy == Run(store).info.copy
    answers = Run(store)
    assert answers.info.copy is not None
    assert answers.info.copy.overlap > 0.7
    learner = run.trainer.learners["stim"]
    batch = seen_last(log, run)
    keys_N = learner.context.catalogue.items.keys
    overlap = []
    for user, score_N in zip(batch.user_B.tolist(), learner.rank(batch), strict=True):
        best = {log.names[key] for key in keys_N[np.argsort(-score_N, kind="stable")[:10]].tolist()}
        said = answers.recommend(log.names[user], 10)
        assert said.by == "copy score"
        overlap.append(len(best & set(order(said))) / 10)
    assert len(overlap) == 10
    assert np.mean(overlap) > 0.65


def seen_last(log: Log, run: ReplayRun) -> ExampleBatch:
    """Each user's window as it was published: with the last event in it, at that event's time."""
    operator = operator_of(run.trainer, run.subject)
    rows = concat([operator.process(events, int(events.time_ms_B.max())) for events in log.batches(64)])
    _, first = np.unique(rows.user_B[::-1], return_index=True)
    last = rows.take(np.sort(len(rows) - 1 - first))
    return after(last, selection_of(run.trainer), known=True, periodic=True)


def test_it_is_told_how_well_few_candidates_stand_for_all_items() -> None:
    run = published(DictStore(), copy_score())
    assert math.isnan(run.recall)
    run.recommend("ann", 1)
    assert run.recall == 1.0
    all_ = _Ranked(np.arange(20.0), lambda _: [], "copy score")
    few = all_._replace(score_C=np.arange(12.0, 18.0), rows_C=np.arange(12, 18))
    assert _shared(few, all_) == 0.6
    assert _shared(few, all_._replace(score_C=np.full(20, -np.inf))) == 1.0
