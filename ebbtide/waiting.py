"""What is said while a command cannot begin yet: what it does, and how far it is."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext

from rich.console import Console
from rich.markup import escape

_ONCE = "compiling kernels, once for this version of the sources"
_hinted = False


def compiling(kernel: int, of: int) -> str:
    """What to say of the `kernel`-th kernel of at most `of`."""
    return f"{_ONCE}: {kernel} of at most {of}"


@contextmanager
def status(console: Console, what: str, *, quiet: bool = False) -> Iterator[None]:
    """Say what is going on: a moving line on a terminal, elsewhere one line, and one more for compiling."""
    what = escape(what)
    if quiet:
        with silent():
            yield
    elif console.is_terminal:
        with console.status(what) as line:  # before anything that is slow to import
            from state.compiled import watched

            with watched(lambda kernel, of: line.update(f"{what} {compiling(kernel, of)}")):
                yield
    else:
        console.print(what, highlight=False)
        with hint(console):
            yield


@contextmanager
def looking(what: str, *, quiet: bool = False) -> Iterator[None]:
    """A moving line for what ends in a table, on an error stream that is a terminal; else nothing."""
    console = Console(stderr=True)
    with nullcontext() if quiet or not console.is_terminal else status(console, what):
        yield


@contextmanager
def silent() -> Iterator[None]:
    """Nothing, whatever has to be compiled."""
    from state.compiled import watched

    with watched(lambda kernel, of: None):
        yield


@contextmanager
def hint(console: Console | None = None) -> Iterator[None]:
    """Only if kernels have to be compiled: on a terminal a line that moves meanwhile, elsewhere one line.

    Without a console they go to the error stream.
    """
    from state.compiled import watched

    console = console or Console(file=sys.stderr)
    if not console.is_terminal:
        with watched(lambda kernel, of: _once(console)):
            yield
        return
    line = console.status(_ONCE)

    def tell(kernel: int, of: int) -> None:
        line.update(compiling(kernel, of))
        line.start()

    with watched(tell, line.stop):
        yield


def _once(console: Console) -> None:
    global _hinted
    if not _hinted:
        _hinted = True
        console.print(f"{_ONCE}: a minute or two ...", highlight=False)
