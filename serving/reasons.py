"""Why an item is recommended: which past events speak for it, or what else does.

Shape suffixes: N items, W memory entries, V parts.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from serving.scoring.copy import CopyScores
from serving.scoring.recalled import RecalledMemory
from state.arrays import Doubles
from state.evidence import PARTS
from state.store.records import Entries, Totals
from state.weeks import WEEK_MIN

REASONS = 3
"""Reasons given for each recommendation."""
ALIKE_MIN = 90
"""How far apart in the hour events with one item may be, to be told as one."""
DAY_MIN = 24 * 60
LIKED = 2
"""Items that a taste is told by."""


@dataclass(frozen=True, slots=True)
class Because:
    """A reason that is no event."""

    reason: str


@dataclass(frozen=True, slots=True)
class PastEvent:
    """Past events with one item that speak for a recommendation; values are the strongest one's."""

    item: str
    when: str
    times: int
    """How many remembered events with this item are meant."""
    retention: float
    """What is left of the memory, at the time asked for."""
    hour: float
    week: float
    place: float
    """How well hour of day, hour of week and place match those asked for, in [0, 1]."""
    contribution: float
    """Share of all that past events say for the recommendation."""
    parts: dict[str, float] = field(default_factory=dict)
    """How much of the contribution is due to retention, to the hour, the week, the place, and to what came
    before; empty where interests alone speak."""


class ItemTotals(NamedTuple):
    """What the whole memory says of an item."""

    times: int
    last_ms: int
    last_s: float
    """How long ago the last time was."""


Reasons = list[PastEvent | Because]
Name = Callable[[int], str]
"""The id of an item by its key."""


def had(totals: Totals, key: int, time_ms: int) -> ItemTotals | None:
    """What totals say of an item at a time."""
    mine = np.flatnonzero(totals["item"] == key)
    if not len(mine):
        return None
    last_ms = int(totals["last_ms"][mine[0]])
    return ItemTotals(int(totals["count"][mine[0]]), last_ms, max(time_ms - last_ms, 0) / 1000.0)


def of_interests(now: RecalledMemory, adds_W: Doubles, name: Name) -> Reasons:
    """The past events that speak for an item by their likeness, those with one item together."""
    adds_W = np.maximum(adds_W, 0.0)
    total = float(adds_W.sum())
    if total == 0.0:
        return [Because("no remembered event speaks for it more than for others")]
    by_item: dict[int, list[int]] = {}
    for w, key in enumerate(now.memory["item"].tolist()):
        by_item.setdefault(key, []).append(w)
    shares = {key: float(adds_W[entries].sum()) / total for key, entries in by_item.items()}
    best = sorted(shares, key=lambda key: (-shares[key], key))[:REASONS]
    return [_event(now, adds_W, by_item[key], name, shares[key]) for key in best if shares[key] > 0.0]


def of_copy(
    row: int,
    scored: CopyScores,
    now: RecalledMemory,
    liked_W: Doubles,
    name: Name,
    gap_h: tuple[float, float] | None = None,
    had: ItemTotals | None = None,
) -> Reasons:
    """What brought catalogue row `row` its copy score: first what is no event, where that is most.

    `liked_W` is what each entry adds to the interests' score of the item. Past events are told by their hour
    of the week, or of the day where that counts more, the strongest first, of equals the newest; the last
    stands for all that are left, so the contributions add up to 1. `gap_h` is between how many hours one
    mostly comes back to the item: where the last time is so long ago, that is said, too. `had` is what the
    whole memory says of it: told where none of its events is among the entries.
    """
    place = scored.place(row)
    add_W = scored.add_W
    mine_W = np.flatnonzero((scored.row_W == row) & (add_W > 0.0))
    more = {
        "like": float(scored.interest_C[place]) - scored.usual[2],
        "popular": float(scored.crowd_C[place]) - scored.usual[0],
        "near": float(scored.near_C[place]) - scored.usual[1],
    }
    most = max(more, key=lambda one: more[one])
    own = float(scored.add_WV[mine_W].sum())
    hour, week = (scored.add_WV[mine_W, PARTS.index(part)].sum() for part in ("hour", "week"))
    round_min = WEEK_MIN if week >= hour else DAY_MIN
    reasons: Reasons = []
    if more[most] > own:
        others_W = np.where(scored.row_W == row, 0.0, liked_W)
        reasons.append(Because(_taste(now.memory, others_W, name) if most == "like" else _SAID[most]))
    left_W = mine_W[np.lexsort((-mine_W, -add_W[mine_W]))]
    returning = None
    if not len(mine_W) and had is not None:
        reasons.append(Because(f"had {had.times} times, last {iso(had.last_ms)}"))
    if gap_h is not None and (len(mine_W) or had is not None):
        age_s = had.last_s if had is not None else float(now.age_s_W[mine_W].min())
        returning = _returning(age_s, gap_h)
    most_events = REASONS if returning is None else REASONS - 1
    while len(left_W):
        apart_W = (now.memory["minute"][left_W] - now.memory["minute"][left_W[0]]) % round_min
        alike_W = np.minimum(apart_W, round_min - apart_W) <= ALIKE_MIN
        if len(reasons) == most_events - 1:
            alike_W[:] = True
        told_W = left_W[alike_W]
        parts_V = scored.add_WV[told_W].sum(0) / own
        parts = {str(part): float(share) for part, share in zip(PARTS, parts_V, strict=True) if share > 0.0}
        reasons.append(_event(now, add_W, told_W.tolist(), name, float(parts_V.sum()), parts))
        left_W = left_W[~alike_W]
    if returning is not None:
        reasons.append(Because(returning))
    return reasons or [Because("no remembered event speaks for it more than for others")]


def _returning(age_s: float, gap_h: tuple[float, float]) -> str | None:
    """Said where the time to come back is now."""
    low_h, high_h = gap_h
    if not low_h <= age_s / 3600.0 < high_h:
        return None
    size_h, unit = (1.0, "hours") if high_h < 48.0 else (24.0, "days")
    low, high = (f"{round(bound_h / size_h, 1 if bound_h < 10 * size_h else 0):g}" for bound_h in gap_h)
    return f"usually again after {low} to {high} {unit}"


_SAID = {"popular": "popular now", "near": "near"}


def _taste(memory: Entries, liked_W: Doubles, name: Name) -> str:
    likes = memory["item"][np.argsort(-liked_W, kind="stable")][: int((liked_W > 0.0).sum())]
    best = list(dict.fromkeys(likes.tolist()))
    named = ", ".join(map(name, best[:LIKED]))
    return f"like what you had lately: {named}" if named else "to your taste"


def _event(
    now: RecalledMemory,
    adds_W: Doubles,
    entries: list[int],
    name: Name,
    share: float,
    parts: dict[str, float] | None = None,
) -> PastEvent:
    memory = now.memory
    w = max(entries, key=lambda entry: (adds_W[entry], entry))
    return PastEvent(
        name(int(memory["item"][w])),
        iso(int(memory["time_ms"][w])),
        len(entries),
        float(now.retention_W[w]),
        float(now.hour_W[w]),
        float(now.week_W[w]),
        float(now.place_W[w]),
        share,
        parts or {},
    )


def iso(time_ms: int) -> str:
    """ISO 8601 in UTC."""
    return str(np.datetime_as_string(np.datetime64(time_ms, "ms"), timezone="UTC"))
