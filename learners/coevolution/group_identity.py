"""Group identity: a user's long history as a code of a few levels, by residual k-means.

CoEA (arXiv:2508.00450) has an RQ-VAE; here the first level is k-means over what users accepted, the second
k-means over what the first leaves, and so on. One run of k-means finds the planted groups badly, so the best
of several counts. Users are encoded on read, by the frozen book: whoever came yesterday has a code today.

Shape suffixes: N users, C clusters, M levels, K codes of a level.
"""

from collections.abc import Sequence

import numpy as np

from state.arrays import Doubles, Int64s

RESTARTS = 5
ENOUGH_BETTER = 0.98
"""A book takes the place of the one before if what it leaves unexplained is at most so much of the old."""
DEAD = 0.01
"""A code with less of the users is revived."""
_ROUNDS = 30

Book = tuple[Doubles, ...]
"""Centres (K, C) of each level."""


def taste(accepts_NC: Doubles) -> Doubles:
    """What is quantised: the square root of the accepts, at most 1, at length 1; zeros without any."""
    root_NC = np.sqrt(np.minimum(accepts_NC, 1.0))
    length_N1 = np.linalg.norm(root_NC, axis=1, keepdims=True)
    return np.asarray(root_NC / np.where(length_N1 > 0.0, length_N1, 1.0))


def encode(book: Book, taste_NC: Doubles) -> Int64s:
    """Codes (N, M)."""
    code_NM = np.zeros((len(taste_NC), len(book)), np.int64)
    for level, centre_KC in enumerate(book):
        code_NM[:, level] = nearest(taste_NC, centre_KC)
        taste_NC = taste_NC - centre_KC[code_NM[:, level]]
    return code_NM


def unexplained(book: Book, taste_NC: Doubles) -> float:
    """Mean squared distance to what the codes say."""
    code_NM = encode(book, taste_NC)
    said_NC = sum(centre_KC[code_NM[:, m]] for m, centre_KC in enumerate(book))
    return float(np.square(taste_NC - said_NC).sum(1).mean())


def fitted(
    taste_NC: Doubles,
    sizes: Sequence[int],
    rng: np.random.Generator,
    old: Book | None = None,
    enough: float = ENOUGH_BETTER,
) -> Book:
    """The best of `RESTARTS` books, and of the old one moved on, whose codes keep their names.

    A new book takes its place if what it leaves unexplained is at most `enough` of that; its codes are named
    after those that they share most users with.
    """
    started = [_fit(taste_NC, [spread(taste_NC, sizes[0], rng)], sizes, rng) for _ in range(RESTARTS)]
    best = min(started, key=lambda book: unexplained(book, taste_NC))
    if old is None:
        return best
    moved = _fit(taste_NC, list(old), sizes, rng)
    if unexplained(best, taste_NC) <= enough * unexplained(moved, taste_NC):
        return _renamed(best, moved, taste_NC)
    return moved


def _fit(taste_NC: Doubles, starts: list[Doubles], sizes: Sequence[int], rng: np.random.Generator) -> Book:
    """Level by level; a level without a start begins at users far apart."""
    book, left_NC = [], taste_NC
    for level, size in enumerate(sizes):
        start_KC = starts[level] if level < len(starts) else spread(left_NC, size, rng)
        centre_KC = kmeans(left_NC, start_KC)
        book.append(centre_KC)
        left_NC = left_NC - centre_KC[nearest(left_NC, centre_KC)]
    return tuple(book)


def kmeans(point_NC: Doubles, centre_KC: Doubles) -> Doubles:
    """Lloyd's rounds; a code that hardly anybody has starts anew at who is explained worst."""
    size = len(centre_KC)
    for _ in range(_ROUNDS):
        code_N = nearest(point_NC, centre_KC)
        count_K = np.bincount(code_N, minlength=size)
        sum_KC = np.zeros_like(centre_KC)
        np.add.at(sum_KC, code_N, point_NC)
        moved_KC = np.where(count_K[:, None] > 0, sum_KC / np.maximum(count_K, 1)[:, None], centre_KC)
        dead_K = np.flatnonzero(count_K < DEAD * len(point_NC))
        worst_N = np.argsort(-np.square(point_NC - moved_KC[code_N]).sum(1), kind="stable")
        if len(dead_K) and len(point_NC) > size:
            moved_KC[dead_K] = point_NC[worst_N[: len(dead_K)]]
        if np.array_equal(moved_KC, centre_KC):
            break
        centre_KC = moved_KC
    return centre_KC


def spread(point_NC: Doubles, size: int, rng: np.random.Generator) -> Doubles:
    """Starts far apart: k-means++ (Arthur and Vassilvitskii, SODA 2007)."""
    chosen = [int(rng.integers(len(point_NC)))]
    nearest_N = np.full(len(point_NC), np.inf)
    while len(chosen) < size:
        nearest_N = np.minimum(nearest_N, np.square(point_NC - point_NC[chosen[-1]]).sum(1))
        total_N = np.cumsum(nearest_N)
        at = np.searchsorted(total_N, rng.random() * total_N[-1], side="right")
        chosen.append(min(int(at), len(point_NC) - 1))
    return np.array(point_NC[chosen])


def nearest(point_NC: Doubles, centre_KC: Doubles) -> Int64s:
    distance_NK = np.square(centre_KC).sum(1) - 2.0 * point_NC @ centre_KC.T
    return np.asarray(distance_NK.argmin(1))


def _renamed(new: Book, old: Book, taste_NC: Doubles) -> Book:
    """`new` with the codes of each level in the places of the old ones that they share most users with."""
    now_NM, before_NM = encode(new, taste_NC), encode(old, taste_NC)
    book = []
    for level, centre_KC in enumerate(new):
        size = len(centre_KC)
        shared_KK = np.zeros((size, size))
        np.add.at(shared_KK, (before_NM[:, level], now_NM[:, level]), 1.0)
        placed_KC = np.empty_like(centre_KC)
        for _ in range(size):
            before, now = np.unravel_index(int(shared_KK.argmax()), shared_KK.shape)
            placed_KC[before] = centre_KC[now]
            shared_KK[before], shared_KK[:, now] = -1.0, -1.0
        book.append(placed_KC)
    return tuple(book)
