"""How good what a learner said was: exact metrics over any part of a log, and what each user adds to them.

Two samples carry everything: `Predictions` (P(action) against labels) and `Ranks` (where the true item
stood). Each gives its metrics by name, splits into parts without being sorted again, and gives the
influence of every user on each metric, from which come honest intervals: events of one user are not
independent, users are.

A metric that the sample cannot give (no events, one class only) is None.

Shape suffixes: E events, U users, K bins.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from state.compiled import compiled
from state.examples import Doubles, Floats
from state.keys import Int64s

PREDICTION = ("auc", "user_auc", "log_loss", "normalized_entropy", "calibration_error")
RANKING = ("recall@1", "recall@10", "recall@50", "ndcg@10", "mrr")
METRICS = PREDICTION + RANKING
LOWER_IS_BETTER = frozenset({"log_loss", "normalized_entropy", "calibration_error"})

CLIP = 1e-6
"""P(action) is kept this far from 0 and 1 before a logarithm is taken."""
BINS = 20
"""Bins of equal numbers of events, for calibration."""
Z95 = 1.959964
"""Standard errors on either side of a 95% interval."""

Bools = NDArray[np.bool_]
Int32s = NDArray[np.int32]
Values = dict[str, float | None]
Influence = dict[str, Doubles]
"""Metric -> what each user (U,) adds to the metric's deviation; its variance is the sum of squares."""


_TIE, _TIED_POSITIVES, _TIED_NEGATIVES, _WON, _POSITIVES, _NEGATIVES = range(6)
"""Columns of `sums_UC`: the P of the user's last tie, positives and negatives in it, pairs won, positives,
negatives."""


@dataclass(frozen=True, slots=True)
class Predictions:
    """Labelled events sorted by P(action), lowest first; ties in order of arrival."""

    event_E: Int32s
    """Where each event came in the log."""
    user_E: Int32s
    """User rows 0 .. U - 1."""
    p_E: Floats
    label_E: Floats
    """0..1; a label above 1/2 is a positive."""
    loss_E: Doubles
    """-log of the probability given to what happened (natural logarithm, P clipped by CLIP)."""

    @classmethod
    def of(
        cls, p_E: NDArray[np.floating], label_E: NDArray[np.floating], user_E: NDArray[np.integer]
    ) -> Self:
        """The sample of all events that have a label; p_E in [0, 1], columns in order of arrival.

        P(action) that agree as float32 are ties.
        """
        known = np.flatnonzero(~np.isnan(label_E)).astype(np.int32)
        event_E = known[_ascending(p_E[known].astype(np.float32))]
        p, label = p_E[event_E].astype(np.float32), label_E[event_E].astype(np.float32)
        loss_E = np.empty(len(p))
        _loss(p, label, loss_E)
        return cls(event_E, user_E[event_E].astype(np.int32), p, label, loss_E)

    def __len__(self) -> int:
        return len(self.p_E)

    def take(self, keep: Bools | Int64s) -> Self:
        """A part, still sorted if `keep` is in order."""
        return type(self)(*(getattr(self, column)[keep] for column in self.__slots__))

    def split(self, part_E: NDArray[np.integer], parts: int) -> Iterator[Self]:
        """Parts 0 .. parts - 1 by each event's number; a negative number is in none."""
        return (self.take(rows) for rows in _grouped(part_E, parts))

    @property
    def positive_E(self) -> Bools:
        return np.asarray(self.label_E > 0.5)

    @property
    def one_class(self) -> bool:
        positives = int(self.positive_E.sum())
        return positives in (0, len(self))

    def values(self, users: int) -> Values:
        """Every metric of PREDICTION. `users` is U."""
        loss = float(self.loss_E.mean()) if len(self) else None
        entropy = self._entropy()
        return {
            "auc": None if self.one_class else float(self._placement()[self.positive_E].mean()),
            "user_auc": self._user_auc(users)[0],
            "log_loss": loss,
            "normalized_entropy": None if loss is None or not entropy else loss / entropy,
            "calibration_error": self.calibration_error() if len(self) else None,
        }

    def influence(self, users: int) -> Influence:
        """What each user adds to each metric that the sample gives; none for the calibration error."""
        if not len(self):
            return {}
        influence = {"log_loss": _of_mean(self.loss_E, self.user_E, users)}
        base, entropy = self._base(), self._entropy()
        if entropy:
            rate = _of_mean(self.label_E.astype(np.float64), self.user_E, users) * np.log((1 - base) / base)
            level = float(self.loss_E.mean()) / entropy
            influence["normalized_entropy"] = (influence["log_loss"] - level * rate) / entropy
        if not self.one_class:
            influence["auc"] = self._auc_influence(users)
            mean, sums_UC = self._user_auc(users)
            if mean is not None:
                influence["user_auc"] = _of_user_auc(mean, sums_UC)
        return influence

    def calibration(self) -> Doubles:
        """(K, 3): mean P(action), mean label and number of events in bins of equal mass.

        Equal P(action) stay in one bin, the one of their middle, so the order of ties does not matter; a
        bin that ties left empty is dropped.
        """
        sums_K3 = np.zeros((BINS, 3))
        _bins(self.p_E, self.label_E, sums_K3)
        sums_K3 = sums_K3[sums_K3[:, 2] > 0]
        sums_K3[:, :2] /= sums_K3[:, 2:]
        return sums_K3

    def calibration_error(self) -> float:
        """Mean distance between P(action) and what happened, over the bins, weighted by their events."""
        bins_K3 = self.calibration()
        return float((np.abs(bins_K3[:, 0] - bins_K3[:, 1]) * bins_K3[:, 2]).sum() / len(self))

    def _entropy(self) -> float:
        """Entropy of the part's own base rate: the log loss of knowing nothing but it (He et al. 2014)."""
        base = self._base() if len(self) else 0.0
        return 0.0 if base in (0.0, 1.0) else float(-base * np.log(base) - (1 - base) * np.log1p(-base))

    def _base(self) -> float:
        return float(self.label_E.mean(dtype=np.float64))

    def _placement(self) -> Doubles:
        place_E = np.empty(len(self))
        _placement(self.p_E, self.positive_E, place_E)
        return place_E

    def _user_auc(self, users: int) -> tuple[float | None, Doubles]:
        sums_UC = np.zeros((users, 6))
        total, count = _user_auc(self.p_E, self.positive_E, self.user_E, sums_UC)
        return (total / count if count else None), sums_UC

    def _auc_influence(self, users: int) -> Doubles:
        positive_E, place_E = self.positive_E, self._placement()
        auc, positives = place_E[positive_E].mean(), positive_E.sum()
        each_E = (place_E - auc) / np.where(positive_E, positives, len(self) - positives)
        return np.bincount(self.user_E, each_E, users).astype(np.float64)


