"""One contract for every store, found by reflection; and what only a store with a server can get wrong."""

import itertools
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import redis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from state.errors import InputError
from state.store.cluster import SlotStore, sharded
from state.store.contract import EmbeddingStore, Gone, ItemRows, RunInfo, UserRows
from state.store.embedded import EmbeddedStore, open_store
from state.store.in_memory import DictStore
from state.store.records import MEMORY_ENTRY, MEMORY_LIMIT, TOTAL, Entries
from state.store.redis import RedisStore
from state.store.server import EmbeddedServer
from state.store.sharded import ShardedStore
from tests.valkeys import Cluster, free_port, serving

serial = itertools.count()
Open = Callable[[], EmbeddingStore]
"""Opens the same store again; each store shares what it holds with the others."""


def stores() -> list[type[EmbeddingStore]]:
    """Every store that the product has."""
    found: list[type[EmbeddingStore]] = []
    waiting = EmbeddingStore.__subclasses__()
    found += waiting
    while waiting:
        subclasses = waiting.pop().__subclasses__()
        found += subclasses
        waiting += subclasses
    product = [store for store in found if not store.__module__.startswith("tests.")]
    return sorted(product, key=lambda store: store.__name__)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedServer]:
    held = EmbeddedServer(tmp_path_factory.mktemp("shared"))
    yield held
    held.stop()


@dataclass
class Opened:
    store: EmbeddingStore
    again: Open


@pytest.fixture(params=stores(), ids=lambda kind: kind.__name__)
def opened(
    request: pytest.FixtureRequest, server: EmbeddedServer, servers: Cluster, tmp_path: Path
) -> Iterator[Opened]:
    """A store of each kind. A new kind needs an entry here: how to open it on an empty place."""
    run = f"run-{next(serial)}"
    only = DictStore()
    ways: dict[type[EmbeddingStore], Open] = {
        DictStore: lambda: only,
        RedisStore: lambda: RedisStore(f"unix://{server.ensure()}?run={run}"),
        EmbeddedStore: lambda: EmbeddedStore(tmp_path / "store"),
        SlotStore: lambda: SlotStore(servers.url(f"run={run}")),
        ShardedStore: lambda: sharded(servers.url(f"run={run}&shards=4")),
    }
    made: list[EmbeddingStore] = []

    def again() -> EmbeddingStore:
        made.append(ways[request.param]())
        return made[-1]

    yield Opened(again(), again)
    for store in made:
        store.close()


def items(*rows: tuple[str, int, float], width: int = 3) -> ItemRows:
    """Items as (id, event time, what fills the vector)."""
    return ItemRows(
        ids=[identifier for identifier, _, _ in rows],
        event_time_ms_B=np.array([time_ms for _, time_ms, _ in rows], np.int64),
        vectors_BD=np.array([[value] * width for _, _, value in rows], np.float32).reshape(-1, width),
    )


def memory(*keys: int) -> Entries:
    entries = np.zeros(len(keys), MEMORY_ENTRY)
    entries["item"] = keys
    entries["time_ms"] = np.arange(len(keys))
    return entries


def test_what_is_put_is_read(opened: Opened) -> None:
    store = opened.store
    interests = np.arange(12, dtype=np.float32).reshape(1, 3, 4)
    users = UserRows(
        ids=["ann"],
        event_time_ms_B=np.array([70]),
        interests_BKD=interests,
        memory_B=[memory(5, 6)],
        totals_B=[np.array([(5, 1, 2, 3.0, 2.5, 4), (7, 8, 9, 1.0, 0.5, 70)], TOTAL)],
        left_out_B=[np.array([-8, 9])],
    )
    assert store.put_users(2, users) == 1
    assert store.put_items(2, items(("b", 71, 1.5), ("a", 72, -2.5))) == 2
    user, item, everything = store.user("ann"), store.item("a"), store.items()
    assert user is not None
    assert item is not None
    np.testing.assert_array_equal(user.vectors_KD, interests[0])
    np.testing.assert_array_equal(user.memory, memory(5, 6))
    assert user.totals.tolist() == [(5, 1, 2, 3.0, 2.5, 4), (7, 8, 9, 1.0, 0.5, 70)]
    assert (user.stamp, user.left_out.tolist()) == ((2, 70), [-8, 9])
    assert (item.stamp, item.vectors_KD.tolist(), len(item.memory)) == ((2, 72), [[-2.5] * 3], 0)
    assert everything.ids == ["a", "b"]
    assert everything.event_time_ms_N.tolist() == [72, 71]
    assert everything.version_N.tolist() == [2, 2]
    assert everything.vectors_ND[:, 0].tolist() == [-2.5, 1.5]
    assert store.counts() == {"users": 1, "items": 2}


def test_what_was_never_put_is_unknown(opened: Opened) -> None:
    store = opened.store
    assert store.user("ann") is None
    assert store.item("ann") is None
    assert store.info() is None
    assert store.version() == 0
    assert store.items().ids == []
    assert store.put_items(1, items()) == 0


