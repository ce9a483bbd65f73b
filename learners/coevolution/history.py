"""What every user was shown, and took, by cluster.

An entry of 136 bytes for each pair of a user and a cluster that have met, `entries.MOST` of a user at most.
Batches may be cut anywhere: the counts, and what is made of them, are the same to the last bit.

Shape suffixes: B rows, Q rows of a queue, U users, C clusters, E entries, M clusters of a user, K counts,
R recent accepts, L rates, F features.
"""

from typing import NamedTuple

import numpy as np

from learners.coevolution.entries import DAY_MS as DAY_MS
from learners.coevolution.entries import FADES_DAYS, KINDS, NEVER, Arrays, Past, nothing, walk
from learners.coevolution.group_identity import Book, encode, taste
from learners.coevolution.inputs import BUCKET_DAYS, HALF_LIVES_DAYS, Inputs
from learners.coevolution.personas import Personas, Shares, personas, shares
from learners.tables.expiry import without
from learners.tables.growing import grown
from state.arrays import Bools, Doubles, Floats, Int64s
from state.keys import KeyMap
from state.tree import Tree

NOVEL_DAYS = 30
"""A cluster is novel to who accepted nothing of it for so long."""
RECENT = 12
MOST_FITTED = 4096
"""Users that a group identity is fitted to."""
_SEEN = len(HALF_LIVES_DAYS)
_LONG, _PERSONA = 2, KINDS - 1
"""Places of the half-lives of 60 and of 20 days."""
_FORGOTTEN_DAYS = 60.0
_LOAD_SCALE = 2.0
_CHUNK = 4096
_SCATTER = 0x9E3779B97F4A7C15


class Outcomes(NamedTuple):
    """What was shown, and what came of it, in the order in which it becomes known."""

    user_Q: Int64s
    """Keys."""
    cluster_Q: Int64s
    accepted_Q: Bools
    time_ms_Q: Int64s


