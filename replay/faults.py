"""Faults as data: what happens to a live system and when, and what senders do to a stream, from a seed.

Whoever finds that something breaks under seed 7 prints the schedule of seed 7, and plays it again.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from state.keys import Int64s
from streams.schema import EventBatch

Bools = NDArray[np.bool_]

Target = Literal["worker", "trainer", "broker", "store", "events", "sender"]
What = Literal[
    "kill",
    "pause",
    "leave",
    "empty",
    "full",
    "read_only",
    "evict",
    "expire",
    "grow",
    "renew",
    "ahead",
    "seconds",
]
"""To a process: `kill` is SIGKILL, `pause` SIGSTOP and then SIGCONT, `leave` SIGTERM.

To the store: it is emptied, has no room, takes no writes, or throws rows away to make room. To the topic of
events: what no worker has read is deleted, it gets more partitions, or it is made anew. To one of several
senders: its clock is decades ahead, or it sends seconds for milliseconds.
"""
LIKELY: dict[Target, dict[What, float]] = {
    "worker": {"kill": 0.5, "pause": 0.25, "leave": 0.25},
    "trainer": {"kill": 1.0},
    "broker": {"kill": 1.0},
    "store": {"kill": 0.3, "empty": 0.2, "evict": 0.15, "full": 0.2, "read_only": 0.15},
    "events": {"expire": 0.4, "grow": 0.3, "renew": 0.3},
    "sender": {"ahead": 0.5, "seconds": 0.5},
}
"""What is drawn, and how likely it is."""
TARGETS: tuple[Target, ...] = tuple(LIKELY)
SENDERS = 4
_LONGEST_S: dict[What, float] = {"pause": 12.0}
_LONGEST_OTHERS_S = 4.0
_AHEAD_MS, _SECOND_MS = 75 * 365 * 86_400_000, 1000


class PlannedFault(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that goes wrong."""

    at_s: float
    """Seconds from the start."""
    target: Target
    what: What
    lasts_s: float
    """How long until it is started again, goes on, or is as it was."""
    which: int = 0
    """Among several of a kind, modulo their number."""


def schedule(
    seed: int, seconds: float, faults: int, targets: tuple[Target, ...] = TARGETS
) -> list[PlannedFault]:
    """So many faults within so many seconds, in order of time.

    >>> schedule(7, 20.0, 3) == schedule(7, 20.0, 3) != schedule(8, 20.0, 3)
    True
    """
    rng = np.random.default_rng(seed)
    plan = []
    open_to = list(targets)
    for at_s in np.sort(rng.uniform(0.1, 1.0, faults)) * seconds:
        target = open_to[rng.integers(len(open_to))]
        if target == "events" and len(open_to) > 1:
            open_to.remove(target)  # once: two would hide each other's losses
        likely = LIKELY[target]
        what = list(likely)[rng.choice(len(likely), p=list(likely.values()))]
        lasts_s = rng.uniform(0.2, _LONGEST_S.get(what, _LONGEST_OTHERS_S))
        plan.append(
            PlannedFault(
                at_s=round(float(at_s), 3),
                target=target,
                what=what,
                lasts_s=round(float(lasts_s), 3),
                which=int(rng.integers(1000)),
            )
        )
    return plan


def misdated(events: EventBatch, faults: Sequence[PlannedFault], seconds: float) -> tuple[EventBatch, Bools]:
    """Events, sent evenly within so many seconds, with the times that wrong senders give theirs, and which.

    A user's events have one sender.
    """
    sent_s_B = np.arange(len(events)) * (seconds / len(events))
    time_ms_B, wrong_B = events.time_ms_B.copy(), np.zeros(len(events), np.bool_)
    for fault in faults:
        if fault.target == "sender":
            own_B = events.user_B % SENDERS == fault.which % SENDERS
            own_B &= (sent_s_B >= fault.at_s) & (sent_s_B < fault.at_s + fault.lasts_s) & ~wrong_B
            wrong_B |= own_B
            ahead = fault.what == "ahead"
            time_ms_B[own_B] = time_ms_B[own_B] + _AHEAD_MS if ahead else time_ms_B[own_B] // _SECOND_MS
    return replace(events, time_ms_B=time_ms_B), wrong_B


def rough(events: EventBatch, seed: int, *, repeated: float = 0.03, moved: int = 20) -> EventBatch:
    """Events as bad senders send them: each has an id, some come again, none quite in order.

    A share `repeated` is sent twice under the same `event_id`, and every event may come up to about `moved`
    places late.
    """
    rng = np.random.default_rng(seed)
    size = len(events)
    again = np.sort(rng.choice(size, int(size * repeated), replace=False))
    row: Int64s = np.concatenate([np.arange(size), again])
    place = row + rng.uniform(0, moved, len(row))
    place[size:] += rng.uniform(0, 5 * moved, len(again))
    order = np.argsort(place, kind="stable")
    return replace(events.take(row[order]), event_id_B=row[order])
