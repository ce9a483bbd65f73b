"""What every user was shown, and took, by cluster.

A table of users by clusters: it costs 88 bytes for each pair, users that never come back included. Batches
may be cut anywhere: the counts, and what is made of them, are the same to the last bit.

Shape suffixes: B rows, U users, C clusters, R recent accepts, L rates, F features.
"""

import numpy as np

from learners.coevolution.fading import FadingCounts
from learners.coevolution.group_identity import Book, encode, taste
from learners.coevolution.inputs import HALF_LIVES_DAYS, Inputs
from learners.coevolution.personas import Personas, personas
from learners.tables.growing import grown
from state.arrays import Bools, Doubles, Int64s
from state.keys import KeyMap
from state.tree import Tree

DAY_MS = 86_400_000
NOVEL_DAYS = 30
"""A cluster is novel to who accepted nothing of it for so long."""
GROUP_DAYS = 20.0
"""Half-life of what a persona counts."""
RECENT = 12
BUCKET_DAYS = np.array([1.0, 2.0, 4.0, 8.0, 16.0, 32.0])
_NEVER = -(2**62)
_FORGOTTEN_DAYS = 60.0
_LOAD_SCALE = 2.0


class History:
    def __init__(self, clusters: int) -> None:
        self.clusters = clusters
        self.users = KeyMap()
        lives_ms = [None if days is None else days * DAY_MS for days in HALF_LIVES_DAYS]
        self.accepts = [FadingCounts(clusters, life_ms) for life_ms in lives_ms]
        self.exposures = [FadingCounts(clusters, life_ms) for life_ms in lives_ms]
        self.group_accepts = FadingCounts(clusters, GROUP_DAYS * DAY_MS)
        self.group_exposures = FadingCounts(clusters, GROUP_DAYS * DAY_MS)
        self.last_ms_UC: Int64s = np.zeros((0, clusters), np.int64)
        """Of the last accept."""
        self.recent_UR: Int64s = np.zeros((0, RECENT), np.int64)
        self.recent_ms_UR: Int64s = np.zeros((0, RECENT), np.int64)
        self.taken_U: Int64s = np.zeros(0, np.int64)
        """Accepts so far."""

    def add(self, user_B: Int64s, cluster_B: Int64s, accepted_B: Bools, time_ms_B: Int64s) -> None:
        """What was shown, in the order of time, and whether it was accepted; `user_B` are keys."""
        row_B = self.users.rows(user_B, grow=True)
        self._reserve()
        one_B, accept_B = np.ones(len(row_B)), accepted_B.astype(np.float64)
        for accepts, exposures in (
            *zip(self.accepts, self.exposures, strict=True),
            (self.group_accepts, self.group_exposures),
        ):
            accepts.add(row_B, cluster_B, time_ms_B, accept_B)
            exposures.add(row_B, cluster_B, time_ms_B, one_B)
        taken = np.flatnonzero(accepted_B)
        row_T, cluster_T, time_ms_T = row_B[taken], cluster_B[taken], time_ms_B[taken]
        np.maximum.at(self.last_ms_UC, (row_T, cluster_T), time_ms_T)
        place_T = (self.taken_U[row_T] + _rank_within(row_T)) % RECENT
        self.recent_UR[row_T, place_T], self.recent_ms_UR[row_T, place_T] = cluster_T, time_ms_T
        np.add.at(self.taken_U, row_T, 1)

    def novel(self, user_B: Int64s, time_ms: int) -> Bools:
        """Which clusters are novel to each user (B, C)."""
        row_B = self.users.rows(user_B)
        if not len(self.last_ms_UC):
            return np.ones((len(row_B), self.clusters), np.bool_)
        old_BC = self.last_ms_UC[row_B] < time_ms - NOVEL_DAYS * DAY_MS
        return np.asarray(old_BC | (row_B < 0)[:, None])

    def tastes(self, time_ms: int) -> Doubles:
        """What the group identity is made of, of every user by row (U, C)."""
        return taste(self.accepts[2].all_at(len(self.users), time_ms))

    def personas(self, book: Book, time_ms: int) -> Personas:
        """Of all groups as they are now."""
        sizes = tuple(len(centre_KC) for centre_KC in book)
        counts = (c.all_at(len(self.users), time_ms) for c in (self.group_accepts, self.group_exposures))
        accepts_UC, exposures_UC = counts
        return personas(accepts_UC, exposures_UC, encode(book, self.tastes(time_ms)), sizes)

    def inputs(self, user_B: Int64s, time_ms: int, book: Book, known: Personas) -> Inputs:
        """What the models see of these users now."""
        row_B = self.users.rows(user_B)
        if not len(self.users):
            self._reserve(1)
        at_B = np.full(len(row_B), time_ms)
        accepts = [counts.at(row_B, at_B) for counts in self.accepts]
        exposures = [counts.at(row_B, at_B) for counts in self.exposures]
        code_BM = encode(book, taste(accepts[2]))
        rate_BCL = known.of(code_BM)
        new_B1 = (row_B < 0)[:, None]
        days_BC = np.where(new_B1, _FORGOTTEN_DAYS, (time_ms - self.last_ms_UC[row_B]) / DAY_MS)
        load_B = np.log1p(exposures[0].sum(1)) / _LOAD_SCALE
        columns = [
            *(np.log1p(count_BC) for count_BC in (*accepts, *exposures)),
            np.log1p(np.clip(days_BC, 0.0, _FORGOTTEN_DAYS)) / np.log1p(_FORGOTTEN_DAYS),
            np.broadcast_to(load_B[:, None], days_BC.shape),
            *np.moveaxis(np.log(rate_BCL / (1.0 - rate_BCL)), 2, 0),
        ]
        back_B = np.arange(RECENT) < np.where(row_B < 0, 0, self.taken_U[row_B])[:, None]
        age_days_BR = (time_ms - self.recent_ms_UR[row_B]) / DAY_MS
        return Inputs(
            feature_BCF=np.stack(columns, 2).astype(np.float32),
            code_BM=code_BM,
            recent_BR=np.where(back_B, self.recent_UR[row_B], self.clusters),
            bucket_BR=np.where(back_B, bucket(age_days_BR), 0),
        )

    def _reserve(self, least: int = 0) -> None:
        users = max(len(self.users), least)
        room = len(self.taken_U)
        if users > room:
            room = max(users, 2 * room)
            for counts in (*self.accepts, *self.exposures, self.group_accepts, self.group_exposures):
                counts.reserve(room)
            self.last_ms_UC = grown(self.last_ms_UC, room, _NEVER)
            self.recent_UR, self.recent_ms_UR = grown(self.recent_UR, room), grown(self.recent_ms_UR, room)
            self.taken_U = grown(self.taken_U, room)

    def tree(self) -> Tree:
        users = len(self.users)
        return {
            "users": self.users.tree(),
            "accepts": {str(i): counts.tree(users) for i, counts in enumerate(self.accepts)},
            "exposures": {str(i): counts.tree(users) for i, counts in enumerate(self.exposures)},
            "group_accepts": self.group_accepts.tree(users),
            "group_exposures": self.group_exposures.tree(users),
            **{name: getattr(self, name)[:users].copy() for name in _BY_USER},
        }

    def load(self, tree: Tree) -> None:
        self.users.load(tree["users"])
        for name in ("accepts", "exposures"):
            for i, counts in enumerate(getattr(self, name)):
                counts.load(tree[name][str(i)])
        self.group_accepts.load(tree["group_accepts"])
        self.group_exposures.load(tree["group_exposures"])
        for name in _BY_USER:
            setattr(self, name, np.array(tree[name]))


_BY_USER = ("last_ms_UC", "recent_UR", "recent_ms_UR", "taken_U")


def bucket(age_days: Doubles) -> Int64s:
    """Which span of ages it is in."""
    return np.asarray(np.searchsorted(BUCKET_DAYS, age_days, side="right"))


def _rank_within(row_T: Int64s) -> Int64s:
    """How many rows before it have the same number."""
    order = np.argsort(row_T, kind="stable")
    sorted_T = row_T[order]
    first_T = np.searchsorted(sorted_T, sorted_T)
    rank_T = np.empty(len(row_T), np.int64)
    rank_T[order] = np.arange(len(row_T)) - first_T
    return rank_T