class History:
    def __init__(self, clusters: int) -> None:
        self.clusters = clusters
        self.users = KeyMap()
        self.counts = _empty()

    def add(self, user_B: Int64s, cluster_B: Int64s, accepted_B: Bools, time_ms_B: Int64s) -> None:
        """What was shown, in the order of time, and whether it was accepted; `user_B` are keys."""
        self.walk(Outcomes(user_B, cluster_B, accepted_B, time_ms_B), _NONE, _NONE, _NONE)

    def walk(self, outcomes: Outcomes, due_B: Int64s, user_B: Int64s, time_ms_B: Int64s) -> Past:
        """Take in outcomes and look at rows in turn: row b once `due_B[b]` outcomes are known."""
        user_Q = self.users.rows(outcomes.user_Q, grow=True)
        self._reserve(len(user_Q))
        past = nothing(len(user_B), RECENT)
        past.time_ms_B[:] = time_ms_B
        # A user whose first outcome is in this very queue has an empty list until then.
        walk(self.counts, user_Q, *outcomes[1:], due_B, self.users.rows(user_B), past)
        return past

    def look(self, user_B: Int64s, time_ms_B: Int64s) -> Past:
        """What is remembered of these users; changes nothing."""
        past = nothing(len(user_B), RECENT)
        past.time_ms_B[:] = time_ms_B
        none_Q = np.zeros(0, np.bool_)
        walk(self.counts, _NONE, _NONE, none_Q, _NONE, np.zeros_like(user_B), self.users.rows(user_B), past)
        return past

    def novel(self, user_B: Int64s, time_ms: int) -> Bools:
        """Which clusters are novel to each user (B, C)."""
        return novel_of(self.look(user_B, np.full(len(user_B), time_ms)), self.clusters)

    def tastes(self, time_ms: int) -> Doubles:
        """What the group identity is made of, of every user by row; of some, where there are many (U, C)."""
        row_U = np.arange(len(self.users))
        if len(row_U) > MOST_FITTED:
            hash_U = self.users.keys[: len(row_U)].astype(np.uint64) * np.uint64(_SCATTER)
            row_U = np.sort(np.argsort(hash_U, kind="stable")[:MOST_FITTED])
        return self._tastes(row_U, time_ms)

    def personas(self, book: Book, time_ms: int) -> Personas:
        """Of all groups as they are now."""
        sizes = tuple(len(centre_KC) for centre_KC in book)
        code_UM, counts = self.codes(book, time_ms), self.counts
        used = int(counts.used[0])
        faded_E = self._faded(used, time_ms, _PERSONA)
        user_E, cluster_E = counts.user_E[:used], counts.cluster_E[:used]
        accepts_E = counts.count_EK[:used, _PERSONA] * faded_E
        exposures_E = counts.count_EK[:used, KINDS + _PERSONA] * faded_E
        return personas(accepts_E, exposures_E, code_UM[user_E], cluster_E, sizes, self.clusters)

    def shares(self, book: Book, time_ms: int) -> Shares:
        """Of accepts, by group, as they are now."""
        sizes, used = tuple(len(centre_KC) for centre_KC in book), int(self.counts.used[0])
        accepts_E = self.counts.count_EK[:used, _LONG] * self._faded(used, time_ms, _LONG)
        code_EM = self.codes(book, time_ms)[self.counts.user_E[:used]]
        return shares(accepts_E, code_EM, self.counts.cluster_E[:used], sizes, self.clusters)

    def codes(self, book: Book, time_ms: int) -> Int64s:
        """Of every user by row (U, M), some at a time."""
        users = len(self.users)
        parts = [np.arange(at, min(at + _CHUNK, users)) for at in range(0, users, _CHUNK)]
        codes = [encode(book, self._tastes(part, time_ms)) for part in parts]
        return np.concatenate([np.zeros((0, len(book)), np.int64), *codes])

    def inputs(self, user_B: Int64s, time_ms: int, book: Book, known: Personas) -> Inputs:
        """What the models see of these users now."""
        return inputs_of(self.look(user_B, np.full(len(user_B), time_ms)), self.clusters, book, known)

    def forget(self, user_U: Int64s) -> None:
        """Keep nothing of these users, by key."""
        users, used, old = len(self.users), int(self.counts.used[0]), self.counts
        self.users, kept_U = without(self.users, user_U)
        moved_U, moved_E = np.full(users, -1, np.int64), np.full(used + 1, -1, np.int64)
        moved_U[kept_U] = np.arange(len(kept_U))
        kept_E = np.flatnonzero(moved_U[old.user_E[:used]] >= 0)
        moved_E[kept_E] = np.arange(len(kept_E))
        by_user = {name: getattr(old, name)[kept_U] for name in _BY_USER}
        by_entry = {name: getattr(old, name)[kept_E] for name in _BY_ENTRY}
        by_user["first_U"] = moved_E[by_user["first_U"]]
        by_entry["next_E"] = moved_E[by_entry["next_E"]]
        by_entry["user_E"] = moved_U[by_entry["user_E"]]
        self.counts = Arrays(**by_user, **by_entry, used=np.array([len(kept_E)]))

    def _tastes(self, row_U: Int64s, time_ms: int) -> Doubles:
        used, counts = int(self.counts.used[0]), self.counts
        place_U = np.full(len(self.users), -1, np.int64)
        place_U[row_U] = np.arange(len(row_U))
        place_E = place_U[counts.user_E[:used]]
        there = np.flatnonzero(place_E >= 0)
        accepts_UC = np.zeros((len(row_U), self.clusters))
        accepts_E = counts.count_EK[:used, _LONG] * self._faded(used, time_ms, _LONG)
        accepts_UC[place_E[there], counts.cluster_E[:used][there]] = accepts_E[there]
        return taste(accepts_UC)

    def _faded(self, used: int, time_ms: int, kind: int) -> Doubles:
        days_E = np.maximum(time_ms - self.counts.time_ms_E[:used], 0) / DAY_MS
        return np.asarray(np.exp2(-days_E / FADES_DAYS[kind]))

    def _reserve(self, more: int) -> None:
        old, users, entries = self.counts, len(self.users), int(self.counts.used[0]) + more
        if users > len(old.taken_U):
            room = max(users, 2 * len(old.taken_U))
            grew = {name: grown(getattr(old, name), room) for name in _BY_USER}
            grew["first_U"] = grown(old.first_U, room, -1)
            self.counts = self.counts._replace(**grew)
        if entries > len(old.next_E):
            room = max(entries, 2 * len(old.next_E))
            self.counts = self.counts._replace(
                **{name: grown(getattr(old, name), room) for name in _BY_ENTRY}
            )

    def tree(self) -> Tree:
        users, used = len(self.users), int(self.counts.used[0])
        return {
            "users": self.users.tree(),
            **{name: getattr(self.counts, name)[:users].copy() for name in _BY_USER},
            **{name: getattr(self.counts, name)[:used].copy() for name in _BY_ENTRY},
        }

    def load(self, tree: Tree) -> None:
        self.users.load(tree["users"])
        arrays = {name: np.array(tree[name]) for name in (*_BY_USER, *_BY_ENTRY)}
        self.counts = Arrays(**arrays, used=np.array([len(arrays["next_E"])]))


