"""Whether live workers make of real events what replay makes of them: equal examples, each user's in order.

    python -m benchmarks.live_parity --log LOG [--limit N] [--json]

One operator in this process, and `ebbtide ingest` through Kafka, with as many partitions and workers as CASES
says, on the same events. All columns of every example and of its window are compared, but for those that say
where an event was in Kafka. Ends with exit status 1 where anything differs.
"""

import argparse
import re
import sys
from collections import defaultdict
from collections.abc import Iterable
from contextlib import ExitStack
from dataclasses import fields
from hashlib import blake2b
from pathlib import Path

from benchmarks.live_bed import BATCH, Bed, bed, done, fill, until, worker
from benchmarks.tables import Row, say
from ebbtide import api
from state import example_wire
from state.examples import ExampleBatch, Window
from streams.kafka.client import ensure_topic
from streams.kafka.observer import Observer
from streams.operator import Operator, OperatorConfig

CASES = ((1, 1, "json"), (4, 1, "arrow"), (4, 2, "json"))
"""Partitions, workers, form of the messages."""
WINDOW = 1024
_WHERE_FROM = {"partition_B", "offset_B", "index_B", "window"}
_OWN = [f.name for f in fields(ExampleBatch) if f.name not in _WHERE_FROM]
_ENTRIES = [f.name for f in fields(Window) if f.name != "length_B"]


class Seen:
    """Users' examples, as digests of all of each user's in order."""

    def __init__(self, batches: Iterable[ExampleBatch]) -> None:
        self.examples = self.entries = 0
        users: dict[int, bytes] = defaultdict(bytes)
        for batch in batches:
            for user, row in zip(batch.user_B.tolist(), _rows(batch), strict=True):
                users[user] = blake2b(users[user] + row).digest()
            self.examples += len(batch)
            self.entries += int(_window(batch).length_B.sum())
        self.users = dict(sorted(users.items()))

    @property
    def digest(self) -> str:
        whole = blake2b(digest_size=8)
        for user, said in self.users.items():
            whole.update(user.to_bytes(8, "little", signed=True) + said)
        return whole.hexdigest()


def _window(batch: ExampleBatch) -> Window:
    assert batch.window is not None
    return batch.window


def _rows(batch: ExampleBatch) -> Iterable[bytes]:
    """Each example's bits."""
    window = _window(batch)
    for b, length in enumerate(window.length_B.tolist()):
        own = b"".join(getattr(batch, name)[b].tobytes() for name in _OWN)
        yield own + b"".join(getattr(window, name)[b, :length].tobytes() for name in _ENTRIES)


def replayed(log: str, limit: int | None) -> Seen:
    operator = Operator(OperatorConfig(own_place=False), WINDOW, views=True, trimmed=True)
    source = api.open_log(log, limit=limit)
    return Seen(operator.process(events, 0) for events in source.batches(BATCH))


def live(bed: Bed, log: str, limit: int | None, partitions: int, workers: int, form: str) -> Seen:
    """All workers are there before the first event is."""
    topic = f"events-{partitions}-{workers}"
    ensure_topic(bed.brokers, topic, partitions)
    with ExitStack() as stack:
        processes = [stack.enter_context(worker(bed, topic, topic)) for _ in range(workers)]
        _until_shared(bed.folder / f"{topic}.log", partitions, workers)
        events = fill(bed.brokers, log, topic, form, limit, partitions)
        done(bed, f"{topic}-examples", events, processes)
    with Observer(bed.brokers) as observer:
        values = (message.value for message in observer.read(f"{topic}-examples"))
        return Seen(example_wire.decode(value).batch for value in values if value is not None)


def _until_shared(log: Path, partitions: int, workers: int) -> None:
    """Wait until every worker has said that it has its share."""

    def shared() -> bool:
        said = [words.count(",") + 1 for words in re.findall(r"partitions \[(.*)\]", log.read_text())]
        return said[-workers:] == [partitions // workers] * workers

    until(shared, lambda: f"{workers} workers did not share {partitions} partitions: {log.read_text()}")


def main() -> None:
    parser = argparse.ArgumentParser(description="Examples of live workers beside those of a replay.")
    parser.add_argument("--log", required=True, metavar="LOG")
    parser.add_argument("--limit", type=int, metavar="N", help="the first N events of the log only")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    asked = parser.parse_args()
    expected = replayed(asked.log, asked.limit)
    rows = [_row("replay", expected, expected)]
    with bed() as here:
        for partitions, workers, form in CASES:
            found = live(here, asked.log, asked.limit, partitions, workers, form)
            what = f"{partitions} partitions, {workers} workers, {form}"
            rows.append(_row(what, found, expected))
    say({f"parity, {asked.log}": rows}, as_json=asked.json)
    sys.exit(0 if all(row["equal"] for row in rows) else 1)


def _row(what: str, found: Seen, expected: Seen) -> Row:
    return {
        "what": what,
        "users": len(found.users),
        "examples": found.examples,
        "window_entries": found.entries,
        "digest": found.digest,
        "equal": found.users == expected.users and found.examples == expected.examples,
    }


if __name__ == "__main__":
    main()
