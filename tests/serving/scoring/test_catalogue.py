"""A reader that lives long knows at every version what one knows that has just come."""

from collections.abc import Iterator
from dataclasses import replace

import msgspec
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from serving.answers import UnknownUserError
from serving.run import Run
from serving.scoring.catalogue import ServedCatalogue
from serving.scoring.follower import Follower
from state.errors import InputError
from state.store import versions
from state.store.contract import EmbeddingStore, Gone, Kind, RunInfo
from state.store.in_memory import DictStore
from state.store.kept import NEWEST
from state.store.records import Packed
from state.store.redis import RedisStore
from tests.contracts.test_every_store import Opened, items
from tests.contracts.test_every_store import opened as opened
from tests.contracts.test_every_store import server as server
from tests.serving.scoring.test_scoring import copy_score

INFO = RunInfo(log="planted", learner="stim", width=3, copy=copy_score())
IDS = ("bar", "cafe", "hit", "twin", "dull", "", "7", "日本", "\ud800")
REACH = 3
"""Notes that a feed keeps here."""

ids = st.lists(st.sampled_from(IDS), max_size=5, unique=True)
steps = st.lists(
    st.one_of(
        st.tuples(st.just("publish"), ids, ids),
        st.tuples(st.just("half"), ids, ids),
        st.tuples(
            st.sampled_from(
                ["look", "peek", "empty", "lose items", "lose feed", "lose version", "older", "tell"]
            )
        ),
    ),
    min_size=1,
    max_size=14,
)


def same(store: EmbeddingStore, follower: Follower) -> None:
    """All that a catalogue answers from."""
    info = store.info()
    assert info is not None
    found, fresh = follower.catalogue(), ServedCatalogue(store.items(), info.copy)
    assert found.ids == fresh.ids
    assert found.row_of_id == fresh.row_of_id
    assert found.row_of_id.key_N.tolist() == fresh.row_of_id.key_N.tolist()
    keys = [*fresh.row_of_id.key_N.tolist(), 1]
    assert found.rows(keys).tolist() == fresh.rows(keys).tolist() == [*range(len(fresh.ids)), -1]
    np.testing.assert_array_equal(found.vectors_ND.reshape(fresh.vectors_ND.shape), fresh.vectors_ND)
    assert follower.info == info
    assert found.copy is not None
    assert fresh.copy is not None
    assert found.copy.weights == fresh.copy.weights
    here = np.array([2.35, 48.86])
    assert found.copy._around.best(here, 3).tolist() == fresh.copy._around.best(here, 3).tolist()
    for mine, theirs in zip(found.copy.items, fresh.copy.items, strict=True):
        np.testing.assert_array_equal(mine, theirs)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps)
def test_who_follows_knows_what_a_fresh_reader_does(
    opened: Opened, monkeypatch: pytest.MonkeyPatch, steps: list[tuple[str, ...]]
) -> None:
    monkeypatch.setattr(versions, "FEED", REACH)
    store = opened.store
    store.clear()
    store.put_info(INFO)
    follower, version = Follower(opened.again()), 0
    kept = saved(store)
    for time_ms, (what, *rows) in enumerate(steps, 1):
        if what in ("publish", "half"):
            put, gone = rows
            changed = replace(items(*((i, time_ms, float(time_ms)) for i in put)), gone=Gone(gone, time_ms))
            store.remove("items", changed.gone)
            store.put_items(version + 1, changed)
        if what in ("publish", "look"):
            version += 1
            store.advance(version)
            same(store, follower)
        elif what == "peek":
            follower.catalogue()
        elif what == "tell":
            weights = msgspec.structs.replace(copy_score(), base=float(time_ms))
            store.put_info(msgspec.structs.replace(INFO, copy=weights))
        elif what == "empty":
            store.clear()
            store.put_info(INFO)
            version = 0
        elif what == "older":
            restored(store, kept)
            version = store.version()
        elif what.startswith("lose"):
            lose(store, what.removeprefix("lose "))
            version = store.version()
        if time_ms == 4:
            kept = saved(store)
    store.advance(version + 1)
    same(store, follower)


Saved = dict[str, bytes | None]


def keys(store: RedisStore) -> list[str]:
    return [store._key(name) for name in ("items", "items:feed", "version", "fed", "info", "told")]


