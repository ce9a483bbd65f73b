"""Somebody without an id: a history that is sent along, as a memory.

The forgetting curve with spacing of `state.forgetting`, with the operator's default settings: what was
visited once fades to 1/e in STRENGTH_S, and a late repeat strengthens most. Interests are those items'
vectors, each weighed by what is left of it, over the square root of the sum of weights: nothing is learned
of who is not known.

Shape suffixes: W memory entries, D width.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from serving.scoring.catalogue import ServedCatalogue
from serving.scoring.recalled import cell_at
from state.ids import NO_KEY, key_of
from state.store.records import MEMORY_ENTRY, MEMORY_LIMIT, Entries, Record, linked
from state.weeks import minute_of_week

STRENGTH_S, GAIN, STRENGTH_CAP_S = 3 * 86_400.0, 0.7, 60 * 86_400.0
"""Those of `state.memory.users`."""


class Visit(NamedTuple):
    """An event of somebody who has no id."""

    item: str
    time_ms: int
    lat: float | None = None
    lon: float | None = None
    tz_min: int = 0
    """Minutes that local time is ahead of UTC."""
    label: float | None = None
    """How it came out, where that is known: at most 1/2 does not speak for its item."""


def memory_of(history: Sequence[Visit]) -> Entries:
    """What is remembered of visits, oldest first; of more than MEMORY_LIMIT the newest."""
    visits = sorted(history, key=lambda visit: visit.time_ms)
    last_ms: dict[str, int] = {}
    strength_s: dict[str, float] = {}
    for visit in visits:
        if visit.item in last_ms:
            held_s = strength_s[visit.item]
            left = np.exp(-(visit.time_ms - last_ms[visit.item]) / 1000.0 / held_s)
            strength_s[visit.item] = min(STRENGTH_CAP_S, held_s * (1.0 + GAIN * (1.0 - float(left))))
        else:
            strength_s[visit.item] = STRENGTH_S
        last_ms[visit.item] = visit.time_ms
    entries_W = np.zeros(min(len(visits), MEMORY_LIMIT), MEMORY_ENTRY)
    for w, visit in enumerate(visits[-MEMORY_LIMIT:]):
        cell = NO_KEY if visit.lat is None or visit.lon is None else cell_at(visit.lat, visit.lon)
        minute = minute_of_week(visit.time_ms, visit.tz_min)
        times = (visit.time_ms, last_ms[visit.item], cell)
        label = np.nan if visit.label is None else visit.label
        entries_W[w] = (key_of(visit.item), *times, strength_s[visit.item], label, minute, 0.0, NO_KEY)
    return linked(entries_W)


def record_of(history: Sequence[Visit], catalogue: ServedCatalogue, version: int) -> Record:
    """What a store would hold of them, right after the newest visit."""
    memory = memory_of(history)
    now_ms = int(memory["time_ms"][-1])
    retention_W = np.exp(-np.maximum(now_ms - memory["last_ms"], 0) / 1000.0 / memory["strength_s"])
    row_W = catalogue.rows(memory["item"].tolist())
    weight_W = np.where(row_W >= 0, retention_W, 0.0)
    vectors_WD = catalogue.of_rows(row_W, catalogue.width)
    interest_D = weight_W @ vectors_WD / np.sqrt(max(weight_W.sum(), 1e-30))
    interest_1D = interest_D[np.newaxis].astype(np.float32)
    return Record(version, now_ms, interest_1D, memory["item"].astype(np.int64), memory)
