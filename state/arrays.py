"""Kinds of arrays, by what they hold."""

import numpy as np
from numpy.typing import NDArray

Int64s = NDArray[np.int64]
Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]
Bytes = NDArray[np.uint8]
Shorts = NDArray[np.int16]
Bools = NDArray[np.bool_]


_BLOCK = 64


def largest(value_N: Doubles, count: int) -> Int64s:
    """Rows of the `count` largest, the largest first, of equals the first first.

    Of many the few are looked for among those that are no less than the `count`-th largest of the maxima of
    blocks: two passes, and no more.

    >>> largest(np.array([1.0, 3.0, 2.0, 3.0]), 3).tolist()
    [1, 3, 2]
    """
    size = len(value_N)
    if 0 < count < size // (2 * _BLOCK):
        whole = size - size % _BLOCK
        most_M = value_N[:whole].reshape(-1, _BLOCK).max(axis=1)
        near = np.flatnonzero(value_N >= np.partition(most_M, len(most_M) - count)[len(most_M) - count])
        return np.asarray(near[_largest(value_N[near], count)])
    return _largest(value_N, count)


def _largest(value_N: Doubles, count: int) -> Int64s:
    size = len(value_N)
    if count <= 0:
        return np.zeros(0, np.int64)
    if count >= size:
        return np.argsort(-value_N, kind="stable")
    least = np.partition(value_N, size - count)[size - count]
    above, equal = np.flatnonzero(value_N > least), np.flatnonzero(value_N == least)
    chosen = np.concatenate([above, equal[: count - len(above)]])
    return np.asarray(chosen[np.lexsort((chosen, -value_N[chosen]))])
