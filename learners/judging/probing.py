"""What one past event is worth to a learner, by its age: curves and kernels found by asking.

A made-up user was last at item k, half a minute ago, and remembers one older event, with item i. What is
asked is how far the log odds of i against j, which the user does not remember, lie above those of a user who
remembers k alone. Any learner whose `rank` gives log odds can be asked, whatever is inside.

The answer is an average over the hours of a day and a few popular items in turn. Of an event's own
past nothing else is known, so it has the retention of an item met once.

Shape suffixes: B rows asked, A ages, W window entries (2 used), P askings, N catalogue rows.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from learners.insight import AgeCurve, Kernel, age_curves, kernel
from learners.tables.catalogue import Catalogue
from state.examples import Doubles, ExampleBatch, Floats, empty_examples
from state.forgetting import WEEK_MIN, periodic
from state.keys import Int64s
from state.memory.memory_config import MemoryConfig

Rank = Callable[[ExampleBatch], Floats]
"""Rows -> log odds (B, N) of the whole catalogue, up to a constant a row."""

_HOUR_S, _DAY_S = 3600.0, 86_400.0
_NOW_S = 30.0
"""Age of the event with k."""
_CHUNK = 64


def _whole(most: int) -> Doubles:
    """Whole numbers 1 .. `most`, all at first, then ever fewer."""
    return np.unique(np.rint(np.geomspace(1.0, most, 32)))


AGES_BY_CLOCK: Mapping[str, Doubles] = {
    "own event": np.append(np.geomspace(60.0, _DAY_S / 2, 24), (_whole(364) + 0.5) * _DAY_S),
    "same hour": _whole(364) * _DAY_S,
    "same hour of the week": _whole(52) * 7 * _DAY_S,
}
"""Ages to ask for on a log with a clock: up to half a day, then half a day off; whole days; whole weeks."""
AGES: Mapping[str, Doubles] = {"own event": np.geomspace(60.0, 364 * _DAY_S, 48)}
"""Ages to ask for on a log whose times only give an order."""
_KERNELS = {24: (14, 1.0), 168: (28, 2.0)}
"""Period in hours -> about how many days ago the events are, and the step in hours."""


class Probed(NamedTuple):
    curves: list[AgeCurve]
    kernels: list[Kernel]


def probe(
    rank: Rank,
    catalogue: Catalogue,
    *,
    window: int,
    labelled: bool,
    clock: bool = True,
    tz_min: int = 0,
    memory: MemoryConfig | None = None,
    items: int = 2,
    moments: int = 4,
) -> Probed:
    """Retention curves and, with a `clock`, kernels of the hour: log odds that an event adds to its item.

    `window` is the width that the learner needs; `items` are taken in turn at each of `moments` within the
    last day. Empty where the catalogue is too small to ask. `rank` is called on rows of a user of no
    log, and must change nothing.
    """
    latest_ms = int(catalogue.last_ms_N[: len(catalogue)].max(initial=np.iinfo(np.int64).min))
    asked = np.argsort(-catalogue.popularity(latest_ms, 3), kind="stable")[: items + 2]
    if len(asked) < items + 2 or window < 2:
        return Probed([], [])
    ages = dict(AGES_BY_CLOCK if clock else AGES)
    apart_h = {
        period_h: np.arange(-period_h / 2, period_h / 2 + step_h, step_h)
        for period_h, (_, step_h) in _KERNELS.items()
        if clock
    }
    sought = [*ages.values()]
    sought += [_KERNELS[period_h][0] * _DAY_S + apart * _HOUR_S for period_h, apart in apart_h.items()]
    ages_s_A = np.concatenate([[np.nan], *sought])
    gain_PA = []
    for p in range(items * moments):
        i, j, k = (int(n) for n in np.roll(asked, -(p % items))[:3])
        time_ms = latest_ms - p // items * 86_400_000 // moments
        keys = catalogue.items.keys[[i, k]]
        rows = lone_events(keys, ages_s_A, time_ms, tz_min, window, labelled, memory or MemoryConfig())
        odds_A = np.concatenate(
            [_odds(rank(rows.take(slice(b, b + _CHUNK))), i, j) for b in range(0, len(rows), _CHUNK)]
        )
        gain_PA.append(odds_A[1:] - odds_A[0])
    ends = np.cumsum([len(part_A) for part_A in sought])
    parts = np.split(np.mean(gain_PA, axis=0), ends[:-1])
    return Probed(
        age_curves(
            {name: (age_s_A, part) for (name, age_s_A), part in zip(ages.items(), parts, strict=False)}
        ),
        [
            kernel("own event", apart, part, period_h=period_h)
            for (period_h, apart), part in zip(apart_h.items(), parts[len(ages) :], strict=True)
        ],
    )


def lone_events(
    keys: Int64s,
    age_s_A: Doubles,
    time_ms: int,
    tz_min: int,
    window: int,
    labelled: bool,
    memory: MemoryConfig,
) -> ExampleBatch:
    """Rows (A) of a user who remembers one event with `keys[0]`, that old, and then one with `keys[1]`.

    An age of NaN leaves the first event out.
    """
    rows = empty_examples(len(age_s_A), window)
    past = rows.window
    assert past is not None
    there_A = ~np.isnan(age_s_A)
    newest_A = there_A.astype(np.int64)
    past.length_B[:] = newest_A + 1
    each_A = np.arange(len(age_s_A))
    for key, at_A, ages_A in ((keys[0], np.zeros(len(rows), np.int64), age_s_A), (keys[1], newest_A, _NOW_S)):
        age_A = np.where(np.isnan(ages_A), _NOW_S, ages_A)
        apart_A = (age_A / 60.0).astype(np.int64) % WEEK_MIN
        past.item_BW[each_A, at_A] = key
        past.age_s_BW[each_A, at_A] = age_A
        past.retention_BW[each_A, at_A] = np.exp(-age_A / memory.strength_s)
        past.label_BW[each_A, at_A] = 1.0 if labelled else np.nan
        if memory.periodic:
            past.hour_BW[each_A, at_A] = np.exp(periodic(memory.hour_width_h, 24)[apart_A])
            past.week_BW[each_A, at_A] = np.exp(periodic(memory.week_width_h, 168)[apart_A])
    past.before_BW[there_A, 1] = keys[0]
    past.gap_s_BW[there_A, 1] = age_s_A[there_A] - _NOW_S
    return replace(
        rows,
        time_ms_B=np.full(len(rows), time_ms),
        known_ms_B=np.full(len(rows), time_ms),
        tz_min_B=np.full(len(rows), tz_min),
    )


def _odds(score_BN: Floats, i: int, j: int) -> Doubles:
    """Log odds (B,) of i against j; NaN where either is no candidate."""
    with np.errstate(invalid="ignore"):
        odds_B = score_BN[:, i].astype(np.float64) - score_BN[:, j]
    return np.where(np.isfinite(odds_B), odds_B, np.nan)
