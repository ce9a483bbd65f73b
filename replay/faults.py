"""Faults as data: what happens to a live system and when, and what senders do to a stream, from a seed.

Whoever finds that something breaks under seed 7 prints the schedule of seed 7, and plays it again.
"""

from dataclasses import replace
from typing import Literal

import msgspec
import numpy as np

from state.keys import Int64s
from streams.schema import EventBatch

Target = Literal["worker", "trainer", "broker", "store"]
What = Literal["kill", "pause", "leave"]
TARGETS: tuple[Target, ...] = ("worker", "trainer", "broker", "store")
_PAUSES, _LEAVES = 0.25, 0.25
"""Shares of a worker's faults that stop it for a while (then it wakes up, and does not know), or ask it to
leave."""
_LONGEST_PAUSE_S, _LONGEST_AWAY_S = 12.0, 4.0


class Fault(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that goes wrong."""

    at_s: float
    """Seconds from the start."""
    target: Target
    what: What
    """`kill` is SIGKILL; `pause` is SIGSTOP, then SIGCONT; `leave` is SIGTERM."""
    lasts_s: float
    """How long until it is started again, or goes on."""
    which: int = 0
    """Among several of a kind, modulo their number."""


def schedule(seed: int, seconds: float, faults: int, targets: tuple[Target, ...] = TARGETS) -> list[Fault]:
    """So many faults within so many seconds, in order of time.

    >>> schedule(7, 20.0, 3) == schedule(7, 20.0, 3) != schedule(8, 20.0, 3)
    True
    """
    rng = np.random.default_rng(seed)
    found = []
    for at_s in np.sort(rng.uniform(0.1, 1.0, faults)) * seconds:
        target = targets[rng.integers(len(targets))]
        drawn = rng.random() if target == "worker" else 1.0
        what: What = "pause" if drawn < _PAUSES else "leave" if drawn < _PAUSES + _LEAVES else "kill"
        lasts_s = rng.uniform(0.2, _LONGEST_PAUSE_S if what == "pause" else _LONGEST_AWAY_S)
        found.append(
            Fault(
                at_s=round(float(at_s), 3),
                target=target,
                what=what,
                lasts_s=round(float(lasts_s), 3),
                which=int(rng.integers(1000)),
            )
        )
    return found


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
