"""What is watched, and what an alarm says: which signal moved, where, since when, how far; is it worse?"""

from typing import Literal

import msgspec

from state.drift_alarm import Segment

Better = Literal["low", "high", "zero"]

OUTCOMES: dict[str, Better | None] = {
    "log_loss": "low",
    "calibration": "zero",
    "recall@10": "high",
    "positive": None,
}
"""Signals that are known with an event's outcome, and what is good in them: log loss; P(action) - label; was
the true item among the first ten; the label. They are watched in every segment."""

ORDER: dict[str, Better | None] = {"auc": "high"}
"""Known with the outcome, too: the share of pairs with the events known before it that are in order."""

ARRIVALS: dict[str, Better | None] = {
    "expected_log_loss": "low",
    "new_user": None,
    "new_item": None,
    "late": None,
}
"""Signals of an event as it arrives, before its outcome: the log loss that calibrated scores let expect; an
id that is met for the first time; an event time behind the stream's clock."""

COLUMNS = ("category", "scene", "source", "action", "place")
"""Columns of the input whose shares are watched, where the log has them: signal `shift of NAME`, in nats."""

MEANS: dict[str, Better | None] = {
    **OUTCOMES,
    **ORDER,
    **ARRIVALS,
    **{f"shift of {name}": None for name in COLUMNS},
}
"""Signals with a value of each event, whose means are watched."""

GAP, RANK = "gap", "effective_rank"
SIGNALS: dict[str, Better | None] = {**MEANS, GAP: None, RANK: "high"}
"""All: those, seconds without an event, and the effective rank of the published vectors."""

LEAST_CHANGE = {name: 0.05 if name.startswith("shift") else 0.01 for name in SIGNALS} | {
    "expected_log_loss": 0.02,
    "auc": 0.03,
}
"""A smaller change is no alarm, however sure; estimates wander a little by themselves."""

SEGMENTS: tuple[Segment, ...] = ("scene", "category", "users")
"""Kinds of segments, besides all events together; of users there are `COLD` and `WARM`."""

COLD, WARM = 0, 1
COLD_EVENTS = 5
"""A user is cold before so many known events."""


class Alarm(msgspec.Struct, frozen=True, kw_only=True):
    """One change of one signal, and its evidence: the means on either side of the likeliest change."""

    detector: str
    signal: str
    segment: Segment | None = None
    """Kind of the segment, of `SEGMENTS`; None for all events together."""
    key: int | None = None
    """Which one: the key of the scene or category, or COLD or WARM."""
    event: int
    """Number of the event, from 1, at whose arrival the alarm was raised."""
    time_ms: int
    """The stream's clock then."""
    since_event: int | None = None
    """Number of the last event of the signal before the likeliest change."""
    since_ms: int | None = None
    mean_before: float
    mean_after: float
    usual: float | None = None
    """The level that held for most of the time before, older times faded."""
    values_before: int
    values_after: int
    """How many values of the signal each mean is over."""
    means: tuple[float, ...] = ()
    """The signal around the change, for a plot: means of equally many values each."""
    change: int = 0
    """How many of `means` come before the change."""
    psi: float | None = None
    """Of a column: population stability index of its shares now against the reference's."""
    jensen_shannon: float | None = None
    """The same in nats, at most ln 2."""
    closed_event: int | None = None
    """Number of the event at which the signal was back, or moved again; None until then."""
    closed_ms: int | None = None

    @property
    def size(self) -> float:
        """How far the mean moved."""
        return self.mean_after - self.mean_before

    @property
    def rose(self) -> bool:
        return self.size > 0

    @property
    def worse(self) -> bool | None:
        """Whether it is for the worse, to what is worse than usual; None where neither direction is.

        Back from a stretch that was better than usual is not worse.
        """
        better = SIGNALS.get(self.signal)
        if better is None:
            return None
        usual = self.mean_before if self.usual is None else self.usual
        before, after, usual = (_badness(better, mean) for mean in (self.mean_before, self.mean_after, usual))
        return after > before and after > usual + LEAST_CHANGE[self.signal] / 2

    @property
    def open(self) -> bool:
        """Worse, and not closed since."""
        return bool(self.worse) and self.closed_event is None


def _badness(better: Better, mean: float) -> float:
    if better == "zero":
        return abs(mean)
    return mean if better == "low" else -mean
