"""Pairs for Novelty, out of what was really accepted and rejected and of what Relevance says of its draws.

    accepted   over   what the same user rejected, up to `MOST_REJECTED`
    accepted   over   the least of `DRAWS` draws by Relevance                 weight `BY_RELEVANCE`
    the best of `DRAWS` draws by Relevance   over   what the slot showed and was rejected      likewise

Real feedback stands above what Relevance says: where there is an outcome, it is the outcome that counts.
(arXiv:2508.00450 says that Relevance guides the fine-tuning; these pairs are ours.)

Shape suffixes: B slates, S places, C clusters, P pairs, A accepted, N draws.
"""

import numpy as np

from learners.coevolution.contracts import Lessons, Novelty
from learners.coevolution.slates import Slates
from state.arrays import Doubles, Int64s

MOST_REJECTED = 3
DRAWS = 8
BY_RELEVANCE = 0.3


def accepted(slates: Slates) -> Lessons:
    """What was accepted and novel, without preferences: what Novelty starts from."""
    row_A, cluster_A = _taken(slates)
    ones_A, zeros_A = np.ones(len(row_A), np.float32), np.zeros(len(row_A), np.float32)
    return Lessons(slates.inputs.take(row_A), slates.novel_BC[row_A], cluster_A, cluster_A, zeros_A, ones_A)


def pairs(
    slates: Slates, since_ms: int, novelty: Novelty, rng: np.random.Generator, *, guided: bool = True
) -> Lessons:
    """Lessons of the slates since a time; what was rejected earlier counts as rejected, too.

    Relevance has its say where it is `guided` by outcomes: where nothing was ever rejected it knows nothing.
    """
    row_A, cluster_A = _taken(slates)
    new_A = slates.time_ms_B[row_A] >= since_ms
    row_A, cluster_A = row_A[new_A], cluster_A[new_A]
    tried_B = slates.explored_B & ~slates.accepted_BS[:, -1] & (slates.time_ms_B >= since_ms)
    row_T = np.flatnonzero(tried_B)
    rejected = _over_rejected(slates, row_A, cluster_A, rng)
    least_A = _of_draws(slates, row_A, novelty, rng, best=False) if guided else cluster_A
    best_T = _of_draws(slates, row_T, novelty, rng, best=True)
    row_P = np.concatenate([rejected[0], row_A, row_T])
    better_P = np.concatenate([rejected[1], cluster_A, best_T])
    worse_P = np.concatenate([rejected[2], least_A, slates.cluster_BS[row_T, -1]])
    counts = len(rejected[0]), len(row_A), len(row_T)
    prefer_P = np.repeat([1.0, BY_RELEVANCE, BY_RELEVANCE], counts) * (better_P != worse_P)
    anchor_P = np.repeat([0.0, 1.0, 0.0], counts)
    return Lessons(
        slates.inputs.take(row_P),
        slates.novel_BC[row_P],
        better_P,
        worse_P,
        prefer_P.astype(np.float32),
        anchor_P.astype(np.float32),
    )


def _taken(slates: Slates) -> tuple[Int64s, Int64s]:
    """Slate and cluster of all that was accepted and novel; a cluster once a slate."""
    row_A, place_A = np.nonzero(slates.accepted_BS & slates.novel_BS)
    found_A2 = np.unique(np.stack([row_A, slates.cluster_BS[row_A, place_A]], 1), axis=0)
    return found_A2[:, 0], found_A2[:, 1]


def _over_rejected(
    slates: Slates, row_A: Int64s, cluster_A: Int64s, rng: np.random.Generator
) -> tuple[Int64s, Int64s, Int64s]:
    """(slate, accepted, rejected) of each accept with what its user has rejected that was novel then."""
    rejected_BS = ~slates.accepted_BS & slates.novel_BS
    by_user: dict[int, list[int]] = {}
    for row, place in zip(*np.nonzero(rejected_BS), strict=True):
        by_user.setdefault(int(slates.user_B[row]), []).append(int(slates.cluster_BS[row, place]))
    pairs: list[tuple[int, int, int]] = []
    for row, cluster in zip(row_A.tolist(), cluster_A.tolist(), strict=True):
        novel_C = slates.novel_BC[row]
        known = {c for c in by_user.get(int(slates.user_B[row]), []) if c != cluster and novel_C[c]}
        worse_ones = rng.permutation(sorted(known))[:MOST_REJECTED]
        pairs += [(row, cluster, int(worse)) for worse in worse_ones]
    pair_P3 = np.array(pairs, np.int64).reshape(-1, 3)
    return pair_P3[:, 0], pair_P3[:, 1], pair_P3[:, 2]


def _of_draws(
    slates: Slates, row_R: Int64s, novelty: Novelty, rng: np.random.Generator, *, best: bool
) -> Int64s:
    """The best, or the least, by Relevance of some draws from Novelty, for each slate."""
    if not len(row_R):
        return np.zeros(0, np.int64)
    part = slates.take(row_R)
    total_RC = np.cumsum(np.exp(novelty.log_p(part.inputs, part.novel_BC)), 1)
    uniform_RN: Doubles = rng.random((len(row_R), DRAWS)) * total_RC[:, -1:]
    draw_RN = (total_RC[:, None] > uniform_RN[..., None]).argmax(2)
    relevance_RN = np.take_along_axis(part.relevance_BC, draw_RN, 1)
    place_R = relevance_RN.argmax(1) if best else relevance_RN.argmin(1)
    return np.asarray(draw_RN[np.arange(len(row_R)), place_R])
