"""Looking around: a memory event by event, where interests point, items by what people call them."""

from collections.abc import Iterator
from pathlib import Path

import msgspec
import numpy as np
import pytest

from serving.answers import PastEvent, Visit
from serving.run import Run
from serving.said import json_of
from serving.scoring.recalled import cell_at
from state.errors import InputError
from state.ids import NO_KEY
from state.store.embedded import open_store
from state.store.in_memory import DictStore
from state.store.records import Record
from tests.serving.scoring import test_scoring
from tests.serving.server import Served, served
from tests.serving.test_answers import BAR, DAY_MS, EVENING, INFO, ITEMS, MORNING, TZ_MIN, habits, published

TOLD = msgspec.structs.replace(
    INFO,
    titles={"coffee": "Black Coffee", "tea": "Green Tea", "beer": "Beer, black"},
    columns={"kind": {"hot": ("coffee", "tea"), "cold": ("beer",)}, "id": {i: (i,) for i in ITEMS}},
)


@pytest.fixture
def run() -> Run:
    return Run(published(DictStore(), TOLD))


def ann(run: Run) -> Record:
    record = run.store.user("ann")
    assert record is not None
    return record


def test_a_memory_is_told_event_by_event_as_of_the_last_event(run: Run) -> None:
    told = run.memory("ann", ann(run))
    memory = habits()
    assert (told.user, told.version, told.utc_offset_min) == ("ann", 4, TZ_MIN)
    assert told.at == told.event_time == "1970-01-31T13:00:00.000Z"
    assert [one.item for one in told.events][-2:] == ["beer", "coffee"]
    assert len(told.events) == len(memory)
    for one, entry in zip(told.events, memory, strict=True):
        age_s = (MORNING - entry["last_ms"]) / 1000
        assert one.retention == pytest.approx(np.exp(-age_s / one.strength_s))
        assert one.label is None
        assert (one.lat is None) == (entry["cell"] == NO_KEY)
        if one.lat is not None and one.lon is not None:
            assert cell_at(one.lat, one.lon) == entry["cell"]


def test_another_time_and_place_are_asked_for(run: Run) -> None:
    there = run.memory("ann", ann(run), at_ms=EVENING + 7 * DAY_MS, lat=BAR[0], lon=BAR[1])
    beer, coffee = there.events[-2:]
    assert beer.hour == pytest.approx(1.0)
    assert beer.place == 1.0 > coffee.place
    assert coffee.hour < 0.1
    assert beer.retention < run.memory("ann", ann(run)).events[-2].retention
    with pytest.raises(InputError, match="both --lat and --lon"):
        run.memory("ann", ann(run), lat=1.0)


def test_an_interest_is_told_by_the_items_it_points_at(run: Run) -> None:
    recent, hour = run.memory("ann", ann(run), 2).interests
    assert (recent.name, hour.name) == ("recent", "hour")
    assert recent.length == pytest.approx(np.hypot(0.3, 0.3))
    assert [one.item for one in hour.items] == ["tea", "coffee"]
    assert hour.items[1].score == pytest.approx(1.5 / np.hypot(1.5, 0.2), abs=1e-6)


def test_an_interest_of_no_length_points_nowhere(run: Run) -> None:
    record = ann(run)
    vectors_KD = record.vectors_KD.copy()
    vectors_KD[0, :-1] = 0.0
    still = Record(record.version, record.event_time_ms, vectors_KD, record.left_out, record.memory)
    assert [one.name for one in run.memory("ann", still).interests] == ["hour"]


@pytest.mark.parametrize(
    ("words", "found"),
    [
        ("", ["42", "coffee", "beer"]),
        ("black", ["coffee", "beer"]),  # the more popular first
        ("BEER  black", ["beer"]),
        ("tea", ["tea"]),
        ("green", ["tea"]),
        ("4", ["42"]),
        ("wine", ["wine"]),  # by its id, without a title
        ("nothing", []),
    ],
)
def test_items_are_found_by_words_of_title_and_id(run: Run, words: str, found: list[str]) -> None:
    assert [one.item for one in run.items(words, 3).items] == found


def test_what_is_known_of_items_is_told_what_tells_most_apart_first(run: Run) -> None:
    tea, unknown = run.facts(["tea", "water"]).items
    assert (tea.title, tea.columns) == ("Green Tea", {"id": ["tea"], "kind": ["hot"]})
    assert list(tea.columns) == ["id", "kind"]
    assert (unknown.title, unknown.columns) == (None, {})


def test_what_is_known_is_that_of_the_newest_table(run: Run) -> None:
    run.facts(["tea"])
    run.store.put_info(msgspec.structs.replace(TOLD, columns={"kind": {"cold": ("tea",)}}))
    run.refresh()
    (tea,) = run.facts(["tea"]).items
    assert (tea.title, tea.columns) == ("Green Tea", {"kind": ["cold"]})
    run.store.put_info(
        msgspec.structs.replace(TOLD, columns={"kind": {"cold": ("tea",)}}, titles={"tea": "Oolong"})
    )
    run.refresh()
    (tea,) = run.facts(["tea"]).items
    assert (tea.title, tea.columns) == ("Oolong", {"kind": ["cold"]})
    assert [one.item for one in run.items("oolong").items] == ["tea"]


@pytest.mark.parametrize(("label", "speaks"), [(1.0, True), (None, True), (0.5, False), (0.0, False)])
def test_what_came_out_badly_in_a_session_does_not_speak(label: float | None, speaks: bool) -> None:
    run = test_scoring.published(DictStore(), test_scoring.copy_score())
    answer = run.recommend_after([Visit("bar", test_scoring.LAST_MS, label=label)], 5)
    (why,) = [one.why for one in answer.items if one.item == "bar"]
    assert any(isinstance(reason, PastEvent) for reason in why) == speaks


@pytest.fixture(scope="module")
def web(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder: Path = tmp_path_factory.mktemp("run")
    published(open_store(folder, create=True), TOLD).close()
    with served(str(folder)) as found:
        yield found


def test_the_routes_answer_as_a_run_does(web: Served, run: Run) -> None:
    asked = web.ask("/users/ann/memory?at=1970-02-06T02:00:00Z&lat=40.68&lon=-73.94&k=2").json()
    assert asked == json_of(
        run.memory("ann", ann(run), 2, at_ms=EVENING + 6 * DAY_MS, lat=BAR[0], lon=BAR[1])
    )
    assert web.ask("/items?q=black&k=1").json() == json_of(run.items("black", 1))
    assert web.ask("/items:batch", {"items": ["tea", "water"]}).json() == json_of(run.facts(["tea", "water"]))
    assert web.ask("/users?k=5").json() == {"users": ["ann"]}


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/users/bob/memory", 404),
        ("/users/ann/memory?lat=1", 422),
        ("/users/ann/memory?at=yesterday", 400),
        ("/users?k=101", 422),
        (f"/items?q={'x' * 201}", 422),
        ("/items?what=this", 422),
    ],
)
def test_a_question_that_is_none_is_a_problem(web: Served, path: str, status: int) -> None:
    answer = web.ask(path)
    assert (answer.status, answer.headers["content-type"]) == (status, "application/problem+json")
