"""What a query answers: from vectors whose truth is known, in any store."""

import json
from pathlib import Path

import msgspec
import numpy as np
import pytest

from serving.answers import Because, PastEvent, UnknownUserError, Visit
from serving.connection import connect
from serving.run import Run
from serving.said import json_of
from serving.scoring.recalled import cell_at, utc_offset_min
from state.errors import InputError, UnknownIdError
from state.examples import Doubles, Floats
from state.forgetting import minute_of_week
from state.keys import NO_KEY, key_of
from state.store.contract import EmbeddingStore, ItemRows, RunInfo, UserRows
from state.store.embedded import open_store
from state.store.in_memory import DictStore
from state.store.records import MEMORY_ENTRY, Entries, linked

HOUR_MS, DAY_MS = 3_600_000, 86_400_000
TZ_MIN = -300
HOME, BAR = (40.75, -73.99), (40.68, -73.94)
MORNING = 30 * DAY_MS + 13 * HOUR_MS  # 8 h local on the last day
EVENING = 30 * DAY_MS - DAY_MS + 26 * HOUR_MS  # 21 h local, the day before
ITEMS = {
    "coffee": [1.0, 0.0, 0.0, 0.3],
    "tea": [0.9, 0.1, 0.0, 0.0],
    "beer": [0.0, 1.0, 0.0, 0.2],
    "wine": [0.0, 0.95, 0.1, 0.0],
    "42": [0.0, 0.0, -1.0, 2.0],
}
INFO = RunInfo(
    log="planted",
    learner="two-tower",
    width=4,
    interests=("recent", "hour"),
    popular=(("42", 9.0), ("coffee", 5.0), ("beer", 1.0)),
)


def entry(item: str, time_ms: int, place: tuple[float, float] | None) -> tuple[object, ...]:
    cell = NO_KEY if place is None else cell_at(*place)
    minute = minute_of_week(time_ms, TZ_MIN)
    return key_of(item), time_ms, time_ms, cell, 20 * 86400.0, np.nan, minute, 0.0, NO_KEY


def habits() -> Entries:
    """Every day beer at the bar at 21 h and coffee at home at 8 h, local time; a scarf once."""
    rows = [entry("scarf", 20 * DAY_MS, None)]
    for day in range(21, 31):
        rows.append(entry("beer", day * DAY_MS - DAY_MS + 26 * HOUR_MS, BAR))
        rows.append(entry("coffee", day * DAY_MS + 13 * HOUR_MS, HOME))
    return linked(np.array(rows, MEMORY_ENTRY))


def published(store: EmbeddingStore, info: RunInfo = INFO) -> EmbeddingStore:
    vectors = np.array(list(ITEMS.values()), np.float32)
    interests = np.array([[[0.3, 0.3, 0.0, 1.0], [1.5, 0.2, 0.0, 0.0]]], np.float32)
    store.put_info(info)
    store.publish(
        4,
        UserRows(
            ids=["ann"],
            event_time_ms_B=np.array([MORNING]),
            interests_BKD=interests,
            memory_B=[habits()],
            left_out_B=[np.array([key_of("tea")])],
        ),
        ItemRows(ids=list(ITEMS), event_time_ms_B=np.arange(5) * 1000, vectors_BD=vectors),
    )
    return store


@pytest.fixture
def run() -> Run:
    return Run(published(DictStore()))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    published(open_store(tmp_path, create=True)).close()
    return tmp_path


def order(run: Run, **context: float) -> list[str]:
    """All items, best first, in a context."""
    return [i.item for i in run.recommend("ann", 5, **context).items]  # type: ignore[arg-type]


def test_a_user(run: Run) -> None:
    assert json_of(run.user("ann")) == {
        "user": "ann",
        "version": 4,
        "event_time": "1970-01-31T13:00:00.000Z",
        "interests": [
            pytest.approx([0.3, 0.3, 0.0, 1.0]),
            pytest.approx([1.5, 0.2, 0.0, 0.0]),
        ],
    }


def test_an_item_by_text_or_number(run: Run) -> None:
    assert json_of(run.item("42")) == {
        "item": "42",
        "version": 4,
        "event_time": "1970-01-01T00:00:04.000Z",
        "vector": [0.0, 0.0, -1.0, 2.0],
    }
    assert run.item(42) == run.item("42")


