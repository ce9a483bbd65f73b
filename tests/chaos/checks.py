"""What must have come of a seed, by identity."""

import json
from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np

from replay.faults import Bools
from state import example_wire
from state.examples import ExampleBatch, concat, empty_examples
from state.progress import Progress
from state.store.redis import RedisStore
from state.tree import digest
from streams.engines.engine_config import EngineConfig
from streams.engines.output import Output
from streams.engines.partition import Engine
from streams.kafka.observer import Observer
from streams.kafka.place import Span
from streams.operator import OperatorConfig
from streams.schema import EventBatch
from streams.wire.message import Message
from tests.chaos.group import Group
from tests.ebbtide.workers import WINDOW
from tests.patience import until

_WRONG_TIME = "bad time"


def check_partitions(group: Group, events: EventBatch, wrong_B: Bools) -> ExampleBatch:
    """Every partition is what one engine makes of it; returns all examples."""
    live, wanted_dead, found = group.live, list[Message](), list[ExampleBatch]()
    before = Counter(one.partition for one in group.gone)
    progress = until(group.progress, lambda said: _dealt_with(said, before) >= len(events))
    assert _dealt_with(progress, before) == len(events)
    with Observer(live.brokers) as observer:
        there = list(observer.read(live.events))
        made = list(observer.read(f"{live.name}-examples"))
        dead = list(observer.read(f"{live.name}-dead"))
    for partition in range(group.sender.partitions):
        gone, sent = ([one for one in some if one.partition == partition] for some in (group.gone, there))
        if partition not in progress:
            assert not sent, f"partition {partition} was not read"
            continue
        wanted = reference(live.events, partition, gone, sent, progress.get(partition, Progress()))
        values = [one.value for one in made if one.partition == partition and one.value is not None]
        batches = [_whole(some) for some in (wanted.examples, values)]
        digests = [digest(batch.tree()) for batch in batches]
        assert digests[0] == digests[1], f"partition {partition}: {digests}"
        found.append(batches[1])
        wanted_dead += wanted.dead
    assert _said(dead) == _said(wanted_dead), "the dead letters differ"
    turned_down = Counter(
        json.loads(one.value or b"")["event_id"]
        for one in dead
        if _headers(one)["ebbtide-reason"].startswith(_WRONG_TIME)
    )
    wrong = Counter(events.event_id_B[wrong_B].tolist())
    assert turned_down <= wrong, f"good events turned down: {turned_down - wrong}"
    assert group.gone or turned_down == wrong, f"wrong times taken: {wrong - turned_down}"
    return concat(found)


def _dealt_with(progress: Mapping[int, Progress], before: Mapping[int, int]) -> int:
    """Events that came to something, and those that nobody had read when they were deleted; `before` is how
    many a partition had when its topic was made anew."""
    return sum(
        said.events + said.lost + (before[partition] - said.base if said.remade else 0)
        for partition, said in progress.items()
    )


def reference(
    topic: str, partition: int, gone: Sequence[Message], sent: Sequence[Message], said: Progress
) -> Output:
    """One engine's answer to a partition: to what was there before some of it was deleted, and to the rest.

    Where reading went on is what the worker says; how much was lost by that is checked by who calls.
    """
    engine = Engine(EngineConfig(operator=OperatorConfig(), window=WINDOW), topic, partition)
    made: list[Output] = []
    if not said.remade:
        by_offset = {one.offset: one for one in (*gone, *sent)}
        sent = [by_offset[offset] for offset in sorted(by_offset)]
    if said.remade:
        made.append(engine.take([one for one in gone if one.offset < said.base]))
        made.append(engine.follow(Span(None, 0, 0), engine.progress.next))
    elif said.lost_last is not None:
        first, last = said.lost_last
        assert said.lost == last + 1 - first, (
            f"partition {partition}: {said.lost} lost, {said.lost_last} at last"
        )
        made.append(engine.take([one for one in gone if one.offset < first]))
        made.append(engine.lose(last + 1))
    made.append(engine.take(sent))
    return Output(
        [value for one in made for value in one.examples], [dead for one in made for dead in one.dead]
    )


def _headers(letter: Message) -> dict[str, str]:
    return {name: content.decode() for name, content in letter.headers}


def _said(letters: Sequence[Message]) -> list[tuple[str, str, bytes | None]]:
    """Where each came from, why, and what it was."""
    headers = [_headers(one) for one in letters]
    return sorted(
        (said["ebbtide-source"], said["ebbtide-reason"], one.value)
        for said, one in zip(headers, letters, strict=True)
    )


def _whole(values: Sequence[bytes]) -> ExampleBatch:
    batches = [example_wire.decode(value).batch for value in values]
    return concat(batches) if batches else empty_examples(0, WINDOW)


def check_training(group: Group, examples: ExampleBatch) -> None:
    """The trainer has had every example once, and the store has every user as of the last of them."""

    def trained() -> int | str:
        said = group.status()
        return said if isinstance(said, str) else said.trained

    size = len(examples)
    assert until(trained, lambda count: isinstance(count, int) and count >= size) == size
    newest: dict[int, dict[int, int]] = {}
    """User -> partition -> time; of more than one partition, where some were added, any may come last."""
    for user, partition, time_ms in zip(
        *(column.tolist() for column in (examples.user_B, examples.partition_B, examples.time_ms_B)),
        strict=True,
    ):
        newest.setdefault(user, {})[partition] = time_ms

    def behind() -> list[str]:
        with RedisStore(group.run_url) as store:
            rows = {user: store.user(str(user)) for user in newest}
        return [
            f"{user}: {row}"
            for user, row in rows.items()
            if row is None or row.event_time_ms not in newest[user].values()
        ]

    assert until(behind, lambda users: not users) == []


def check_versions(versions: Sequence[int]) -> None:
    """What a reader saw never went back."""
    back = np.flatnonzero(np.diff(versions) < 0)
    assert len(back) == 0, f"versions went back: {[versions[i : i + 2] for i in back.tolist()]}"
