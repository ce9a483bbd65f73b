"""Learners by the name of their file: `systems/stim.py` is `stim`. One more is one more file, and no edit.

`systems` holds learners, `floors` the simple ones that every learner must beat, and neither holds anything
else. Who lists them reads folders; a file is imported when its learner is asked for, so nobody waits for a
library, or needs it, who does not use it.
"""

import importlib
import inspect
import pkgutil
from collections.abc import Callable
from contextlib import suppress

from learners.contract import Learner
from state.errors import InputError, bringing

_ROOMS = ("learners.floors", "learners.systems")


def names() -> list[str]:
    """Of all learners, sorted."""
    return sorted(_modules())


def floors() -> list[str]:
    """Names of the simple ones."""
    return sorted(name for name, module in _modules().items() if module.startswith("learners.floors."))


def learner(name: str) -> type[Learner]:
    """The learner called `name`. Raises InputError with the names there are, or what is to be installed."""
    module = _modules().get(name)
    if module is None:
        raise InputError(f"no learner is called {name!r}; there are: {', '.join(names())}")
    try:
        return _defined(module)
    except ModuleNotFoundError as error:
        raise InputError(f"learner {name!r} needs {error.name}; {bringing('torch')} brings it") from error


def able(can: Callable[[type[Learner]], bool]) -> list[str]:
    """Names of those that can do something: of all whose libraries are installed."""
    names = []
    for name, module in sorted(_modules().items()):
        with suppress(ModuleNotFoundError):
            names += [name] if can(_defined(module)) else []
    return names


def _modules() -> dict[str, str]:
    """Name -> module."""
    modules = [
        module.name
        for room in _ROOMS
        for module in pkgutil.iter_modules(importlib.import_module(room).__path__, f"{room}.")
    ]
    return {module.rpartition(".")[2].replace("_", "-"): module for module in modules}


def _defined(module: str) -> type[Learner]:
    """The one learner that a module defines."""
    learners = [
        cls
        for _, cls in inspect.getmembers(importlib.import_module(module), inspect.isclass)
        if issubclass(cls, Learner) and hasattr(cls, "name") and cls.__module__ == module
    ]
    if len(learners) != 1:
        raise InputError(f"{module}: expected one learner with a name, found {len(learners)}")
    return learners[0]
