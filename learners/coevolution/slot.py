"""What a slate is filled by: above all the explore slot, one place whose cluster is drawn, with a probability
that is known.

Every policy says a distribution over what is open, and what is shown is drawn from that distribution itself:
so the propensity that goes out with the answer is right by construction.

`BestOf` is CoEA's: n draws from Novelty, and the best of them by Relevance is shown (best of n is the
ancestor's, arXiv:2504.05522; drawing with replacement is ours, since then the propensity is closed). Sorted
by Relevance, with F the cumulated probability under Novelty,

    p(c) = F(c)^n - F(c-)^n

A tenth of it is uniform: then nothing that is open has a propensity near 0, so that other policies can be
judged by what it showed, and what has become liked in a group is found out (ours, too). In the exploited
places what is novel counts `OPTIMISM` times what Relevance expects of it: what is found will be shown again,
which one accept does not say (ours, too).

The others are there to be compared with: `Epsilon`, `Thompson` and `Greedy`.

Shape suffixes: B rows, C clusters.
"""

import numpy as np

from learners.coevolution.contracts import Novelty
from learners.coevolution.inputs import Asked
from state.arrays import Doubles, Int64s
from state.errors import InputError

OPTIMISM = 1.15


class BestOf:
    """The best by Relevance of `draws` from Novelty; in `wide` of the cases uniform."""

    optimism = OPTIMISM

    def __init__(self, novelty: Novelty, draws: int, wide: float) -> None:
        self.novelty, self.draws, self.wide = novelty, draws, wide

    def propensities(self, asked: Asked) -> Doubles:
        log_BC = self.novelty.log_p(asked.inputs, asked.open_BC)
        p_BC = best_of(np.exp(log_BC), asked.relevance_BC, self.draws)
        return np.asarray((1.0 - self.wide) * p_BC + self.wide * Epsilon().propensities(asked))


class Epsilon:
    """Uniform."""

    optimism = 1.0

    def propensities(self, asked: Asked) -> Doubles:
        return np.asarray(asked.open_BC / np.maximum(asked.open_BC.sum(1, keepdims=True), 1))


class Greedy:
    """The best by Relevance."""

    optimism = 1.0

    def propensities(self, asked: Asked) -> Doubles:
        return np.asarray(_ones(np.where(asked.open_BC, asked.relevance_BC, -np.inf)) * asked.open_BC)


class Thompson:
    """Thompson sampling, a Beta for every user and cluster around the rate of the user's group.

    Its propensity has no closed form. So a lottery of `lots` samples is held, and one of their winners drawn:
    that shows what Thompson sampling shows, and the propensity is exact, given the lottery.
    """

    optimism = 1.0
    PRIOR = 6.0
    """Exposures that the group's rate counts for."""

    def __init__(self, rng: np.random.Generator, lots: int = 16) -> None:
        self.rng, self.lots = rng, lots

    def propensities(self, asked: Asked) -> Doubles:
        inputs = asked.inputs
        accepts_BC = inputs.accepts_BC + self.PRIOR * inputs.persona_BC
        rejects_BC = np.maximum(inputs.exposures_BC + self.PRIOR - accepts_BC, 1e-3)
        p_BC = np.zeros_like(accepts_BC)
        for _ in range(self.lots):
            drawn_BC = self.rng.beta(accepts_BC, rejects_BC)
            p_BC += _ones(np.where(asked.open_BC, drawn_BC, -1.0)) * asked.open_BC
        return p_BC / self.lots


_TINY = np.finfo(np.float64).tiny


def best_of(novelty_BC: Doubles, relevance_BC: Doubles, draws: int) -> Doubles:
    """Probability of each cluster to be the best by Relevance of `draws` from Novelty (B, C).

    Of equals by Relevance the later cluster is the better one.
    """
    order_BC = np.argsort(relevance_BC, axis=1, kind="stable")
    share_BC = np.take_along_axis(novelty_BC, order_BC, 1)
    total_B1 = np.maximum(share_BC.sum(1, keepdims=True), _TINY)
    above_BC = np.minimum(np.cumsum(share_BC, 1) / total_B1, 1.0) ** draws
    p_BC: Doubles = np.empty_like(above_BC)
    np.put_along_axis(p_BC, order_BC, np.diff(above_BC, axis=1, prepend=0.0), 1)
    return p_BC


def drawn(p_BC: Doubles, uniform_B: Doubles) -> tuple[Int64s, Doubles]:
    """A cluster of each row by its probabilities, given numbers in [0, 1), and its propensity.

    Raises InputError where a row has nothing open.
    """
    total_BC = np.cumsum(p_BC, 1)
    if not (total_BC[:, -1] > 0.0).all():
        raise InputError("explore slot: nothing is open to a user; leave the slot to what is exploited")
    at_B = uniform_B * total_BC[:, -1]
    cluster_B = np.asarray((total_BC > at_B[:, None]).argmax(1))
    return cluster_B, p_BC[np.arange(len(p_BC)), cluster_B]


def _ones(score_BC: Doubles) -> Doubles:
    """1 at each row's highest score."""
    one_BC = np.zeros_like(score_BC)
    one_BC[np.arange(len(score_BC)), score_BC.argmax(1)] = 1.0
    return one_BC
