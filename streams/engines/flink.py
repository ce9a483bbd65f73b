"""The Flink job: events, keyed by partition, through an `Engine` over keyed state, exactly once to Kafka.

The source is an SQL table, which alone gives Python a message's partition, offset and headers. Messages cross
to Python in bundles, and those of a partition wait there for the end of theirs: so one call of its engine,
and one transaction, takes as many as have come, a few where there are few and many where it is behind. What
they come to does not cross back: examples are fifty times the bytes of events, and readable at once where
they need not wait for a checkpoint, so the bundle commits them itself (`streams.engines.keyed_partition`).
"""

import asyncio
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from itertools import count
from typing import Any

from py4j.protocol import Py4JJavaError  # type: ignore[import-not-found]
from pyflink.common import Configuration, Types  # type: ignore[import-not-found]
from pyflink.datastream import (  # type: ignore[import-not-found]
    DataStream,
    KeyedProcessFunction,
    KeyedStream,
    StreamExecutionEnvironment,
)
from pyflink.datastream.state import MapStateDescriptor  # type: ignore[import-not-found]
from pyflink.java_gateway import get_gateway  # type: ignore[import-not-found]
from pyflink.table import StreamTableEnvironment  # type: ignore[import-not-found]

from state.errors import InputError
from streams.engines.flink_job import GROUPS, Job, settings, title
from streams.engines.keyed_partition import Destination, KeyedPartition
from streams.engines.orphan import end_with_jvm
from streams.engines.partition import Engine, rehearse
from streams.kafka.security import from_carried
from streams.records import folder
from streams.records.packs import Packs
from streams.wire.message import Message

SOURCE = """
CREATE TABLE events (
  `partition` INT METADATA VIRTUAL,
  `offset` BIGINT METADATA VIRTUAL,
  `timestamp` TIMESTAMP_LTZ(3) METADATA VIRTUAL,
  `headers` MAP<STRING, BYTES> METADATA VIRTUAL,
  `k` BYTES,
  `v` BYTES
) WITH (
  'connector' = 'kafka', 'topic' = '{events}', {clients},
  'properties.group.id' = '{group}', 'properties.auto.offset.reset' = 'earliest',
  'properties.client.id.prefix' = '{group}', 'scan.startup.mode' = 'earliest-offset',
  'key.format' = 'raw', 'key.fields' = 'k', 'value.format' = 'raw', 'value.fields-include' = 'EXCEPT_KEY'
)"""
SINK = "CREATE TABLE nothing (`partition` INT) WITH ('connector' = 'blackhole')"
KEYED = """
SELECT CASE `partition` {keys} END AS k, ROW(
  `partition`, `offset`, 1000 * EXTRACT(EPOCH FROM `timestamp`) + EXTRACT(MILLISECOND FROM `timestamp`),
  k, v, `headers`
) AS v
FROM events"""


def environment(job: Job, more: Mapping[str, str]) -> StreamExecutionEnvironment:
    """Where the job is put together; `more` are Flink's settings of where it runs."""
    configuration = Configuration()
    for name, text in {**settings(job), **more}.items():
        configuration.set_string(name, text)
    made = get_gateway().jvm.org.apache.flink.streaming.api.environment.StreamExecutionEnvironment
    return StreamExecutionEnvironment(made(configuration._j_configuration))


_started: dict[str, Any] = {}


def start(job: Job, more: Mapping[str, str]) -> str:
    """Hand the job over to a cluster; its id. A cluster within this process lives as long as it does.

    Raises InputError with the heart of what Flink says.
    """
    env = environment(job, more)
    _assemble(job, env)
    with said_plainly():
        client = env.execute_async(title(job.group))
    identity = str(client.get_job_id())
    _started[identity] = client
    return identity


@contextmanager
def said_plainly() -> Iterator[None]:
    """What Flink raises is an InputError with the heart of it."""
    try:
        yield
    except Py4JJavaError as error:
        raise InputError(f"Flink: {_cause(error.java_exception)}") from error


def java_process() -> int:
    """The JVM of this process, which is started for that."""
    return int(get_gateway().jvm.java.lang.ProcessHandle.current().pid())


def end(identity: str) -> None:
    """Cancel a job of this process, if it has not ended."""
    with suppress(Exception):  # whatever Flink says of a job that is not there any more
        _started.pop(identity).cancel().result()


def _cause(error: Any) -> str:
    """The innermost cause that says anything, and where it happened if none does."""
    said = str(error.toString())
    while error.getCause() is not None:
        error = error.getCause()
        said = str(error.toString()) if error.getMessage() else f"{said}: {error.toString()}"
    at = error.getStackTrace()
    where = (
        ""
        if error.getMessage() or not len(at)
        else " at " + " < ".join(str(one.toString()) for one in at[:4])
    )
    return f"{' '.join(said.split())[:300]}{where}"


def _option(name: str, text: str) -> str:
    """Of a table, for Kafka's clients."""
    return f"'properties.{name}' = '" + text.replace("'", "''") + "'"


def _assemble(job: Job, env: StreamExecutionEnvironment) -> None:
    clients = {"bootstrap.servers": job.brokers, **job.clients}.items()
    names = {
        "events": job.topics.events,
        "clients": ", ".join(_option(name, text) for name, text in clients),
        "group": job.group,
    }
    tables = StreamTableEnvironment.create(env)
    tables.execute_sql(SOURCE.format(**names))
    tables.execute_sql(SINK)
    spread = " ".join(f"WHEN {at} THEN {key}" for at, key in spread_keys(range(job.partitions)).items())
    whole = Types.ROW([Types.INT(), _value_type()])
    stream = tables.to_append_stream(tables.sql_query(KEYED.format(keys=spread)), whole)
    none = Types.ROW([Types.INT()])
    remembered = keyed(stream, _value_type()).process(Remember(job), none).uid("remember").name("remember")
    statements = tables.create_statement_set()
    statements.add_insert("nothing", tables.from_data_stream(remembered))
    statements.attach_as_datastream()


