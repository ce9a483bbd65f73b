"""What a reader has to read anew: told by every store in the same way, or said not to be known."""

from collections.abc import Iterator

import numpy as np
import pytest
import redis

from state.store import versions
from state.store.contract import EmbeddingStore, Gone, ItemRows, RunInfo, UserRows
from state.store.redis import RedisStore
from state.store.server import EmbeddedServer
from state.store.versions import NOWHERE
from tests.contracts.test_every_store import Opened, items
from tests.contracts.test_every_store import opened as opened
from tests.contracts.test_every_store import server as server


def told(store: EmbeddingStore, since: bytes) -> tuple[dict[str, float], set[str]]:
    """What has changed: ids with what fills their vectors, and ids that are gone."""
    changes = store.changes("items", since)
    assert changes is not None
    names = changes.rows.names()
    assert len(names) == len(set(names))
    found = {}
    for b, name in enumerate(names):
        found[name] = float(np.frombuffer(changes.rows.row(b), "<f4")[-1])
    return found, set(changes.gone)


def position(store: EmbeddingStore) -> bytes:
    found = store.position("items")
    assert found != NOWHERE
    return found


def test_what_was_put_or_removed_since_is_told_as_it_is_now(opened: Opened) -> None:
    store = opened.store
    store.publish(1, items=items(("a", 1, 1.0), ("b", 1, 1.0), ("c", 1, 1.0)))
    start = position(store)
    assert told(store, start) == ({}, set())
    store.publish(2, items=items(("a", 2, 2.0), ("d", 2, 2.0)))
    store.publish(3, items=items(("a", 3, 3.0)))
    assert store.remove("items", Gone(["b", "nobody"], 2)) == 1
    assert told(opened.again(), start) == ({"a": 3.0, "d": 2.0}, {"b"})
    assert told(store, position(store)) == ({}, set())
    store.put_items(4, items(("b", 4, 4.0)))
    assert told(store, start) == ({"a": 3.0, "d": 2.0, "b": 4.0}, set())


def test_the_position_goes_on_from_what_was_told(opened: Opened) -> None:
    store = opened.store
    store.put_items(1, items(("a", 1, 1.0)))
    first = store.changes("items", position(store))
    store.put_items(2, items(("b", 2, 2.0)))
    assert first is not None
    second = store.changes("items", first.position)
    assert second is not None
    assert second.rows.names() == ["b"]
    assert second.position == position(store)


def test_users_and_items_have_a_feed_each(opened: Opened) -> None:
    store = opened.store
    users = UserRows(ids=["a"], event_time_ms_B=np.array([1]), interests_BKD=np.ones((1, 1, 3), np.float32))
    store.publish(1, users, items(("a", 1, 1.0)))
    start = store.position("users")
    store.put_items(2, items(("b", 1, 1.0)))
    assert changes_of(store, start) == []
    store.put_users(2, users)
    assert changes_of(store, start) == ["a"]


def changes_of(store: EmbeddingStore, since: bytes) -> list[str]:
    changes = store.changes("users", since)
    assert changes is not None
    return changes.rows.names()


@pytest.mark.parametrize("identifier", ["", "a b", "日本", "nul\0", "\ud800"])
def test_any_text_is_told(opened: Opened, identifier: str) -> None:
    store = opened.store
    store.put_items(1, items(("other", 1, 1.0)))
    start = position(store)
    store.put_items(1, items((identifier, 5, 2.0)))
    assert told(store, start) == ({identifier: 2.0}, set())
    store.remove("items", Gone([identifier], 6))
    assert told(store, start) == ({}, {identifier})


def test_many_are_told(opened: Opened) -> None:
    store = opened.store
    store.put_items(1, items(("first", 1, 1.0)))
    start = position(store)
    rows = ItemRows(
        ids=[f"item {n}" for n in range(20_000)],
        event_time_ms_B=np.ones(20_000, np.int64),
        vectors_BD=np.repeat(np.arange(20_000, dtype=np.float32)[:, np.newaxis], 3, axis=1),
    )
    store.put_items(2, rows)
    assert told(store, start) == ({f"item {n}": float(n) for n in range(20_000)}, set())


