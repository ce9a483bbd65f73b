"""What the true item is told from: rows drawn from popularity^.75, or all of them.

Shape suffixes: B events, W window entries, N table rows, S draws, C candidates.
"""

from typing import NamedTuple

import numpy as np

from learners.interests.views import Int32s
from learners.tables.popularity_draws import AliasSlots, draw
from state.compiled import compiled, inner
from state.examples import Floats
from state.keys import Int64s, mix


class Drawing(NamedTuple):
    """How candidates are drawn."""

    draws: int
    slots: AliasSlots
    banned_N: Int32s
    """The event for which a row is no candidate."""
    place_N: Int32s
    """May hold anything that an earlier event left there."""
    times_C: Floats
    """Room for how often each was drawn."""


@inner
def sample_one(
    y: int, state: int, b: int, drawing: Drawing, candidate_C: Int64s, correction_C: Floats
) -> int:
    """Fill in the true row of event b and what is drawn beside it; how many there are.

    One that is drawn n times counts once, its correction less log n.
    """
    draws, slots, banned_N, place_N, times_C = drawing
    candidate_C[0] = y
    correction_C[0] = 0.0
    count = 1
    log_draws = np.float32(np.log(draws))
    for _ in range(draws if slots.row_M.shape[0] else 0):
        state = mix(state)
        m = draw(slots, state)
        j = slots.row_M[m]
        if j == y or banned_N[j] == b:
            continue
        i = place_N[j]
        if 0 < i < count and candidate_C[i] == j:
            times_C[i] += np.float32(1.0)
            continue
        place_N[j] = count
        candidate_C[count] = j
        correction_C[count] = slots.log_q_M[m] + log_draws
        times_C[count] = 1.0
        count += 1
    for i in range(1, count):
        if times_C[i] > 1.0:
            correction_C[i] -= np.log(times_C[i])
    return count


@compiled
def sample(
    target_B: Int64s,
    rows_BW: Int64s,
    identity_B: Int64s,
    draws: int,
    slots: AliasSlots,
    spare: bool,
    size: int,
) -> tuple[Int64s, Floats]:
    """Candidates (B, C) as `learn` draws them, the true item first, and what to take off their logits.

    Unused places hold row 0 and an infinite correction.
    """
    candidate_BC = np.zeros((target_B.shape[0], draws + 1), np.int64)
    correction_BC = np.full((target_B.shape[0], draws + 1), np.float32(np.inf))
    banned_N = np.full(size, -1, np.int32)
    place_N = np.zeros(size, np.int32)
    drawing = Drawing(draws, slots, banned_N, place_N, np.empty(draws + 1, np.float32))
    for b in range(target_B.shape[0]):
        if spare:
            for row in rows_BW[b]:
                if row >= 0:
                    banned_N[row] = b
        sample_one(target_B[b], identity_B[b], b, drawing, candidate_BC[b], correction_BC[b])
    return candidate_BC, correction_BC
