"""What a learner has learned that people can look at: curves, kernels, gates and what each view holds.

A learner says it by `Learner.insight()`; the report keeps it and draws it. Whatever a log cannot feed is
left empty. A number that could not be had is None, never NaN.

Shape suffixes: B rows, A ages, E experts, V views, W hours of a week (0 is Monday 00:00, local time).
"""

from collections.abc import Mapping, Sequence
from typing import Self

import msgspec
import numpy as np
from numpy.typing import ArrayLike

from state.examples import Doubles, Floats
from state.keys import Int64s
from state.tree import Tree

AGES_S: Doubles = np.geomspace(60.0, 365 * 86400.0, 121)
"""A minute to a year, equally far apart on a log axis."""

_WEEKDAYS, _HOURS = 7, 24
_THURSDAY_H = 3 * _HOURS
"""The epoch began on a Thursday."""


class AgeCurve(msgspec.Struct, frozen=True, kw_only=True):
    """A retention curve: what a past event weighs by its age, relative to the largest weight of any curve.

    Weights lie in [-1, 1]; below 0 the event speaks against what it was about.
    """

    name: str
    age_s: list[float]
    weight: list[float | None]


class ReturnCurve(msgspec.Struct, frozen=True, kw_only=True):
    """How likely users come back to an item that they had so often, by the time since they last had it."""

    name: str
    gap_s: list[float]
    """Middle of each bin."""
    chance: list[float | None]
    """Of an event to be with that item; None where chances were too few to tell."""
    chances: int
    hits: int
    """Over all bins."""


class Kernel(msgspec.Struct, frozen=True, kw_only=True):
    """What a past event weighs by how far its hour lies from now's, relative to the largest of the kernel."""

    name: str
    period_h: int
    """24 compares hours of the day, 168 hours of the week."""
    apart_h: list[float]
    """Hours from the event to now, -period_h / 2 .. period_h / 2."""
    weight: list[float | None]


class View(msgspec.Struct, frozen=True, kw_only=True):
    """One view of the user's memory, over all rows that were scored."""

    name: str
    empty: float | None
    """Share of the rows for which it held nothing."""
    entries: float | None
    """Mean number of entries that it held, rows for which it was empty included."""
    gate: float | None
    """Mean gate of the expert of the same name; None where there is none."""


class BookUse(msgspec.Struct, frozen=True, kw_only=True):
    """How the codes of one book of a tokenizer are used by the items that are known."""

    utilisation: float
    """Share of the codes that an item has."""
    entropy: float
    """Of the codes over items, as a share of the most there can be."""


class Codes(msgspec.Struct, frozen=True, kw_only=True):
    """The books of a tokenizer, at their last fit."""

    version: int
    items: int
    """To which they were fitted."""
    kept: float | None
    """Share of the codes of items known before that the fit left as they were; None at the first."""
    books: list[BookUse]


class Insight(msgspec.Struct, frozen=True, kw_only=True):
    """What a learner has learned. Tables hold a row an hour (24) or a weekday (7), a column an expert."""

    curves: list[AgeCurve] = []
    returns: list[ReturnCurve] = []
    kernels: list[Kernel] = []
    experts: list[str] = []
    gate_by_hour: list[list[float | None]] = []
    """(24, E): how much each expert counted on average at that local hour of the day."""
    rows_by_hour: list[int] = []
    gate_by_weekday: list[list[float | None]] = []
    """(7, E): the same by weekday, Monday first."""
    rows_by_weekday: list[int] = []
    views: list[View] = []
    codes: Codes | None = None

    def timeless(self) -> Self:
        """Without what is told by the clock, for a log whose times only give an order."""
        return msgspec.structs.replace(
            self,
            returns=[],
            kernels=[],
            gate_by_hour=[],
            rows_by_hour=[],
            gate_by_weekday=[],
            rows_by_weekday=[],
        )


def age_curves(weights: Mapping[str, tuple[ArrayLike, ArrayLike]]) -> list[AgeCurve]:
    """Curves from ages in seconds and weights, by name; the largest absolute weight of them all becomes 1."""
    scale = max((_largest(np.asarray(weight, np.float64)) for _, weight in weights.values()), default=1.0)
    return [
        AgeCurve(
            name=name,
            age_s=np.asarray(age_s, np.float64).tolist(),
            weight=_numbers(np.asarray(weight, np.float64) / scale),
        )
        for name, (age_s, weight) in weights.items()
    ]


