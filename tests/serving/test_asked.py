"""What recommendations may be asked for besides: filters, what was seen, pages, variety, a session."""

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.answers import Asked, RecommendAnswer, UnknownUserError, Visit
from serving.ranking import diverse
from serving.run import Run
from serving.session import GAIN, STRENGTH_CAP_S, STRENGTH_S, memory_of
from state.arrays import Doubles, largest
from state.errors import InputError
from state.memory.memory_config import MemoryConfig
from state.store.contract import Gone, ItemRows
from state.store.in_memory import DictStore
from tests.serving import test_answers
from tests.serving.scoring import test_scoring
from tests.serving.scoring.test_scoring import copy_score
from tests.serving.test_answers import DAY_MS, HOUR_MS, MORNING

COLUMNS = {
    "kind": {"hot": ("coffee", "tea"), "cold": ("beer", "wine")},
    "strength": {"weak": ("tea", "beer", "lost"), "strong": ("coffee", "wine")},
}


@pytest.fixture
def run() -> Run:
    info = msgspec.structs.replace(test_answers.INFO, columns=COLUMNS)
    return Run(test_answers.published(DictStore(), info))


def ids(answer: RecommendAnswer) -> list[str]:
    return [one.item for one in answer.items]


def test_only_items_with_one_of_the_values_in_each_column(run: Run) -> None:
    everything = ids(run.recommend("ann"))
    assert ids(run.recommend("ann", only={"kind": ["hot"]})) == [
        i for i in everything if i in ("coffee", "tea")
    ]
    assert ids(run.recommend("ann", only={"kind": ["cold"], "strength": ["weak"]})) == ["beer"]
    assert set(ids(run.recommend("ann", only={"kind": ["hot", "cold"]}))) == {*everything} - {"42"}
    assert ids(run.recommend("ann", only={"kind": ["lukewarm"]})) == []
    with pytest.raises(
        InputError, match=r"no column 'colour' was published of items; there are: kind, strength"
    ):
        run.recommend("ann", only={"colour": ["red"]})


def test_an_unknown_user_is_filtered_for_too(run: Run) -> None:
    with pytest.raises(UnknownUserError) as refused:
        run.recommend("bob", only={"kind": ["hot"]})
    assert ids(refused.value.answer) == ["coffee"]


@pytest.mark.parametrize("scored", [True, False])
def test_a_list_for_somebody_unknown_begins_with_what_is_popular_however_it_is_asked_for(
    scored: bool,
) -> None:
    made = test_scoring.published(DictStore(), copy_score(interest=0.5) if scored else None)
    popular = (("dull", 3.0), ("bar", 1e-9))
    made.store.put_info(msgspec.structs.replace(made.info, popular=popular))
    for asked in (Asked(), Asked(page=0), Asked(diversity=0.0)):
        with pytest.raises(UnknownUserError) as refused:
            Run(made.store).recommend("bob", 2, **asked)
        assert [(one.item, one.score) for one in refused.value.answer.items] == [*popular]


def test_what_was_seen_is_left_out_or_not_as_asked(run: Run) -> None:
    assert {"coffee", "beer", "tea"} <= {*ids(run.recommend("ann"))}  # the run's rule: nothing
    assert {*ids(run.recommend("ann", exclude_seen=True))} == {"wine", "42"}
    by_rule = msgspec.structs.replace(test_answers.INFO, leave_out="user")
    strict = Run(test_answers.published(DictStore(), by_rule))
    assert {*ids(strict.recommend("ann"))} == {"wine", "42"}
    assert ids(strict.recommend("ann", exclude_seen=False)) == ids(run.recommend("ann"))


def test_pages_repeat_nothing_and_miss_nothing_also_where_the_ranking_moves(run: Run) -> None:
    whole = ids(run.recommend("ann", 5))
    first = ids(run.recommend("ann", 2, page=0))
    vectors_BD = np.array([[-9.0, 0, 0, 0], [9.0, 9, 0, 9]], np.float32)  # the best becomes the worst, ...
    last = whole[-1]
    run.store.publish(
        5, items=ItemRows(ids=[whole[2], last], event_time_ms_B=np.full(2, MORNING), vectors_BD=vectors_BD)
    )
    later = [one for page in (1, 2, 3) for one in ids(run.recommend("ann", 2, page=page))]
    assert first + later == whole
    assert ids(run.recommend("ann", 2, page=0))[0] == last  # a list that begins anew is as of now


def test_an_item_that_is_gone_is_on_no_page(run: Run) -> None:
    whole = ids(run.recommend("ann", 5, page=0))
    gone = ItemRows(
        ids=[],
        event_time_ms_B=np.zeros(0, np.int64),
        vectors_BD=np.zeros((0, 4), np.float32),
        gone=Gone([whole[3]], MORNING),
    )
    run.store.publish(5, items=gone)
    assert ids(run.recommend("ann", 2, page=1)) == [whole[2]]