@dataclass(frozen=True, slots=True)
class Ranks:
    """Ranked events in order of arrival: where each true item stood in the whole catalogue, 1 is best."""

    event_E: Int32s
    user_E: Int32s
    rank_E: Int32s

    @classmethod
    def of(cls, rank_E: Int32s, counts_E: Bools, user_E: NDArray[np.integer]) -> Self:
        """The sample of all events that count and were ranked (0 is not ranked), columns as they came."""
        rows = np.flatnonzero((rank_E > 0) & counts_E).astype(np.int32)
        return cls(rows, user_E[rows].astype(np.int32), rank_E[rows])

    def __len__(self) -> int:
        return len(self.rank_E)

    def take(self, keep: Bools | Int64s) -> Self:
        return type(self)(*(getattr(self, column)[keep] for column in self.__slots__))

    def split(self, part_E: NDArray[np.integer], parts: int) -> Iterator[Self]:
        """As `Predictions.split`."""
        return (self.take(rows) for rows in _grouped(part_E, parts))

    def values(self, users: int) -> Values:
        """Every metric of RANKING. `users` is not needed."""
        if not len(self):
            return dict.fromkeys(RANKING)
        count_K = np.bincount(np.minimum(self.rank_E, _DEEPEST), minlength=_DEEPEST + 1)
        means = (count_K @ _GAIN_KM / len(self)).tolist()
        return {**dict(zip(RANKING, means, strict=False)), "mrr": float((1.0 / self.rank_E).mean())}

    def influence(self, users: int) -> Influence:
        if not len(self):
            return {}
        return {name: _of_mean(self.gain(name), self.user_E, users) for name in RANKING}

    def gain(self, metric: str) -> Doubles:
        """What each event adds to the mean. With one relevant item NDCG@10 is 1 / log2(1 + rank)."""
        if metric == "mrr":
            return np.asarray(1.0 / self.rank_E)
        return np.asarray(_GAIN_KM[np.minimum(self.rank_E, _DEEPEST), RANKING.index(metric)])


def _gains() -> Doubles:
    """Gain of each rank (0 .. _DEEPEST, which stands for all below) for all of RANKING but the last."""
    rank = np.arange(1, _DEEPEST + 1)
    gains = [rank <= 1, rank <= 10, rank <= 50, (rank <= 10) / np.log2(1.0 + rank)]
    return np.vstack([np.zeros(len(gains)), np.column_stack(gains)])


_DEEPEST = 51
_GAIN_KM = _gains()


def standard_error(influence_U: Doubles, present: int) -> float:
    """Standard error of a metric (or of a difference, given the difference of influences) over users.

    The infinitesimal jackknife: what a bootstrap that draws whole users tends to, without its noise.
    `present` is the number of users in the sample, at least 2; the others have influence 0.
    """
    return float(np.sqrt(present / (present - 1) * np.square(influence_U).sum()))


