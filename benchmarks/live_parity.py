"""Whether live workers make of events what replay makes of them.

One operator in this process, and `ebbtide ingest` through Kafka, with 1 partition and 1 worker, 4 and 1, 4
and 2, on the same events. All columns of every example and of its window are compared, but for those that say
where an event was in Kafka. A minute for 50,000 events; starts a broker of its own.
"""

import re
from collections import defaultdict
from collections.abc import Iterable
from contextlib import ExitStack
from dataclasses import fields
from hashlib import blake2b
from pathlib import Path

from benchmarks.benchmark import Bench, Benchmark, Option
from benchmarks.live_bed import BATCH, Bed, bed, done, fill, until, worker
from benchmarks.tables import Bar, Row, Tables
from benchmarks.telling import Telling
from ebbtide import api
from replay.traffic import Form
from state import example_wire
from state.examples import ExampleBatch, Window
from streams.kafka.client import ensure_topic
from streams.kafka.observer import Observer
from streams.operator import Operator, OperatorConfig

CASES: tuple[tuple[int, int, Form], ...] = ((1, 1, "json"), (4, 1, "arrow"), (4, 2, "json"))
"""Partitions, workers, form of the messages."""
WINDOW = 64
_WHERE_FROM = {"partition_B", "offset_B", "index_B", "window"}
_OWN = [f.name for f in fields(ExampleBatch) if f.name not in _WHERE_FROM]
_ENTRIES = [f.name for f in fields(Window) if f.name.endswith("_BW")]
_OF_ROW = [f.name for f in fields(Window) if not f.name.endswith("_BW")]


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
        for user, vectors in self.users.items():
            whole.update(user.to_bytes(8, "little", signed=True) + vectors)
        return whole.hexdigest()


def _window(batch: ExampleBatch) -> Window:
    assert batch.window is not None
    return batch.window


def _rows(batch: ExampleBatch) -> Iterable[bytes]:
    """Each example's bits."""
    window = _window(batch)
    for b, length in enumerate(window.length_B.tolist()):
        own = b"".join(getattr(batch, name)[b].tobytes() for name in _OWN)
        own += b"".join(getattr(window, name)[b].tobytes() for name in _OF_ROW)
        yield own + b"".join(getattr(window, name)[b, :length].tobytes() for name in _ENTRIES)


def replayed(log: str, limit: int | None) -> Seen:
    operator = Operator(OperatorConfig(own_place=False), WINDOW)
    source = api.open_log(log, limit=limit)
    return Seen(operator.process(events, 0) for events in source.batches(BATCH))


def live(
    telling: Telling, bed: Bed, log: str, limit: int | None, partitions: int, workers: int, form: Form
) -> Seen:
    """All workers are there before the first event is."""
    topic = f"events-{partitions}-{workers}"
    ensure_topic(bed.brokers, topic, partitions)
    with ExitStack() as stack:
        processes = [stack.enter_context(worker(bed, topic, topic)) for _ in range(workers)]
        _until_shared(bed.folder / f"{topic}.log", partitions, workers)
        events = fill(telling, bed.brokers, log, topic, form, limit, partitions)
        with telling.step(f"{workers} workers on {partitions} partitions") as step:
            done(bed, f"{topic}-examples", events, processes, step)
    with Observer(bed.brokers) as observer:
        values = (message.value for message in observer.read(f"{topic}-examples"))
        return Seen(example_wire.decode(value).batch for value in values if value is not None)


def _until_shared(log: Path, partitions: int, workers: int) -> None:
    """Wait until every worker has said that it has its share."""

    def shared() -> bool:
        counts = [words.count(",") + 1 for words in re.findall(r"partitions \[(.*)\]", log.read_text())]
        return counts[-workers:] == [partitions // workers] * workers

    until(shared, lambda: f"{workers} workers did not share {partitions} partitions: {log.read_text()}")


def measure(bench: Bench, *, log: str, limit: int | None) -> Tables:
    with bench.telling.step("replaying"):
        expected = replayed(log, limit)
    rows = [_row("replay", expected, expected)]
    with bed(bench) as here:
        for partitions, workers, form in CASES:
            seen = live(bench.telling, here, log, limit, partitions, workers, form)
            rows.append(_row(_named(partitions, workers, form), seen, expected))
    return {EXAMPLES: rows}


def _named(partitions: int, workers: int, form: str) -> str:
    return f"{partitions} partitions, {workers} workers, {form}"


def _row(what: str, actual: Seen, expected: Seen) -> Row:
    return {
        "what": what,
        "users": len(actual.users),
        "examples": actual.examples,
        "window entries": actual.entries,
        "digest": actual.digest,
        "equal": actual.users == expected.users and actual.examples == expected.examples,
    }


EXAMPLES = "examples, and the digest of every user's in order"
BENCHMARK = Benchmark(
    measure=measure,
    options={
        "log": Option(
            help="a log",
            default="planted:users=1000,items=2000,events=50000",
            quick="planted:users=40,items=60,events=1500",
            metavar="LOG",
        ),
        "limit": Option(help="the first N events of it only", kind=int),
    },
    bars=tuple(Bar(_named(*case), EXAMPLES, _named(*case), "equal", 1, must=True) for case in CASES),
)
