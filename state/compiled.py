"""The one door to numba, so that every kernel is typed, kept on disk and free of the GIL.

numba looks at a kernel's own file to tell whether what it kept is stale, and not at the files of the
kernels that it calls; and it keeps by the path of that file. Here what is kept lies in a folder a module,
named by the digest of its source and of every source of ours that it imports, near or far: another checkout
of the same sources has nothing to compile, and an edit compiles only what could have seen it.
"""

import functools
import gc
import hashlib
import inspect
import os
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self, TypeVar, cast, get_args, get_origin

import numba
import numpy as np
from numba.core import event, types
from numba.core.caching import CacheImpl, UserProvidedCacheLocator
from numba.core.registry import CPUDispatcher

from state import machine_code

F = TypeVar("F", bound=Callable[..., object])

_SOURCES = Path(__file__).parent.parent
_ROOMS = ("benchmarks", "ebbtide", "learners", "monitor", "replay", "serving", "state", "streams", "tests")
"""Where kernels are, and what they may have seen."""
_IMPORT = re.compile(r"^from ([\w.]+) import (\([^)]*\)|.*)$|^import ([\w.]+)", re.MULTILINE)
_kernels: list[Any] = []
_watching = False
_MAKERS = {"arange", "argsort", "copy", "empty", "empty_like", "full", "partition", "sort", "sum", "zeros"}
"""Names by which a kernel makes arrays."""
_KEPT = 8
"""Digests of a module whose kernels are kept, the newest first."""


def compiled(function: F) -> F:
    """Compile `function` to machine code at its first call, and keep the result on disk."""
    return cast(F, _kept(numba.njit(**_OPTIONS)(function)))


def inner(function: F) -> F:
    """Like `compiled`, but for kernels to call only: no wrapper for Python has to be compiled."""
    return cast(F, _kept(_Inner.of(function)))


def inserted(function: F) -> F:
    """`inner`, and always a part of its callers' code: what is handed to it is not copied."""
    return cast(F, _kept(_Inner.of(function, forceinline=True)))


def inner_reordered(function: F) -> F:
    """`inner` and `reordered`."""
    return cast(F, _kept(_Inner.of(function, fastmath=_REORDERED)))


def inlined(function: F) -> F:
    """Like `compiled`, but copied into the kernels that call it."""
    return cast(F, numba.njit(**_OPTIONS, inline="always")(function))


def reordered(function: F) -> F:
    """Like `compiled`, but sums may be taken in another order, so that they run on vector units.

    Results are the same on every run of one machine; between kinds of CPU the last bits may differ. A loop
    that sums must not store as well: whether that is done in lanes depends on how near the arrays lie in
    memory, and so would the last bits.
    """
    return cast(F, _kept(numba.njit(**_OPTIONS, fastmath=_REORDERED)(function)))


def compiled_here() -> bool:
    """Whether a kernel had to be compiled by this process, and is on disk by now."""
    return _CACHED and any(kernel.stats.cache_misses for kernel in _kernels)


@contextmanager
def watched(tell: Callable[[int, int], None], done: Callable[[], None] = lambda: None) -> Iterator[None]:
    """Call `tell` with each kernel that has to be compiled: its number from 1, and how many there may be.

    `done` is called when one is there, with all that it calls. Within another such block nothing is told:
    whoever came first speaks.
    """
    global _watching
    if _watching:
        yield
        return
    _watching = True
    try:
        with event.install_listener("numba:compile", _Counted(tell, done)):
            yield
    finally:
        _watching = False


class _Counted(event.Listener):
    def __init__(self, tell: Callable[[int, int], None], done: Callable[[], None]) -> None:
        self._tell, self._done = tell, done
        self._met = self._within = 0

    def on_start(self, event: Any) -> None:
        self._within += 1
        if event.data["dispatcher"] in _kernels:
            self._met += 1
            self._tell(self._met, len(_kernels))

    def on_end(self, event: Any) -> None:
        self._within -= 1
        if not self._within:
            self._done()


def digest(module: str) -> str:
    """The digest of a module's source and of all of ours that it imports, directly or not."""
    hasher = hashlib.blake2b(digest_size=8)
    for name in sorted(_reached(module)):
        hasher.update(name.encode())
        hasher.update(_source(name) or b"")
    return hasher.hexdigest()


def _reached(module: str) -> set[str]:
    reached: set[str] = set()
    following = [module]
    while following:
        name = following.pop()
        if name not in reached and _source(name) is not None:
            reached.add(name)
            following += _imports(name)
    return reached


@functools.cache
def _imports(module: str) -> list[str]:
    """What a module imports, by name; of a package also what may be its modules."""
    names = []
    for package, parts, whole in _IMPORT.findall((_source(module) or b"").decode()):
        names += [whole or package, *(f"{package}.{part}" for part in re.findall(r"\w+", parts))]
    return names


@functools.cache
def _source(module: str) -> bytes | None:
    """The source of one of our modules; None for a name that is none."""
    if module.split(".")[0] not in _ROOMS:
        return None
    place = _SOURCES.joinpath(*module.split("."))
    for path in (place.with_suffix(".py"), place / "__init__.py"):
        if path.is_file():
            return path.read_bytes()
    return None


