"""Which candidates a row is learned from: the true one, those that the base puts first, and a few others.

Most candidates are far from being chosen, and a softmax over a sample of them learns the same: one that is
drawn stands for as many as it was drawn from, by the logarithm of their number on top of its base (importance
weights, as in Bengio and Senecal, 2008, but drawn evenly and without replacement). Which are drawn depends on
the example's identity alone. A row whose item is no candidate teaches nothing: nothing of it is kept.

Shape suffixes: B rows, C candidates.
"""

import numpy as np

from learners.copying.candidates.columns import Asked, Found, Room, Row
from learners.copying.candidates.evidence import BASE_SHARES, COLUMN, Own
from learners.copying.counts.crowd import CrowdArrays
from learners.mixing.mixture import Evidence
from state.compiled import compiled, inner
from state.evidence import STIM
from state.examples import Doubles, Floats
from state.keys import Int64s, mix

BEST, DRAWN = 24, 24
_LEAST, _OWN_HOUR, _OWN = STIM.least, STIM.own["hour_2h"], STIM.own["count"]
_HOUR_2H = COLUMN["hour_2h"]
DROPPED = np.float32(-np.inf)
TINY = 5e-324
"""The least number above 0."""


@inner
def weigh(row: Row, crowd: CrowdArrays, own: Own, room: Room, found: Found) -> None:
    """Write what plain counts say of a row's candidates; the logarithm of it is their base (`based`)."""
    popular, total = crowd.popular, _LEAST
    soon, long = BASE_SHARES
    soon_scale = 0.1 / max(popular.clock_V3[soon, 1], 1e-300)
    long_scale = 0.1 / max(popular.clock_V3[long, 1], 1e-300)
    for i in range(row.many):
        total += own.count_C[i]
    for c in range(row.start, row.end):
        n = found.item_C[c]
        i, f = own.slot_N[n] - 1, room.follow_N5[n]
        base = _LEAST + 0.02 * f[0] + 0.2 * f[1]
        if i >= 0:
            base += (_OWN_HOUR * own.sum_CK[i, _HOUR_2H] + _OWN * own.count_C[i]) / (1.0 + total)
        base += soon_scale * popular.weight_VN[soon, n] + long_scale * popular.weight_VN[long, n]
        found.base_C[c] = base


@inner
def based(start: int, end: int, found: Found) -> None:
    """Take the logarithm of what plain counts say of candidates `start` .. `end` - 1."""
    for c in range(start, end):
        found.base_C[c] = np.log(found.base_C[c])


@inner
def least_of_best(score_T: Doubles, most: int, lowest: float, best_F: Doubles) -> float:
    """The least of the `most` greatest scores, or `lowest` where fewer are above it: by insertion, since few
    get past the least of those that are kept."""
    best_F[:most] = lowest
    for score in score_T:
        if score > best_F[most - 1]:
            f = most - 1
            while f > 0 and score > best_F[f - 1]:
                best_F[f] = best_F[f - 1]
                f -= 1
            best_F[f] = score
    return float(best_F[most - 1])


@inner
def choose(row: Row, asked: Asked, own: Own, room: Room, found: Found) -> int:
    """Write what is added to the base of those that are learned from, and let the others go unless all of the
    row is wanted; where its candidates end then. `base_C` is as `weigh` has left it."""
    b, start, end = row.b, row.start, row.end
    true, size = -1, end - start
    for c in range(start, end):
        if found.item_C[c] == asked.true_B[b]:
            true = c
    found.added_C[start:end] = DROPPED if true < 0 else np.float32(0.0)
    if true >= 0 and size > BEST + DRAWN + 1:
        _draw(start, end, true, asked.identity_B[b], room, found)
    if asked.whole_B[b]:
        return end
    stop = start
    for c in range(start, end):
        n = found.item_C[c]
        if found.added_C[c] != DROPPED:
            found.item_C[stop] = n
            found.base_C[stop] = found.base_C[c]
            found.added_C[stop] = found.added_C[c]
            stop += 1
        elif own.slot_N[n] < 0:
            own.slot_N[n] = 0
    return stop


@inner
def _draw(start: int, end: int, true: int, identity: int, room: Room, found: Found) -> None:
    """Keep the true one, the first by their base, and of the rest one in so many from a random place on."""
    score_C = room.score_T[: end - start]
    for c in range(start, end):
        score_C[c - start] = found.base_C[c]
    least = least_of_best(score_C, BEST, TINY, room.best_F)
    best, rest = BEST, end - start - BEST - (found.base_C[true] < least)
    share = DRAWN / rest
    place = (mix(identity) & 0xFFFFFF) / 16777216.0
    added = np.float32(np.log(rest / DRAWN))
    for c in range(start, end):
        if c == true:
            best -= found.base_C[c] >= least
            continue
        if found.base_C[c] >= least and best > 0:
            best -= 1
            continue
        place += share
        found.added_C[c] = DROPPED
        if place >= 1.0:
            place -= 1.0
            found.added_C[c] = added


def sampled(evidence: Evidence, added_C: Floats) -> Evidence:
    """A copy of the candidates that are learned from, with what is added to their base."""
    start_R1 = np.zeros_like(evidence.start_R1)
    true_R = np.full_like(evidence.true_R, -1)
    place_C = np.empty(len(added_C), np.int64)
    size = _placed(evidence.start_R1, evidence.true_R, added_C, start_R1, true_R, place_C)
    place_C = place_C[:size]
    return Evidence(
        start_R1,
        evidence.evidence_CF[place_C],
        evidence.base_C[place_C] + added_C[place_C],
        evidence.context_RX,
        evidence.open_RE,
        true_R,
    )


@compiled
def _placed(
    from_R1: Int64s, from_true_R: Int64s, added_C: Floats, start_R1: Int64s, true_R: Int64s, place_C: Int64s
) -> int:
    """Where the candidates that are learned from stand; how many they are."""
    size = 0
    for r in range(len(true_R)):
        for c in range(from_R1[r], from_R1[r + 1]):
            if added_C[c] != DROPPED:
                if c - from_R1[r] == from_true_R[r]:
                    true_R[r] = size - start_R1[r]
                place_C[size] = c
                size += 1
        start_R1[r + 1] = size
    return size
