"""How a model does at the moment: what it said before it learned, older events faded.

Shape suffixes: B rows, R ranked rows, D buckets.
"""

from collections.abc import Mapping

import numpy as np

from learners.contract import Learner
from learners.training.trainer import Scored
from state.examples import Doubles
from state.tree import Tree

FADE = 10_000.0
"""An event counts 1/e after so many more."""
_TOP = 10
_BUCKETS, _MOST = 512, 12.0
"""Of P(action), equally wide in log odds, for the area under the curve."""


class Recent:
    """Log loss and AUC of `predictor`; recall and NDCG of `ranker`. Batches of any size give one answer."""

    def __init__(self, predictor: str, ranker: str) -> None:
        self.predictor, self.ranker = predictor, ranker
        self._loss: Doubles = np.zeros(2)
        """Sum, weight."""
        self._top: Doubles = np.zeros(3)
        """Recall's sum, NDCG's, weight."""
        self._label_2D: Doubles = np.zeros((2, _BUCKETS))
        """Weights of negatives and of positives by log odds."""

    def add(self, scored: Scored) -> None:
        size = len(scored.batch)
        weight_B = np.exp(-np.arange(size - 1, -1, -1) / FADE)
        fade = np.exp(-size / FADE)
        p_B = scored.outcomes[self.predictor].p_B
        if p_B is not None and scored.batch.labelled:
            positive_B = scored.batch.label_B > 0.5
            right_B = np.maximum(np.where(positive_B, p_B, 1.0 - p_B), 1e-6)
            self._loss = self._loss * fade + (-(weight_B * np.log(right_B)).sum(), weight_B.sum())
            safe_B = np.clip(p_B, 1e-9, 1.0 - 1e-9)
            place_B = (np.log(safe_B / (1.0 - safe_B)) + _MOST) * (_BUCKETS / (2.0 * _MOST))
            bucket_B = np.clip(place_B, 0, _BUCKETS - 1).astype(np.int64)
            self._label_2D *= fade
            np.add.at(self._label_2D, (positive_B.astype(np.int64), bucket_B), weight_B)
        rank_R = scored.outcomes[self.ranker].rank_R
        if rank_R is not None:
            weight_R = weight_B[scored.request.rows_R] * (rank_R <= _TOP)
            gain_R = weight_R / np.log2(1.0 + rank_R)
            whole = weight_B[scored.request.rows_R].sum()
            self._top = self._top * fade + (weight_R.sum(), gain_R.sum(), whole)

    def metrics(self) -> dict[str, float]:
        """What can be told by now."""
        metrics: dict[str, float] = {}
        negative, positive = self._label_2D.sum(1)
        if self._loss[1]:
            metrics["log_loss"] = float(self._loss[0] / self._loss[1])
        if negative and positive:
            below_D = np.cumsum(self._label_2D[0]) - self._label_2D[0] / 2
            metrics["auc"] = float((self._label_2D[1] * below_D).sum() / (negative * positive))
        if self._top[2]:
            metrics["recall@10"] = float(self._top[0] / self._top[2])
            metrics["ndcg@10"] = float(self._top[1] / self._top[2])
        return {name: round(value, 6) for name, value in metrics.items()}

    def tree(self) -> Tree:
        return {"loss": self._loss.copy(), "top": self._top.copy(), "label_2D": self._label_2D.copy()}

    def load(self, tree: Tree) -> None:
        self._loss, self._top = np.array(tree["loss"]), np.array(tree["top"])
        self._label_2D = np.array(tree["label_2D"])


class Floors:
    """The counting floors of a trainer, where they run beside its model."""

    def __init__(self, learners: Mapping[str, Learner]) -> None:
        self._recent = {name: Recent(name, name) for name, one in learners.items() if one.floor}

    def add(self, scored: Scored) -> None:
        for recent in self._recent.values():
            recent.add(scored)

    def best(self) -> dict[str, float]:
        """Of each metric the value that is hardest to beat."""
        best: dict[str, float] = {}
        for metrics in (recent.metrics() for recent in self._recent.values()):
            for name, value in metrics.items():
                better = min if name == "log_loss" else max
                best[name] = better(value, best.get(name, value))
        return best

    def tree(self) -> Tree:
        return {name: one.tree() for name, one in self._recent.items()}

    def load(self, tree: Tree) -> None:
        """What was saved of them; of a trainer that kept none, nothing."""
        for name, recent in self._recent.items():
            if name in tree:
                recent.load(tree[name])
