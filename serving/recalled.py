"""What a user's memory is worth at an hour and a place: for asking "and on Friday evening, there?".

Shape suffixes: W memory entries, D width, K interests. A memory is an array of `state.records.MEMORY_ENTRY`.

The published interests are as of the user's last event. For another hour or place, the memory gives
c(t, place) = sum over k in {hour, week, place} of (sum_w R_w k_w x_w) / sqrt(sum_w R_w k_w + 1/2), with R the
retention as of the last event, k the kernel values at (t, place) and x the entries' item vectors without
their bias. The query vector moves by s (c(asked) - c(last event)); s makes the longer of the two as long
as the published hour, week and place interests together, or all interests where none of these is
published. Asked for the hour and place of the last event, nothing moves.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from state.examples import Doubles, Floats
from state.forgetting import WEEK_MIN, minute_of_week, periodic, tz_min_of
from state.keys import NO_KEY
from state.places import Cells, closeness
from state.records import Entries, Record
from state.store import RunInfo

CONTEXT_INTERESTS = ("hour", "week", "place")


class Recalled(NamedTuple):
    """Of every entry, at a time and a place: its retention, and kernel values in [0, 1]."""

    retention_W: Doubles
    hour_W: Doubles
    week_W: Doubles
    place_W: Doubles


Explain = Callable[[Recalled, Floats, Floats], Doubles]
"""(recalled, entries' item vectors (W, D), item vector (D,)) -> what each entry adds to the score (W,)."""


def evidence(recalled: Recalled, vectors_WD: Floats, vector_D: Floats) -> Doubles:
    """R (1 + hour + week + place) / 4 times the likeness x_w . x of entry and item, biases aside."""
    weight_W = recalled.retention_W * (1.0 + recalled.hour_W + recalled.week_W + recalled.place_W) / 4.0
    return np.asarray(weight_W * (vectors_WD[:, :-1].astype(np.float64) @ vector_D[:-1]))


def utc_offset_min(memory: Entries) -> int:
    """Minutes that the user's local time is ahead of UTC, by the newest entry; 0 without one."""
    if not len(memory):
        return 0
    return tz_min_of(int(memory["minute"][-1]), int(memory["time_ms"][-1]))


def cell_at(lat: float, lon: float) -> int:
    """The place at WGS 84 degrees."""
    return int(Cells().of(np.array([lat]), np.array([lon]), np.array([NO_KEY]))[0])


def last_place(memory: Entries) -> int:
    """Where the newest entry that has a place was, or NO_KEY."""
    placed_W = np.flatnonzero(memory["cell"] != NO_KEY)
    return int(memory["cell"][placed_W[-1]]) if len(placed_W) else NO_KEY


def recalled(record: Record, info: RunInfo, time_ms: int, cell: int) -> Recalled:
    """What `record`'s memory is worth at a time and a place."""
    memory = record.memory
    since_s_W = np.maximum(time_ms - memory["last_ms"], 0) / 1000.0
    apart_W = (minute_of_week(time_ms, utc_offset_min(memory)) - memory["minute"]) % WEEK_MIN
    return Recalled(
        np.exp(-since_s_W / memory["strength_s"]),
        np.exp(periodic(info.hour_width_h, 24)[apart_W]),
        np.exp(periodic(info.week_width_h, 168)[apart_W]),
        np.array([closeness(cell, place) for place in memory["cell"].tolist()], np.float64),
    )


def shift(record: Record, info: RunInfo, vectors_WD: Floats, then: Recalled, now: Recalled) -> Doubles:
    """How far (D,) the query vector moves from the context of the last event to the one asked for."""
    now = now._replace(retention_W=then.retention_W)
    before_D, after_D = _drawn(then, vectors_WD), _drawn(now, vectors_WD)
    longest = max(np.linalg.norm(before_D), np.linalg.norm(after_D))
    if longest == 0.0:
        return np.zeros(vectors_WD.shape[1])
    named = [k for k, name in enumerate(info.interests) if name in CONTEXT_INTERESTS]
    reach = np.linalg.norm(record.vectors_KD[named, :-1].sum(axis=0)) if named else 0.0
    if reach == 0.0:
        reach = np.linalg.norm(record.vectors_KD[:, :-1].sum(axis=0))
    return np.asarray(reach / longest * (after_D - before_D))


def _drawn(recalled: Recalled, vectors_WD: Floats) -> Doubles:
    total_D = np.zeros(vectors_WD.shape[1])
    for kernel_W in (recalled.hour_W, recalled.week_W, recalled.place_W):
        weight_W = recalled.retention_W * kernel_W
        total_D += weight_W @ vectors_WD / np.sqrt(weight_W.sum() + 0.5)
    total_D[-1] = 0.0
    return total_D
