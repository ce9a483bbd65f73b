"""What a server may do to what it was given: it loses it, evicts it, or takes nothing."""

import re
from collections.abc import Iterator

import numpy as np
import pytest
import redis

from state.errors import InputError
from state.store.contract import UserRows
from state.store.health import KEEPS_ALL
from state.store.redis import RedisStore
from state.store.server import EmbeddedServer
from tests.contracts.test_every_store import Opened, items
from tests.contracts.test_every_store import opened as opened
from tests.contracts.test_every_store import server as server


def test_a_mark_says_whether_all_is_still_there(opened: Opened) -> None:
    store = opened.store
    store.publish(3, items=items(("a", 1, 1.0)))
    assert not store.intact(b"ours", 3)
    store.mark(b"ours")
    assert opened.again().intact(b"ours", 3)
    assert not store.intact(b"ours", 4, 5)
    assert store.version() == 3
    assert store.intact(b"ours", 3, 5)
    assert store.intact(b"ours", 2, 4)
    assert store.version() == 5
    assert store.counts() == {"users": 0, "items": 1}
    assert store.items().ids == ["a"]
    with pytest.raises(
        InputError, match="another trainer publishes there, too; stop it, or give each a name"
    ):
        store.intact(b"theirs", 3)
    store.clear()
    assert not store.intact(b"ours", 0)


@pytest.mark.parametrize("gone", ["users", "items", "version"])
def test_a_part_that_a_server_has_evicted_is_missed(server: EmbeddedServer, gone: str) -> None:
    with RedisStore(f"unix://{server.ensure()}?run=evicted") as store:
        store.clear()
        users = UserRows(
            ids=["u"], event_time_ms_B=np.array([1]), interests_BKD=np.zeros((1, 1, 3), np.float32)
        )
        store.publish(3, users, items(("a", 1, 1.0)))
        store.mark(b"ours")
        assert store.intact(b"ours", 3)
        store._redis.unlink(f"ebbtide:{{evicted}}:{gone}")
        assert not store.intact(b"ours", 3)


@pytest.fixture
def client(server: EmbeddedServer) -> Iterator[redis.Redis]:
    with redis.Redis(unix_socket_path=server.ensure()) as found:
        yield found
        found.replicaof("NO", "ONE")
        found.config_set("maxmemory", "0", "maxmemory-policy", KEEPS_ALL)
        found.acl_deluser("ann")


def flaws(server: EmbeddedServer, user: str = "") -> list[tuple[str, bool]]:
    with RedisStore(f"unix://{user}{server.ensure()}") as store:
        return [(flaw.sentence.rpartition("sock: ")[2], flaw.closed) for flaw in store.flaws()]


def test_a_server_that_cannot_hold_what_it_is_given_says_so(
    server: EmbeddedServer, client: redis.Redis
) -> None:
    assert flaws(server) == []
    client.config_set("maxmemory", "1")
    ((full, closed),) = flaws(server)
    assert re.fullmatch(r"is full \([\d.]+ MB used, maxmemory 0.0 MB\); give it more", full)
    assert closed
    client.config_set("maxmemory-policy", "allkeys-lru")
    evicts = (
        "may evict what it holds, all users of a run at once (maxmemory-policy allkeys-lru); "
        "CONFIG SET maxmemory-policy noeviction"
    )
    assert flaws(server) == [(evicts, False)]
    client.config_set("maxmemory-policy", KEEPS_ALL, "maxmemory", "0")
    client.replicaof("127.0.0.1", "1")
    replica = "is a replica of 127.0.0.1:1, which takes no writes; name that one, or REPLICAOF NO ONE here"
    assert flaws(server) == [(replica, True)]


def test_who_may_not_ask_is_told_of_no_flaw(server: EmbeddedServer, client: redis.Redis) -> None:
    client.acl_setuser("ann", enabled=True, passwords=["+s"], keys=["*"], categories=["+@all", "-@dangerous"])
    client.config_set("maxmemory-policy", "allkeys-lru")
    assert flaws(server, "ann:s@") == []
    with RedisStore(f"unix://ann:s@{server.ensure()}") as store:
        assert store.policy() is None
