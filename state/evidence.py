"""What a remembered event says for its item right now, as data: the kernels of STIM's copy path.

The copy path of STIM (arXiv:2508.02451) in our reconstruction: its masks made explicit.
`learners.copying.candidates.evidence` computes by these numbers, and they are published within a copy score
(`state.store.copy_score`), so that a reader needs nothing but the record. Needs no numba.
"""

from typing import Literal

import msgspec
import numpy as np

from state.returns import Rates

Part = Literal["retention", "hour", "week", "place", "before"]
"""What a kernel asks of an event: how old it is; which hour, which day; where; after what."""
PARTS: tuple[Part, ...] = ("retention", "hour", "week", "place", "before")

_MIN_S, _HOUR_S, _DAY_S = 60.0, 3600.0, 86_400.0


def _single(value: float) -> float:
    """The number of single precision that is nearest: columns of evidence are such."""
    return float(np.float32(value))


class Kernel(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """A product of those factors that are named, 1 of none; summed over the user's events with an item."""

    name: str
    part: Part = "retention"
    floor: float = _single(0.02)
    """A sum S counts as log(1 + S / floor)."""
    half_life_s: float | None = None
    """exp2(-age / half-life); 1 in a memory that does not fade."""
    soon_s: float | None = None
    """exp2(-age / half-life) of this half-life where the event is less than a day old, in any memory."""
    curve: bool = False
    """What is left of the item by the forgetting curve with spacing."""
    hour_h: float | None = None
    """Width of the kernel of the hour of day (`state.weeks.periodic`)."""
    week_h: float | None = None
    """Width of the kernel of the hour of the week."""
    day_off: bool = False
    """Whether the event was on the same kind of day."""
    after: bool = False
    """Whether it came after the same item as the request does."""
    near: bool = False
    """How near to where the user is that was, which came just before it."""
    gap: bool = False
    """How like the time since that event is to the time since the newest one."""
    here: bool = False
    """Whether it was at the request's place."""
    share: bool = False
    """Divided by the sum over all events."""


class Specification(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Everything that turns a memory into evidence, but the weights."""

    kernels: tuple[Kernel, ...]
    own: dict[str, float]
    """How much of each sum counts as an event of the user's own, beside the crowd's."""
    whole: str
    """The sum that, over all items, these are a share of."""
    returns: Rates | None = None
    """What was learned of how users return to an item; before that was learned, the three below were used."""
    since_s: dict[str, float] = {}
    """Bounds of the refractory bins, on the time since the newest event with an item."""
    today_s: float = 0.0
    overdue: tuple[float, float] = (0.0, 0.0)
    """Least and most that log(time since the newest event / usual time between two) counts for."""
    pause_s: float
    """Added to a time before its logarithm is taken."""
    gap: float
    """exp(-gap (log a - log b)^2) is how alike times a and b are."""
    least: float
    """Added to a share of events, and to a sum that something is divided by."""
    near_floor_km2: float
    far_km2: float
    """From there on a place is not near; where a place is not known, so far."""
    near_km: float
    """exp(-distance / this) is how near the place of an event was."""
    neighbours: int
    """How many of the items around are candidates: those of most share / (km^2 + worth_km2) ^ worth_power."""
    worth_km2: float
    worth_power: float

    @property
    def past(self) -> tuple[str, ...]:
        """Columns of the user's own items that are no sums: by the time since the newest event with them, and
        one of every such item."""
        if self.returns is None:
            return ("newest", "today", "interval", *self.since_s, "own")
        return (*self.returns.__struct_fields__, "own")


LONGEST_S = 64.0 * _DAY_S
"""The half-life of totals."""
STIM = Specification(
    kernels=(
        Kernel(name="hour_15m", part="hour", hour_h=0.25),
        Kernel(name="hour_30m", part="hour", hour_h=0.5),
        Kernel(name="hour_1h", part="hour", hour_h=1.0),
        Kernel(name="hour_2h", part="hour", hour_h=2.0),
        Kernel(name="week_30m", part="week", week_h=0.5),
        Kernel(name="week_90m", part="week", week_h=1.5),
        Kernel(name="weekend", part="week", day_off=True),
        Kernel(name="after", part="before", after=True),
        Kernel(name="after_gap", part="before", after=True, gap=True),
        Kernel(name="from_here", part="place", near=True, gap=True),
        Kernel(name="from_here_hour", part="place", near=True, gap=True, hour_h=1.0),
        Kernel(name="same_place", part="place", here=True),
        Kernel(name="share", share=True),
        Kernel(name="count", floor=1.0),
    ),
    own={"hour_2h": 0.5, "count": 0.1},
    whole="count",
    pause_s=_MIN_S,
    gap=2.0,
    least=1e-6,
    near_floor_km2=_single(0.0025),
    far_km2=9.0,
    near_km=0.4,
    neighbours=16,
    worth_km2=0.01,
    worth_power=0.75,
)
"""STIM's, but for the rates of returning: those are learned, and alone tell how long ago anything was."""
_FADED_S = {
    **dict.fromkeys(("hour_30m", "hour_1h", "hour_2h", "weekend"), 32.0 * _DAY_S),
    "count": None,
}
FIRST = msgspec.structs.replace(
    STIM,
    kernels=(
        Kernel(name="own_64d", half_life_s=LONGEST_S),
        Kernel(name="own_2h", soon_s=2.0 * _HOUR_S),
        *(
            msgspec.structs.replace(kernel, half_life_s=_FADED_S.get(kernel.name, LONGEST_S))
            for kernel in STIM.kernels
        ),
        Kernel(name="own_1d", half_life_s=_DAY_S),
        Kernel(name="own_4d", half_life_s=4.0 * _DAY_S),
        Kernel(name="own_16d", half_life_s=16.0 * _DAY_S),
        Kernel(name="curve", curve=True),
    ),
    since_s={
        "since_5m": 5.0 * _MIN_S,
        "since_30m": 30.0 * _MIN_S,
        "since_2h": 2.0 * _HOUR_S,
        "since_8h": 8.0 * _HOUR_S,
        "since_20h": 20.0 * _HOUR_S,
        "since_30h": 30.0 * _HOUR_S,
        "since_7d": 7.0 * _DAY_S,
    },
    today_s=16.0 * _HOUR_S,
    overdue=(-4.0, 3.0),
    own={"hour_2h": 0.5, "own_64d": 0.1},
    whole="own_64d",
)
"""That of records from before it was published with them: it stays as it is."""
