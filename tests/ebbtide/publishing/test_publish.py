"""What is published of a user: the last window, with the last event in it, from where the user was last."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import ebbtide
from ebbtide.publishing.publish import Publisher, at_last_place, memory_entries
from learners.contract import Learner, Needs, RankRequest, Settings
from learners.tables.expiry import Forgotten
from learners.tables.leaveout import Had
from learners.training.trainer import Scored
from serving.run import Run
from serving.scoring.recalled import last_place, recalled
from state.examples import ExampleBatch, Floats
from state.keys import NO_KEY, Int64s, Names
from state.memory.after import after
from state.memory.mask import select
from state.store.contract import RunInfo
from state.store.embedded import open_store
from state.store.in_memory import DictStore
from state.store.records import MEMORY_LIMIT, Record
from streams.operator import Operator, OperatorConfig
from streams.schema import EventBatch
from tests.learners.streams import context
from tests.replay.events import write_csv

HOUR_MS = 3_600_000
HOME, NEAR, AWAY = (40.75, -73.99), (40.752, -73.99), (48.86, 2.35)
NOWHERE = (np.nan, np.nan)
INFO = RunInfo(log="-", learner="-", width=1, interests=(), popular=())


def last_row(*points: tuple[float, float], own_place: bool, window: int = 6) -> ExampleBatch:
    """The example of a user's last event, each at the next point."""
    lat, lon = (np.array(column) for column in zip(*points, strict=True))
    size = len(points)
    events = EventBatch.of(
        user=np.ones(size, np.int64),
        item=np.arange(size),
        time_ms=np.arange(size, dtype=np.int64) * HOUR_MS,
        lat=lat,
        lon=lon,
    )
    operator = Operator(OperatorConfig(own_place=own_place), window)
    return operator.process(events, 0).take(slice(size - 1, size))


def remembered(rows: ExampleBatch) -> ExampleBatch:
    return after(rows, select(6), known=True, periodic=True)


def places(rows: ExampleBatch) -> list[float]:
    assert rows.window is not None
    return list(rows.window.place_BW[0, : rows.window.length_B[0]])


def test_the_own_event_is_where_the_user_was_last() -> None:
    for own_place in (True, False):
        row = last_row(HOME, AWAY, NEAR, own_place=own_place)
        assert places(at_last_place(remembered(row))) == [0.5, 0.0, 1.0]


def test_under_a_delay_the_place_is_the_last_that_is_known() -> None:
    for own_place in (True, False):
        assert places(at_last_place(last_row(HOME, AWAY, NEAR, own_place=own_place))) == [0.0, 1.0]


def test_an_event_without_a_place_leaves_the_user_where_it_was() -> None:
    for own_place in (True, False):
        row = last_row(HOME, AWAY, NOWHERE, own_place=own_place)
        assert places(at_last_place(remembered(row))) == [0.0, 1.0, 0.0]


def test_a_query_sees_the_place_that_was_published() -> None:
    for points in ((HOME, AWAY, NEAR), (HOME, AWAY, NOWHERE), (NOWHERE,), (HOME, NEAR, AWAY, HOME)):
        row = at_last_place(remembered(last_row(*points, own_place=False, window=3)))
        (memory,) = memory_entries(row)
        record = Record(
            version=1,
            event_time_ms=int(row.time_ms_B[0]),
            vectors_KD=np.zeros((1, 1), np.float32),
            memory=memory,
            left_out=np.zeros(0, np.int64),
        )
        then = recalled(record, INFO, record.event_time_ms, last_place(memory))
        assert then.place_W.tolist() == places(row)


def test_without_a_window_there_is_nothing_to_place() -> None:
    row = last_row(HOME, own_place=True, window=0)
    assert at_last_place(remembered(row)) is row
    assert last_place(np.zeros(0, [("cell", np.int64)])) == NO_KEY


class Wide(Learner):
    """Looks at more of the memory than a store holds."""

    @property
    def needs(self) -> Needs:
        return Needs(window=400, newest=400)

    def item_vectors(self, keys_N: Int64s) -> Floats:
        return np.ones((len(keys_N), 1), np.float32)

    def interests(self, batch: ExampleBatch) -> Floats:
        assert batch.window is not None
        return batch.window.length_B[:, np.newaxis, np.newaxis].astype(np.float32)


