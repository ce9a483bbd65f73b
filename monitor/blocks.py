"""Sums of signals by segment, and the blocks that are full.

Shape suffixes: N rows, S signals, K kinds of segments, C scopes, M blocks.
"""

from typing import NamedTuple

import numpy as np

from monitor.alarms import OUTCOMES
from state.arrays import Doubles, Int64s
from state.compiled import compiled

_EVERYWHERE = len(OUTCOMES)
"""So many signals, the first, are watched in every segment; the others in all events together."""


class SignalRows(NamedTuple):
    """What detectors are shown, in order: each event as it arrives, and again as its outcome is known."""

    event_N: Int64s
    """The event's number, from 1."""
    time_ms_N: Int64s
    at_N: Int64s
    """Number of the event at whose arrival this is known: the event itself, or a later one."""
    at_ms_N: Int64s
    scope_NK: Int64s
    """Scope of the row's segment of each kind; -1 for none. Scope 0, all events, is not said."""
    value_NS: Doubles
    """NaN where there is none."""


class Blocks(NamedTuple):
    """Blocks that were filled, in order: (M,) each."""

    row: Int64s
    """Row of `SignalRows` that filled it."""
    scope: Int64s
    signal: Int64s
    mean: Doubles


@compiled
def filled(rows: SignalRows, size: int, sum_CS: Doubles, count_CS: Int64s) -> Blocks:
    """Add every value to the sums of its scopes; a scope's sum starts anew after `size` values."""
    count_N, signals = rows.value_NS.shape
    kinds = rows.scope_NK.shape[1]
    most = (1 + kinds) * signals * count_N // size + count_CS.size
    row_M = np.empty(most, np.int64)
    scope_M = np.empty(most, np.int64)
    signal_M = np.empty(most, np.int64)
    mean_M = np.empty(most, np.float64)
    m = 0
    for n in range(count_N):
        for s in range(signals):
            value = rows.value_NS[n, s]
            if np.isnan(value):
                continue
            for k in range(-1, kinds if s < _EVERYWHERE else 0):
                scope = 0 if k < 0 else rows.scope_NK[n, k]
                if scope < 0:
                    continue
                sum_CS[scope, s] += value
                count_CS[scope, s] += 1
                if count_CS[scope, s] == size:
                    row_M[m], scope_M[m], signal_M[m] = n, scope, s
                    mean_M[m] = sum_CS[scope, s] / size
                    sum_CS[scope, s] = 0.0
                    count_CS[scope, s] = 0
                    m += 1
    return Blocks(row_M[:m], scope_M[:m], signal_M[:m], mean_M[:m])
