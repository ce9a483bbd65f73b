"""Learners by name, found by reflection: a new learner is one file in this package and no edit elsewhere.

A module called `*_torch` is the half of a learner that runs on torch, an optional package, slow to load:
the learner imports it when it is asked to.
"""

import importlib
import inspect
import pkgutil
from collections.abc import Iterator
from functools import cache

import learners
from learners.contract import Learner
from state.errors import InputError


@cache
def discover() -> dict[str, type[Learner]]:
    """Every concrete learner of the package by its name, sorted."""
    found = {cls.name: cls for module in _modules() for cls in _defined(module)}
    return dict(sorted(found.items()))


def learner(name: str) -> type[Learner]:
    """The learner called `name`. Raises InputError with the names there are."""
    known = discover()
    if name not in known:
        raise InputError(f"--learner: no learner is called {name!r}; there are: {', '.join(known)}")
    return known[name]


def _modules() -> Iterator[str]:
    found = (module.name for module in pkgutil.iter_modules(learners.__path__, "learners."))
    return (name for name in found if not name.endswith("_torch"))


def _defined(module: str) -> Iterator[type[Learner]]:
    for _, cls in inspect.getmembers(importlib.import_module(module), inspect.isclass):
        if issubclass(cls, Learner) and hasattr(cls, "name") and cls.__module__ == module:
            yield cls