class _Patient(event.Listener):
    """Hardly collects garbage while a kernel is compiled: looking for it took a tenth of the time."""

    def __init__(self) -> None:
        self._before: list[tuple[int, int, int]] = []

    def on_start(self, event: Any) -> None:
        self._before.append(gc.get_threshold())
        gc.set_threshold(200_000, 50, 1000)

    def on_end(self, event: Any) -> None:
        gc.set_threshold(*self._before.pop())


class _Inner(CPUDispatcher):
    """A kernel that Python cannot call: it has no machine code but as a part of its callers'."""

    @classmethod
    def of(cls, function: Callable[..., object], **more: object) -> Self:
        options = {"nopython": True, "nogil": True, "boundscheck": None, "no_cfunc_wrapper": True, **more}
        kernel = cls(function, targetoptions={**options, "no_cpython_wrapper": True})
        if _CACHED:
            kernel.enable_caching()
        return kernel

    def __call__(self, *args: object, **kwargs: object) -> object:
        raise TypeError(f"{self.py_func.__qualname__}: an inner kernel, which only kernels can call")


def _kept(kernel: Any) -> Any:
    """Note a kernel, and compile it once for all values of a number that its callers write literally.

    The arrays that a kernel is given are its caller's while it runs, and counting references to them took a
    fifth of the time. So only those count that make arrays or trade them.
    """
    by_types, compile_for = kernel.get_call_template, kernel.compile
    wide: Callable[[Any], Any] = types.unliteral

    def compile_lean(sig: Any) -> Any:
        kernel.targetoptions["_nrt"] = _counts(kernel.py_func)
        return compile_for(sig)

    def widened(args: tuple[Any, ...], kws: dict[str, Any]) -> Any:
        return by_types(tuple(map(wide, args)), {name: wide(given) for name, given in kws.items()})

    kernel.get_call_template = widened
    kernel.compile = compile_lean
    _kernels.append(kernel)
    return kernel


def _counts(function: Callable[..., object]) -> bool:
    """Whether a kernel makes arrays, gives some back or calls one that does, by what it names and is said to
    give back. Numba refuses to compile one that makes arrays and does not count references to them."""
    names = inspect.getclosurevars(function)
    used = {**names.nonlocals, **names.globals}.values()
    kernels = [value.py_func for value in used if hasattr(value, "py_func")]
    returned = [each.__annotations__.get("return", Any) for each in (function, *kernels)]
    return not _MAKERS.isdisjoint(function.__code__.co_names) or not all(map(_is_number, returned))


def _is_number(kind: Any) -> bool:
    if get_origin(kind) is tuple:
        return all(map(_is_number, get_args(kind)))
    return kind is None or (isinstance(kind, type) and issubclass(kind, int | float | np.generic))


@functools.cache
def _folder(module: str) -> Path:
    """Where the kernels of a module are kept; digests that were not used for longest make room."""
    folder = _HOME / module / digest(module)
    folder.mkdir(parents=True, exist_ok=True)
    os.utime(folder)
    for old in sorted(folder.parent.iterdir(), key=lambda kept: kept.stat().st_mtime)[:-_KEPT]:
        shutil.rmtree(old, ignore_errors=True)
    return folder


class _ByContent(UserProvidedCacheLocator):
    """Tells numba where a kernel is kept: by its module and by what it could have seen."""

    def __init__(self, py_func: Any, py_file: str) -> None:
        self._py_file = py_file
        self._lineno = py_func.__code__.co_firstlineno
        self._cache_path = str(_folder(py_func.__module__))

    @classmethod
    def from_function(cls, py_func: Any, py_file: str) -> Self | None:
        ours = _source(py_func.__module__) is not None and "NUMBA_CACHE_DIR" not in os.environ
        return cls(py_func, py_file) if ours else None


def _prepare() -> bool:
    """Put our way of keeping before numba's own; whether there is a folder that can be written."""
    if "NUMBA_CACHE_DIR" in os.environ:
        return True
    try:
        _HOME.mkdir(parents=True, exist_ok=True)
    except OSError:
        return False
    CacheImpl._locator_classes.insert(0, _ByContent)
    return os.access(_HOME, os.W_OK)


_HOME = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "ebbtide" / "kernels"
_CACHED = _prepare()
_OPTIONS: dict[str, Any] = {"cache": _CACHED, "nogil": True, "no_cfunc_wrapper": True}
_REORDERED = {"reassoc", "contract", "nsz"}
machine_code.install()
_register: Callable[[str, event.Listener], None] = event.register
_register("numba:compile", _Patient())


@inner
def assign(to_N: Any, from_M: Any) -> None:
    """`to_N[:M] = from_M` of arrays that do not overlap, M at most N.

    For numba's own the text of an error that cannot happen is compiled, too: sixty functions on strings.
    """
    for i in range(len(from_M)):
        to_N[i] = from_M[i]