def spread_keys(partitions: Iterable[int]) -> dict[int, int]:
    """A key for each partition, always the same one, so that the first partitions, however many, are spread
    evenly over any number of instances: by their own numbers, of 16 partitions one of 8 instances had none
    and another four."""
    jvm = get_gateway().jvm
    group_of = jvm.org.apache.flink.runtime.state.KeyGroupRangeAssignment.assignToKeyGroup
    selector = jvm.org.apache.flink.streaming.api.functions.python.KeyByKeySelector()
    row = jvm.org.apache.flink.types.Row(1)
    found: dict[int, list[int]] = {group: [] for group in range(GROUPS)}
    numbers, keys_ = count(), {}
    for partition in sorted(partitions):
        turn, at = divmod(partition, GROUPS)
        group = int(f"{at:0{GROUPS.bit_length() - 1}b}"[::-1], 2)
        while len(found[group]) <= turn:
            number = next(numbers)
            row.setField(0, number)
            found[group_of(selector.getKey(row), GROUPS)].append(number)
        keys_[partition] = found[group][turn]
    return keys_


def keyed(stream: DataStream, value_type: Any) -> KeyedStream:
    """By the first field: rows are (key, value) already, as PyFlink's own `key_by` makes them, at the price
    of another Python stage."""
    jvm = get_gateway().jvm
    selector = jvm.org.apache.flink.streaming.api.functions.python.KeyByKeySelector()
    by = stream._j_data_stream.keyBy(selector, Types.ROW([Types.INT()]).get_java_type_info())
    return KeyedStream(by, value_type, stream)


def _bytes() -> Any:
    return Types.PRIMITIVE_ARRAY(Types.BYTE())


def _value_type() -> Any:
    headers = Types.MAP(Types.STRING(), _bytes())
    return Types.ROW([Types.INT(), Types.LONG(), Types.LONG(), _bytes(), _bytes(), headers])


def entries_of(runtime_context: Any) -> Any:
    return runtime_context.get_map_state(MapStateDescriptor("records", Types.STRING(), _bytes()))


def begin(job: Job, partition: int, entries: Any) -> None:
    """Put what was imported into a map that nothing was ever put into."""
    if job.imported is not None and partition in folder.partitions(job.imported) and entries.is_empty():
        Packs(entries).write(folder.read(job.imported, partition).records)


def at_ends_of_bundles(runtime_context: Any, work: Callable[[], None]) -> None:
    """Have `work` done at the end of every bundle, and so before any snapshot.

    PyFlink offers functions no such call; but it has what they hold back of their state written then.
    """
    state = runtime_context._keyed_state_backend
    write = state.commit

    def commit() -> None:
        work()
        write()

    state.commit = commit


class Remember(KeyedProcessFunction):  # type: ignore[misc]
    """Messages of partitions in; what they come to is committed, and nothing goes on."""

    def __init__(self, job: Job) -> None:
        self._job = job

    def open(self, runtime_context: Any) -> None:
        job = self._job
        end_with_jvm()
        rehearse(job.engine)
        self._entries = entries_of(runtime_context)
        self._to = destination(job)
        self._held: dict[int, KeyedPartition] = {}
        self._unsettled = set[int]()
        self._loop = asyncio.new_event_loop()
        at_ends_of_bundles(runtime_context, self._commit)

    def process_element(self, value: Any, ctx: Any) -> None:
        partition, offset, produced_ms, k, v, headers = value
        message = Message(v, k, tuple((headers or {}).items()), partition, offset, produced_ms)
        key = ctx.get_current_key()
        if key not in self._held:
            self._held[key] = self._loop.run_until_complete(self._taken_over(partition))
        held = self._held[key]
        if not held.fits(message):
            self._loop.run_until_complete(held.commit())
        held.add(message)
        if key not in self._unsettled:
            self._unsettled.add(key)
            timers = ctx.timer_service()
            timers.register_processing_time_timer(timers.current_processing_time() + self._job.every_ms)

    def on_timer(self, timestamp: int, ctx: Any) -> Iterable[Any]:
        key = ctx.get_current_key()
        if key in self._held:
            self._loop.run_until_complete(self._held[key].settle())
        self._unsettled.discard(key)
        return ()

    def close(self) -> None:
        for held in self._held.values():
            self._loop.run_until_complete(held.close())
        self._loop.close()

    async def _taken_over(self, partition: int) -> KeyedPartition:
        begin(self._job, partition, self._entries)
        engine = Engine(self._job.engine, self._job.topics.events, partition)
        return await KeyedPartition.taken_over(engine, self._entries, self._to)

    def _commit(self) -> None:
        waiting = [held for held in self._held.values() if held.waits]
        if waiting:
            self._loop.run_until_complete(_committed(waiting))


async def _committed(partitions: Iterable[KeyedPartition]) -> None:
    await asyncio.gather(*(held.commit() for held in partitions))


def destination(job: Job) -> Destination:
    return Destination(
        brokers=job.brokers, group=job.group, topics=job.topics, security=from_carried(job.security)
    )
