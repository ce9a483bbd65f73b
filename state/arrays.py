"""Kinds of arrays, by what they hold."""

import numpy as np
from numpy.typing import NDArray

Int64s = NDArray[np.int64]
Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]
Bytes = NDArray[np.uint8]
Shorts = NDArray[np.int16]
Bools = NDArray[np.bool_]


def largest(value_N: Doubles, count: int) -> Int64s:
    """Rows of the `count` largest, the largest first, of equals the first first; in time that grows with N.

    >>> largest(np.array([1.0, 3.0, 2.0, 3.0]), 3).tolist()
    [1, 3, 2]
    """
    size = len(value_N)
    if count <= 0:
        return np.zeros(0, np.int64)
    if count >= size:
        return np.argsort(-value_N, kind="stable")
    least = np.partition(value_N, size - count)[size - count]
    above, equal = np.flatnonzero(value_N > least), np.flatnonzero(value_N == least)
    chosen = np.concatenate([above, equal[: count - len(above)]])
    return np.asarray(chosen[np.lexsort((chosen, -value_N[chosen]))])
