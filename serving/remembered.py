"""What is known of a user, to be looked at: the memory event by event, and what each interest is drawn to.

Shape suffixes: K interests, N items, W memory entries, D width.
"""

import math
from dataclasses import dataclass

import numpy as np

from serving.reasons import Name, iso
from serving.scoring.catalogue import ServedCatalogue
from serving.scoring.recalled import RecalledMemory, utc_offset_min
from state.arrays import largest
from state.cells import point_of
from state.store.contract import RunInfo
from state.store.records import Record


@dataclass(frozen=True, slots=True)
class Remembered:
    """One event of a memory."""

    item: str
    time: str
    """ISO 8601 in UTC."""
    label: float | None
    """None while unknown, or where the log has none."""
    strength_s: float
    """Retention is exp(-age / strength), the age counted from `last`."""
    last: str
    """When the item was met last."""
    retention: float
    hour: float
    week: float
    place: float
    """What is left of it at the time asked for, and how well hour, week and place match, in [0, 1]."""
    lat: float | None
    lon: float | None
    """WGS 84 degrees: the middle of a cell some 175 m across. None for a place without coordinates."""


@dataclass(frozen=True, slots=True)
class DrawnTo:
    """An item by the cosine of its vector with an interest, biases aside."""

    item: str
    score: float


@dataclass(frozen=True, slots=True)
class Interest:
    name: str
    length: float
    """Of the vector, its bias aside."""
    items: list[DrawnTo]


@dataclass(frozen=True, slots=True)
class MemoryAnswer:
    user: str
    version: int
    event_time: str
    at: str
    """The time that retention and matches are of, ISO 8601 in UTC."""
    utc_offset_min: int
    """Minutes that the user's clock is ahead of UTC."""
    interests: list[Interest]
    events: list[Remembered]
    """Oldest first; at most `state.store.records.MEMORY_LIMIT`, the newest."""


def memory_answer(
    user: str, record: Record, at_ms: int, now: RecalledMemory, name: Name, interests: list[Interest]
) -> MemoryAnswer:
    """What `record` remembers, as it is `now`."""
    kernels_W = zip(now.retention_W, now.hour_W, now.week_W, now.place_W, strict=True)
    events = []
    for entry, kernels in zip(now.memory, kernels_W, strict=True):
        point = point_of(int(entry["cell"]))
        label = float(entry["label"])
        events.append(
            Remembered(
                name(int(entry["item"])),
                iso(int(entry["time_ms"])),
                None if math.isnan(label) else label,
                float(entry["strength_s"]),
                iso(int(entry["last_ms"])),
                *map(float, kernels),
                *((None, None) if point is None else point),
            )
        )
    offset_min = utc_offset_min(now.memory)
    when = iso(record.event_time_ms)
    return MemoryAnswer(user, record.version, when, iso(at_ms), offset_min, interests, events)


def drawn_to(record: Record, info: RunInfo, catalogue: ServedCatalogue, k: int) -> list[Interest]:
    """The k items that each interest points at; an interest of no length points nowhere, and is left out."""
    interests = []
    for number, vector_D in enumerate(record.vectors_KD):
        length = float(np.linalg.norm(vector_D[:-1]))
        if length == 0.0:
            continue
        name = info.interests[number] if number < len(info.interests) else f"interest {number + 1}"
        cosine_N = catalogue.cosines(vector_D)
        best = largest(cosine_N, min(k, len(cosine_N))).tolist()
        items = [DrawnTo(catalogue.ids[row], float(cosine_N[row])) for row in best]
        interests.append(Interest(name, length, items))
    return interests
