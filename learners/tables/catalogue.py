"""Item-keyed state, kept by the trainer, who sees every example in one order.

Rates of every item (and of every item at each hour of day), popularity, and the negatives drawn from it.
Rows are numbered in the order in which items became known, so "the catalogue as of row i" is a prefix. Items
leave only in `expire`, which is called between two steps: rows then close up, and their order stays.

Shape suffixes: B rows, Q queue, N items, T time constants, R rates.
"""

from typing import NamedTuple

import numpy as np

from learners.tables.identity import identity, uniform
from state.compiled import compiled, inner
from state.examples import BANK_S, ITEM_RATES, Doubles, ExampleBatch, Floats
from state.keys import Int64s, KeyArrays, KeyMap, add, find, mix
from state.tree import Tree

_BANK_MS = np.array(BANK_S) * 1000.0
_HOURS = 24
_DAY_30, _DAY_7 = 3, 2
_LONGEST = 600.0
"""Time constants after the newest event beyond which shares stay as they are: all fade alike, and e^-600 is
still a number to divide by."""


COUNT, POSITIVES = 0, 1
"""Columns of `total_NR`, of `all_R` and of rates."""
WEEK, NEWEST_MS = 2, 3
"""Columns of `all_R`, besides."""
DECAYED, DECAYED_POSITIVES = 2, 6
"""Columns of rates (`state.examples.ITEM_RATES`), besides; the first of four each."""
HOUR, HOUR_POSITIVES, AGE, ALL, ALL_POSITIVES, SHARE = range(10, 16)


class CatalogueRows(NamedTuple):
    """Rows of a batch or of the queue."""

    item_B: Int64s
    time_ms_B: Int64s
    tz_min_B: Int64s
    label_B: Floats


class CountArrays(NamedTuple):
    """A catalogue inside a kernel."""

    items: KeyArrays
    first_ms_N: Int64s
    last_ms_N: Int64s
    total_NR: Doubles
    decayed_NT: Doubles
    hour_NR: Doubles
    all_R: Doubles


def _rows(batch: ExampleBatch) -> CatalogueRows:
    return CatalogueRows(batch.item_B, batch.time_ms_B, batch.tz_min_B, batch.label_B)


