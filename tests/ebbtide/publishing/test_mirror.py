"""What a store has lost is published again, as it was: from the file that a trainer keeps of it."""

import sqlite3
import threading
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from ebbtide.publishing.delivery import Delivery
from ebbtide.publishing.mirror import NAME, Mirror, remove
from serving.scoring.follower import Follower
from state.progress import trainer_status
from state.store.contract import KINDS, EmbeddingStore, Gone, RunInfo
from state.store.in_memory import DictStore
from state.store.records import Packed, pack
from tests.ebbtide.commands.test_status import trainer as status
from tests.ebbtide.live.test_live_parts import delta
from tests.patience import PATIENCE_S, until

INFO = RunInfo(log="live", learner="x", width=2)


def rows(store: EmbeddingStore) -> dict[str, list[tuple[bytes, bytes]]]:
    """Everything, as bytes."""
    return {
        kind: sorted((page.ids[b], page.row(b)) for page in store.pages(kind) for b in range(len(page)))
        for kind in KINDS
    }


def kept(mirror: Mirror, kind: str) -> dict[bytes, bytes]:
    assert kind in KINDS
    return {p.ids[b]: p.row(b) for p in mirror.pages(kind) for b in range(len(p))}


def packed(**values: float) -> Packed:
    vectors = np.array([[[value]] for value in values.values()], np.float32)
    return pack(1, list(values), np.ones(len(values), np.int64), vectors)


