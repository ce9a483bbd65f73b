"""Kernels of the history: one entry for each pair of a user and a cluster that have met, and no others.

A user's entries are a list; of `MOST` clusters the one that was silent longest makes room for another. Every
count fades from the last event of its own entry, so it is the same however events are cut into batches.

Shape suffixes: U users, E entries, K counts, B rows to look at, Q rows to count, M clusters of a user,
R recent accepts.
"""

from typing import NamedTuple

import numpy as np

from state.arrays import Bools, Doubles, Floats, Int64s
from state.compiled import compiled, inner

DAY_MS = 86_400_000
MOST = 64
"""Clusters that are remembered of a user."""
NEVER = -(2**62)
FADES_DAYS = np.array([3.0, 15.0, 60.0, np.inf, 20.0])
"""Half-lives of the counts: four that the models see, and that of what a persona counts. Accepts come first,
then exposures."""
KINDS = len(FADES_DAYS)


class Arrays(NamedTuple):
    first_U: Int64s
    """The user's entry that came last; -1 for none."""
    many_U: Int64s
    recent_UR: Int64s
    """A ring: clusters of the last accepts."""
    recent_ms_UR: Int64s
    taken_U: Int64s
    """Accepts so far."""
    next_E: Int64s
    user_E: Int64s
    cluster_E: Int64s
    time_ms_E: Int64s
    """Of the last event, to which counts are faded."""
    accept_ms_E: Int64s
    """Of the last accept, or NEVER."""
    count_EK: Doubles
    used: Int64s
    """Entries in use (1,)."""


class Past(NamedTuple):
    """What is remembered of each row's user, at the row's time."""

    cluster_BM: Int64s
    """-1 where there are fewer."""
    count_BMK: Floats
    """Accepts, then exposures, by `FADES_DAYS`."""
    accept_ms_BM: Int64s
    recent_BR: Int64s
    """Clusters of the last accepts, in no order; -1 where there are fewer."""
    recent_ms_BR: Int64s
    time_ms_B: Int64s


def nothing(rows: int, recent: int) -> Past:
    return Past(
        np.full((rows, MOST), -1, np.int64),
        np.zeros((rows, MOST, 2 * KINDS), np.float32),
        np.full((rows, MOST), NEVER, np.int64),
        np.full((rows, recent), -1, np.int64),
        np.zeros((rows, recent), np.int64),
        np.zeros(rows, np.int64),
    )


@inner
def _room(counts: Arrays, u: int, cluster: int, time_ms: int) -> int:
    """An entry for a cluster that the user has none of."""
    e: int = counts.used[0]
    if counts.many_U[u] < MOST:
        counts.used[0] += 1
        counts.many_U[u] += 1
        counts.next_E[e] = counts.first_U[u]
        counts.first_U[u] = e
    else:
        e = other = counts.first_U[u]
        while other >= 0:
            if counts.time_ms_E[other] <= counts.time_ms_E[e]:
                e = other
            other = counts.next_E[other]
    counts.user_E[e], counts.cluster_E[e] = u, cluster
    counts.time_ms_E[e], counts.accept_ms_E[e] = time_ms, NEVER
    for k in range(2 * KINDS):
        counts.count_EK[e, k] = 0.0
    return e


@inner
def _count(counts: Arrays, u: int, cluster: int, accepted: bool, time_ms: int) -> None:
    e = counts.first_U[u]
    while e >= 0 and counts.cluster_E[e] != cluster:
        e = counts.next_E[e]
    if e < 0:
        e = _room(counts, u, cluster, time_ms)
    days = max(time_ms - counts.time_ms_E[e], 0) / DAY_MS
    counts.time_ms_E[e] = max(counts.time_ms_E[e], time_ms)
    for k in range(KINDS):
        faded = 2.0 ** (-days / FADES_DAYS[k])
        counts.count_EK[e, k] = counts.count_EK[e, k] * faded + (1.0 if accepted else 0.0)
        counts.count_EK[e, KINDS + k] = counts.count_EK[e, KINDS + k] * faded + 1.0
    if accepted:
        counts.accept_ms_E[e] = max(counts.accept_ms_E[e], time_ms)
        place = counts.taken_U[u] % counts.recent_UR.shape[1]
        counts.recent_UR[u, place], counts.recent_ms_UR[u, place] = cluster, time_ms
        counts.taken_U[u] += 1


@inner
def _look(counts: Arrays, u: int, b: int, past: Past) -> None:
    """Fill in row b, blank until then."""
    e, m = counts.first_U[u], 0
    while e >= 0:
        past.cluster_BM[b, m] = counts.cluster_E[e]
        past.accept_ms_BM[b, m] = counts.accept_ms_E[e]
        days = max(past.time_ms_B[b] - counts.time_ms_E[e], 0) / DAY_MS
        for k in range(KINDS):
            faded = 2.0 ** (-days / FADES_DAYS[k])
            past.count_BMK[b, m, k] = counts.count_EK[e, k] * faded
            past.count_BMK[b, m, KINDS + k] = counts.count_EK[e, KINDS + k] * faded
        e, m = counts.next_E[e], m + 1
    for r in range(min(counts.taken_U[u], past.recent_BR.shape[1])):
        past.recent_BR[b, r], past.recent_ms_BR[b, r] = counts.recent_UR[u, r], counts.recent_ms_UR[u, r]


@compiled
def walk(
    counts: Arrays,
    user_Q: Int64s,
    cluster_Q: Int64s,
    accepted_Q: Bools,
    time_ms_Q: Int64s,
    due_B: Int64s,
    user_B: Int64s,
    past: Past,
) -> None:
    """Count rows and look at others in turn: row b is looked at once `due_B[b]` are counted.

    Users are rows, -1 for one that is unknown; there is room for as many entries more as the queue has rows.
    """
    q = 0
    for b in range(due_B.shape[0]):
        while q < due_B[b]:
            _count(counts, user_Q[q], cluster_Q[q], accepted_Q[q], time_ms_Q[q])
            q += 1
        if user_B[b] >= 0:
            _look(counts, user_B[b], b, past)
    while q < user_Q.shape[0]:
        _count(counts, user_Q[q], cluster_Q[q], accepted_Q[q], time_ms_Q[q])
        q += 1
