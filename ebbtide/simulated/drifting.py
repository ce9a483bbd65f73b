"""Streams with a planted drift, and one without: a simulator, in which the truth is known.

`scored` is a stream with scores of a model that does not learn, for detectors. `lived` is a log for learners,
whose items and tastes change at once. Constants are fixed. Shape suffixes: E events.
"""

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import pyarrow as pa

from monitor.drift import Scores
from state.examples import Doubles, ExampleBatch, empty_examples
from state.keys import Int64s

Kind = Literal["abrupt", "gradual", "recurring", "scene", "inputs", "labels", "none", "harder"]
KINDS: tuple[Kind, ...] = ("abrupt", "gradual", "recurring", "scene", "inputs", "labels", "none", "harder")
EVENTS, DRIFT_AT = 60_000, 30_000
GRADUAL, PERIOD = 10_000, 10_000
"""Events over which a gradual drift comes; and after which a recurring one goes and comes again."""
RISE = 0.05
"""Of log loss, by an abrupt drift of the model."""
SCENES, CATEGORIES = 4, 20
_A_TURN = 0.5
"""Log loss that it costs to turn a score around: the mean of (2c - 1) ln(c / (1 - c)), c ~ Beta(2, 2)."""
_SPREAD, _HARDER = 2.0, 4.0
"""Chances are Beta(a, a); of harder events a is larger, which costs .051 of log loss."""
_EVENT_MS = 20_000


@dataclass(frozen=True, slots=True)
class ScoredStream:
    """A stream and what a model says of it."""

    batch: ExampleBatch
    scores: Scores


def scored(
    kind: Kind, seed: int, events: int = EVENTS, at: int = DRIFT_AT, delay_ms: int = 0
) -> ScoredStream:
    """Events whose labels are drawn from known chances, beside scores that are those chances until the drift.

    After it a share of the scores is turned around (abrupt, gradual, recurring; in one scene of four), a
    quarter of the categories and items is new (inputs), .15 of the negatives become positives (labels), or
    chances, and their scores, are nearer to a half (harder). Labels are known `delay_ms` after their event.
    """
    draw = np.random.default_rng((seed, KINDS.index(kind)))
    number_E = np.arange(events)
    scene_E, category_E = draw.integers(SCENES, size=events), draw.integers(CATEGORIES, size=events)
    after_E = number_E >= at
    spread_E = np.where(after_E & (kind == "harder"), _HARDER, _SPREAD)
    chance_E = draw.beta(spread_E, spread_E)
    label_E = draw.random(events) < chance_E
    turned_E = draw.random(events) < RISE / _A_TURN * _share(kind, number_E - at, scene_E)
    said_E = np.where(turned_E, 1.0 - chance_E, chance_E)
    new_E = np.zeros(events, np.bool_)
    if kind == "inputs":
        new_E = after_E & (draw.random(events) < 0.25)
        category_E = np.where(new_E, CATEGORIES + category_E % 5, category_E)
    if kind == "labels":
        label_E |= after_E & (draw.random(events) < 0.15)
    time_ms_E = number_E * _EVENT_MS
    batch = replace(
        empty_examples(events),
        offset_B=number_E,
        time_ms_B=time_ms_E,
        known_ms_B=time_ms_E + delay_ms,
        label_B=label_E.astype(np.float32),
        scene_B=scene_E.astype(np.int64),
        category_B=category_E.astype(np.int64),
    )
    batch.user_rates_BR[:, 0] = 100.0
    batch.item_rates_BR[:, 0] = ~(new_E & (draw.random(events) < 0.2))
    hit_E = np.where(draw.random(events) < 0.3, 1.0, 0.0)
    return ScoredStream(batch, Scores(said_E, hit_E))


def _share(kind: Kind, since_E: Int64s, scene_E: Int64s) -> Doubles:
    """How much of the drift is there, by event."""
    after_E = (since_E >= 0).astype(np.float64)
    if kind == "abrupt":
        return after_E
    if kind == "gradual":
        return np.asarray(np.clip(since_E / GRADUAL, 0.0, 1.0))
    if kind == "recurring":
        return np.where(since_E // PERIOD % 2 == 0, after_E, 0.0)
    if kind == "scene":
        return np.where(scene_E == 0, SCENES * after_E, 0.0)
    return np.zeros(len(since_E))


@dataclass(frozen=True, slots=True, kw_only=True)
class LivedLog:
    """A log with labels, and the chance of each."""

    events: pa.Table
    chance_E: Doubles


def lived(seed: int, events: int, at: int) -> LivedLog:
    """400 users, 300 items; from event `at` on items have other merits, and users other tastes."""
    users, items, categories = 400, 300, 12
    draw = np.random.default_rng(seed)
    user_E = (users * draw.random(events) ** 1.5).astype(np.int64)
    item_E = (items * draw.random(events) ** 1.5).astype(np.int64)
    after_E = np.arange(events) >= at
    mood_U = draw.normal(0.0, 0.5, users)
    merit_N, later_merit_N = draw.normal(0.0, 1.0, (2, items))
    taste_UC = draw.normal(0.0, 0.8, (users, categories))
    later_taste_UC = taste_UC[:, draw.permutation(categories)]
    category_E = item_E % categories
    taste_E = np.where(after_E, later_taste_UC[user_E, category_E], taste_UC[user_E, category_E])
    logit_E = mood_U[user_E] + taste_E + np.where(after_E, later_merit_N[item_E], merit_N[item_E])
    chance_E = 1.0 / (1.0 + np.exp(-logit_E))
    table = pa.table(
        {
            "user": user_E,
            "item": item_E,
            "timestamp": 1_704_067_200_000 + np.arange(events) * _EVENT_MS,
            "category": category_E,
            "label": (draw.random(events) < chance_E).astype(np.int64),
        }
    )
    return LivedLog(events=table, chance_E=chance_E)