def batches(size: int = 700, chunk: int = 64, delay_ms: int = 0) -> list[Scored]:
    """Two users in turn, each with one item after another."""
    operator = Operator(OperatorConfig(label_delay_ms=delay_ms), 400, 400)
    number = np.arange(size)
    events = EventBatch.of(user=number % 2, item=number, time_ms=number * HOUR_MS)
    nothing = np.zeros(0, np.int64)
    request = RankRequest(nothing, nothing, nothing, np.zeros(1, np.int64), nothing)
    return [
        Scored(operator.process(events.take(slice(at, at + chunk)), 0), request, {})
        for at in range(0, size, chunk)
    ]


def publisher(known: bool = True) -> Publisher:
    learner = Wide(Settings(), context())
    return Publisher(DictStore(), learner, Names(), Had("none"), every=10**9, known=known, periodic=True)


def held(made: Publisher, user: int) -> Record:
    """What a publisher has put into its store."""
    assert isinstance(made.sink, DictStore)
    record = made.sink.user(str(user))
    assert record is not None
    return record


@pytest.mark.parametrize("delay_ms", [0, 1])
def test_a_wider_memory_is_published_as_far_as_a_store_holds(delay_ms: int) -> None:
    made = publisher(known=not delay_ms)
    for scored in batches(delay_ms=delay_ms):
        made(scored)
    made.flush()
    for user in (0, 1):
        record = held(made, user)
        newest = 696 + user if delay_ms else 698 + user
        expected = np.arange(newest, 0, -2)[:MEMORY_LIMIT][::-1]
        assert record.memory["item"].tolist() == expected.tolist()
        assert record.memory["time_ms"].tolist() == (expected * HOUR_MS).tolist()
        assert record.vectors_KD.tolist() == [[349.0 if delay_ms else 350.0]]


def test_who_was_forgotten_is_removed_with_the_next_delta_and_may_come_back() -> None:
    made, resumed = publisher(True), publisher(True)
    parts = batches(size=40, chunk=10)
    made(parts[0])
    made.flush()
    gone = Forgotten(0, 12 * HOUR_MS, 0, np.array([0, 1, 7]), np.array([3]), np.arange(4))
    only_0 = replace(parts[1], batch=parts[1].batch.take(np.flatnonzero(parts[1].batch.user_B == 0)))
    made(replace(only_0, forgotten=(gone,)))
    resumed.load(made.tree())
    resumed.sink = made.sink
    resumed.flush()
    assert held(made, 0).stamp == (2, 18 * HOUR_MS)
    assert isinstance(made.sink, DictStore)
    assert made.sink.user("1") is None
    resumed(parts[2])
    resumed.flush()
    assert held(made, 1).stamp == (3, 29 * HOUR_MS)


def test_a_publisher_goes_on_after_a_checkpoint() -> None:
    whole, first, second = publisher(), publisher(), publisher()
    parts = batches()
    for scored in parts:
        whole(scored)
    for scored in parts[:5]:
        first(scored)
    second.load(first.tree())
    for scored in parts[5:]:
        second(scored)
    whole.flush()
    second.flush()
    for user in (0, 1):
        assert held(whole, user).memory.tobytes() == held(second, user).memory.tobytes()


def test_items_are_found_by_the_categories_of_their_newest_row(tmp_path: Path) -> None:
    events = [f"u{n % 5},i{n % 4},{1_600_000_000 + 60 * n}" for n in range(200)]
    log = write_csv(tmp_path / "log.csv", "user,item,time", events)
    items = write_csv(
        tmp_path / "items.csv",
        "item,since,genres,title",
        [
            *("i0,2019-01-01,jazz|pop,A", "i0,2020-01-01,rock|pop,A"),
            *("i1,2019-01-01,jazz|rock,B", "i9,2019-01-01,pop|jazz,C"),
        ],
    )
    ebbtide.replay(log, tmp_path / "out", items=items, learner="twotower", floors=False)
    with Run(open_store(tmp_path / "out")) as run:
        columns = {column: {v: set(ids) for v, ids in of.items()} for column, of in run.info.columns.items()}
        assert columns == {"genres": {"rock": {"i0", "i1"}, "pop": {"i0", "i9"}, "jazz": {"i1", "i9"}}}
        found = run.recommend("u1", only={"genres": ["jazz"]}, exclude_seen=False)
        assert [one.item for one in found.items] == ["i1"]
