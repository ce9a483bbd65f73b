"""What a Relevance model is, a Novelty model, and a policy of the explore slot; and what Novelty learns from.

Shape suffixes: B rows, C clusters, P pairs.
"""

from collections.abc import Generator
from typing import Literal, NamedTuple, Protocol, Self, runtime_checkable

import msgspec

from learners.coevolution.inputs import Asked, Feedback, Inputs
from learners.ranges import Amount, Positive, Some, Whole
from state.arrays import Bools, Doubles, Floats, Int64s
from state.tree import Tree


class Policy(Protocol):
    """Of a slate: what its explore slot shows, and what counts in the places that are exploited."""

    optimism: float
    """What P(accept) of a novel cluster is multiplied by there."""

    def propensities(self, asked: Asked) -> Doubles:
        """Probabilities (B, C), 0 where not open; each row with something open sums to 1."""
        ...


class Relevance(Protocol):
    """What a Relevance model is."""

    def accepts(self, inputs: Inputs) -> Doubles:
        """P(accept) of every cluster (B, C)."""
        ...

    def learn(self, feedback: Feedback) -> None:
        """One pass."""
        ...

    def tree(self) -> Tree: ...

    def load(self, tree: Tree) -> None: ...


class Lessons(NamedTuple):
    """Pairs to learn from."""

    inputs: Inputs
    open_PC: Bools
    better_P: Int64s
    worse_P: Int64s
    prefer_P: Floats
    """What the preference counts for; 0 where there is none."""
    anchor_P: Floats
    """What `better` counts for as something that was accepted."""

    @property
    def size(self) -> int:
        return len(self.better_P)

    def take(self, rows: Int64s) -> Self:
        return type(self)._make(
            column.take(rows) if isinstance(column, Inputs) else column[rows] for column in self
        )


class Tuning(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How Novelty learns."""

    by: Literal["dpo", "sft"] = "dpo"
    epochs: Whole = 2
    lr: Amount = 2e-3
    beta: Amount = 0.3
    anchor: Amount = 1.0
    decay: Amount = 0.02
    clip: Positive = 1.0
    """Of the gradient's length."""
    batch: Some = 64


START = Tuning(by="sft", epochs=12, lr=3e-3)
"""How it starts, from what was accepted so far."""


class Novelty(Protocol):
    """What a Novelty model is."""

    def log_p(self, inputs: Inputs, open_BC: Bools) -> Doubles:
        """log N(c | x) (B, C), -inf where a cluster is not open; each row has one that is."""
        ...

    def tuned(self, lessons: Lessons, how: Tuning, seed: int) -> Self:
        """Another one that has learned; this one stays as it is."""
        ...

    def tree(self) -> Tree: ...

    def load(self, tree: Tree) -> None: ...


@runtime_checkable
class Gradual(Protocol):
    """A Novelty model that can be tuned a little at a time, so that nobody waits for it."""

    def tuning(self, lessons: Lessons, how: Tuning, seed: int) -> Generator[str, None, Novelty]:
        """`tuned`, step by step."""
        ...


def tuning(novelty: Novelty, lessons: Lessons, how: Tuning, seed: int) -> Generator[str, None, Novelty]:
    """`tuned`, in as many steps as the model takes."""
    if isinstance(novelty, Gradual):
        return (yield from novelty.tuning(lessons, how, seed))
    return novelty.tuned(lessons, how, seed)