def kernel(name: str, apart_h: ArrayLike, weight: ArrayLike, *, period_h: int) -> Kernel:
    """A kernel whose largest absolute weight becomes 1."""
    weight_A = np.asarray(weight, np.float64)
    scaled_A = weight_A / _largest(weight_A)
    apart_A = np.asarray(apart_h, np.float64)
    return Kernel(name=name, period_h=period_h, apart_h=apart_A.tolist(), weight=_numbers(scaled_A))


class GateLedger:
    """Running means of gates by hour of the week, and of what the views held; feed it every scored row once.

    A batch leaves exactly what its rows one by one would have left.
    """

    def __init__(self, experts: Sequence[str], views: Sequence[str] = ()) -> None:
        self.experts = tuple(experts)
        self.views = tuple(views)
        self.rows_W: Int64s = np.zeros(_WEEKDAYS * _HOURS, np.int64)
        self.gate_WE: Doubles = np.zeros((_WEEKDAYS * _HOURS, len(self.experts)))
        """Sums of gates."""
        self.empty_V: Int64s = np.zeros(len(self.views), np.int64)
        self.held_V: Doubles = np.zeros(len(self.views))

    def add(
        self,
        time_ms_B: Int64s,
        tz_min_B: Int64s,
        gate_BE: Floats | Doubles,
        held_BV: Int64s | Floats | None = None,
    ) -> None:
        """Rows that were scored: the gate of every expert, and how many entries each view held.

        `held_BV` may be left out by a ledger without views.
        """
        hour_B = hour_of_week(time_ms_B, tz_min_B)
        np.add.at(self.rows_W, hour_B, 1)
        many = len(self.experts)
        cell_BE = hour_B[:, np.newaxis] * many + np.arange(many)
        np.add.at(self.gate_WE.reshape(-1), cell_BE.reshape(-1), gate_BE.reshape(-1).astype(np.float64))
        if held_BV is not None:
            self.empty_V += (held_BV == 0).sum(0)
            self.held_V += held_BV.sum(0, dtype=np.float64)

    def insight(self, curves: Sequence[AgeCurve] = (), kernels: Sequence[Kernel] = ()) -> Insight:
        """The tables so far, with curves and kernels that the learner has read from its weights."""
        rows = int(self.rows_W.sum())
        rows_DH = self.rows_W.reshape(_WEEKDAYS, _HOURS)
        gate_DHE = self.gate_WE.reshape(_WEEKDAYS, _HOURS, -1)
        gate_E = _means(self.gate_WE.sum(0), rows)
        gates = dict(zip(self.experts, gate_E, strict=True))
        views = zip(self.views, _means(self.empty_V, rows), _means(self.held_V, rows), strict=True)
        return Insight(
            curves=list(curves),
            kernels=list(kernels),
            experts=list(self.experts),
            gate_by_hour=_table(gate_DHE.sum(0), rows_DH.sum(0)),
            rows_by_hour=rows_DH.sum(0).tolist(),
            gate_by_weekday=_table(gate_DHE.sum(1), rows_DH.sum(1)),
            rows_by_weekday=rows_DH.sum(1).tolist(),
            views=[
                View(name=name, empty=empty, entries=held, gate=gates.get(name))
                for name, empty, held in views
            ],
        )

    def tree(self) -> Tree:
        return {name: getattr(self, name).copy() for name in _STATE}

    def load(self, tree: Tree) -> None:
        for name in _STATE:
            setattr(self, name, np.array(tree[name]))


_STATE = ("rows_W", "gate_WE", "empty_V", "held_V")


def hour_of_week(time_ms_B: Int64s, tz_min_B: Int64s) -> Int64s:
    """Local hour of the week (B,); 0 is Monday 00:00.

    >>> hour_of_week(np.array([0, 4 * 86_400_000]), np.array([0, 60])).tolist()
    [72, 1]
    """
    return np.asarray(((time_ms_B // 60_000 + tz_min_B) // 60 + _THURSDAY_H) % (_WEEKDAYS * _HOURS))


def _largest(weight_A: Doubles) -> float:
    """The largest finite absolute weight; 1 where there is none above 0."""
    finite_A = np.abs(weight_A[np.isfinite(weight_A)])
    return float(finite_A.max(initial=0.0)) or 1.0


def _means(sum_V: Doubles | Int64s, rows: int) -> list[float | None]:
    return _numbers(sum_V / rows) if rows else [None] * len(sum_V)


def _table(sum_XE: Doubles, rows_X: Int64s) -> list[list[float | None]]:
    return [_means(sum_E, int(rows)) for sum_E, rows in zip(sum_XE, rows_X, strict=True)]


def _numbers(values: Doubles) -> list[float | None]:
    return [float(value) if np.isfinite(value) else None for value in values]