class Catalogue:
    """What is known of every item, as of the last row that became due."""

    def __init__(self) -> None:
        self.items = KeyMap()
        self.first_ms_N: Int64s = np.zeros(0, np.int64)
        self.last_ms_N: Int64s = np.zeros(0, np.int64)
        self.total_NR: Doubles = np.zeros((0, 2))
        """Count and sum of labels, without decay."""
        self.decayed_NT: Doubles = np.zeros((0, 2 * len(BANK_S)))
        """Counts at the bank's time constants, then sums of labels; as of `last_ms_N`."""
        self.hour_NR: Doubles = np.zeros((0, 2 * _HOURS))
        """30-day counts and label sums by local hour; as of `last_ms_N`."""
        self.all_R: Doubles = np.zeros(4)
        """Count, label sum, 7-day count and its time, of all items together."""

    def __len__(self) -> int:
        return len(self.items)

    def step(self, batch: ExampleBatch, queue: ExampleBatch, due_B: Int64s) -> tuple[Floats, Int64s]:
        """Fold the queue's rows in as they become due; each row gets ITEM_RATES and the size."""
        due = int(due_B[-1]) if len(due_B) else 0
        self._reserve(due)
        rates_BR = np.zeros((len(batch), len(ITEM_RATES)), np.float32)
        size_B = np.empty(len(batch), np.int64)
        counts = CountArrays(
            self.items.arrays,
            self.first_ms_N,
            self.last_ms_N,
            self.total_NR,
            self.decayed_NT,
            self.hour_NR,
            self.all_R,
        )
        _step(_rows(batch), _rows(queue), due_B, counts, _BANK_MS, rates_BR, size_B)
        return rates_BR, size_B

    def learn(self, queue: ExampleBatch) -> None:
        """Fold rows in without scoring any, at the end of a stream."""
        self.step(queue.take(slice(0, 1)), queue, np.array([len(queue)]))

    def popularity(self, time_ms: int, constant: int = _DAY_7) -> Doubles:
        """Every item's count (N,), faded by BANK_S[constant], as of `time_ms`.

        As of _LONGEST time constants after the newest event at most: so the proportions are right, and not
        all counts are 0, however long the gap.
        """
        size = len(self)
        last_ms_N = self.last_ms_N[:size]
        newest_ms = int(last_ms_N.max()) if size else time_ms
        as_of_ms = min(time_ms, newest_ms + _LONGEST * _BANK_MS[constant])
        age = np.maximum(as_of_ms - last_ms_N, 0) / _BANK_MS[constant]
        return np.asarray(self.decayed_NT[:size, constant] * np.exp(-age))

    def expire(self, before_ms: int) -> Int64s:
        """Let items go that were last known before; where each row is now (N,), -1 where it has gone."""
        size = len(self)
        keep_N = self.last_ms_N[:size] >= before_ms
        self.items = KeyMap(self.items.keys[:size][keep_N])
        for name in ("first_ms_N", "last_ms_N", "total_NR", "decayed_NT", "hour_NR"):
            setattr(self, name, getattr(self, name)[:size][keep_N])
        self._reserve(0)
        moved_N: Int64s = np.where(keep_N, np.cumsum(keep_N) - 1, -1)
        return moved_N

    def _reserve(self, extra: int) -> None:
        self.items.reserve(extra)
        need = len(self.items.keys)
        if need > len(self.first_ms_N):
            for name in ("first_ms_N", "last_ms_N", "total_NR", "decayed_NT", "hour_NR"):
                old = getattr(self, name)
                new = np.zeros((need, *old.shape[1:]), old.dtype)
                new[: len(old)] = old
                setattr(self, name, new)

    def tree(self) -> Tree:
        size = len(self)
        columns = ("first_ms_N", "last_ms_N", "total_NR", "decayed_NT", "hour_NR")
        return {
            "items": self.items.tree(),
            "all_R": self.all_R.copy(),
            **{name: getattr(self, name)[:size].copy() for name in columns},
        }

    def load(self, tree: Tree) -> None:
        self.items.load(tree["items"])
        self.all_R[:] = tree["all_R"]
        for name in ("first_ms_N", "last_ms_N", "total_NR", "decayed_NT", "hour_NR"):
            setattr(self, name, np.array(tree[name]))
        self._reserve(0)


