"""The one door to numba, so that every kernel is typed, kept on disk and free of the GIL.

numba looks at a kernel's own file to tell whether what it kept is stale, and not at the files of the
kernels that it calls. So what is kept lies in a folder named by the digest of all sources that have kernels.
"""

import hashlib
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar, cast

import numba
from numba.core import config

F = TypeVar("F", bound=Callable[..., object])

_SOURCES = Path(__file__).parent.parent
_kernels: list[Any] = []
_KEPT = 4
"""Digests whose kernels are kept, the newest first."""


def compiled(function: F) -> F:
    """Compile `function` to machine code at its first call, and keep the result on disk."""
    return cast(F, _kept(numba.njit(cache=_CACHED, nogil=True)(function)))


def inlined(function: F) -> F:
    """Like `compiled`, but copied into the kernels that call it."""
    return cast(F, numba.njit(cache=_CACHED, nogil=True, inline="always")(function))


def reordered(function: F) -> F:
    """Like `compiled`, but sums may be taken in another order, so that they run on vector units.

    Results are the same on every run of one machine; between kinds of CPU the last bits may differ.
    """
    allowed = {"reassoc", "contract", "nsz"}
    return cast(F, _kept(numba.njit(cache=_CACHED, nogil=True, fastmath=allowed)(function)))


def compiled_here() -> bool:
    """Whether a kernel had to be compiled by this process, and is on disk by now.

    What it gave here may differ in the last bits from what it gives once it is loaded from disk.
    """
    return _CACHED and any(kernel.stats.cache_misses for kernel in _kernels)


def _kept(kernel: Any) -> Any:
    _kernels.append(kernel)
    return kernel


def _prepare() -> bool:
    """Choose the folder; whether there is one that can be written."""
    if "NUMBA_CACHE_DIR" in os.environ:
        return True
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "ebbtide" / "kernels"
    hasher = hashlib.blake2b(digest_size=8)
    for path in sorted(_SOURCES.glob("*/*.py")):
        source = path.read_bytes()
        if b"state.compiled import" in source:
            hasher.update(source)
    folder = home / hasher.hexdigest()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        os.utime(folder)
        for old in sorted(home.iterdir(), key=lambda kept: kept.stat().st_mtime)[:-_KEPT]:
            shutil.rmtree(old, ignore_errors=True)
    except OSError:
        return False
    vars(config)["CACHE_DIR"] = str(folder)
    return os.access(folder, os.W_OK)


_CACHED = _prepare()
