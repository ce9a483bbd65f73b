"""What is watched, as people and readers of the store are told it: alarms, actions, embeddings, forecasts."""

from typing import Literal

import msgspec

from state.difference import Difference

Segment = Literal["scene", "category", "users"]
"""Kinds of segments; of users there are cold and warm ones."""


Do = Literal["doubt", "calibrate", "cycle", "rollback", "webhook"]
"""Kinds of actions: learners give back a share of their certainty; what P(action) means is learned anew; a
cycle of co-evolution begins; readers are served the version from before the change; somebody is told."""


CHANGING: tuple[Do, ...] = ("doubt", "calibrate", "cycle")
"""Those that change learners."""


class DriftAlarm(msgspec.Struct, frozen=True, kw_only=True):
    """One change of one signal: where, since when, how far, whether for the worse, whether it is over."""

    signal: str
    learner: str | None = None
    """Whose errors they are; None of what comes in."""
    segment: Segment | None = None
    """None for all events together."""
    name: str | None = None
    """The segment's: a scene or category, or `cold` or `warm` users."""
    detector: str
    event: int
    """Number of the event, from 1, at whose arrival it was raised."""
    time_ms: int
    since_event: int | None = None
    """Number of the last event before the likeliest change."""
    since_ms: int | None = None
    before: float | None
    """Mean before the change."""
    after: float | None
    usual: float | None = None
    """The level that held for most of the time before."""
    values_before: int = 0
    values_after: int = 0
    """How many values the means are over."""
    worse: bool | None = None
    """None where neither direction is."""
    open: bool = False
    """Worse, and the signal is not back yet."""
    closed_event: int | None = None
    closed_ms: int | None = None
    """When the signal was back, or moved again."""
    means: tuple[float, ...] = ()
    """The signal around the change: means of equally many values each."""
    change: int = 0
    """How many of `means` come before the change."""
    psi: float | None = None
    """Population stability index of a column's shares."""
    jensen_shannon: float | None = None
    """In nats."""


class Worth(msgspec.Struct, frozen=True, kw_only=True):
    """What followed an action: a copy that did not act minus the model that did, on the same events."""

    events: int
    """After it and before the next one."""
    differences: tuple[Difference, ...]
    verdict: str


class DriftAction(msgspec.Struct, frozen=True, kw_only=True):
    """What was done about drift, and why."""

    do: Do
    rule: int = 0
    """Which of the rules asked for it, from 0."""
    share: float | None = None
    """Of the certainty, where that is given back."""
    event: int
    """It was done after this one, counted from 1."""
    time_ms: int
    """The stream's clock then."""
    on: str
    alarm_event: int
    """When the alarm was raised that asked for it."""
    since_ms: int | None = None
    """When the signal is likeliest to have changed."""
    before: float
    after: float
    """Means of the signal before and after the change."""
    worth: Worth | None = None
    """By what is known so far; None of what changes no learner."""


class EmbeddingHealth(msgspec.Struct, frozen=True, kw_only=True):
    """How the published vectors of a sample of items were at one time."""

    event: int
    """After this one, counted from 1."""
    time_ms: int
    items: int
    """In the catalogue."""
    covered: float
    """Share of the sample that has a vector of finite numbers that are not all 0."""
    norm: float
    """The median."""
    norm_95: float
    width: int
    effective_rank: float
    """1 where all vectors lie on one line, `width` where they are spread out evenly."""
    centroid_shift: float | None
    """How far the mean vector went since the look before, by the mean norm then."""
    neighbour_churn: float | None
    """Share of the ten nearest that are others than at the look before."""


class Foreseen(msgspec.Struct, frozen=True, kw_only=True):
    """A stretch of events: what scores let expect before labels came, and what these told; means.

    None where less than half of the events have a value (yet).
    """

    event: int
    """Number of the first, from 1."""
    events: int
    expected_log_loss: float | None
    log_loss: float | None
    expected_auc: float | None
    auc: float | None
    """The share of pairs that were in order, each event against those known before it."""
