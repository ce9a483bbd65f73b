"""The one door to numba, so that every kernel is typed, cached on disk and free of the GIL.

A kernel is plain Python that also runs uncompiled: `kernel.py_func` does not exist for the type
checker, so tests compare a kernel against a reference written for reading, not against itself.
"""

from collections.abc import Callable
from typing import TypeVar, cast

import numba

F = TypeVar("F", bound=Callable[..., object])


def compiled(function: F) -> F:
    """Compile `function` to machine code at its first call, and keep the result on disk."""
    return cast(F, numba.njit(cache=True, nogil=True)(function))


def inlined(function: F) -> F:
    """Like `compiled`, but copied into the kernels that call it."""
    return cast(F, numba.njit(cache=True, nogil=True, inline="always")(function))


def reordered(function: F) -> F:
    """Like `compiled`, but sums may be taken in another order, so that they run on vector units.

    Results are the same on every run of one machine; between kinds of CPU the last bits may differ.
    """
    return cast(F, numba.njit(cache=True, nogil=True, fastmath={"reassoc", "contract", "nsz"})(function))
