"""Versions that are kept: any of them is, to its last row, what readers were served when it was kept."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from serving.scoring.follower import Follower
from state.arrays import Floats
from state.errors import InputError
from state.store import kept
from state.store.contract import EmbeddingStore, Gone, Kind, RunInfo, UserRows
from state.store.kept import NEWEST, VersionGoneError
from state.store.records import Packed, unpack
from state.store.redis import RedisStore
from state.store.server import EmbeddedServer
from tests.contracts.test_every_store import Opened, items
from tests.contracts.test_every_store import opened as opened
from tests.contracts.test_every_store import server as server
from tests.patience import until

IDS = ("bar", "", "\ud800")
MOST = 3
"""Versions that are kept here."""

ids = st.lists(st.sampled_from(IDS), max_size=4, unique=True)
publishes = st.tuples(st.just("publish"), ids, ids)
begins = st.lists(
    st.one_of(publishes, st.tuples(st.sampled_from(["keep", "keep", "tell"]))), min_size=4, max_size=8
)
"""Most of what can go wrong needs a few versions that are kept."""
goes_on = st.lists(
    st.one_of(
        publishes,
        st.tuples(st.just("cut off"), ids, ids),
        st.tuples(st.just("rollback"), st.integers(0, MOST)),
        st.tuples(st.sampled_from(["keep", "tell", "resume", "lost", "clear"])),
    ),
    max_size=10,
)
steps = st.builds(lambda begin, then: [*begin, *then], begins, goes_on)


@dataclass
class State:
    """What one version is."""

    users: dict[str, float] = field(default_factory=dict)
    items: dict[str, float] = field(default_factory=dict)
    told: float = 0.0

    def copy(self) -> "State":
        return State(dict(self.users), dict(self.items), self.told)


def users(*rows: tuple[str, int, float]) -> UserRows:
    of = items(*rows)
    return UserRows(
        ids=of.ids, event_time_ms_B=of.event_time_ms_B, interests_BKD=of.vectors_BD[:, np.newaxis]
    )


def info(told: float) -> RunInfo:
    return RunInfo(log="planted", learner="x", width=3, hour_width_h=told)


def filled(names: list[str], vectors_ND: Floats) -> dict[str, float]:
    return dict(zip(names, vectors_ND.reshape(len(names), -1)[:, 0].tolist() if names else [], strict=True))


def read(store: EmbeddingStore, at: int) -> State:
    """A version as readers find it, in each of the ways that they have."""
    found = store.info(at)
    state = State(told=found.hour_width_h if found else -1.0)
    everything = store.items(at)
    state.items = filled(everything.ids, everything.vectors_ND)
    for identifier in IDS:
        user, item = store.user(identifier, at), store.item(identifier, at)
        assert (None if item is None else item.vectors_KD[0, 0]) == state.items.get(identifier)
        if user is not None:
            state.users[identifier] = float(user.vectors_KD[0, 0])
    paged = {
        name: float(unpack(page.row(b)).vectors_KD[0, 0])
        for page in store.pages("users", at)
        for b, name in enumerate(page.names())
    }
    assert paged == state.users
    return state


def cut_off(store: EmbeddingStore, put: Callable[[RedisStore], object]) -> None:
    """Whoever publishes is killed just before the server has all of it."""
    if not isinstance(store, RedisStore):
        return
    sent: list[bytes] = []
    connection = store._redis.connection_pool.get_connection()
    whole: Callable[..., None] = type(connection).send_packed_command

    def short(self: object, command: list[bytes], check_health: bool = True) -> None:
        said = b"".join(command)
        sent.append(said)
        if b"MULTI" not in said:
            return whole(self, command, check_health)
        whole(self, [said[: -len(b"*1\r\n$4\r\nEXEC\r\n")]], check_health)
        raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch:
        store._redis.connection_pool.release(connection)
        patch.setattr(type(connection), "send_packed_command", short)
        with pytest.raises(KeyboardInterrupt):
            put(store)
    assert b"EXEC" in sent[-1]
    store._redis.connection_pool.disconnect()


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps)
def test_a_kept_version_stays_what_it_was(
    opened: Opened, monkeypatch: pytest.MonkeyPatch, steps: list[tuple[str, ...]]
) -> None:
    monkeypatch.setattr(kept, "KEPT", MOST)
    store = opened.store
    store.clear()
    store.put_info(info(0.0))
    now, version, served = State(), 0, NEWEST
    held: dict[int, State] = {}
    followers = [Follower(opened.again()), Follower(store)]
    for n, (what, *said) in enumerate(steps, 1):
        if what in ("publish", "cut off"):
            put, gone = said
            rows, away = [(one, n, float(n)) for one in put], Gone(gone, n)
            some = replace(users(*rows), gone=away), replace(items(*rows), gone=away)
            if what == "cut off":
                cut_off(opened.again(), lambda store: store.publish(version + 1, *some))  # noqa: B023
            else:
                version += 1
                store.publish(version, *some)
                for rows_of in (now.users, now.items):
                    for one in gone:
                        rows_of.pop(one, None)
                    rows_of |= dict.fromkeys(put, float(n))
        elif what == "keep":
            full = len(held) == MOST and served == min(held) and version not in held
            if version == 0 or full:
                with pytest.raises(InputError, match=r"3 are kept|nothing was published"):
                    store.keep()
            else:
                assert store.keep(f"the {n}th", n) == version
                if version not in held and len(held) == MOST:
                    del held[min(held)]
                held.setdefault(version, now.copy())
        elif what == "tell":
            now.told = float(n)
            store.put_info(info(now.told))
        elif what == "rollback":
            (which,) = said
            to = [*held, 99][min(int(which), len(held))]
            if to == 99:
                with pytest.raises(VersionGoneError, match="version 99 is not kept"):
                    store.rollback(to)
            else:
                store.rollback(to)
                served = to
        elif what == "resume":
            store.resume()
            served = NEWEST
        elif what == "lost":
            store.forget_kept()
            held, served = {}, NEWEST
        elif what == "clear":
            store.clear()
            store.put_info(info(0.0))
            now, version, served, held = State(), 0, NEWEST, {}
        fresh = opened.again() if n % 4 == 0 else store
        assert [(one.version, one.served) for one in fresh.kept()] == [(one, one == served) for one in held]
        assert fresh.version() == version
        assert fresh.pointer().at == served
        for at, state in {NEWEST: now, **held}.items():
            assert read(fresh, at) == state
        state = held.get(served, now)
        for follower in followers:
            catalogue = follower.catalogue()
            assert filled(catalogue.ids, catalogue.vectors_ND) == state.items
            assert (follower.info.hour_width_h, follower.at) == (state.told, served)
            assert follower.version == (served or version)
        for identifier in IDS:
            record = fresh.served("users", identifier)
            assert (None if record is None else record.vectors_KD[0, 0]) == state.users.get(identifier)


def test_what_is_said_of_a_kept_version(opened: Opened) -> None:
    store = opened.store
    store.publish(7, items=items(("a", 1, 1.0)))
    assert store.keep("before the promotion", 1_500_000_000_000) == 7
    assert store.keep("again") == 7
    (one,) = opened.again().kept()
    assert (one.version, one.facts.note, one.facts.clock_ms) == (7, "before the promotion", 1_500_000_000_000)
    assert (one.nbytes, one.served) == (0, False)
    store.publish(8, items=items(("a", 2, 2.0), ("b", 2, 2.0)))
    (one,) = store.kept()
    assert one.nbytes == len("ab") + sum(len(page.blob) for page in store.pages("items", 7))
    store.publish(9, items=items(("a", 3, 3.0), ("b", 3, 3.0)))
    assert store.kept() == [one]


def test_images_are_bounded_and_the_served_version_stays(
    opened: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = opened.store
    rows = [(f"i{n}", 1, 1.0) for n in range(300)]
    store.publish(1, items=items(*rows))
    store.keep()
    store.publish(2, items=items(*(("new", 1, 1.0), *rows[:200])))
    taken = sum(one.nbytes for one in store.kept())
    monkeypatch.setattr(kept, "MOST_BYTES", taken * 2)
    store.keep()
    store.publish(3, items=items(*((one, 3, 3.0) for one, _, _ in rows[:200])))
    assert [one.version for one in store.kept()] == [1, 2]
    store.rollback(1)
    store.publish(4, items=items(*((one, 4, 4.0) for one, _, _ in rows)))
    assert [one.version for one in store.kept()] == [1, 2]
    assert set(store.items(1).vectors_ND[:, 0].tolist()) == {1.0}
    store.resume()
    store.publish(5, items=items(("new", 5, 5.0)))
    assert [one.version for one in store.kept()] == [2]
    with pytest.raises(VersionGoneError, match="version 1 is not kept, or not any longer"):
        store.items(1)
    with pytest.raises(VersionGoneError):
        store.user("u", 1)
    assert store.items(2).ids == sorted(["new", *(one for one, _, _ in rows)])


def test_what_is_published_below_changes_no_answer_and_all_of_it_comes_at_once(opened: Opened) -> None:
    """How a promotion is published that takes many writes."""
    store = opened.store
    store.put_info(info(0.0))
    store.publish(1, users(("u", 1, 1.0)), items(("a", 1, 1.0)))
    store.rollback(store.keep("before the promotion"))
    reader = Follower(opened.again())
    for n in range(2, 9):
        store.publish(n, users(("u", n, 1.0 * n)), items((f"new {n}", n, 1.0 * n)))
        assert reader.catalogue().ids == ["a"]
        assert reader.version == 1
    store.resume()
    assert reader.catalogue().ids == ["a", *(f"new {n}" for n in range(2, 9))]
    assert reader.version == 8


def test_a_reader_beside_a_writer_sees_one_version_at_a_time(opened: Opened) -> None:
    store, beside = opened.store, opened.again()
    names = [f"i{n}" for n in range(500)]
    store.put_info(info(0.0))
    store.publish(1, items=items(*((one, 1, 1.0) for one in names)))
    reader, done = Follower(beside), threading.Event()
    wrong: list[tuple[int, set[float]]] = []
    seen: set[int] = set()

    def follow() -> None:
        while not done.is_set():
            catalogue = reader.catalogue()
            values = set(catalogue.vectors_ND[:, 0].tolist())
            seen.add(reader.version)
            if values != {float(reader.version)}:
                wrong.append((reader.version, values))

    thread = threading.Thread(target=follow)
    thread.start()
    for n in range(2, 40):
        store.publish(n, items=items(*((one, n, float(n)) for one in names)))
        if n % 10 == 0:
            store.rollback(store.keep())
        if n % 10 == 5:
            store.resume()
    until(lambda: 39 in seen)
    done.set()
    thread.join()
    assert not wrong
    assert len(seen) > 1


PUBLISHES = """
import sys
import numpy as np
from state.store.contract import ItemRows
from state.store.redis import RedisStore
names = [f"i{n}" for n in range(4000)]
with RedisStore(sys.argv[1]) as store:
    version = store.version()
    while True:
        version += 1
        print(version, flush=True)
        store.publish(version, items=ItemRows(
            ids=names, event_time_ms_B=np.ones(4000, np.int64), vectors_BD=np.full((4000, 3), version, "f4")
        ))