def _of_mean(value_E: Doubles, user_E: Int32s, users: int) -> Doubles:
    deviation_E = value_E - value_E.mean()
    return np.bincount(user_E, deviation_E, users) / len(value_E)


def _of_user_auc(mean: float, sums_UC: Doubles) -> Doubles:
    wins, positives, negatives = (sums_UC[:, c] for c in (_WON, _POSITIVES, _NEGATIVES))
    both = (positives > 0) & (negatives > 0)
    events = np.where(both, positives + negatives, 0.0)
    auc_U = np.divide(wins, positives * negatives, out=np.zeros(len(wins)), where=both)
    return np.asarray(events * (auc_U - mean) / events.sum())


def _ascending(p_E: NDArray[np.float32]) -> Int64s:
    """A stable order: non-negative floats sort like their bits, and the row number decides ties."""
    packed = (p_E + np.float32(0.0)).view(np.uint32).astype(np.uint64) << np.uint64(32)
    packed |= np.arange(len(p_E), dtype=np.uint64)
    packed.sort()
    return (packed & np.uint64(0xFFFFFFFF)).astype(np.int64)


def _grouped(part_E: NDArray[np.integer], parts: int) -> list[Int64s]:
    """Rows of each part, in order. Parts are few, so a byte sorts them in linear time."""
    if parts == 1:
        return [np.flatnonzero(part_E == 0)]
    order = np.argsort((part_E + 1).astype(np.uint8 if parts < 255 else np.int64), kind="stable")
    bounds = np.searchsorted(part_E[order], np.arange(parts + 1))
    return [order[bounds[i] : bounds[i + 1]] for i in range(parts)]


@compiled
def _loss(p_E: Floats, label_E: Floats, loss_E: Doubles) -> None:
    for e in range(len(p_E)):
        p = min(max(np.float64(p_E[e]), CLIP), 1.0 - CLIP)
        label, loss = np.float64(label_E[e]), 0.0
        if label > 0.0:
            loss -= label * np.log(p)
        if label < 1.0:
            loss -= (1.0 - label) * np.log1p(-p)
        loss_E[e] = loss


@compiled
def _placement(p_E: Floats, positive_E: Bools, place_E: Doubles) -> None:
    """Share of the other class that each event stands on the right side of; a tie counts one half."""
    size, positives = len(p_E), 0
    for e in range(size):
        positives += positive_E[e]
    negatives = size - positives
    positives_below = negatives_below = start = 0
    while start < size:
        end, tied = start, 0
        while end < size and p_E[end] == p_E[start]:
            tied += positive_E[end]
            end += 1
        for e in range(start, end):
            if positive_E[e]:
                place_E[e] = (negatives_below + 0.5 * (end - start - tied)) / negatives
            else:
                place_E[e] = (positives - positives_below - 0.5 * tied) / positives
        positives_below += tied
        negatives_below += end - start - tied
        start = end


@compiled
def _user_auc(p_E: Floats, positive_E: Bools, user_E: Int32s, sums_UC: Doubles) -> tuple[float, int]:
    """(sum over events of their user's AUC, number of such events), users with one class left out.

    `sums_UC` has zeros on entry. Only rows of users in the sample are touched.
    """
    for e in range(len(p_E)):
        sums = sums_UC[user_E[e]]
        if p_E[e] != sums[_TIE]:
            sums[_TIE], sums[_TIED_POSITIVES], sums[_TIED_NEGATIVES] = p_E[e], 0.0, 0.0
        if positive_E[e]:
            sums[_WON] += sums[_NEGATIVES] - 0.5 * sums[_TIED_NEGATIVES]
            sums[_TIED_POSITIVES] += 1.0
            sums[_POSITIVES] += 1.0
        else:
            sums[_WON] += 0.5 * sums[_TIED_POSITIVES]
            sums[_TIED_NEGATIVES] += 1.0
            sums[_NEGATIVES] += 1.0
    total, count = 0.0, 0
    for e in range(len(p_E)):
        sums = sums_UC[user_E[e]]
        if sums[_POSITIVES] > 0.0 and sums[_NEGATIVES] > 0.0:
            total += sums[_WON] / (sums[_POSITIVES] * sums[_NEGATIVES])
            count += 1
    return total, count


@compiled
def _bins(p_E: Floats, label_E: Floats, sums_K3: Doubles) -> None:
    size, bins, start = len(p_E), len(sums_K3), 0
    while start < size:
        end = start + 1
        while end < size and p_E[end] == p_E[start]:
            end += 1
        k = bins * (start + end) // (2 * size)
        for e in range(start, end):
            sums_K3[k, 0] += p_E[e]
            sums_K3[k, 1] += label_E[e]
        sums_K3[k, 2] += end - start
        start = end
