"""The latest events of every user (or item), a bounded number of each, with the residual of those known.

An owner's k-th event lies in slot k modulo the room. Where what was shown counts at once, an event is put
with a residual of NaN and settled later, if it is still there.

Shape suffixes: N owners, H room.
"""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from learners.tables.fifo import Columns
from state.compiled import inner
from state.keys import Int64s

Rows32 = NDArray[np.int32]


class Rings(NamedTuple):
    """Kernels' view."""

    other_NH: Rows32
    """The event's item (or user), as a dense row; -1 where that was forgotten."""
    residual_NH: NDArray[np.float32]
    """NaN where not known."""
    count_N: Int64s
    """Events so far, among them those that are no longer there."""


def columns(room: int) -> Columns:
    """What a part must keep per owner."""
    return {"other_NH": (np.int32, room), "residual_NH": (np.float32, room), "count_N": (np.int64, 0)}


def rings(kept: dict[str, NDArray[Any]]) -> Rings:
    """Kernels' view of what a part keeps per owner."""
    return Rings(kept["other_NH"], kept["residual_NH"], kept["count_N"])


@inner
def length(rings: Rings, owner: int) -> int:
    """Events that are there; they lie in slots 0 to this number."""
    return int(min(rings.count_N[owner], rings.other_NH.shape[1]))


@inner
def put(rings: Rings, owner: int, other: int, residual: float) -> int:
    """Add an event; its number."""
    number = rings.count_N[owner]
    slot = number % rings.other_NH.shape[1]
    rings.other_NH[owner, slot] = other
    rings.residual_NH[owner, slot] = residual
    rings.count_N[owner] = number + 1
    return int(number)


@inner
def settle(rings: Rings, owner: int, number: int, residual: float) -> None:
    """Event `number` came out with this residual."""
    room = rings.other_NH.shape[1]
    if rings.count_N[owner] - number <= room:
        rings.residual_NH[owner, number % room] = residual
