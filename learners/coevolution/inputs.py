"""What the Relevance and the Novelty model see of a user and every cluster at a moment.

They are kept as they were scored with what was shown, so that nothing is learned from a later state.

Shape suffixes: B rows, C clusters, F features, M levels of codes, R recent accepts, S shown of a row.
"""

from typing import NamedTuple, Self

import numpy as np

from state.arrays import Bools, Doubles, Floats, Int64s

BUCKET_DAYS = np.array([1.0, 2.0, 4.0, 8.0, 16.0, 32.0])
"""Between the spans that ages of accepts are told by."""
HALF_LIVES_DAYS = (3.0, 15.0, 60.0, None)
_LONG = 2
"""Which of them is 60 days."""
ACCEPTS, EXPOSURES = 0, len(HALF_LIVES_DAYS)
"""Where the logarithms of 1 + counts begin among the features."""
RECENCY = 2 * len(HALF_LIVES_DAYS)
LOAD = RECENCY + 1
RATES = LOAD + 1
"""Where the log odds of the personas' rates begin, everybody's first; they are the last features."""
_OWN_WEIGHT = 3.0
"""How many exposures the persona's rate counts for beside the user's own."""
MOST_WEIGHT = 10.0
"""Of what was shown by chance, in learning."""


class Inputs(NamedTuple):
    feature_BCF: Floats
    code_BM: Int64s
    recent_BR: Int64s
    """Clusters of the last accepts, in no order; C where there are fewer."""
    bucket_BR: Int64s
    """How long ago each was, as `history.bucket` says."""

    @property
    def size(self) -> int:
        return len(self.feature_BCF)

    @property
    def accepts_BC(self) -> Doubles:
        """Faded with 60 days."""
        return np.asarray(np.expm1(self.feature_BCF[..., ACCEPTS + _LONG].astype(np.float64)))

    @property
    def exposures_BC(self) -> Doubles:
        return np.asarray(np.expm1(self.feature_BCF[..., EXPOSURES + _LONG].astype(np.float64)))

    @property
    def persona_BC(self) -> Doubles:
        """The rate of the finest group."""
        return np.asarray(1.0 / (1.0 + np.exp(-self.feature_BCF[..., -1].astype(np.float64))))

    @property
    def start_BC(self) -> Floats:
        """Where a logit starts from: the log odds of the user's own rate, shrunk to the persona's."""
        accepts_BC = self.accepts_BC + _OWN_WEIGHT * self.persona_BC
        rejects_BC = self.exposures_BC + _OWN_WEIGHT - accepts_BC
        return np.log(accepts_BC / np.maximum(rejects_BC, 0.1)).astype(np.float32)

    def take(self, rows: Int64s | Bools | slice) -> Self:
        return type(self)._make(column[rows] for column in self)


class Asked(NamedTuple):
    """What the slot is asked with."""

    inputs: Inputs
    relevance_BC: Doubles
    """P(accept), by the Relevance model."""
    open_BC: Bools
    """What may be shown: novel, and not in the slate yet."""


class Feedback(NamedTuple):
    """What was shown, as it was scored, and what came of it."""

    inputs: Inputs
    cluster_BS: Int64s
    accepted_BS: Bools
    propensity_BS: Doubles
    """1 where it was shown for sure."""

    @property
    def weight_BS(self) -> Floats:
        """What each counts for in learning: 1 / propensity, up to MOST_WEIGHT."""
        return np.minimum(1.0 / self.propensity_BS, MOST_WEIGHT).astype(np.float32)
