"""The explore slot of a list: places for what is new to the user, drawn with a probability that is known.

A user's row says with which probability each cluster would be tried, an item's vector to which cluster it
belongs. Clusters that are in the list already, or have no item to offer, leave their share to the others. The
best item of the cluster that is drawn is shown. Its propensity, the cluster's, is part of the answer and of
the recommendation's id, so that an event that comes of it can bring it back.

Shape suffixes: N items, D width, C clusters.
"""

import base64
import binascii
import struct
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from state.arrays import Doubles, Floats, Int64s
from state.ids import key_of

ROW = "explore"
"""Name of the interest that holds the probabilities."""
SOURCE = "explore"
"""Source of what the explore slot shows."""
_MOST = 8
"""Explored places of a list, at most."""
_MARK = "~"
_SHOWN = struct.Struct("<qf")


class Tried(NamedTuple):
    row: int
    """Of the catalogue."""
    propensity: float


def filled(
    rows: Sequence[int],
    score_N: Doubles,
    cluster_N: Int64s,
    p_D: Doubles,
    share: float,
    chance: np.random.Generator,
) -> list[Tried]:
    """What stands in the last places of a list of these rows: so many of them on average are explored."""
    places = min(int(len(rows) * share + chance.random()), len(rows), _MOST)
    if not places:
        return []
    left = np.isfinite(score_N)
    left[list(rows)] = False
    open_C = np.zeros(len(p_D) - 1, np.bool_)
    open_C[cluster_N[left]] = True
    open_C[cluster_N[list(rows[: len(rows) - places])]] = False
    explored: list[Tried] = []
    for _ in range(places):
        p_C = np.where(open_C, p_D[:-1], 0.0)
        total = float(p_C.sum())
        if total <= 0.0:
            break
        drawn = int(np.searchsorted(np.cumsum(p_C), chance.random() * total, side="right"))
        drawn = min(drawn, int(p_C.nonzero()[0][-1]))
        row = int(np.where(left & (cluster_N == drawn), score_N, -np.inf).argmax())
        explored.append(Tried(row, float(p_C[drawn]) / total))
        open_C[drawn] = False
    return explored


def clusters_of(vectors_ND: Floats) -> Int64s:
    """The cluster of each item: where its vector is 1."""
    return np.asarray(vectors_ND[:, :-1].argmax(1))


def with_tried(identifier: str, tried: Sequence[tuple[str, float]]) -> str:
    """A recommendation's id that knows which of its items were explored, and with which propensity."""
    if not tried:
        return identifier
    shown = b"".join(_SHOWN.pack(key_of(item), propensity) for item, propensity in tried)
    return identifier + _MARK + base64.urlsafe_b64encode(shown).decode().rstrip("=")


def tried_of(identifier: str) -> dict[int, float] | None:
    """Key of item -> propensity, by a recommendation's id; None of one that knows nothing of it."""
    _, mark, encoded = identifier.partition(_MARK)
    if not mark:
        return None
    try:
        shown = base64.b64decode(encoded + "=" * (-len(encoded) % 4), b"-_", validate=True)
        return {key: propensity for key, propensity in _SHOWN.iter_unpack(shown) if 0.0 < propensity <= 1.0}
    except (binascii.Error, struct.error):
        return None


def probabilities(interests: Sequence[str], vectors_KD: Floats, versions: Sequence[int]) -> Doubles | None:
    """The row of a user that says what is tried, if there is one, by a version whose word holds.

    Whose row was made by one that was withdrawn explores again after the next event.
    """
    if ROW not in interests:
        return None
    row_D = vectors_KD[interests.index(ROW)].astype(np.float64)
    return row_D if int(row_D[-1]) in versions else None


def query(interests: Sequence[str], vectors_KD: Floats) -> Doubles:
    """What items are ranked by: the sum of all interests but that."""
    kept: Int64s = np.array([k for k in range(len(vectors_KD)) if interests[k : k + 1] != (ROW,)], np.int64)
    return np.asarray(vectors_KD[kept].sum(axis=0, dtype=np.float64))
