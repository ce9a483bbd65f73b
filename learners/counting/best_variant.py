"""Which variant of a floor speaks: the one that has ranked best so far.

Of the ranked rows whose item was known, every 8th is a trial: all variants rank it. Their answers wait
until the row is due; then each variant's score fades by .999 and grows by one over its rank. The greatest
score speaks, the first of equals. So the choice rests on the past alone, row by row, however the stream is
cut into micro-batches.

Shape suffixes: V variants, W trials that wait, first in, first out.
"""

from typing import NamedTuple

import numpy as np

from state.compiled import inner
from state.examples import Doubles
from state.keys import Int64s
from state.tree import Tree

EVERY = 8
FADE = 0.999
SCORED, LEARNED, RANKED, FIRST, LAST, SPEAKER = range(6)


class LeaderArrays(NamedTuple):
    """What kernels take of a `Leader`."""

    score_V: Doubles
    at: Int64s
    """Rows scored before this batch, rows learned, ranked rows whose item was known; the first trial that
    waits and the end of them; the variant that speaks."""
    row_W: Int64s
    """Place of the trial's row in the stream."""
    reward_WV: Doubles


class Leader:
    """Follows the best of `variants`; of one alone it keeps no score."""

    def __init__(self, variants: int) -> None:
        self.arrays = LeaderArrays(
            np.zeros(variants), np.zeros(6, np.int64), np.zeros(0, np.int64), np.zeros((0, variants))
        )

    @property
    def speaker(self) -> int:
        return int(self.arrays.at[SPEAKER])

    def begin(self, rows: int) -> LeaderArrays:
        """The arrays, with room for the trials of `rows` rows to be scored."""
        score_V, at, row_W, reward_WV = self.arrays
        at[SCORED] = max(at[SCORED], at[LEARNED])
        need = rows // EVERY + 1
        if at[LAST] + need > len(row_W):
            waiting = slice(int(at[FIRST]), int(at[LAST]))
            size = int(at[LAST] - at[FIRST])
            room = max(2 * (size + need), len(row_W))
            new_W, new_WV = np.zeros(room, np.int64), np.zeros((room, len(score_V)))
            new_W[:size], new_WV[:size] = row_W[waiting], reward_WV[waiting]
            at[FIRST], at[LAST] = 0, size
            self.arrays = LeaderArrays(score_V, at, new_W, new_WV)
        return self.arrays

    def end(self, rows: int) -> None:
        """`rows` rows have been scored."""
        self.arrays.at[SCORED] += rows

    def tree(self) -> Tree:
        score_V, at, row_W, reward_WV = self.arrays
        waiting = slice(int(at[FIRST]), int(at[LAST]))
        return {
            "score_V": score_V.copy(),
            "counts": at[[SCORED, LEARNED, RANKED]],
            "row_W": row_W[waiting].copy(),
            "reward_WV": reward_WV[waiting].copy(),
        }

    def load(self, tree: Tree) -> None:
        score_V, row_W = np.array(tree["score_V"]), np.array(tree["row_W"])
        at = np.array([*tree["counts"], 0, len(row_W), np.argmax(score_V)], np.int64)
        self.arrays = LeaderArrays(score_V, at, row_W, np.array(tree["reward_WV"]))


@inner
def trial(leader: LeaderArrays, b: int, true: int) -> int:
    """The place for the variants' answers, or -1 if ranked row b of the batch is no trial."""
    at = leader.at
    if true < 0 or leader.score_V.shape[0] == 1:
        return -1
    at[RANKED] += 1
    if at[RANKED] % EVERY != 0:
        return -1
    at[LAST] += 1
    leader.row_W[at[LAST] - 1] = at[SCORED] + b
    return int(at[LAST] - 1)


@inner
def settle(leader: LeaderArrays, counts: bool) -> None:
    """The next row of the stream is learned: its trial, if it had one and it `counts`, is judged."""
    score_V, at = leader.score_V, leader.at
    if at[FIRST] < at[LAST] and leader.row_W[at[FIRST]] <= at[LEARNED]:
        if counts:
            best = 0
            for v in range(score_V.shape[0]):
                score_V[v] = FADE * score_V[v] + leader.reward_WV[at[FIRST], v]
                if score_V[v] > score_V[best]:
                    best = v
            at[SPEAKER] = best
        at[FIRST] += 1
    at[LEARNED] += 1