def saved(store: EmbeddingStore) -> Saved:
    """What the server would write to its disk now; only one with a server can lose what is newer."""
    return {key: store._redis.dump(key) for key in keys(store)} if isinstance(store, RedisStore) else {}


def restored(store: EmbeddingStore, kept: Saved) -> None:
    if isinstance(store, RedisStore):
        store._redis.unlink(*kept)
        for key, value in kept.items():
            if value is not None:
                store._redis.restore(key, 0, value)


def lose(store: EmbeddingStore, what: str) -> None:
    """A part is evicted; only a server does so."""
    if isinstance(store, RedisStore):
        store._redis.unlink(store._key({"feed": "items:feed"}.get(what, what)))


class Counted(DictStore):
    """Counts how often everything was read."""

    whole = 0

    def pages(self, kind: Kind, at: int = NEWEST) -> Iterator[Packed]:
        self.whole += 1
        return super().pages(kind, at)


def test_only_what_has_changed_is_read() -> None:
    store = Counted()
    store.put_info(INFO)
    store.publish(1, items=items(*((f"i{n}", 1, 1.0) for n in range(1000))))
    follower = Follower(store)
    for version in range(2, 50):
        back = items((f"i{version}", version, 2.0), (f"new {version}", version, 3.0))
        store.publish(version, items=replace(back, gone=Gone([f"i{version + 100}"], version)))
        same_ids = follower.catalogue().ids
        assert len(same_ids) == 1000
    assert store.whole == 1
    follower.catalogue()
    assert store.whole == 1


class Busy(DictStore):
    """Somebody writes while everything is read."""

    def pages(self, kind: Kind, at: int = NEWEST) -> Iterator[Packed]:
        yield from super().pages(kind, at)
        if self.version() == 1:
            self.publish(2, items=replace(items(("a", 2, 2.0), ("c", 2, 2.0)), gone=Gone(["b"], 2)))


def test_what_is_written_while_everything_is_read_comes_with_its_version() -> None:
    store = Busy()
    store.put_info(INFO)
    store.publish(1, items=items(("a", 1, 1.0), ("b", 1, 1.0)))
    follower = Follower(store)
    for _ in range(2):
        assert follower.catalogue().ids == ["a", "c"]
        assert follower.catalogue().vectors_ND[:, 0].tolist() == [2.0, 2.0]
        assert follower.version == 2


def test_answers_follow(opened: Opened) -> None:
    store = opened.store
    store.put_info(INFO)
    store.publish(1, items=items(("bar", 1, 1.0), ("cafe", 1, 2.0)))
    run = Run(opened.again())
    assert [one.item for one in run.similar("bar", 5).items] == ["cafe"]
    store.publish(2, items=replace(items(("hit", 2, 2.0)), gone=Gone(["cafe"], 2)))
    assert [one.item for one in run.similar("bar", 5).items] == ["hit"]
    store.put_info(msgspec.structs.replace(INFO, popular=(("hit", 1.0),)))
    with pytest.raises(UnknownUserError) as unknown:
        run.recommend("nobody")
    assert [one.item for one in unknown.value.answer.items] == ["hit"]


def test_vectors_of_another_width_are_read_as_a_whole_or_refused(opened: Opened) -> None:
    store = opened.store
    store.put_info(INFO)
    store.publish(1, items=items(("a", 1, 1.0), ("b", 1, 1.0)))
    follower = Follower(store)
    follower.catalogue()
    store.publish(2, items=items(("a", 2, 1.0), width=5))
    for _ in range(2):
        with pytest.raises(InputError, match="width"):
            follower.catalogue()
    store.publish(3, items=items(("b", 3, 1.0), width=5))
    assert follower.catalogue().vectors_ND.shape == (2, 5)


def test_a_version_that_is_half_written_is_no_version(opened: Opened) -> None:
    store = opened.store
    store.put_info(INFO)
    store.publish(1, items=items(("a", 1, 1.0)))
    follower = Follower(opened.again())
    assert follower.catalogue().vectors_ND[0, 0] == 1.0
    store.put_items(2, items(("a", 2, 2.0), ("b", 2, 2.0)))
    assert follower.catalogue().ids == ["a"]
    assert follower.catalogue().vectors_ND[0, 0] == 1.0
    store.advance(2)
    assert follower.catalogue().ids == ["a", "b"]
    assert follower.catalogue().vectors_ND[0, 0] == 2.0
