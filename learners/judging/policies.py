"""Policies that can be judged: a learner's own, and one that shows items as often as another log did.

Shape suffixes: R rows at hand, N catalogue items, M the highest scores, S scenes and K items of another log.
"""

import numpy as np

from learners.contract import Learner
from learners.tables.catalogue import Catalogue
from learners.tables.leaveout import Had
from state.arrays import Doubles
from state.examples import ExampleBatch, Floats
from state.keys import Int64s, KeyMap


class OneOfBest:
    """Any of a learner's `best` items, each with the same chance, but for what its rankings leave out.

    Only the order of a learner's scores means something, so the order is all that it goes by; items that tie
    at its edge share what is left.
    """

    def __init__(self, learner: Learner, had: Had, best: int = 1) -> None:
        self.learner, self.had, self.best = learner, had, best

    def shares(self, rows: ExampleBatch) -> Doubles:
        if not len(self.learner.context.catalogue):
            return np.zeros((len(rows), 0))
        score_RN = np.array(self.learner.rank(self.learner.narrow(rows)), np.float32)
        if self.had.rule != "none":
            owner_R = rows.user_B if self.had.rule == "user" else rows.session_B
            for r, owner in enumerate(owner_R.tolist()):
                left = self.learner.context.catalogue.items.rows(self.had.of(owner))
                score_RN[r, left[left >= 0]] = -np.inf
        return best_shares(score_RN, self.best)

    def of_shown(self, rows: ExampleBatch, share_RN: Doubles, at_R: Int64s) -> Doubles:
        padded_RN = np.pad(share_RN, ((0, 0), (0, 1)))  # for row -1
        return np.where(share_RN.any(1), padded_RN[np.arange(len(at_R)), at_R], np.nan)


def best_shares(score_RN: Floats, best: int) -> Doubles:
    """With which probability each item is shown: rows sum to 1, or to 0 where all scores are -inf.

    >>> best_shares(np.array([[3.0, 1.0, 1.0, -np.inf]], np.float32), 2).round(2).tolist()
    [[0.5, 0.25, 0.25, 0.0]]
    """
    known_RN = score_RN > -np.inf
    best_R = np.minimum(known_RN.sum(1), best)
    edge = max(score_RN.shape[1] - best, 0)
    top_RM = np.partition(score_RN, edge, 1)[:, edge:]
    edge_R = np.where(top_RM > -np.inf, top_RM, np.inf).min(1)
    above_RN, tied_RN = score_RN > edge_R[:, None], (score_RN == edge_R[:, None]) & known_RN
    chance_R = 1.0 / np.maximum(best_R, 1)
    at_edge_R = (best_R - above_RN.sum(1)) * chance_R / np.maximum(tied_RN.sum(1), 1)
    return np.asarray(above_RN * chance_R[:, None] + tied_RN * at_edge_R[:, None], np.float64)


class LikeLog:
    """Every item as often as another log shows it, in the same scene where it has scenes."""

    def __init__(self, catalogue: Catalogue) -> None:
        self.catalogue = catalogue
        self.scenes, self.shown = KeyMap(), KeyMap()
        self.events_SK: Doubles = np.zeros((1, 1))
        """With a row, and a column, of zeros at the end, for what the other log does not have."""

    def add(self, scene_B: Int64s, item_B: Int64s) -> None:
        """Events of the other log."""
        scene_at_B, at_B = self.scenes.rows(scene_B, grow=True), self.shown.rows(item_B, grow=True)
        grown_SK = np.zeros((len(self.scenes) + 1, len(self.shown) + 1))
        before_SK = self.events_SK[:-1, :-1]
        grown_SK[: len(before_SK), : before_SK.shape[1]] = before_SK
        np.add.at(grown_SK, (scene_at_B, at_B), 1.0)
        self.events_SK = grown_SK

    def shares(self, rows: ExampleBatch) -> Doubles:
        at_N = self.shown.rows(self.catalogue.items.keys[: len(self.catalogue)])
        return self._share(rows)[:, at_N]

    def of_shown(self, rows: ExampleBatch, share_RN: Doubles, at_R: Int64s) -> Doubles:
        share_R = self._share(rows)[np.arange(len(rows)), self.shown.rows(rows.item_B)]
        return np.where(self.scenes.rows(rows.scene_B) >= 0, share_R, np.nan)

    def _share(self, rows: ExampleBatch) -> Doubles:
        """Of each item of the other log (R, K)."""
        events_RK = self.events_SK[self.scenes.rows(rows.scene_B)]
        return np.asarray(events_RK / np.maximum(events_RK.sum(1, keepdims=True), 1.0))