def test_nothing_alike_stands_together_in_a_diverse_list(run: Run) -> None:
    assert {*ids(run.recommend("ann", 3))} == {"coffee", "tea", "42"}
    likes = {"coffee": "hot", "tea": "hot", "beer": "cold", "wine": "cold", "42": "none"}
    assert len({likes[one] for one in ids(run.recommend("ann", 3, diversity=0.9))}) == 3


@given(st.lists(st.sampled_from([-np.inf, -1.0, 0.0, 0.5, 0.5, 2.0]), max_size=40), st.integers(0, 45))
def test_the_largest_are_those_of_a_stable_sort(values: list[float], count: int) -> None:
    value_N: Doubles = np.array(values, np.float64)
    np.testing.assert_array_equal(largest(value_N, count), np.argsort(-value_N, kind="stable")[:count])
    vectors_ND = np.ones((len(values), 3), np.float32)
    finite = [n for n in np.argsort(-value_N, kind="stable")[:count].tolist() if values[n] > -np.inf]
    assert diverse(value_N, vectors_ND, count, 0.0).tolist() == finite
    assert sorted(diverse(value_N, vectors_ND, count, 0.5).tolist()) == sorted(finite)


@pytest.mark.parametrize("kinds", [1, 2, 50, 10**9])
@pytest.mark.parametrize("count", [1, 16, 1000])
def test_the_largest_of_many_are_too(kinds: int, count: int) -> None:
    random = np.random.default_rng(kinds)
    for size in (9_999, 10_000, 70_001):
        value_N = random.integers(0, kinds, size).astype(np.float64)
        value_N[random.integers(0, size, size // 3)] = -np.inf
        expected = np.argsort(-value_N, kind="stable")[:count]
        np.testing.assert_array_equal(largest(value_N, count), expected)


def test_popular_near_the_place_of_somebody_unknown() -> None:
    run = test_scoring.published(DictStore(), copy_score(near=-0.7))
    for place, best in (((40.9, -73.8), "hit"), ((40.6, -73.7), "dull")):
        with pytest.raises(UnknownUserError) as refused:
            run.recommend("bob", 2, lat=place[0], lon=place[1])
        answer = refused.value.answer
        assert answer.by == "popularity"
        assert ids(answer)[0] == best
        assert [reason.reason for reason in answer.items[0].why] == ["unknown user 'bob': popular near there"]  # type: ignore[union-attr]


def visits(*history: tuple[str, int]) -> list[Visit]:
    return [Visit(item, time_ms) for item, time_ms in history]


def test_a_session_is_recommended_what_is_like_its_history(run: Run) -> None:
    answer = run.recommend_after(visits(("beer", MORNING), ("beer", MORNING + HOUR_MS)), 2)
    assert (answer.user, answer.version, answer.by) == ("", 4, "interests")
    assert ids(answer) == ["beer", "wine"]
    assert ids(run.recommend_after(visits(("beer", MORNING)), 1, exclude_seen=True)) == ["wine"]
    assert ids(run.recommend_after(visits(("never heard of", MORNING)), 1)) != []
    with pytest.raises(InputError, match="at least one"):
        run.recommend_after([])


def test_pages_of_one_session_are_not_of_anothers_list(run: Run) -> None:
    histories = [visits((item, MORNING)) for item in ("beer", "coffee")]
    whole = [ids(run.recommend_after(history, 4)) for history in histories]
    assert whole[0] != whole[1]
    later = [visits((history[0].item, MORNING + HOUR_MS)) for history in histories]  # by default it is now
    pages = [
        [ids(run.recommend_after(one, 2, page=page)) for one in (histories, later)[page]] for page in (0, 1)
    ]
    assert [first + second for first, second in zip(*pages, strict=True)] == whole


def test_a_session_is_remembered_as_a_user_is() -> None:
    default = MemoryConfig()
    assert (default.strength_s, default.gain, default.strength_cap_s) == (STRENGTH_S, GAIN, STRENGTH_CAP_S)
    memory = memory_of(visits(("b", 5 * DAY_MS), ("a", 0), ("a", 3 * DAY_MS)))
    assert memory["time_ms"].tolist() == [0, 3 * DAY_MS, 5 * DAY_MS]
    assert memory["last_ms"].tolist() == [3 * DAY_MS, 3 * DAY_MS, 5 * DAY_MS]
    strengthened = STRENGTH_S * (1 + GAIN * (1 - np.exp(-1.0)))
    assert memory["strength_s"].tolist() == pytest.approx([strengthened, strengthened, STRENGTH_S])
