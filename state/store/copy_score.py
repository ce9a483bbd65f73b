"""STIM's score as a sum of few terms, published with a run: a reader of the store can score and explain.

    score_i = prior_i + near log(.0025 + km_i^2) + interest (sum over k of u_k) . x_i
              + base log(1e-6 + crowd_i + own_i) + past . p_i
              + sum over kernels j of memory_j log(1 + S_ij / floor_j)

S_ij is a sum over the user's remembered events with item i of kernel j. What kernels are, and every other
constant, is published with the weights (`state.evidence`): own_i is (S_i,hour_2h / 2 + S_i,count / 10) /
(1 + S,count of all items), p_i how likely one returns to it by now (`state.returns`). The items of the
memory are candidates, and so are those that lead in popularity, those most like the interests among the more
popular, and those near; all others rank behind, by prior and crowd. `learners.copying.distil` fits the
weights, `serving.scoring.copy` evaluates them.
"""

from typing import NamedTuple, Self

import msgspec
import numpy as np
from numpy.typing import NDArray

from state.arrays import Doubles, Int64s
from state.cells import KM_EAST, KM_NORTH
from state.evidence import FIRST, Specification

KM = np.array([KM_EAST, KM_NORTH])
"""Kilometres a degree of longitude, on the equator, and of latitude."""
LEADING, AMONG = 1, 2
"""Bits of an item: popular enough to be a candidate of everybody; of those that it is to whom it is like."""
LEAST_OVERLAP = 0.5
"""Share of the top 10 that the sum must have in common with what it stands for."""


class ItemTerms(NamedTuple):
    """What the sum knows of each of N items, as of the last publish."""

    key_N: Int64s
    prior_N: Doubles
    """Popularity over several half-lives and the item's age, weighed."""
    crowd_N: Doubles
    """The share of all events, by which own events are judged."""
    place_N2: Doubles
    """Longitude and latitude, WGS 84 degrees; NaN where nowhere."""
    found_N: NDArray[np.uint8]
    """How an item comes to be a candidate: LEADING, AMONG."""


class CopyScore(msgspec.Struct, frozen=True, kw_only=True):
    """Weights, what they are worth, and the items' terms packed as little-endian numbers."""

    memory: dict[str, float]
    """At least 0, by kernel."""
    past: dict[str, float]
    """Of the user's own items, by `specification.past`."""
    base: float
    near: float
    interest: float
    """base and interest are at least 0."""
    specification: Specification = FIRST
    """What the kernels of `memory` are, and the columns of `past`."""
    brought: int = 40
    """How many of AMONG are candidates for the interests' sake."""
    repeats: bool = True
    """Whether items that the user has had are recommended at all."""
    fades: bool = True
    """Whether the memory does."""
    overlap: float
    """Mean share of the ten best candidates in common with STIM's, over requests that were not fitted to."""
    r2: float
    """Of STIM's logits within such a request, weighed towards its best candidates."""
    requests: int
    """How many they were."""
    items: bytes = b""
    gaps: bytes = b""
    """Of items of which that is known, between which times one mostly comes back to them."""

    def __post_init__(self) -> None:
        by = self.specification
        kernels = {kernel.name for kernel in by.kernels}
        unlike = (
            (self.memory.keys() ^ kernels) | (self.past.keys() ^ {*by.past}) | ({*by.own, by.whole} - kernels)
        )
        if unlike:
            raise ValueError(f"weights and kernels do not fit together: {', '.join(sorted(unlike))}")

    @property
    def agrees(self) -> bool:
        """Whether to recommend by it."""
        return self.overlap >= LEAST_OVERLAP

    def terms(self) -> ItemTerms:
        """The items' terms."""
        rows_N = np.frombuffer(self.items, _ITEM)
        prior_N, crowd_N = (rows_N[name].astype(np.float64) for name in ("prior", "crowd"))
        place_N2, found_N = rows_N["place"].astype(np.float64), rows_N["found"].copy()
        return ItemTerms(rows_N["key"].astype(np.int64), prior_N, crowd_N, place_N2, found_N)

    def usual_gaps(self) -> dict[int, tuple[float, float]]:
        """Bounds in hours by key of item."""
        return {int(row["key"]): tuple(row["bound_h"].tolist()) for row in np.frombuffer(self.gaps, _GAP)}

    def with_terms(self, terms: ItemTerms) -> Self:
        """The same weights with these items."""
        rows_N: NDArray[np.void] = np.zeros(len(terms.key_N), _ITEM)
        for name, column in zip(_ITEM.names or (), terms, strict=True):
            rows_N[name] = column
        return msgspec.structs.replace(self, items=rows_N.tobytes())


def packed_gaps(key_I: Int64s, bound_h_I2: Doubles) -> bytes:
    """Keys of items and bounds in hours, as `CopyScore.gaps` has them."""
    rows_I: NDArray[np.void] = np.zeros(len(key_I), _GAP)
    rows_I["key"], rows_I["bound_h"] = key_I, bound_h_I2
    return rows_I.tobytes()


_GAP = np.dtype([("key", "<i8"), ("bound_h", "<f4", (2,))])
_ITEM = np.dtype(
    [("key", "<i8"), ("prior", "<f4"), ("crowd", "<f4"), ("place", "<f4", (2,)), ("found", "u1")]
)
