"""What a benchmark does and how far it is, on the error stream.

A moving line at a terminal; elsewhere a line for every step.
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn

from ebbtide.waiting import compiling
from state.compiled import watched


class Step:
    """Something that takes a while."""

    def __init__(self, what: str, shown: tuple[Progress, TaskID] | None) -> None:
        self._what, self._shown = what, shown

    def reached(self, part: float) -> None:
        """How much of it is done, 0 to 1."""
        if self._shown is not None:
            progress, task = self._shown
            progress.update(task, total=1.0, completed=part)

    def say(self, words: str) -> None:
        """What is going on in it."""
        if self._shown is not None:
            progress, task = self._shown
            progress.update(task, description=escape(f"{self._what}: {words}"))


class Telling:
    """Says what a benchmark does. Steps do not overlap."""

    def __init__(self, console: Console | None = None) -> None:
        self._console = console or Console(file=sys.stderr)
        self._steps = 0

    @contextmanager
    def step(self, what: str) -> Iterator[Step]:
        """Say what is done in the block, and that kernels are compiled, if any are."""
        self._steps += 1
        what = f"{self._steps}. {what}"
        if not self._console.is_terminal:
            self._console.print(f"{what} ...", markup=False, highlight=False, soft_wrap=True)
            step = Step(what, None)
            with watched(lambda kernel, of: None):
                yield step
            return
        columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(24), TimeElapsedColumn())
        with Progress(*columns, console=self._console, transient=True) as progress:
            step = Step(what, (progress, progress.add_task(escape(what), total=None)))
            with watched(lambda kernel, of: step.say(compiling(kernel, of))):
                yield step