def test_recommendations_are_dot_products_in_order(run: Run) -> None:
    query = np.array([1.8, 0.5, 0.0, 1.0])
    expected = sorted(((float(query @ v), i) for i, v in ITEMS.items()), reverse=True)
    answer = run.recommend("ann", 3)
    assert (answer.user, answer.version) == ("ann", 4)
    assert [i.item for i in answer.items] == [item for _, item in expected[:3]]
    assert [i.score for i in answer.items] == pytest.approx([score for score, _ in expected[:3]])
    assert len(run.recommend("ann", 100).items) == 5


def test_why_names_the_events_that_speak_for_it(run: Run) -> None:
    by_item = {i.item: i for i in run.recommend("ann", 5).items}
    tea, unexplained = by_item["tea"].why, by_item["42"].why
    first, second = tea
    assert isinstance(first, PastEvent)
    assert isinstance(second, PastEvent)
    assert (first.item, first.times, first.when) == ("coffee", 10, "1970-01-31T13:00:00.000Z")
    assert (first.hour, first.week, first.place, first.retention) == (1.0, 1.0, 1.0, 1.0)
    assert second.item == "beer"
    assert second.hour == pytest.approx(0.0, abs=1e-4)
    assert first.contribution > 0.9
    assert first.contribution + second.contribution == pytest.approx(1.0)
    assert unexplained == [Because("no remembered event speaks for it more than for others")]


def test_an_explanation_of_the_learners_own() -> None:
    def only_the_scarf(recalled: object, vectors_WD: Floats, vector_D: Floats) -> Doubles:
        return np.array([1.0] + [0.0] * (len(vectors_WD) - 1))

    named = replace_info(item_names={str(key_of("scarf")): "scarf"})
    (why,) = Run(published(DictStore(), named), explain=only_the_scarf).recommend("ann", 1).items[0].why
    assert isinstance(why, PastEvent)
    assert (why.item, why.contribution) == ("scarf", 1.0)


def replace_info(**changes: object) -> RunInfo:
    return msgspec.structs.replace(INFO, **changes)


def test_the_hour_changes_what_is_recommended(run: Run) -> None:
    at_eight, at_nine = order(run), order(run, at_ms=EVENING)
    assert at_eight.index("coffee") < at_eight.index("beer")
    assert at_nine.index("beer") < at_nine.index("coffee")


def test_years_later_the_hour_still_counts(run: Run) -> None:
    ranked = order(run, at_ms=EVENING + 40 * 52 * 7 * DAY_MS)
    assert ranked.index("beer") < ranked.index("coffee")


def test_the_place_changes_what_is_recommended(run: Run) -> None:
    at_home = {i.item: i.score for i in run.recommend("ann", 5, lat=HOME[0], lon=HOME[1]).items}
    at_the_bar = run.recommend("ann", 5, lat=BAR[0], lon=BAR[1])
    scores = {i.item: i.score for i in at_the_bar.items}
    assert scores["beer"] - at_home["beer"] > 0.1
    assert at_home["coffee"] - scores["coffee"] > 0.1
    why = next(i.why[0] for i in at_the_bar.items if i.item == "beer")
    assert isinstance(why, PastEvent)
    assert (why.item, why.place) == ("beer", 1.0)


def test_asking_for_the_last_events_context_changes_nothing(run: Run) -> None:
    assert run.recommend("ann", 5, at_ms=MORNING, lat=HOME[0], lon=HOME[1]) == run.recommend("ann", 5)


def test_the_shift_is_as_long_as_what_it_replaces() -> None:
    for names in (("recent", "hour"), ("recent", "long")):
        run = Run(published(DictStore(), replace_info(interests=names)))
        before = {i.item: i.score for i in run.recommend("ann", 5).items}
        after = {i.item: i.score for i in run.recommend("ann", 5, at_ms=EVENING).items}
        moved = after["beer"] - before["beer"]
        assert 0.5 < moved < 3.0


@pytest.mark.parametrize(
    ("rule", "missing"),
    [("none", set[str]()), ("session", {"tea"}), ("user", {"tea", "coffee", "beer"})],
)
def test_what_the_runs_rule_leaves_out(rule: str, missing: set[str]) -> None:
    run = Run(published(DictStore(), replace_info(leave_out=rule)))
    assert {i.item for i in run.recommend("ann", 10).items} == set(ITEMS) - missing


