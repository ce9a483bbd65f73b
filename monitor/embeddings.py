"""Health of embeddings: are vectors spread out, do they move, do items keep their neighbours?

Looked at in a sample of items that stays the same while they do: those whose keys have the least hashes.
Shape suffixes: N items, D width, K neighbours.
"""

from collections.abc import Callable

import msgspec
import numpy as np

from monitor.alarms import RANK, Alarm
from state.arrays import Floats, Int64s
from state.drift_alarm import EmbeddingHealth
from state.keys import mixed
from state.tree import Tree

SAMPLE, NEIGHBOURS = 512, 10
EVERY = 16_384
"""Events between two looks."""
KEPT, _USUAL, _LEAST = 500, 20, 5
"""Looks that are kept, the newest; of which so many, and at least so many, say what is usual."""
Vectors = Callable[[Int64s], Floats | None]
"""Of items by key."""


class Embeddings:
    """Of one learner; each look is compared with the one before."""

    def __init__(self) -> None:
        self.looks: list[EmbeddingHealth] = []
        self.alarm: int | None = None
        """Number of the alarm that is open on them."""
        self._key_N: Int64s = np.zeros(0, np.int64)
        self._vector_ND: Floats = np.zeros((0, 0), np.float32)

    def due(self, event: int) -> bool:
        """Whether it is time to look again, after so many events."""
        return event // EVERY > (self.looks[-1].event if self.looks else 0) // EVERY

    def collapsed(self) -> Alarm | None:
        """An alarm, where the newest look found less than half of the rank that was usual before it."""
        *before, last = self.looks[-_USUAL - 1 :]
        if len(before) < _LEAST:
            return None
        usual = float(np.median([health.effective_rank for health in before]))
        if last.effective_rank >= usual / 2:
            return None
        return Alarm(
            detector="half the usual",
            signal=RANK,
            event=last.event,
            time_ms=last.time_ms,
            since_event=before[-1].event,
            since_ms=before[-1].time_ms,
            mean_before=usual,
            mean_after=last.effective_rank,
            usual=usual,
            values_before=len(self.looks) - 1,
            values_after=1,
        )

    def back(self, alarm: Alarm) -> bool:
        """Whether the newest look is nearer to what was before the alarm than to what had come."""
        return self.looks[-1].effective_rank > (alarm.mean_before + alarm.mean_after) / 2

    def look(self, key_N: Int64s, vectors: Vectors, event: int, time_ms: int) -> EmbeddingHealth | None:
        """Look at the vectors of a sample of all items; None where there are none."""
        order = np.argsort(mixed(key_N), kind="stable")[:SAMPLE]
        sample_N = key_N[order]
        found_ND = vectors(sample_N)
        if found_ND is None:
            return None
        vector_ND = found_ND
        there_N = np.isfinite(vector_ND).all(1) & (vector_ND != 0.0).any(1)
        sample_N, vector_ND = sample_N[there_N], vector_ND[there_N].astype(np.float32)
        if len(sample_N) <= NEIGHBOURS:
            return None
        norm_N = np.linalg.norm(vector_ND, axis=1)
        shift, churn = self._since(sample_N, vector_ND)
        health = EmbeddingHealth(
            event=event,
            time_ms=time_ms,
            items=len(key_N),
            covered=float(there_N.mean()),
            norm=float(np.median(norm_N)),
            norm_95=float(np.quantile(norm_N, 0.95)),
            width=vector_ND.shape[1],
            effective_rank=_effective_rank(vector_ND),
            centroid_shift=shift,
            neighbour_churn=churn,
        )
        self._key_N, self._vector_ND = sample_N, vector_ND
        self.looks = [*self.looks[1 - KEPT :], health]
        return health

    def _since(self, key_N: Int64s, vector_ND: Floats) -> tuple[float | None, float | None]:
        """How far the centroid of the items of both looks went, by their mean norm before; and the share of
        their NEIGHBOURS nearest, among themselves, that are others now."""
        _, now, before = np.intersect1d(key_N, self._key_N, assume_unique=True, return_indices=True)
        if len(now) <= NEIGHBOURS:
            return None, None
        new_ND, old_ND = vector_ND[now], self._vector_ND[before]
        if new_ND.shape != old_ND.shape:
            return None, None
        went = float(np.linalg.norm(new_ND.mean(0) - old_ND.mean(0)))
        new_NK, old_NK = _neighbours(new_ND), _neighbours(old_ND)
        kept = (new_NK[:, :, np.newaxis] == old_NK[:, np.newaxis, :]).any(2).mean()
        return went / float(np.linalg.norm(old_ND, axis=1).mean()), 1.0 - float(kept)

    def tree(self) -> Tree:
        return {
            "looks": msgspec.json.encode(self.looks).decode(),
            "key_N": self._key_N.copy(),
            "vector_ND": self._vector_ND.copy(),
            "alarm": -1 if self.alarm is None else self.alarm,
        }

    def load(self, tree: Tree) -> None:
        self.looks = msgspec.json.decode(tree["looks"], type=list[EmbeddingHealth])
        self.alarm = None if tree["alarm"] < 0 else int(tree["alarm"])
        self._key_N, self._vector_ND = np.array(tree["key_N"]), np.array(tree["vector_ND"])


def _effective_rank(vector_ND: Floats) -> float:
    """exp of the entropy of the singular values' shares (Roy & Vetterli, EUSIPCO 2007), centroid off."""
    centred_ND = (vector_ND - vector_ND.mean(0)).astype(np.float64)
    values = np.sqrt(np.maximum(np.linalg.eigvalsh(np.einsum("nd,ne->de", centred_ND, centred_ND)), 0.0))
    share = values[values > 0] / values.sum() if values.sum() > 0 else np.ones(1)
    return float(np.exp(-(share * np.log(share)).sum()))


def _neighbours(vector_ND: Floats) -> Int64s:
    """The nearest K of each by cosine, itself left out (N, K); of equals the first."""
    unit_ND = vector_ND / np.linalg.norm(vector_ND, axis=1, keepdims=True)
    near_NN = unit_ND @ unit_ND.T
    np.fill_diagonal(near_NN, -np.inf)
    row_N = np.arange(len(near_NN))
    nearest_NK = np.empty((len(near_NN), NEIGHBOURS), np.int64)
    for k in range(NEIGHBOURS):
        nearest_NK[:, k] = near_NN.argmax(1)
        near_NN[row_N, nearest_NK[:, k]] = -np.inf
    return nearest_NK
