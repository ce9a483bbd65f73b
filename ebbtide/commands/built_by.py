"""Options that several commands take, listed once."""

import functools
import inspect
from collections.abc import Callable
from typing import Any, TypeVar

Made = TypeVar("Made")


def built_by(*makes: Callable[..., Any]) -> Callable[[Callable[..., Made]], Callable[..., Made]]:
    """A command's first arguments are what each of `makes` makes of options: it takes these in their place.

    >>> def area(*, width: int = 2, height: int = 3) -> int: return width * height
    >>> @built_by(area)
    ... def say(area: int, *, unit: str = "m2") -> str: return f"{area} {unit}"
    >>> say(width=5, height=3, unit="m2"), list(inspect.signature(say).parameters)
    ('15 m2', ['unit', 'width', 'height'])
    """
    options = [inspect.signature(make).parameters for make in makes]

    def of(command: Callable[..., Made]) -> Callable[..., Made]:
        @functools.wraps(command)
        def optioned(**given: Any) -> Made:
            made = [
                make(**{name: given.pop(name) for name in names})
                for make, names in zip(makes, options, strict=True)
            ]
            return command(*made, **given)

        own = list(inspect.signature(command).parameters.values())[len(makes) :]
        told = inspect.Signature([*own, *(option for taken in options for option in taken.values())])
        optioned.__signature__ = told  # type: ignore[attr-defined]
        optioned.__annotations__ = {name: one.annotation for name, one in told.parameters.items()}
        return optioned

    return of
