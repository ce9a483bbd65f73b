"""The learned curve of return, as data: in which bins returns are counted, and the rates that are published.

`learners.copying.counts.returns` counts by these bins; what it has learned is published within a copy score
(`state.store.copy_score`), so that a reader needs nothing but the record. Needs no numba.

Shape suffixes: I items of a memory, K buckets of the own count, B bins.
"""

from typing import NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from state.arrays import Doubles, Int64s

GAP_H = (
    *(1 / 12, 0.25, 0.5, 1.0, 2.0, 3.0, 4.0, 6.0, 8.0, 10.0, 12.0, 14.0, 16.0, 18.0, 20.0, 22.0, 23.0),
    *(24.0, 25.0, 26.0, 28.0, 30.0, 34.0, 38.0, 42.0, 46.0, 50.0, 60.0, 70.0, 74.0, 94.0, 98.0, 120.0),
    *(144.0, 165.0, 171.0, 192.0, 216.0, 240.0, 288.0, 336.0, 400.0, 500.0, 700.0, 1000.0, 1500.0, 2500.0),
)
"""Bounds of the bins of the time since the newest event with an item, the first and the last one open."""
COUNT = (1, 2, 4, 8, 16)
"""The most events with the item of each bucket; more are in the last one."""
GAPS, COUNTS, INTERVALS, EVENTS = len(GAP_H) + 1, len(COUNT) + 1, 24, 20
USUAL = 12
"""Bin of a time as long as the usual one between two events with the item; half an octave is a bin. Bin 0 is
of items that were met once."""
LEAST = 1e-4
"""Added to a rate before its logarithm is taken: the rate of what is not the user's own."""
PAUSE_S = 60.0
"""Added to times before they are compared."""


class Rates(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Chances to return, by bucket of the own count and then by bin: of the gap, of the gap against the usual
    one, of events since."""

    return_all: list[list[float]]
    return_interval: list[list[float]]
    return_events: list[list[float]]

    def __post_init__(self) -> None:
        for name, size in zip(self.__struct_fields__, (GAPS, INTERVALS, EVENTS), strict=True):
            sizes = [len(row) for row in getattr(self, name)]
            if sizes != [size] * COUNTS:
                raise ValueError(f"{name}: expected {COUNTS} rows of {size} rates, got rows of {sizes}")

    def columns(self, at: "Bins") -> dict[str, Doubles]:
        """How far the logarithm of each rate lies above that of an item that is not the user's own (I,)."""
        return {
            name: np.log1p(np.array(getattr(self, name))[at.count_I, bin_I] / LEAST)
            for name, bin_I in zip(
                self.__struct_fields__, (at.gap_I, at.interval_I, at.events_I), strict=True
            )
        }


class Bins(NamedTuple):
    """Where items of a memory stand."""

    count_I: Int64s
    gap_I: Int64s
    interval_I: Int64s
    events_I: Int64s


def bins(newest_s_I: Doubles, oldest_s_I: Doubles, count_I: Int64s, since_I: Int64s) -> Bins:
    """The bins of items by the age of their newest and their oldest event, their number, and how many events
    of the user came after the newest.

    >>> week_s = 7 * 86_400.0
    >>> bins(np.array([week_s]), np.array([3 * week_s]), np.array([3]), np.array([0]))
    Bins(count_I=array([2]), gap_I=array([35]), interval_I=array([12]), events_I=array([0]))
    """
    usual_s_I = (oldest_s_I - newest_s_I) / np.maximum(count_I - 1, 1)
    against_I = _half_octaves((newest_s_I + PAUSE_S) / (usual_s_I + PAUSE_S)) + USUAL
    return Bins(
        np.searchsorted(np.array(COUNT), count_I),
        np.searchsorted(np.array(GAP_H) * 3600.0, newest_s_I, side="right"),
        np.where(count_I > 1, np.clip(against_I, 1, INTERVALS - 1), 0),
        np.minimum(_half_octaves(1.0 + since_I), EVENTS - 1),
    )


def _half_octaves(x_I: NDArray[np.floating]) -> Int64s:
    return np.asarray(np.floor(2.0 * np.log2(x_I)), np.int64)