"""


def test_a_publisher_that_is_killed_between_two_versions_leaves_the_old_one_whole(
    server: EmbeddedServer,
) -> None:
    url = f"unix://{server.ensure()}?run=killed"
    with RedisStore(url) as store:
        for times in range(4):
            process = subprocess.Popen(
                [sys.executable, "-c", PUBLISHES, url], stdout=subprocess.PIPE, text=True, cwd=os.getcwd()
            )
            assert process.stdout is not None
            for _ in range(2 + times):
                process.stdout.readline()
            process.send_signal(signal.SIGKILL)
            process.wait()
            process.stdout.close()
            version = store.version()
            found = store.items()
            assert set(found.version_N.tolist()) == {version}
            assert set(found.vectors_ND.ravel().tolist()) == {float(version)}
            assert version > times
            store.keep(f"after {times}")
        for one in store.kept():
            assert set(store.items(one.version).vectors_ND.ravel().tolist()) == {float(one.version)}


class Racing(RedisStore):
    """While all rows are read, somebody changes them."""

    turn = 0

    def _ask(self, ask: Callable[..., object], *arguments: object) -> object:  # type: ignore[override]
        found = super()._ask(ask, *arguments)
        if self.turn and ask is next:
            self.turn += 1
            with RedisStore(self.url) as other:
                n = self.turn
                rows = [(f"i{(n * 701 + m) % 9000}", 10 + n, 50.0) for m in range(700)]
                away = Gone([f"i{(n * 977 + m) % 9000}" for m in range(50)], 100)
                other.publish(other.version() + 1, items=replace(items(*rows), gone=away))
                if n % 3 == 0:
                    other.keep()
        return found

    url = ""


def test_all_rows_of_a_kept_version_are_read_while_they_change(server: EmbeddedServer) -> None:
    Racing.url = f"unix://{server.ensure()}?run=racing"
    with Racing(Racing.url) as store:
        names = [f"i{n}" for n in range(9000)]
        store.publish(1, items=items(*((one, 1, 1.0) for one in names)))
        store.keep()
        store.turn = 1
        found = store.items(1)
        assert found.ids == sorted(names)
        assert set(found.vectors_ND[:, 0].tolist()) == {1.0}
        assert store.turn > 5
        assert set(store.items().vectors_ND[:, 0].tolist()) == {1.0, 50.0}


def test_pages_hold_what_is_asked_for(opened: Opened) -> None:
    store = opened.store
    store.publish(1, users(("u", 1, 1.0)), items(("a", 1, 1.0)))
    store.keep()
    store.publish(2, users(("v", 1, 1.0)), replace(items(("b", 2, 1.0)), gone=Gone(["a"], 5)))

    def names(kind: Kind, at: int) -> list[str]:
        pages: list[Packed] = list(store.pages(kind, at))
        return sorted({name for page in pages for name in page.names()})

    assert (names("users", 1), names("items", 1)) == (["u"], ["a"])
    assert (names("users", NEWEST), names("items", NEWEST)) == (["u", "v"], ["b"])
