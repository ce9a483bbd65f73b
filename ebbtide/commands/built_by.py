"""Options that several commands take, listed once."""

import functools
import inspect
from collections.abc import Callable
from typing import Any, TypeVar

Made = TypeVar("Made")


def built_by(make: Callable[..., Any]) -> Callable[[Callable[..., Made]], Callable[..., Made]]:
    """A command's first argument is what `make` makes of options: the command takes these in its place.

    >>> def area(*, width: int = 2, height: int = 3) -> int: return width * height
    >>> @built_by(area)
    ... def say(area: int, *, unit: str = "m2") -> str: return f"{area} {unit}"
    >>> say(width=5, height=3, unit="m2"), list(inspect.signature(say).parameters)
    ('15 m2', ['unit', 'width', 'height'])
    """
    options = inspect.signature(make).parameters

    def of(command: Callable[..., Made]) -> Callable[..., Made]:
        @functools.wraps(command)
        def optioned(**given: Any) -> Made:
            return command(make(**{name: given.pop(name) for name in options}), **given)

        own = list(inspect.signature(command).parameters.values())[1:]
        told = inspect.Signature([*own, *options.values()])
        optioned.__signature__ = told  # type: ignore[attr-defined]
        optioned.__annotations__ = {name: one.annotation for name, one in told.parameters.items()}
        return optioned

    return of
