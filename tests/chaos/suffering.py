"""A schedule, played: what each fault does to a group."""

import contextlib
import threading
import time
from collections.abc import Callable, Iterator

import redis

from replay.faults import PlannedFault, Target
from state.progress import TrainerStatus
from tests.chaos.group import Group
from tests.chaos.topics import change
from tests.patience import PATIENCE_S, until

_ROOM = "2mb"
"""Of a store that is too small: less than it holds when it is empty."""
_AGAIN_S = 0.2


def suffer(group: Group) -> None:
    """Play the schedule, the faults of a target one after another; what ended is started again."""
    began_s = time.monotonic()
    targets = dict.fromkeys(fault.target for fault in group.faults if fault.target != "sender")
    players = [threading.Thread(target=_play, args=(group, target, began_s)) for target in targets]
    for player in players:
        player.start()
    for player in players:
        player.join()


def _play(group: Group, target: Target, began_s: float) -> None:
    with group.noted():
        for fault in group.faults:
            if fault.target == target:
                group.over.wait(max(0.0, began_s + fault.at_s - time.monotonic()))
                _hit(group, fault)


def _hit(group: Group, fault: PlannedFault) -> None:
    match fault.target, fault.what:
        case ("broker" | "store") as target, "kill":
            group.kill_service(target, fault.lasts_s)
        case "store", _:
            _spoil_store(group, fault)
        case "events", what:
            change(group, what, fault.lasts_s)
        case target, what:
            names = group.named(target)
            name = names[fault.which % len(names)]
            if what == "pause":
                group.pause(name, fault.lasts_s)
                return
            with group.without([name], asked=what == "leave"):
                group.over.wait(fault.lasts_s)


def _spoil_store(group: Group, fault: PlannedFault) -> None:
    """Faults of a store that goes on running, once something is in it; as it was, in the end."""
    until(group.status, lambda said: isinstance(said, TrainerStatus) and said.version > 0)
    if fault.what == "empty":
        _told(group, lambda store: store.flushall())
        return
    settings: dict[str, tuple[Callable[[redis.Redis], object], Callable[[redis.Redis], object]]] = {
        "full": (_bounded("noeviction"), _unbounded),
        "evict": (_bounded("allkeys-random"), _unbounded),
        "read_only": (
            lambda store: store.replicaof("127.0.0.1", "1"),
            lambda store: store.replicaof("NO", "ONE"),
        ),
    }
    spoil, mend = settings[fault.what]
    _told(group, spoil)
    group.over.wait(fault.lasts_s)
    _told(group, mend)


def _bounded(policy: str) -> Callable[[redis.Redis], object]:
    return lambda store: (store.config_set("maxmemory-policy", policy), store.config_set("maxmemory", _ROOM))


def _unbounded(store: redis.Redis) -> object:
    return store.config_set("maxmemory", "0"), store.config_set("maxmemory-policy", "noeviction")


def _told(group: Group, do: Callable[[redis.Redis], object]) -> None:
    """Something, done to the store, as soon as it answers."""
    deadline_s = time.monotonic() + PATIENCE_S
    while True:
        with contextlib.suppress(redis.ConnectionError), _client(group.store) as store:
            do(store)
            return
        assert time.monotonic() < deadline_s, "the store did not answer"
        time.sleep(_AGAIN_S)


@contextlib.contextmanager
def _client(url: str) -> Iterator[redis.Redis]:
    store = redis.Redis.from_url(url)
    try:
        yield store
    finally:
        store.close()
