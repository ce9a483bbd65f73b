"""Events in time order, in bounded memory.

What is in order already streams through. What is not is sorted stably: runs of bounded size are sorted in
memory, spilled to temporary files as Arrow IPC and merged. Equal times keep the file's order, or, where
that would leak the items, take an order drawn from the seed and the number of the row, so that it is the
same however the rows were chunked.

Shape suffix: B rows.
"""

import os
import tempfile
from collections.abc import Iterable, Iterator

import numpy as np
import pyarrow as pa

from replay.meaning.columns import Columns, join, size_of, take
from state.compiled import compiled
from state.errors import InputError
from state.keys import Int64s, mix

_GRANULES = 256
"""Pieces in which a run is written and read, so that as many runs merge within the bound."""


class Ties:
    """The order of rows with equal time: by number, or shuffled by a seed."""

    def __init__(self, seed: int | None) -> None:
        self._seed = seed

    def rank(self, seq_B: Int64s) -> Int64s:
        """A distinct number for each row; the least comes first."""
        return seq_B if self._seed is None else _drawn(seq_B, self._seed)

    def order(self, columns: Columns) -> Int64s:
        """The rows' order by time and rank."""
        return np.lexsort((self.rank(columns["seq"]), columns["time_ms"]))


@compiled
def _drawn(seq_B: Int64s, seed: int) -> Int64s:
    rank_B = np.empty_like(seq_B)
    for b in range(seq_B.shape[0]):
        rank_B[b] = mix(mix(seq_B[b]) ^ mix(seed))
    return rank_B


def shuffled_ties(chunks: Iterable[Columns], ties: Ties) -> Iterator[Columns]:
    """Rows that are in time order, their equal times by rank. Holds a chunk and one tie."""
    held: list[Columns] = []
    for chunk in chunks:
        if size_of(chunk) == 0:
            continue
        start = int(np.searchsorted(chunk["time_ms"], chunk["time_ms"][-1]))
        if held and start == 0 and held[0]["time_ms"][-1] == chunk["time_ms"][0]:
            held.append(chunk)
            continue
        done = join([*held, take(chunk, slice(0, start))])
        if size_of(done):
            yield take(done, ties.order(done))
        held = [take(chunk, slice(start, None))]
    if held:
        last = join(held)
        yield take(last, ties.order(last))


def sorted_by_time(chunks: Iterable[Columns], ties: Ties, memory_rows: int) -> Iterator[Columns]:
    """Rows by time, holding about `memory_rows` of them; the rest waits on disk."""
    spilled: list[pa.OSFile] = []
    held: list[Columns] = []
    rows = 0
    for chunk in chunks:
        held.append(chunk)
        rows += size_of(chunk)
        if rows >= memory_rows:
            spilled.append(_spilled(_sorted(held, ties), memory_rows))
            held, rows = [], 0
    if spilled:
        if rows:
            spilled.append(_spilled(_sorted(held, ties), memory_rows))
        held = []
        yield from _merge([_Run(file) for file in spilled], ties, memory_rows)
    elif rows:
        yield _sorted(held, ties)


def _sorted(parts: list[Columns], ties: Ties) -> Columns:
    whole = join(parts)
    return take(whole, ties.order(whole))


def _spilled(columns: Columns, memory_rows: int) -> pa.OSFile:
    """A run on disk. The file has no name once it is written, so a process that is killed leaves none."""
    batch = pa.record_batch({name: pa.array(column) for name, column in columns.items()})
    granule = max(64, memory_rows // _GRANULES)
    try:
        number, name = tempfile.mkstemp(prefix="ebbtide-sort-")
        os.close(number)
        try:
            with pa.OSFile(name, "wb") as sink, pa.ipc.new_file(sink, batch.schema) as writer:
                for start in range(0, batch.num_rows, granule):
                    writer.write_batch(batch.slice(start, granule))
            return pa.OSFile(name, "rb")
        finally:
            os.unlink(name)
    except OSError as error:
        raise InputError(
            f"{tempfile.gettempdir()}: no room to sort the log ({error}); "
            "set TMPDIR to a folder that has room"
        ) from error


class _Run:
    """A spilled run, read a few granules at a time."""

    def __init__(self, source: pa.OSFile) -> None:
        self._source = source
        self._file = pa.ipc.open_file(source)
        self._next = 0
        self.rows: Columns = self._read()

    def _read(self) -> Columns:
        batch = self._file.get_batch(self._next)
        self._next += 1
        return {name: batch.column(name).to_numpy(zero_copy_only=False) for name in batch.schema.names}

    def fill(self, wanted: int) -> bool:
        """Hold at least `wanted` rows while there are so many; False once there are none."""
        parts, held = [self.rows], size_of(self.rows)
        while held < wanted and self._next < self._file.num_record_batches:
            parts.append(self._read())
            held += size_of(parts[-1])
        self.rows = join(parts)
        if held == 0:
            self._source.close()
        return held > 0

    def last(self, ties: Ties) -> tuple[int, int]:
        """Time and rank of the last row at hand."""
        return int(self.rows["time_ms"][-1]), int(ties.rank(self.rows["seq"][-1:])[0])

    def split(self, time_ms: int, rank: int, ties: Ties) -> Columns:
        """Take the rows up to and with (time, rank) off the front."""
        times = self.rows["time_ms"]
        start = int(np.searchsorted(times, time_ms, "left"))
        stop = int(np.searchsorted(times, time_ms, "right"))
        within = ties.rank(self.rows["seq"][start:stop])
        end = start + int(np.searchsorted(within, rank, "right"))
        front, self.rows = take(self.rows, slice(0, end)), take(self.rows, slice(end, None))
        return front


def _merge(runs: list[_Run], ties: Ties, memory_rows: int) -> Iterator[Columns]:
    """Every round hands on all rows up to the least last row at hand."""
    while runs := [run for run in runs if run.fill(max(1, memory_rows // len(runs)))]:
        bound = min(run.last(ties) for run in runs)
        whole = join([run.split(*bound, ties) for run in runs])
        yield take(whole, ties.order(whole))
