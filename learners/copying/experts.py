"""STIM's views as experts: what each sees of the evidence, when it is open, and what the gate is asked with.

Our reading of the query-based mixture (arXiv:2508.02451): an expert a view of the memory, and two of the
crowd; the gate's queries are the hour and the kind of day, how long ago the user was here, how much each
view holds, and of the item how well it is known. Shape suffixes: B rows, E experts, V views, X context.
"""

from collections.abc import Collection

import numpy as np
from numpy.typing import NDArray

from learners.copying.candidates.evidence import COLUMN, CROWD, HOURS, PLACES, WEEKS
from learners.copying.counts.returns import NAMES as RETURNS
from learners.mixing.mixture import Expert
from state.examples import ExampleBatch, Floats, Window
from state.forgetting import DAYS_OFF, WEEK_MIN
from state.keys import Int64s

VIEWS = ("recent", "hour", "week", "place", "after")
"""Views of the memory, in the order of `held_BV`."""
HELD = len(VIEWS)


def _clock() -> Floats:
    """The hour as an angle, and whether the day is one off, by minute of the week (M, X)."""
    minute_M = np.arange(WEEK_MIN)
    angle_M = minute_M * (2.0 * np.pi / 1440.0)
    turns = (np.sin(angle_M), np.cos(angle_M), np.sin(2 * angle_M), np.cos(2 * angle_M))
    return np.stack([*turns, np.isin(minute_M // 1440, DAYS_OFF)], axis=1).astype(np.float32)


_CLOCK_MX = _clock()
CLOCK = _CLOCK_MX.shape[1]
ASKED = CLOCK + 2 + HELD
"""Numbers that the gate is asked with."""

_SLOT = ("slot", "slot_all")
_WHERE = (*PLACES, "stranger_place")
_SEES = {
    "recent": RETURNS,
    "hour": (*HOURS, *_SLOT, "category_hour"),
    "week": (*WEEKS, "weekend", *_SLOT),
    "place": ("from_here", "from_here_hour", "same_place", *_WHERE),
    "after": ("after", "after_gap", "from_here"),
    "crowd": (*_WHERE, "category", "category_hour", "category_last"),
}
_EVERY = ("share", "count", *RETURNS, *(name for name in CROWD if name not in _SLOT), "interest")
"""What every expert sees."""
_PERIODIC = (*HOURS, *WEEKS, "weekend", *_SLOT, "category_hour", "from_here_hour", "return_slot")


def silenced(roles: Collection[str], *, periodic: bool, returns: bool) -> Int64s:
    """Evidence columns that the log cannot feed, or that are switched off."""
    names = set() if periodic else set(_PERIODIC)
    if not returns:
        names |= set(RETURNS)
    if "lat" not in roles:
        names |= {"from_here", "from_here_hour", "near", "density", "stranger_place"}
    if "here" not in roles:
        names |= {"same_place", "place_share"}
    if "category" not in roles:
        names |= {"category", "category_hour", "category_last"}
    return np.array(sorted(COLUMN[name] for name in names), np.int64)


def experts(silent: Int64s, *, views: bool) -> tuple[Expert, ...]:
    """An expert a view that has evidence of its own; or one that sees everything."""
    loud = {name: f for name, f in COLUMN.items() if f not in silent.tolist()}
    if not views:
        return (Expert("all", tuple(loud.values())),)
    return tuple(
        Expert(view, tuple(loud[name] for name in dict.fromkeys((*names, *_EVERY)) if name in loud))
        for view, names in _SEES.items()
        if any(name in loud for name in names if name not in _SLOT)
    )


def opened(experts: tuple[Expert, ...], held_BV: Floats) -> NDArray[np.bool_]:
    """Whether each expert has evidence of its own on each row; the crowd always has."""
    open_BE = np.ones((len(held_BV), len(experts)), np.bool_)
    for e, expert in enumerate(experts):
        if expert.name in VIEWS:
            open_BE[:, e] = held_BV[:, VIEWS.index(expert.name)] > 0.0
    return open_BE


def context(part: ExampleBatch, window: Window, held_BV: Floats, *, periodic: bool) -> Floats:
    """What the gate is asked with (B, X)."""
    size = len(part)
    context_BX = np.zeros((size, ASKED), np.float32)
    if periodic:
        minute_B = (part.time_ms_B // 60_000 + part.tz_min_B) % WEEK_MIN
        context_BX[:, :CLOCK] = _CLOCK_MX[minute_B]
    newest_B = np.maximum(window.length_B - 1, 0)
    since_s_B = np.where(window.length_B > 0, window.age_s_BW[np.arange(size), newest_B], 1e8)
    context_BX[:, CLOCK] = np.log(since_s_B + 60.0)
    context_BX[:, CLOCK + 1] = np.log1p(window.length_B)
    np.log1p(held_BV, out=context_BX[:, CLOCK + 2 :])
    return context_BX