def test_a_feed_reaches_back_so_far(opened: Opened, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(versions, "FEED", 3)
    store = opened.store
    positions = []
    for n in range(5):
        store.put_items(n, items(("a", n, float(n))))
        positions.append(position(store))
    assert [store.changes("items", at) is not None for at in positions] == [False, False, True, True, True]


def test_where_nothing_is_known_it_is_said(opened: Opened) -> None:
    store = opened.store
    assert store.position("items") == NOWHERE
    assert store.changes("items", NOWHERE) is None
    store.publish(1, items=items(("a", 1, 1.0)))
    before = position(store)
    assert store.changes("items", NOWHERE) is None
    store.clear()
    assert store.changes("items", before) is None
    store.publish(1, items=items(("a", 1, 1.0)))
    assert store.changes("items", before) is None
    assert position(store) != before


def test_a_moved_pointer_is_told_from_every_other(opened: Opened) -> None:
    store = opened.store
    seen = [store.pointer()]
    for version in (1, 2):
        store.publish(version, items=items(("a", version, 1.0)))
        seen.append(store.pointer())
    assert store.advance(1) == 2
    assert opened.again().pointer() == seen[-1]
    store.mark(b"ours")
    store.put_users(
        2, UserRows(ids=["a"], event_time_ms_B=np.array([1]), interests_BKD=np.ones((1, 1, 3), np.float32))
    )
    store.mark(b"ours")
    assert store.intact(b"ours", 2, 5)
    seen.append(store.pointer())
    store.put_info(RunInfo(log="l", learner="x"))
    seen.append(store.pointer())
    store.clear()
    store.publish(1, items=items(("a", 1, 1.0)))
    seen.append(store.pointer())
    assert [pointer.version for pointer in seen] == [0, 1, 2, 5, 5, 1]
    assert len({pointer.moved for pointer in seen}) == 5
    assert len({pointer.told for pointer in seen}) == 2


@pytest.fixture
def evicting(server: EmbeddedServer) -> Iterator[tuple[RedisStore, redis.Redis]]:
    with RedisStore(f"unix://{server.ensure()}?run=fed") as store:
        store.clear()
        store.publish(1, items=items(("a", 1, 1.0), ("b", 1, 1.0)))
        with redis.Redis(unix_socket_path=server.ensure()) as client:
            yield store, client


@pytest.mark.parametrize("lost", ["items", "items:feed", "version", "fed"])
def test_what_a_server_has_lost_a_part_of_is_read_again(
    evicting: tuple[RedisStore, redis.Redis], lost: str
) -> None:
    store, client = evicting
    before = position(store)
    client.unlink(f"ebbtide:{{fed}}:{lost}")
    assert store.changes("items", before) is None
    store.put_items(1, items(("a", 2, 2.0)))
    store.advance(2)
    assert store.changes("items", before) is None


def test_a_server_restarted_from_older_data_has_another_history(
    evicting: tuple[RedisStore, redis.Redis],
) -> None:
    store, client = evicting
    keys = [f"ebbtide:{{fed}}:{name}" for name in ("items", "items:feed", "version", "fed")]
    older, before = [client.dump(key) for key in keys], position(store)
    store.publish(2, items=items(("a", 2, 2.0)))
    newer = position(store)
    for key, value in zip(keys, older, strict=True):
        assert value is not None
        client.restore(key, 0, value, replace=True)
    assert told(store, before) == ({}, set())
    assert store.changes("items", newer) is None
    store.publish(2, items=items(("b", 2, 2.0)))
    assert store.changes("items", newer) is None
    assert told(store, before) == ({"b": 2.0}, set())


def test_a_note_is_known_by_its_token_too(evicting: tuple[RedisStore, redis.Redis]) -> None:
    """Ids of notes are moments: two histories may have one of the same millisecond."""
    store, _ = evicting
    note, _, _ = position(store).partition(b" ")
    assert store.changes("items", note + b" another!") is None


def test_an_earlier_release_that_writes_no_feed_is_noticed(
    evicting: tuple[RedisStore, redis.Redis],
) -> None:
    store, client = evicting
    before = position(store)
    row = client.hget("ebbtide:{fed}:items", "a")
    assert row is not None
    client.hset("ebbtide:{fed}:items", "c", row)
    client.set("ebbtide:{fed}:version", 2)
    assert store.changes("items", before) is None
    assert store.position("items") == NOWHERE
    store.put_items(3, items(("d", 3, 3.0)))
    store.advance(3)
    assert store.changes("items", before) is None
    assert store.items().ids == ["a", "b", "c", "d"]
    store.publish(4, items=items(("e", 4, 4.0)))
    start = position(store)
    store.publish(5, items=items(("e", 5, 5.0)))
    assert told(store, start) == ({"e": 5.0}, set())
