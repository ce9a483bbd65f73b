"""Arrays that make room for more rows."""

from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

T = TypeVar("T", bound=np.generic)


def grown(old: NDArray[T], rows: int, blank: float = 0) -> NDArray[T]:
    """`old` with room for `rows`, the new ones filled with `blank`; itself where it has the room."""
    if rows <= len(old):
        return old
    new = np.full((rows, *old.shape[1:]), blank, old.dtype)
    new[: len(old)] = old
    return new