@pytest.mark.parametrize("identifier", ["", "7", "a b", "日本", "new\nline", "nul\0", "{x}:users", "\ud800"])
def test_any_text_is_an_id(opened: Opened, identifier: str) -> None:
    opened.store.put_items(1, items((identifier, 5, 1.0), ("other", 5, 2.0)))
    found = opened.store.item(identifier)
    assert found is not None
    assert found.vectors_KD[0, 0] == 1.0
    assert identifier in opened.store.items().ids


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(
    st.lists(
        st.tuples(
            st.integers(0, 3),
            st.lists(st.tuples(st.sampled_from("abc"), st.integers(-2, 2)), max_size=6),
        ),
        max_size=8,
    )
)
def test_a_row_never_goes_backwards(opened: Opened, puts: list[tuple[int, list[tuple[str, int]]]]) -> None:
    store = opened.store
    store.clear()
    held: dict[str, tuple[int, int, int]] = {}
    serial = 0
    for version, rows in puts:
        numbered = [(identifier, time_ms, serial + n) for n, (identifier, time_ms) in enumerate(rows)]
        serial += len(rows)
        taken = 0
        for identifier, time_ms, number in numbered:
            if identifier not in held or (version, time_ms) >= held[identifier][:2]:
                held[identifier] = (version, time_ms, number)
                taken += 1
        assert store.put_items(version, items(*((i, t, float(n)) for i, t, n in numbered))) == taken
    everything = store.items()
    found = zip(
        everything.ids,
        everything.version_N.tolist(),
        everything.event_time_ms_N.tolist(),
        everything.vectors_ND[:, 0].tolist() if everything.ids else [],
        strict=True,
    )
    assert {identifier: rest for identifier, *rest in found} == {k: list(v) for k, v in held.items()}


def test_who_is_gone_is_removed_unless_a_newer_event_came(opened: Opened) -> None:
    store = opened.store
    store.put_items(1, items(*((f"i{n}", n, float(n)) for n in range(300))))
    assert store.remove("items", Gone([f"i{n}" for n in range(50, 400)], 200)) == 150
    assert store.items().ids == sorted(f"i{n}" for n in range(300) if not 50 <= n < 200)
    assert store.remove("items", Gone(["i49", "i49", "nobody"], 49)) == 0
    assert store.remove("items", Gone(["i49", "i49"], 50)) == 1
    assert store.remove("users", Gone(["i48"], 1000)) == 0
    assert store.remove("items", Gone()) == 0
    assert store.counts() == {"users": 0, "items": 149}


def test_what_is_published_after_going_is_there(opened: Opened) -> None:
    store = opened.store
    store.publish(1, items=items(("a", 1, 1.0), ("b", 1, 1.0)))
    back = replace(items(("a", 9, 2.0)), gone=Gone(["a", "b"], 5))
    store.publish(2, items=back)
    assert store.items().ids == ["a"]
    assert store.items().event_time_ms_N.tolist() == [9]