def test_one_that_is_closed_while_it_is_written_ends_the_writing_first(tmp_path: Path) -> None:
    """A trainer that ends waits a while for its delivery, which may be at a slow disk then."""
    mirror = Mirror(tmp_path)
    mirror.keep({"users": packed(u=1.0)}, 1)
    with closing(sqlite3.connect(tmp_path / NAME, check_same_thread=False, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        writing = threading.Thread(target=mirror.keep, args=({"users": packed(v=2.0)}, 2))
        writing.start()
        until(mirror._lock.locked)
        ending = threading.Thread(target=mirror.close)
        ending.start()
        other.execute("ROLLBACK")
        writing.join(PATIENCE_S)
        ending.join(PATIENCE_S)
    mirror.keep({"users": packed(w=3.0)}, 3)
    again = Mirror(tmp_path)
    assert set(kept(again, "users")) == {b"u", b"v"}
    assert again.version == 2
    again.close()


class Forgetful(DictStore):
    """What it loses is gone between two things that it is asked for, by the thread that asks."""

    losing: Callable[["Forgetful"], None] | None = None

    def intact(self, mark: bytes, version: int, then: int | None = None) -> bool:
        lose, self.losing = self.losing, None
        if lose is not None:
            lose(self)
        return super().intact(mark, version, then)

    def lose_mark(self) -> None:
        self._mark = None

    def lose_newest(self) -> None:
        self._pointer = self._pointer._replace(version=self.version() - 1)
        del self._rows["users"][b"w"]


def until_brought_back(delivery: Delivery, version: int) -> None:
    """Until the thread has published everything again, which has another version than what was lost."""
    until(lambda: delivery.version > version)


@pytest.mark.parametrize(
    "lose",
    [Forgetful.clear, Forgetful.lose_mark, Forgetful.lose_newest],
    ids=["everything", "the mark", "the newest"],
)
def test_everything_is_published_again_with_its_own_stamps(
    tmp_path: Path, lose: Callable[[Forgetful], None]
) -> None:
    store = Forgetful()
    delivery = Delivery(store, Mirror(tmp_path))
    delivery.start()
    delivery.tell(INFO)
    for n, user in enumerate(["u", "v", "u", "w"]):
        delivery.publish(0, *delta(user, n + 1))
        assert delivery.drain(PATIENCE_S)
    whole, version = rows(store), store.version()
    assert delivery.drain(PATIENCE_S)
    follower = Follower(store)
    assert follower.catalogue().ids == store.items().ids
    store.losing = lose
    until_brought_back(delivery, version)
    delivery.close()
    assert rows(store) == whole
    assert store.info() == INFO
    assert store.version() == version + 1 == delivery.version
    assert follower.catalogue().ids == store.items().ids
    np.testing.assert_array_equal(follower.catalogue().vectors_ND, store.items().vectors_ND)
    assert (delivery.mirror.losses, delivery.trouble) == (1, None)


def test_a_delta_that_falls_into_the_loss_is_not_all_that_comes_back(tmp_path: Path) -> None:
    store = Forgetful()
    delivery = Delivery(store, Mirror(tmp_path))
    delivery.start()
    delivery.publish(0, *delta("u", 1))
    assert delivery.drain(PATIENCE_S)
    store.losing = Forgetful.clear
    delivery.publish(0, *delta("v", 2))
    assert delivery.drain(PATIENCE_S)
    delivery.close()
    assert [name for name, _ in rows(store)["users"]] == [b"u", b"v"]


@pytest.mark.parametrize("state", ["as it was", "emptied", "older"])
def test_the_next_trainer_sees_it_at_its_start(tmp_path: Path, state: str) -> None:
    store = DictStore()
    first = Delivery(store, Mirror(tmp_path))
    first.start()
    for n, user in enumerate("uvw"):
        first.publish(0, *delta(user, n + 1))
        assert first.drain(PATIENCE_S)
    first.close()
    first.mirror.close()
    whole, losses = rows(store), 0 if state == "as it was" else 1
    if state == "emptied":
        store = DictStore()
    elif state == "older":
        store._pointer = store._pointer._replace(version=store.version() - 2)
        del store._rows["users"][b"w"]
    second = Delivery(store, Mirror(tmp_path), first.version)
    second.holding = True  # what it publishes anew may be older than what readers had
    second.start()
    second.say(status())
    assert second.drain(PATIENCE_S)
    second.close()
    assert rows(store) == whole
    assert second.mirror.losses == losses
    second.mirror.close()


def test_what_is_said_before_the_store_was_asked_is_no_older_than_what_readers_saw(tmp_path: Path) -> None:
    """A trainer that goes on from a checkpoint knows nothing of the versions after it, and the store may be
    away when it first speaks."""
    store = DictStore()
    first = Delivery(store, Mirror(tmp_path))
    first.start()
    for n in range(3):
        first.publish(0, *delta("u", n))
        assert first.drain(PATIENCE_S)
    first.close()
    first.mirror.close()
    second = Delivery(store, Mirror(tmp_path))
    second.say(status(version=second.version))
    second.start()
    assert second.drain(PATIENCE_S)
    second.close()
    second.mirror.close()
    said = store.status()
    assert said is not None
    assert trainer_status(said).version >= first.version > 2


def test_without_a_mirror_it_begins_with_what_the_store_has(tmp_path: Path) -> None:
    """As after a checkpoint of a version that kept none."""
    store = Forgetful()
    users, items = delta("u", 1)
    store.publish(4, users, items)
    store.put_info(INFO)
    whole = rows(store)
    delivery = Delivery(store, Mirror(tmp_path))
    delivery.start()
    delivery.say(status())
    assert delivery.drain(PATIENCE_S)
    store.losing = Forgetful.clear
    until_brought_back(delivery, delivery.version)
    delivery.close()
    assert rows(store) == whole
    assert store.info() == INFO
    assert store.version() > 4


def test_two_trainers_do_not_take_it_from_each_other(tmp_path: Path) -> None:
    store = DictStore()
    one = Delivery(store, Mirror(tmp_path))
    one.start()
    one.publish(0, *delta("u", 1))
    assert one.drain(PATIENCE_S)
    store.mark(b"another's")
    one.publish(0, *delta("v", 2))
    trouble = until(lambda: one.trouble)
    assert trouble is not None
    assert "another trainer publishes there, too" in trouble
    assert not one.idle
    one.close()
    assert one.mirror.losses == 0


def test_rows_are_replaced_and_the_file_does_not_grow_with_events(tmp_path: Path) -> None:
    mirror = Mirror(tmp_path)
    mirror.keep({"users": packed(u=1.0, v=2.0)}, 1)
    for value in range(50):
        mirror.keep({"users": packed(v=float(value))}, value)
    mirror.close()
    again = Mirror(tmp_path)
    assert kept(again, "users") == {b"u": packed(u=1.0).row(0), b"v": packed(v=49.0).row(0)}
    assert (again.version, again.count()) == (49, 2)
    again.close()


def test_a_file_that_is_no_database_is_begun_anew(tmp_path: Path) -> None:
    (tmp_path / NAME).write_bytes(b"something else" * 1000)
    mirror = Mirror(tmp_path)
    assert mirror.mark is None
    mirror.keep({"users": packed(u=1.0)}, 1)
    mirror.close()
    assert kept(Mirror(tmp_path), "users")
    remove(tmp_path)
    assert not list(tmp_path.iterdir())


def test_what_cannot_be_written_waits_and_is_said(tmp_path: Path) -> None:
    mirror = Mirror(tmp_path)
    mirror.keep({"users": packed(u=1.0)}, 1)
    blocker = sqlite3.connect(tmp_path / NAME, isolation_level=None)
    assert mirror._connection is not None
    mirror._connection.execute("PRAGMA busy_timeout = 1")
    blocker.execute("BEGIN IMMEDIATE")
    mirror.keep({"users": packed(u=2.0, v=3.0)}, 2)
    assert f"{mirror.trouble}" == f"{NAME}: what is published cannot be kept on disk (database is locked)"
    assert kept(mirror, "users") == {b"u": packed(u=2.0).row(0), b"v": packed(v=3.0).row(0)}
    blocker.close()
    mirror.keep({}, 2)
    assert not mirror.trouble
    mirror.close()
    again = Mirror(tmp_path)
    assert len(kept(again, "users")) == 2
    again.close()


def test_who_is_gone_leaves_the_mirror_too(tmp_path: Path) -> None:
    store, mirror = DictStore(), Mirror(tmp_path)
    delivery = Delivery(store, mirror)
    delivery.start()
    for n, user in enumerate(["u", "v", "w"]):
        delivery.publish(0, *delta(user, n + 1))
        assert delivery.drain(PATIENCE_S)
    users, items = delta("v", 9)
    gone = Gone(["u", "w", "x"], 3)
    delivery.publish(0, replace(users, gone=gone), replace(items, gone=gone))
    assert delivery.drain(PATIENCE_S)
    assert set(kept(mirror, "users")) == {b"v", b"w"}
    assert set(kept(mirror, "items")) == {b"a", b"v", b"w"}
    assert rows(store)["users"] == sorted(kept(mirror, "users").items())
    delivery.close()
