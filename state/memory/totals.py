"""What a memory says of its items beside a window: how often, since when, how lately, how much of it by now.

A window of few entries tells the hour and what follows what; habits by count, and what was had long ago, are
told by the whole memory. So an example carries totals of items that were had more than once, or `BEYOND`
entries ago or more: of those with the most events, each faded by a half-life of `HALF_LIFE_S`. Entries that
came out badly, as far as is known, are not counted. What is selected for the window makes no difference.

Shape suffixes: N entries of a memory, I items.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from state.compiled import inserted
from state.evidence import LONGEST_S as HALF_LIFE_S
from state.examples import ITEMS, Floats
from state.keys import NO_KEY, Int64s, mix
from state.memory.mask import least
from state.memory.pending import Rows
from state.memory.slabs import ITEM, KNOWN, TIME, Slabs, entries, labels
from state.memory.windows import Written

BEYOND = 64
"""Entries since an item that was had once, from which on it has totals: no window is sure to have it."""
_FADE = np.float32(-0.6931472 / HALF_LIFE_S)


class CountingRoom(NamedTuple):
    """Room to count in; `slot_H` holds nothing between rows."""

    slot_H: NDArray[np.int32]
    """Number of an item plus one, by open addressing; 0 for none."""
    place_N: Int64s
    """Where in `slot_H` each item is."""
    item_N: Int64s
    count_N: Floats
    first_ms_N: Int64s
    last_ms_N: Int64s
    since_N: Int64s
    faded_N: Floats
    bits_N: NDArray[np.int32]
    """The same memory, as integers."""


def tally(capacity: int) -> CountingRoom:
    """Room for a memory of so many entries."""
    faded_N = np.zeros(capacity, np.float32)
    return CountingRoom(
        np.zeros(1 << (4 * capacity - 1).bit_length(), np.int32),
        np.zeros(capacity, np.int64),
        np.zeros(capacity, np.int64),
        np.zeros(capacity, np.float32),
        np.zeros(capacity, np.int64),
        np.zeros(capacity, np.int64),
        np.zeros(capacity, np.int64),
        faded_N,
        faded_N.view(np.int32),
    )


@inserted
def totalled(slabs: Slabs, rows: Rows, b: int, horizon_ms: int, room: CountingRoom, out: Written) -> None:
    """Write row b's totals, of entries that are no older than the horizon."""
    user, time_ms = rows.user_B[b], rows.time_ms_B[b]
    items, times = entries(slabs, user, ITEM), entries(slabs, user, TIME)
    knowns, label_of = entries(slabs, user, KNOWN), labels(slabs, user)
    many, mask = 0, len(room.slot_H) - 1
    for n in range(len(items) - 1, -1, -1):
        if times[n] < time_ms - horizon_ms:
            break
        if knowns[n] <= rows.clock_ms_B[b] and label_of[n] <= 0.5:
            continue
        h = mix(items[n]) & mask
        while room.slot_H[h] != 0 and room.item_N[room.slot_H[h] - 1] != items[n]:
            h = (h + 1) & mask
        k = room.slot_H[h] - 1
        if k < 0:
            k = many
            many += 1
            room.slot_H[h] = many
            room.place_N[k] = h
            room.item_N[k] = items[n]
            room.last_ms_N[k] = times[n]
            room.since_N[k] = len(items) - 1 - n
            room.count_N[k] = 0.0
            room.faded_N[k] = 0.0
        room.first_ms_N[k] = times[n]
        room.count_N[k] += 1.0
        room.faded_N[k] += np.exp(_FADE * np.float32(max(time_ms - times[n], 0) / 1000.0))
    again = 0
    for k in range(many):
        room.slot_H[room.place_N[k]] = 0
        if room.count_N[k] > 1.5 or room.since_N[k] >= BEYOND:
            again += 1
        else:
            room.faded_N[k] = -1.0
    bound = least(room.bits_N[:many], ITEMS) if again > ITEMS else -1
    columns, first = out.columns, out.item_edge_B1[b]
    i = first
    for k in range(many):
        if room.bits_N[k] > bound and i < first + ITEMS:
            columns.total_item_BI[i] = room.item_N[k]
            columns.total_count_BI[i] = room.count_N[k]
            columns.total_first_s_BI[i] = max(time_ms - room.first_ms_N[k], 0) / 1000.0
            columns.total_last_s_BI[i] = max(time_ms - room.last_ms_N[k], 0) / 1000.0
            columns.total_since_BI[i] = room.since_N[k]
            columns.total_faded_BI[i] = room.faded_N[k]
            i += 1
    if out.as_lists:
        out.item_edge_B1[b + 1] = i
    for j in range(i, out.item_edge_B1[b + 1]):
        columns.total_item_BI[j] = NO_KEY