def test_two_racing_writers_leave_the_newest(opened: Opened) -> None:
    ids = [str(n) for n in range(400)]
    first, second = opened.store, opened.again()
    errors: list[BaseException] = []

    def write(store: EmbeddingStore, times: list[int]) -> None:
        try:
            for time_ms in times:
                store.put_items(1, items(*((i, time_ms, float(time_ms)) for i in ids)))
        except BaseException as error:
            errors.append(error)

    threads = [
        threading.Thread(target=write, args=(first, list(range(0, 20, 2)))),
        threading.Thread(target=write, args=(second, list(range(19, 0, -2)))),
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors
    everything = first.items()
    assert set(everything.event_time_ms_N.tolist()) == {19}
    assert set(everything.vectors_ND.ravel().tolist()) == {19.0}


def test_the_pointer_never_moves_back(opened: Opened) -> None:
    store = opened.store
    users = UserRows(ids=["u"], event_time_ms_B=np.array([1]), interests_BKD=np.zeros((1, 1, 3), np.float32))
    store.publish(1, users, items(("a", 1, 1.0)))
    store.publish(5, users, items(("a", 2, 2.0)))
    assert store.version() == 5
    assert store.advance(4) == 5
    assert store.advance(6) == store.version() == 6


def test_what_is_said_of_the_run(opened: Opened) -> None:
    info = RunInfo(
        log="planted",
        learner="two-tower",
        width=33,
        leave_out="session",
        label="rating>=4",
        interests=("recent", "hour"),
        popular=(("i1", 3.5), ("日本", 2.0)),
        item_names={"5": "x"},
    )
    opened.store.put_info(info)
    assert opened.again().info() == info


def test_what_the_trainer_says_of_itself(opened: Opened) -> None:
    assert opened.store.status() is None
    opened.store.put_status(b"busy")
    opened.store.put_status(b"idle")
    assert opened.again().status() == b"idle"
    opened.store.clear()
    assert opened.store.status() is None


def test_what_the_trainer_is_asked_waits_until_it_is_taken_up(opened: Opened) -> None:
    assert opened.store.request() is None
    opened.store.put_request(b"first")
    opened.store.put_request(b"second")
    assert opened.again().request() == b"second"
    opened.again().put_request(None)
    assert opened.store.request() is None
    opened.store.put_request(b"third")
    opened.store.clear()
    assert opened.store.request() is None


def test_many_rows_in_one_call(opened: Opened) -> None:
    size = 20_000
    vectors = np.random.default_rng(0).normal(size=(size, 5)).astype(np.float32)
    rows = ItemRows(
        ids=[f"item {n}" for n in range(size)], event_time_ms_B=np.arange(size), vectors_BD=vectors
    )
    assert opened.store.put_items(1, rows) == size
    everything = opened.store.items()
    order = np.argsort(np.array(rows.ids))
    np.testing.assert_array_equal(everything.vectors_ND, vectors[order])


def test_some_ids_are_drawn_and_the_mark_is_none(opened: Opened) -> None:
    assert opened.store.some("items", 3) == []
    opened.store.mark(b"mine")
    opened.store.put_items(1, items(("a", 1, 0.0), ("b", 1, 0.0), ("日", 1, 0.0)))
    assert sorted(opened.store.some("items", 9)) == ["a", "b", "日"]
    drawn = opened.again().some("items", 2)
    assert len(set(drawn)) == 2
    assert set(drawn) <= {"a", "b", "日"}
    assert opened.store.some("users", 2) == []


def test_a_memory_is_bounded(opened: Opened) -> None:
    size = MEMORY_LIMIT + 10
    opened.store.put_users(
        1,
        UserRows(
            ids=["u", "v"],
            event_time_ms_B=np.array([1, 1]),
            interests_BKD=np.zeros((2, 1, 3), np.float32),
            memory_B=[memory(*range(size)), memory()],
        ),
    )
    user = opened.store.user("u")
    assert user is not None
    assert user.memory["item"].tolist() == list(range(10, size))


def test_a_cleared_run_starts_anew(opened: Opened) -> None:
    store = opened.store
    store.publish(9, items=items(("a", 9, 1.0)))
    store.put_info(RunInfo(log="l", learner="x"))
    store.clear()
    assert (store.version(), store.info(), store.counts()) == (0, None, {"users": 0, "items": 0})
    assert store.put_items(1, items(("a", 1, 2.0))) == 1


def test_vectors_that_are_no_numbers_are_refused(opened: Opened) -> None:
    with pytest.raises(InputError, match=r"vector of 'b' .*\(1 of 2 rows\).*lower its learning rate"):
        opened.store.put_items(1, items(("a", 1, 1.0), ("b", 1, float("nan"))))
    assert opened.store.counts()["items"] == 0


def test_mixed_widths_are_refused(opened: Opened) -> None:
    opened.store.put_items(1, items(("a", 1, 1.0), width=20))
    opened.store.put_items(1, items(("b", 1, 1.0), width=30))
    with pytest.raises(InputError, match="width"):
        opened.store.items()


def test_runs_share_a_server(server: EmbeddedServer) -> None:
    with (
        RedisStore(f"unix://{server.ensure()}?run=one") as one,
        RedisStore(f"unix://{server.ensure()}?run=two") as two,
    ):
        one.publish(3, items=items(("a", 1, 1.0)))
        assert two.version() == 0
        two.clear()
        assert one.item("a") is not None


def test_over_tcp_with_a_password(tmp_path: Path) -> None:
    port = free_port()
    process = serving(tmp_path, port)
    try:
        with redis.Redis(port=port) as client:
            client.config_set("requirepass", "hush")
        store = RedisStore(f"redis://:hush@127.0.0.1:{port}/0?run=tcp")
        store.publish(1, items=items(("a", 1, 1.0)))
        assert store.items().ids == ["a"]
        assert "hush" not in repr(store)
        store.close()
        with pytest.raises(InputError, match="refuses the user or password") as refused:
            RedisStore(f"redis://:hush2@127.0.0.1:{port}/0").version()
        assert "hush" not in str(refused.value)
    finally:
        process.terminate()
        process.wait()


def test_an_unreachable_redis_says_where_and_what_to_do() -> None:
    with pytest.raises(InputError) as refused:
        RedisStore(f"redis://me:hush@127.0.0.1:{free_port()}/0").version()
    said = str(refused.value)
    assert "\n" not in said
    assert "hush" not in said
    assert said.startswith("redis://127.0.0.1:")
    assert "start Redis there, or one with `ebbtide services up`" in said


@pytest.mark.parametrize(
    ("target", "said"),
    [
        ("ftp://host/x", "no store of this kind"),
        ("redis://host:notaport/0", "no such address"),
        ("redis://host/0?run=a/b", "is no name"),
        ("nowhere", "no embeddings there"),
        ("embedded:nowhere", "no embeddings there"),
    ],
)
def test_a_target_that_names_no_store(
    target: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=said):
        open_store(target)
    assert not list(tmp_path.iterdir())
