"""What a checkpoint or savepoint holds, written out by a job that ends: no client reads keyed state."""

import asyncio
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from pyflink.common import Row, Types  # type: ignore[import-not-found]
from pyflink.datastream import KeyedProcessFunction  # type: ignore[import-not-found]
from pyflink.table import StreamTableEnvironment  # type: ignore[import-not-found]

from streams.engines.flink import (
    SINK,
    begin,
    destination,
    entries_of,
    environment,
    keyed,
    said_plainly,
    spread_keys,
)
from streams.engines.flink_job import Job, title
from streams.engines.keyed_partition import settled
from streams.engines.partition import Engine
from streams.records import folder
from streams.records.folder import Kept
from streams.records.packs import Packs

_ALONE = {
    "execution.state-recovery.ignore-unclaimed-state": "true",
    "table.exec.uid.generation": "DISABLED",
}
"""The state of the source is nobody's here, and operators of the same place are others."""


def export(job: Job, more: Mapping[str, str], to: Path) -> None:
    """Write what the job would go on from into a folder (`streams.records.folder`). Raises InputError."""
    env = environment(job, {**more, **_ALONE})
    tables = StreamTableEnvironment.create(env)
    tables.execute_sql(SINK)
    every = ", ".join(
        f"({key}, {partition})" for partition, key in spread_keys(range(job.partitions)).items()
    )
    asked = tables.sql_query(f"SELECT k, p AS v FROM (VALUES {every}) AS of_them(k, p)")
    stream = tables.to_append_stream(asked, Types.ROW([Types.INT(), Types.INT()]))
    one = Types.ROW([Types.INT()])
    written = keyed(stream, Types.INT()).process(Export(job, to), one).uid("remember").name("export")
    statements = tables.create_statement_set()
    statements.add_insert("nothing", tables.from_data_stream(written))
    statements.attach_as_datastream()
    with said_plainly():
        env.execute(f"{title(job.group)} export")


class Export(KeyedProcessFunction):  # type: ignore[misc]
    """Numbers of partitions in, their records into a folder."""

    def __init__(self, job: Job, to: Path) -> None:
        self._job, self._to = job, to

    def open(self, runtime_context: Any) -> None:
        self._entries = entries_of(runtime_context)

    def process_element(self, partition: Any, ctx: Any) -> Iterator[Row]:
        begin(self._job, partition, self._entries)
        if not self._entries.is_empty():
            engine = Engine(self._job.engine, self._job.topics.events, partition)
            asyncio.run(settled(engine, self._entries, destination(self._job)))
            _, records = Packs.of(self._entries)
            folder.write(self._to, Kept(engine.topic, partition, records), engine.progress.events)
        yield Row(partition)

    def on_timer(self, timestamp: int, ctx: Any) -> Iterable[Any]:
        return ()  # of the job whose state it is
