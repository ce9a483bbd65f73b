"""What the checks of a learner run on: a learner of its own, on a made-up stream, batch after batch.

The stream comes from who calls, for a learner knows no operator.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from learners.contract import Context, Learner, Needs, Settings
from learners.tables.catalogue import Catalogue
from learners.tables.expiry import Expiry
from learners.tables.leaveout import Had
from learners.training.trainer import Scored, Trainer
from state.errors import InputError
from state.examples import ExampleBatch, concat
from state.tree import Tree

SIZE, LONG, GAPS = 600, 2000, 60
"""Rows of a stream; of one without an end; of one with gaps."""
RANKED = 0.25
"""Share of the rows that a check has ranked: the others are learned from."""
HOUR_MS, DAY_MS = 3_600_000, 86_400_000
Kind = Literal["plain", "turned", "endless", "gaps"]
"""Of a stream: as usual; with every label turned round; on which nobody and nothing is there for longer than
a day; whose times jump by centuries, both ways."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamSpec:
    """What a made-up stream is to be like."""

    needs: Needs
    labelled: bool
    kind: Kind = "plain"
    delay_ms: int = 0
    expire_ms: int | None = None


class Source(Protocol):
    """A stream's examples; they are worked out in order."""

    def examples(self, start: int, stop: int) -> ExampleBatch:
        """Those of rows `start` to before `stop`."""

    def tree(self) -> Tree:
        """Where it is."""

    def load(self, tree: Tree) -> None:
        """Go on from there."""


MakeSource = Callable[[StreamSpec], Source]


class Bench:
    """One learner on a stream of its own, batch after batch."""

    def __init__(
        self,
        cls: type[Learner],
        labelled: bool,
        make: MakeSource,
        *,
        config: Settings | None = None,
        seed: int = 0,
        kind: Kind = "plain",
        delay_ms: int = 0,
        expire_ms: int | None = None,
        ranked: float = 1.0,
    ) -> None:
        self.catalogue = Catalogue()
        context = context_of(labelled, self.catalogue, seed)
        self.learner = cls(cls.Config() if config is None else config, context)
        asked = StreamSpec(
            needs=self.learner.needs, labelled=labelled, kind=kind, delay_ms=delay_ms, expire_ms=expire_ms
        )
        self.source = make(asked)
        self.scored: list[Scored] = []
        self.trainer = Trainer(
            {cls.name: self.learner},
            self.catalogue,
            Had("none"),
            rank_share=ranked,
            listeners=(self.scored.append,),
            expiry=None if expire_ms is None else Expiry(expire_ms, every=64),
        )

    def run(self, start: int = 0, stop: int = SIZE, size: int = 50) -> Self:
        for at in range(start, stop, size):
            self.trainer.step(self.source.examples(at, min(at + size, stop)))
        return self

    @property
    def rows(self) -> ExampleBatch:
        """All that was scored."""
        return concat([part.batch for part in self.scored])

    def answers(self, name: str | None = None) -> tuple[list[float], list[int]]:
        """P(action) of every row, and ranks, by the learner or a branch of it."""
        outcomes = [part.outcomes[name or self.learner.name] for part in self.scored]
        p = [x for o in outcomes if o.p_B is not None for x in o.p_B.tolist()]
        rank = [x for o in outcomes if o.rank_R is not None for x in o.rank_R.tolist()]
        return p, rank


def context_of(labelled: bool, catalogue: Catalogue, seed: int = 0) -> Context:
    """What a learner on a made-up stream is built with."""
    roles = frozenset({"user", "item", "time", "category", "session", "lat", "lon"})
    return Context(
        labelled=labelled, roles=roles | ({"label"} if labelled else set()), catalogue=catalogue, seed=seed
    )


@dataclass(frozen=True, slots=True)
class Case:
    """A learner on one kind of log: with labels or without."""

    cls: type[Learner]
    labelled: bool
    make: MakeSource = field(repr=False)
    config: Settings | None = None

    def bench(
        self,
        *,
        seed: int = 0,
        kind: Kind = "plain",
        delay_ms: int = 0,
        expire_ms: int | None = None,
        ranked: float = RANKED,
    ) -> Bench:
        """One more of it, on a stream from its beginning."""
        more = {"seed": seed, "delay_ms": delay_ms, "expire_ms": expire_ms, "ranked": ranked}
        return Bench(self.cls, self.labelled, self.make, config=self.config, kind=kind, **more)  # type: ignore[arg-type]


class BrokenError(InputError):
    """What a learner was expected to do, what it did, and what to do about it."""

    def __init__(self, sentence: str, each: Sequence[str] = ()) -> None:
        super().__init__(sentence)
        self.each = tuple(each) or (sentence,)
        """One sentence a property."""


def expect(held: object, sentence: str) -> None:
    """Raises BrokenError with that sentence, unless it holds."""
    if not held:
        raise BrokenError(sentence)


def share_of(wrong: NDArray[np.bool_]) -> str:
    """How many."""
    return f"{int(wrong.sum()):,} of {wrong.size:,}"
