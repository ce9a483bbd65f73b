"""Cases by seed and number, run one after another; what fails is made smaller, and written down."""

import re
import shutil
import traceback
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any, Protocol

import msgspec

from tests.fuzz import logs, messages, sides, times, twins


class Case(Protocol):
    """Data that can be checked: `check` raises where something does not hold, and writes below the folder."""

    def check(self, folder: Path) -> None: ...


DRAW: dict[str, tuple[int, Callable[[Random], Case]]] = {
    "log": (6, logs.draw),
    "twin": (3, twins.draw),
    "side": (2, sides.draw),
    "message": (3, messages.draw),
    "time": (4, times.draw),
}
"""Kind -> its weight, and how a case is drawn."""
_TRIES = 300
_LINES, _LONGEST = 12, 100
_VARYING = re.compile(r"\d[\d.,]*|'[^']*'|\"[^\"]*\"|/\S+")
"""What differs between two failures of one kind."""


def case(seed: int, number: int, kinds: tuple[str, ...] = ()) -> Case:
    """Case `number` of a seed, whatever ran before it."""
    rng = Random(f"{seed}/{number}")
    names = [name for name in DRAW if not kinds or name in kinds]
    (name,) = rng.choices(names, [DRAW[name][0] for name in names])
    return DRAW[name][1](rng)


@dataclass(frozen=True)
class Failure:
    """What did not hold."""

    line: str
    """Of the code where it broke: a smaller case breaks there, too."""
    what: str
    """By which failures are counted, without what varies."""
    said: str

    @property
    def place(self) -> str:
        return f"{self.line}: {self.what}"

    @classmethod
    def of(cls, error: BaseException) -> "Failure":
        last = traceback.extract_tb(error.__traceback__)[-1]
        shown = "".join(traceback.format_exception(error)[-_LINES:])
        what = _VARYING.sub("#", str(error).split("\n")[0])[:_LONGEST]
        line = f"{type(error).__name__} at {Path(last.filename).name}:{last.lineno}"
        return cls(line, what, shown)


def run(one: Case, folder: Path) -> Failure | None:
    """Check a case in an empty folder; a warning of a library is a failure, too."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        try:
            one.check(folder)
        except Exception as error:
            return Failure.of(error)
    return None


def smaller(one: Any) -> Iterator[Any]:
    """The case with something left out: an element of a list, half of a number of rows."""
    for name in one.__struct_fields__:
        value = getattr(one, name)
        if isinstance(value, tuple):
            least = 1 if name in ("parts", "messages") else 0
            for i in range(len(value) if len(value) > least else 0):
                yield msgspec.structs.replace(one, **{name: value[:i] + value[i + 1 :]})
            for i, inner in enumerate(value):
                if isinstance(inner, msgspec.Struct):
                    for less in smaller(inner):
                        yield msgspec.structs.replace(one, **{name: (*value[:i], less, *value[i + 1 :])})
        elif isinstance(value, msgspec.Struct):
            yield from (msgspec.structs.replace(one, **{name: less}) for less in smaller(value))
        elif name == "rows" and value > 1:
            yield from (msgspec.structs.replace(one, rows=less) for less in (value // 2, value - 1))


def shrunk(one: Case, failure: Failure, folder: Path) -> Case:
    """A smaller case that fails at the same place."""
    tries = 0
    found = True
    while found and tries < _TRIES:
        found = False
        for less in smaller(one):
            tries += 1
            again = run(less, folder)
            if again is not None and again.line == failure.line:
                one, found = less, True
                break
            if tries >= _TRIES:
                break
    return one


@dataclass
class Campaign:
    """Many cases; each place that fails is told once, and counted."""

    seed: int
    out: Path
    kinds: tuple[str, ...] = ()
    checked: Counter[str] = field(default_factory=Counter)
    failures: Counter[str] = field(default_factory=Counter)

    def step(self, number: int, tell: Callable[[str], None]) -> bool:
        """Check one case; False where it failed."""
        one = case(self.seed, number, self.kinds)
        self.checked[one.__struct_config__.tag] += 1  # type: ignore[attr-defined]
        work = self.out / "work"
        failure = run(one, work)
        if failure is None:
            return True
        self.failures[failure.place] += 1
        if self.failures[failure.place] == 1:
            least = shrunk(one, failure, work)
            again = run(least, self.out / f"case-{self.seed}-{number}") or failure
            where = self.out / f"case-{self.seed}-{number}"
            (where / "case.json").write_bytes(msgspec.json.format(msgspec.json.encode(least)))
            rerun = f"python -m tests.fuzz --seed {self.seed} --only {number}" + "".join(
                f" --kind {k}" for k in self.kinds
            )
            (where / "failure.txt").write_text(f"{rerun}\n{again.said}")
            tell(
                f"FAILED seed {self.seed} step {number}: {failure.place}\n{again.said}  case  {_short(least)}"
            )
            tell(f"  input {where}\n  again {rerun}")
        return False


def _short(one: Case) -> str:
    return msgspec.json.encode(one).decode()
