"""What an event costs a worker besides Faust and Kafka, and its bytes on the wire.

The stages of one `Engine` in this process, on one thread, with a worker's defaults: windows of 64 entries, by
the mask. Events come as JSON, one a message, and as Arrow batches of about 1,024; state is what goes
to the changelog, asked for once in 1,024 events. Two minutes; needs nothing; Foursquare's check-ins, whose
windows are long, where their folder is given.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager

from benchmarks.benchmark import Bench, Benchmark, Option
from benchmarks.tables import Row, Tables
from benchmarks.telling import Step
from ebbtide import api
from replay.log import Log
from state import example_wire
from streams.engines.engine_config import EngineConfig
from streams.engines.partition import Engine
from streams.schema import EventBatch
from streams.wire import arrow_form, json_form
from streams.wire.decode import decode
from streams.wire.message import ARROW, HEADER, JSON, Message

BATCH = 1024
COSTS = "CPU us an event, and bytes"


def measure(bench: Bench, *, log: str, limit: int, foursquare: str | None = None) -> Tables:
    rows: list[Row] = []
    for title, source in (("planted", log), ("Foursquare", foursquare)):
        if source is None:
            continue
        for form in ("JSON", "Arrow"):
            with bench.telling.step(f"{title}, {form}") as step:
                rows.append(_row(step, f"{form}, {title}", api.open_log(source, limit=limit), form))
    return {COSTS: rows}


def _row(step: Step, what: str, log: Log, form: str) -> Row:
    engine = Engine(EngineConfig(), "events", 0)
    spent_s: dict[str, float] = {}
    events = taken = sent = held = kept = 0

    for batch in log.batches(BATCH):
        messages = _messages(batch, log, form, taken)
        with _timed("decode", spent_s):
            decoded = decode(messages)
        with _timed("operator", spent_s):
            examples, lists = engine.operator.process_lists(decoded.events, 0)
        with _timed("encode", spent_s):
            values = example_wire.encode(
                examples, examples.time_ms_B, decoded.names, engine.made_by, lists=lists
            )
        with _timed("state", spent_s):
            records = engine.records()
        events += len(examples)
        taken += len(messages)
        sent += sum(len(message.value or b"") for message in messages)
        held += sum(len(value) for _, value in values)
        kept += sum(len(record or b"") for record in records.values())
        step.reached(events / log.rows)
    return {
        "what": what,
        "events": events,
        **{stage: 1e6 * s / events for stage, s in spent_s.items()},
        "bytes of an event": sent / events,
        "bytes of an example": held / events,
        "bytes of state": kept / events,
    }


@contextmanager
def _timed(stage: str, spent_s: dict[str, float]) -> Iterator[None]:
    start = time.process_time()
    yield
    spent_s[stage] = spent_s.get(stage, 0.0) + time.process_time() - start


def _messages(batch: EventBatch, log: Log, form: str, first: int) -> list[Message]:
    names = dict(log.names.items())
    if form == "JSON":
        values, schema = json_form.encode(batch, names), JSON
    else:
        values, schema = [arrow_form.encode(batch, names)], ARROW
    headers = [(HEADER, schema.encode())]
    now_ms = int(batch.time_ms_B.max())
    return [Message(value, b"0", headers, 0, first + n, now_ms) for n, value in enumerate(values)]


BENCHMARK = Benchmark(
    measure=measure,
    options={
        "log": Option(
            help="a log",
            default="planted:users=10000,items=2000,events=200000",
            quick="planted:users=40,items=60,events=1500",
            metavar="LOG",
        ),
        "limit": Option(help="the first N events", default=100_000, quick=1500, kind=int),
        "foursquare": Option(
            help="folder of check-ins and places",
            quick="planted:users=10,items=60,events=1500,labels=0",
            metavar="DIR",
        ),
    },
)