_NONE = np.zeros(0, np.int64)
_BY_USER = ("first_U", "many_U", "recent_UR", "recent_ms_UR", "taken_U")
_BY_ENTRY = ("next_E", "user_E", "cluster_E", "time_ms_E", "accept_ms_E", "count_EK")


def _empty() -> Arrays:
    by_user = {name: np.zeros((0, RECENT) if name.endswith("R") else 0, np.int64) for name in _BY_USER}
    by_entry = {name: np.zeros(0, np.int64) for name in _BY_ENTRY[:-1]}
    return Arrays(**by_user, **by_entry, count_EK=np.zeros((0, 2 * KINDS)), used=np.zeros(1, np.int64))


def dense(past: Past, value_BM: Doubles | Floats, clusters: int, blank: float = 0.0) -> Doubles:
    """A value of each of a user's clusters, over all clusters (B, C)."""
    value_BC = np.full((len(value_BM), clusters), blank)
    row, place = np.nonzero(past.cluster_BM >= 0)
    value_BC[row, past.cluster_BM[row, place]] = value_BM[row, place]
    return value_BC


def days_since(past: Past) -> Doubles:
    """Since the last accept of each of a user's clusters (B, M), 60 at most."""
    days_BM = (past.time_ms_B[:, None] - np.maximum(past.accept_ms_BM, NEVER // 2)) / DAY_MS
    return np.clip(days_BM, 0.0, _FORGOTTEN_DAYS)


def novel_of(past: Past, clusters: int) -> Bools:
    """Which clusters are novel (B, C)."""
    old_BM = past.accept_ms_BM < past.time_ms_B[:, None] - NOVEL_DAYS * DAY_MS
    return np.asarray(dense(past, old_BM.astype(np.float64), clusters, 1.0) > 0.5)


def codes_of(past: Past, clusters: int, book: Book) -> Int64s:
    """Of each row's user, as it was then (B, levels)."""
    return encode(book, taste(dense(past, past.count_BMK[:, :, _LONG], clusters)))


def inputs_of(past: Past, clusters: int, book: Book, known: Personas) -> Inputs:
    """What the models see of these users, as they were then."""
    counts = [dense(past, past.count_BMK[:, :, of + k], clusters) for of in (0, KINDS) for k in range(_SEEN)]
    code_BM = encode(book, taste(counts[_LONG]))
    rate_BCL = known.of(code_BM)
    days_BC = dense(past, days_since(past), clusters, _FORGOTTEN_DAYS)
    load_B = np.log1p(counts[_SEEN].sum(1)) / _LOAD_SCALE
    columns = [
        *(np.log1p(count_BC) for count_BC in counts),
        np.log1p(days_BC) / np.log1p(_FORGOTTEN_DAYS),
        np.broadcast_to(load_B[:, None], days_BC.shape),
        *np.moveaxis(np.log(rate_BCL / (1.0 - rate_BCL)), 2, 0),
    ]
    recent_BR, bucket_BR = recent_of(past, clusters)
    return Inputs(np.stack(columns, 2).astype(np.float32), code_BM, recent_BR, bucket_BR)


def recent_of(past: Past, clusters: int) -> tuple[Int64s, Int64s]:
    """The last accepts' clusters, `clusters` where there are fewer, and how long ago each was (B, R)."""
    there_BR = past.recent_BR >= 0
    age_days_BR = (past.time_ms_B[:, None] - past.recent_ms_BR) / DAY_MS
    return np.where(there_BR, past.recent_BR, clusters), np.where(there_BR, bucket(age_days_BR), 0)


def bucket(age_days: Doubles) -> Int64s:
    """Which span of ages it is in."""
    return np.asarray(np.searchsorted(BUCKET_DAYS, age_days, side="right"))