def test_an_unknown_user_gets_what_is_popular(run: Run) -> None:
    with pytest.raises(UnknownUserError) as refused:
        run.recommend("bob", 2)
    assert str(refused.value) == (
        "unknown user 'bob': not among the 1 users published from planted; ids are written as in the log"
    )
    assert refused.value.exit_code == 3
    assert json_of(refused.value.answer) == {
        "user": "bob",
        "version": 4,
        "by": "popularity",
        "items": [
            {"item": "42", "score": 9.0, "why": [{"reason": "unknown user 'bob': popular with everybody"}]},
            {
                "item": "coffee",
                "score": 5.0,
                "why": [{"reason": "unknown user 'bob': popular with everybody"}],
            },
        ],
    }


def test_an_unknown_id_is_named(run: Run) -> None:
    with pytest.raises(UnknownIdError, match=r"unknown item 'x': not among the 5 items"):
        run.item("x")
    with pytest.raises(UnknownIdError, match="unknown item 'x'"):
        run.similar("x")
    with pytest.raises(UnknownIdError, match="unknown user 'x'"):
        run.user("x")


def test_likeness_is_the_cosine_without_bias(run: Run) -> None:
    answer = run.similar("coffee", 2)
    assert json_of(answer) == {
        "item": "coffee",
        "items": [
            {"item": "tea", "score": pytest.approx(0.9 / np.hypot(0.9, 0.1))},
            {"item": "42", "score": 0.0},
        ],
    }
    assert len(run.similar("coffee", 99).items) == 4


def test_half_a_place_is_refused(run: Run) -> None:
    with pytest.raises(InputError, match="both --lat and --lon"):
        run.recommend("ann", lat=1.0)


def test_a_store_of_nothing_is_refused() -> None:
    with pytest.raises(InputError, match=r"DictStore\(\): nothing was published"):
        Run(DictStore())


def test_two_widths_are_refused(run: Run) -> None:
    run.store.put_users(
        5, UserRows(ids=["zoe"], event_time_ms_B=np.array([1]), interests_BKD=np.ones((1, 1, 9), np.float32))
    )
    with pytest.raises(InputError, match="items have width 4, the user 9"):
        run.recommend("zoe")


def test_a_user_without_memory_is_answered(run: Run) -> None:
    run.store.put_users(
        5, UserRows(ids=["zoe"], event_time_ms_B=np.array([1]), interests_BKD=np.ones((1, 1, 4), np.float32))
    )
    answer = run.recommend("zoe", 1, at_ms=EVENING, lat=1.0, lon=1.0)
    assert isinstance(answer.items[0].why[0], Because)


def test_a_new_version_is_seen(run: Run) -> None:
    assert order(run)[0] == "coffee"
    run.store.publish(
        5,
        items=ItemRows(
            ids=["coffee"], event_time_ms_B=np.array([9]), vectors_BD=np.zeros((1, 4), np.float32)
        ),
    )
    assert order(run)[0] == "42"


def test_a_folder_answers_as_it_was_left(folder: Path) -> None:
    with connect(folder) as run:
        assert json.dumps(json_of(run.recommend("ann", 3)))
        assert run.similar("coffee", 1).items[0].item == "tea"


def test_local_time_is_the_newest_entrys() -> None:
    assert utc_offset_min(habits()) == TZ_MIN
    assert utc_offset_min(habits()[:0]) == 0


def test_a_folder_without_a_run_says_so(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no embeddings there"):
        connect(tmp_path)


@pytest.mark.parametrize("k", [0, -1, 1001, 10**9])
def test_a_count_that_is_none_is_refused_as_over_http(k: int) -> None:
    store = DictStore()
    published(store)
    run = Run(store)
    for ask in (
        lambda: run.recommend("ann", k),
        lambda: run.recommend("nobody", k),
        lambda: run.recommend_after([Visit("tea", MORNING)], k),
        lambda: run.similar("tea", k),
    ):
        with pytest.raises(InputError, match=f"k: expected from 1 to 1000, got {k}"):
            ask()
