"""A run over a real cluster: who has a slot may change, and no reader sees half a version."""

import os
import signal
from pathlib import Path

import numpy as np
import pytest
from redis.crc import key_slot

from state.errors import InputError
from state.store.cluster import SlotStore, sharded
from state.store.contract import EmbeddingStore, Gone, UserRows
from state.store.embedded import open_store
from state.store.sharded import ShardedStore
from tests.contracts.test_every_store import items
from tests.patience import PATIENCE_S
from tests.valkeys import Cluster, free_port, serving

SHARDS, USERS = 6, 200


def users(value: float, count: int = USERS) -> UserRows:
    return UserRows(
        ids=[f"u{n}" for n in range(count)],
        event_time_ms_B=np.full(count, 5),
        interests_BKD=np.full((count, 1, 2), value, np.float32),
    )


def values(store: ShardedStore, at: int = 0) -> set[float]:
    found = [store.user(f"u{n}", at) for n in range(USERS)]
    return {float(one.vectors_KD[0, 0]) for one in found if one is not None}


def where(servers: Cluster, store: EmbeddingStore) -> int:
    assert isinstance(store, SlotStore)
    return next(n for n, port in enumerate(servers.ports) if store.address().endswith(f":{port}/0"))


def test_users_are_spread_over_servers_and_read_back(servers: Cluster) -> None:
    url = servers.url(f"run=spread&shards={SHARDS}")
    with open_store(url) as store:
        assert isinstance(store, ShardedStore)
        store.publish(1, users(1.0), items(("a", 1, 1.0)))
        held = [shard.counts()["users"] for shard in store.shards]
        assert sum(held) == store.counts()["users"] == USERS
        assert min(held) > 0
        assert len({where(servers, shard) for shard in store.shards}) > 1
        store.remove("users", Gone([f"u{n}" for n in range(50)], 9))
        ids = {name for page in store.pages("users") for name in page.names()}
        assert ids == {f"u{n}" for n in range(50, USERS)}


def test_a_version_is_there_once_every_shard_has_it_and_kept_whole(servers: Cluster) -> None:
    with sharded(servers.url(f"run=half&shards={SHARDS}")) as store:
        store.publish(1, users(1.0), items(("a", 1, 1.0)))
        assert store.keep() == 1
        last = max(
            range(1, SHARDS), key=lambda n: where(servers, store.shards[n]) != where(servers, store.head)
        )
        there = where(servers, store.shards[last])
        broken = servers.processes[there]
        for shard in store.shards:
            if where(servers, shard) == there:
                shard.hurry(1.0)
        os.kill(broken.pid, signal.SIGSTOP)
        try:
            with pytest.raises(InputError, match="cannot be reached"):
                store.publish(2, users(2.0), items(("a", 2, 2.0)))
            assert store.pointer().version == 1
            assert store.items().version_N.tolist() == [1]
        finally:
            os.kill(broken.pid, signal.SIGCONT)
        store.hurry(PATIENCE_S)
        store.publish(2, users(2.0), items(("a", 2, 2.0)))
        assert (store.version(), values(store)) == (2, {2.0})
        assert values(store, at=1) == {1.0}
        store.rollback(1)
        served = [store.served("users", f"u{n}") for n in range(USERS)]
        assert {float(one.vectors_KD[0, 0]) for one in served if one} == {1.0}
        store.publish(3, users(3.0))
        assert [one.version for one in store.kept()] == [1]
        store.resume()
        assert values(store) == {3.0}


def test_where_a_slot_has_moved_is_asked_for(servers: Cluster) -> None:
    with SlotStore(servers.url("run=moves")) as store:
        store.publish(1, items=items(("a", 1, 1.0)))
        before = where(servers, store)
        after = (before + 1) % len(servers.ports)
        slot, port = key_slot(store.key_of("version")), servers.ports[after]
        names = {n: servers.ask(n, "CLUSTER", "MYID") for n in (before, after)}
        servers.ask(after, "CLUSTER", "SETSLOT", slot, "IMPORTING", names[before])
        servers.ask(before, "CLUSTER", "SETSLOT", slot, "MIGRATING", names[after])
        keys = servers.ask(before, "CLUSTER", "GETKEYSINSLOT", slot, 100)
        servers.ask(before, "MIGRATE", "127.0.0.1", port, "", 0, 5000, "KEYS", *keys)
        for n in (after, before):
            servers.ask(n, "CLUSTER", "SETSLOT", slot, "NODE", names[after])
        assert store.version() == 1
        store.publish(2, items=items(("a", 2, 2.0)))
        assert (store.items().version_N.tolist(), where(servers, store)) == ([2], after)


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("shards=0", r"shards=0: expected how many parts users are spread over, 1 to 4,096"),
        ("shards=many", r"shards=many: expected how many parts"),
        ("shards=2", r"expected a Redis Cluster"),
    ],
)
def test_what_is_no_cluster_is_refused_in_a_line(tmp_path: Path, query: str, said: str) -> None:
    port = free_port()
    process = serving(tmp_path, port)
    try:
        with pytest.raises(InputError, match=said):
            open_store(f"redis://127.0.0.1:{port}/0?{query}")
    finally:
        process.kill()
        process.wait()