@inner
def local_hour(time_ms: int, tz_min: int) -> int:
    """Hour of day, 0..23, of a time at an offset from UTC."""
    return (time_ms // 60_000 + tz_min) // 60 % 24


@compiled
def _step(
    rows: CatalogueRows,
    queue: CatalogueRows,
    due_B: Int64s,
    counts: CountArrays,
    bank_ms_T: Doubles,
    rates_BR: Floats,
    size_B: Int64s,
) -> None:
    q, all_R = 0, counts.all_R
    for b in range(rows.item_B.shape[0]):
        while q < due_B[b]:
            label = 1.0 if np.isnan(queue.label_B[q]) else np.float64(queue.label_B[q])
            _fold(queue.item_B[q], queue.time_ms_B[q], queue.tz_min_B[q], label, counts, bank_ms_T)
            q += 1
        size_B[b] = counts.items.used[0]
        rates_BR[b, ALL] = all_R[COUNT]
        rates_BR[b, ALL_POSITIVES] = all_R[POSITIVES]
        n = find(counts.items.table, rows.item_B[b])
        if n < 0:
            rates_BR[b, AGE] = -1.0
        else:
            _rates(n, rows.time_ms_B[b], rows.tz_min_B[b], counts, bank_ms_T, rates_BR[b])


@inner
def _fold(
    item: int, time_ms: int, tz_min: int, label: float, counts: CountArrays, bank_ms_T: Doubles
) -> None:
    """The outcome of an event is known."""
    constants, all_R = bank_ms_T.shape[0], counts.all_R
    total_NR, decayed_NT, hour_NR = counts.total_NR, counts.decayed_NT, counts.hour_NR
    known = counts.items.used[0]
    n = add(counts.items, item)
    if n == known:
        counts.first_ms_N[n] = counts.last_ms_N[n] = time_ms
    gap = max(time_ms - counts.last_ms_N[n], 0)
    counts.last_ms_N[n] = max(counts.last_ms_N[n], time_ms)
    total_NR[n, COUNT] += 1.0
    total_NR[n, POSITIVES] += label
    for k in range(constants):
        fade = np.exp(-gap / bank_ms_T[k])
        decayed_NT[n, k] = decayed_NT[n, k] * fade + 1.0
        decayed_NT[n, constants + k] = decayed_NT[n, constants + k] * fade + label
    fade = np.exp(-gap / bank_ms_T[_DAY_30])
    if fade < 1.0:
        for h in range(hour_NR.shape[1]):
            hour_NR[n, h] *= fade
    hour = local_hour(time_ms, tz_min)
    hour_NR[n, hour] += 1.0
    hour_NR[n, _HOURS + hour] += label
    if all_R[COUNT] == 0.0:
        all_R[NEWEST_MS] = time_ms
    all_R[WEEK] = all_R[WEEK] * np.exp(-max(time_ms - all_R[NEWEST_MS], 0.0) / bank_ms_T[_DAY_7]) + 1.0
    all_R[NEWEST_MS] = max(all_R[NEWEST_MS], np.float64(time_ms))
    all_R[COUNT] += 1.0
    all_R[POSITIVES] += label


@inner
def _rates(
    n: int, time_ms: int, tz_min: int, counts: CountArrays, bank_ms_T: Doubles, rates_R: Floats
) -> None:
    """What is known of item n at a time."""
    constants, all_R = bank_ms_T.shape[0], counts.all_R
    decayed_NT, hour_NR, last_ms = counts.decayed_NT, counts.hour_NR, counts.last_ms_N[n]
    gap = max(time_ms - last_ms, 0)
    rates_R[COUNT] = counts.total_NR[n, COUNT]
    rates_R[POSITIVES] = counts.total_NR[n, POSITIVES]
    for k in range(constants):
        fade = np.exp(-gap / bank_ms_T[k])
        rates_R[DECAYED + k] = decayed_NT[n, k] * fade
        rates_R[DECAYED_POSITIVES + k] = decayed_NT[n, constants + k] * fade
    hour = local_hour(time_ms, tz_min)
    fade = np.exp(-gap / bank_ms_T[_DAY_30])
    rates_R[HOUR] = hour_NR[n, hour] * fade
    rates_R[HOUR_POSITIVES] = hour_NR[n, _HOURS + hour] * fade
    rates_R[AGE] = (time_ms - counts.first_ms_N[n]) / 1000.0
    newest_ms, week_ms = all_R[NEWEST_MS], bank_ms_T[_DAY_7]
    as_of_ms = min(max(np.float64(time_ms), newest_ms), newest_ms + _LONGEST * week_ms)
    everything = all_R[WEEK] * np.exp(-(as_of_ms - newest_ms) / week_ms)
    rates_R[SHARE] = decayed_NT[n, _DAY_7] * np.exp(-(as_of_ms - last_ms) / week_ms) / everything


def negatives(catalogue: Catalogue, batch: ExampleBatch, count: int, seed: int) -> tuple[Int64s, Doubles]:
    """Catalogue rows (B, count) drawn from popularity^0.75, and every item's log probability (N,).

    A row's draws depend on its identity, the seed and what the catalogue knows, never on its batch mates'
    number or order within the batch.
    """
    weight_N = catalogue.popularity(int(batch.time_ms_B[-1])) ** 0.75
    cumulative_N = np.cumsum(weight_N)
    draws = np.empty((len(batch), count), np.int64)
    _draw(batch.partition_B, batch.offset_B, batch.index_B, seed, cumulative_N, draws)
    return draws, np.log(np.maximum(weight_N / cumulative_N[-1], np.finfo(np.float64).tiny))


@compiled
def _draw(
    partition_B: Int64s,
    offset_B: Int64s,
    index_B: Int64s,
    seed: int,
    cumulative_N: Doubles,
    draws_BS: Int64s,
) -> None:
    top = cumulative_N[-1]
    for b in range(draws_BS.shape[0]):
        bits = mix(identity(partition_B[b], offset_B[b], index_B[b])) ^ mix(seed)
        for s in range(draws_BS.shape[1]):
            bits = mix(bits)
            point = uniform(bits) * top
            draws_BS[b, s] = min(np.searchsorted(cumulative_N, point, "right"), len(cumulative_N) - 1)
