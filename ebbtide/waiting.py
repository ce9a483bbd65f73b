"""What is said while a command cannot begin yet: what it does, and how far it is."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.markup import escape

_ONCE = "compiling kernels, once for this version of the sources"


def compiling(kernel: int, of: int) -> str:
    """What to say of the `kernel`-th kernel of at most `of`."""
    return f"{_ONCE}: {kernel} of at most {of}"


@contextmanager
def status(console: Console, what: str, *, quiet: bool = False) -> Iterator[None]:
    """Say what is going on: a moving line on a terminal, elsewhere one line, and one more for compiling."""
    from state.compiled import watched

    what = escape(what)
    if quiet:
        with silent():
            yield
    elif console.is_terminal:
        with (
            console.status(what) as line,
            watched(lambda kernel, of: line.update(f"{what} {compiling(kernel, of)}")),
        ):
            yield
    else:
        console.print(what, highlight=False)
        with hint(console):
            yield


@contextmanager
def silent() -> Iterator[None]:
    """Nothing, whatever has to be compiled."""
    from state.compiled import watched

    with watched(lambda kernel, of: None):
        yield


@contextmanager
def hint(console: Console | None = None) -> Iterator[None]:
    """One line if kernels have to be compiled, and nothing else; without a console on the error stream."""
    from state.compiled import watched

    with watched(lambda kernel, of: _first(console or Console(file=sys.stderr), kernel)):
        yield


def _first(console: Console, kernel: int) -> None:
    if kernel == 1:
        console.print(f"{_ONCE}: a minute or two ...", highlight=False)
