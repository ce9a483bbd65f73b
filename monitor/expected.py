"""Before labels arrive: the log loss and AUC that scores let expect, if they are calibrated as they were.

A score p is taken for the chance q that events with such scores had lately, among those whose labels are
known by now. Then -(q ln p + (1 - q) ln (1 - p)) is what the event's log loss will be on average. Estimates
of this kind are known as confidence-based. A change of what a score means they cannot see before labels tell.

A pair of a positive and a negative is in order where the positive's score is higher, and the share of pairs
that are is the AUC. An event is compared with the PEERS before it, each by its chance q of being a positive:
the share in order of the pairs with it that are to be expected. As labels become known, q is the label.
"""

from typing import NamedTuple

import numpy as np

from state.arrays import Doubles, Int64s
from state.compiled import compiled, inner
from state.tree import Tree

BINS, _REACH = 32, 6.0
"""Of the score's log odds, equally wide from -REACH to REACH."""
_FADE = 1.0 / 2_500.0
"""Of a label's weight, with every label that comes after it."""
_LEAST = 1_000.0
"""Weight of labels before anything is said."""
_PRIOR = 100.0
"""Labels' worth of trust in p itself, in every bin."""
PEERS = 8
"""Few, so that values that are not neighbours do not hang together, as detectors take for granted."""
LEAST_P = 1e-6


class Expected(NamedTuple):
    """Of B events as they arrive, Q whose labels become known; NaN without a score or with too few labels."""

    log_loss_B: Doubles
    auc_B: Doubles
    came_auc_Q: Doubles
    """The share of pairs in order as labels tell."""


class _Peers(NamedTuple):
    """The events before, in a ring: those that arrived, and those that became known."""

    p_2P: Doubles
    chance_2P: Doubles
    """Of being a positive, or the label; NaN where there is none yet."""
    count_2: Int64s


class Calibration:
    """Labels by score, older ones faded, and the newest scores."""

    def __init__(self) -> None:
        self._sum_2D: Doubles = np.zeros((2, BINS))
        """Weight, and weight of positives."""
        nothing_2P = np.full((2, PEERS), np.nan)
        self._peers = _Peers(nothing_2P, nothing_2P.copy(), np.zeros(2, np.int64))

    def step(self, p_B: Doubles, p_Q: Doubles, label_Q: Doubles, due_B: Int64s) -> Expected:
        """Of scores `p_B`, and of `p_Q`, `label_Q`: events that become known, in order, the first `due_B[b]`
        of them before row b."""
        log_loss_B, auc_B = np.full((2, len(p_B)), np.nan)
        expected = Expected(log_loss_B, auc_B, np.full(len(p_Q), np.nan))
        _step(p_B, p_Q, label_Q, due_B, self._sum_2D, self._peers, expected)
        return expected

    def tree(self) -> Tree:
        peers = {name: column.copy() for name, column in self._peers._asdict().items()}
        return {"sum_2D": self._sum_2D.copy(), **peers}

    def load(self, tree: Tree) -> None:
        self._sum_2D = np.array(tree["sum_2D"])
        if "count_2" in tree:
            self._peers = _Peers(*(np.array(tree[name]) for name in _Peers._fields))


@compiled
def _step(
    p_B: Doubles,
    p_Q: Doubles,
    label_Q: Doubles,
    due_B: Int64s,
    sum_2D: Doubles,
    peers: _Peers,
    expected: Expected,
) -> None:
    learned = 0
    for b in range(len(p_B) + 1):
        due = due_B[b] if b < len(p_B) else len(p_Q)
        for q in range(learned, due):
            if not np.isnan(p_Q[q]) and not np.isnan(label_Q[q]):
                expected.came_auc_Q[q] = _in_order(p_Q[q], label_Q[q], 1, peers)
                d = _bin(p_Q[q])
                sum_2D *= 1.0 - _FADE
                sum_2D[0, d] += 1.0
                sum_2D[1, d] += label_Q[q]
        learned = due
        if b == len(p_B) or np.isnan(p_B[b]) or sum_2D[0].sum() < _LEAST:
            continue
        p = min(max(p_B[b], LEAST_P), 1.0 - LEAST_P)
        d = _bin(p)
        chance = (sum_2D[1, d] + _PRIOR * p) / (sum_2D[0, d] + _PRIOR)
        expected.log_loss_B[b] = -(chance * np.log(p) + (1.0 - chance) * np.log1p(-p))
        expected.auc_B[b] = _in_order(p, chance, 0, peers)


@inner
def _in_order(p: float, chance: float, which: int, peers: _Peers) -> float:
    """Share in order of the pairs to be expected with its peers, half of ties; it becomes a peer itself."""
    pairs, ordered = 0.0, 0.0
    for n in range(PEERS):
        other, its = peers.p_2P[which, n], peers.chance_2P[which, n]
        if np.isnan(other):
            continue
        as_positive, as_negative = chance * (1.0 - its), (1.0 - chance) * its
        pairs += as_positive + as_negative
        if p > other:
            ordered += as_positive
        elif p < other:
            ordered += as_negative
        else:
            ordered += (as_positive + as_negative) / 2.0
    place = peers.count_2[which] % PEERS
    peers.p_2P[which, place], peers.chance_2P[which, place] = p, chance
    peers.count_2[which] += 1
    return ordered / pairs if pairs > 0.0 else np.nan


@inner
def _bin(p: float) -> int:
    p = min(max(p, LEAST_P), 1.0 - LEAST_P)
    place = (np.log(p) - np.log1p(-p) + _REACH) * (BINS / (2.0 * _REACH))
    return int(min(max(place, 0.0), BINS - 1.0))
