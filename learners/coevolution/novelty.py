"""The Novelty model: which of the clusters that are open to a user to try, as a distribution.

It starts from what was accepted (supervised fine-tuning) and is tuned once a cycle, on pairs by direct
preference optimisation (Rafailov et al., NeurIPS 2023) with an anchor on what was accepted, or on the anchor
alone. CoEA (arXiv:2508.00450) fine-tunes a language model; which loss, we do not know.

    -log sigmoid(beta (log N(c+)/N_old(c+) - log N(c-)/N_old(c-))) - anchor log N(c+)

Shape suffixes: B rows, C clusters, P pairs.
"""

from collections.abc import Generator, Sequence
from typing import Literal, NamedTuple, Protocol, Self, runtime_checkable

import msgspec
import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from learners.coevolution.compact import load_weights, seeded, tensors, weights_tree
from learners.coevolution.inputs import Inputs
from state.arrays import Bools, Doubles, Floats, Int64s
from state.tree import Tree

CLOSED = -1e9
"""Logit of a cluster that is not open: its probability is exactly 0."""


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


class Tuning(msgspec.Struct, frozen=True, kw_only=True):
    """How Novelty learns."""

    by: Literal["dpo", "sft"] = "dpo"
    epochs: int = 2
    lr: float = 2e-3
    beta: float = 0.3
    anchor: float = 1.0
    decay: float = 0.02
    clip: float = 1.0
    """Of the gradient's length."""
    batch: int = 64


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


class CompactNovelty:
    """The compact network, softmax over what is open."""

    def __init__(self, clusters: int, sizes: Sequence[int], seed: int) -> None:
        self.clusters, self.sizes, self.seed = clusters, tuple(sizes), seed
        self.net = seeded(clusters, sizes, seed)

    def log_p(self, inputs: Inputs, open_BC: Bools) -> Doubles:
        with torch.no_grad():
            log_BC: Doubles = self._log_p(tensors(inputs), open_BC).double().numpy()
        log_BC[~open_BC] = -np.inf
        return log_BC

    def tuning(self, lessons: Lessons, how: Tuning, seed: int) -> Generator[str, None, "CompactNovelty"]:
        new = type(self)(self.clusters, self.sizes, self.seed)
        new.load(self.tree())
        rng = np.random.default_rng(seed)
        optimiser = torch.optim.AdamW(new.net.parameters(), how.lr, weight_decay=how.decay)
        for _ in range(how.epochs):
            order_P = rng.permutation(lessons.size)
            for start in range(0, len(order_P), how.batch):
                part = lessons.take(order_P[start : start + how.batch])
                optimiser.zero_grad()
                new._loss(self, part, how).backward()  # type: ignore[no-untyped-call]
                torch.nn.utils.clip_grad_norm_(new.net.parameters(), how.clip)
                optimiser.step()
                yield "tuned a little"
        return new

    def tuned(self, lessons: Lessons, how: Tuning, seed: int) -> "CompactNovelty":
        steps = self.tuning(lessons, how, seed)
        while True:
            try:
                next(steps)
            except StopIteration as ended:
                made: CompactNovelty = ended.value
                return made

    def _log_p(self, inputs: dict[str, Tensor], open_BC: Bools) -> Tensor:
        return torch.log_softmax(self.net(inputs).masked_fill(torch.from_numpy(~open_BC), CLOSED), 1)

    def _loss(self, old: "CompactNovelty", part: Lessons, tuning: Tuning) -> Tensor:
        inputs = tensors(part.inputs)
        better_P, worse_P = torch.from_numpy(part.better_P), torch.from_numpy(part.worse_P)
        log_PC = self._log_p(inputs, part.open_PC)
        row_P = torch.arange(part.size)
        loss_P = -torch.from_numpy(part.anchor_P) * log_PC[row_P, better_P] * tuning.anchor
        if tuning.by == "dpo":
            with torch.no_grad():
                old_PC = old.net(inputs)
            # What normalises N cancels between the two.
            gain_PC = self.net(inputs) - old_PC
            margin_P = gain_PC[row_P, better_P] - gain_PC[row_P, worse_P]
            loss_P = loss_P - torch.from_numpy(part.prefer_P) * logsigmoid(tuning.beta * margin_P)
        return loss_P.mean()

    def tree(self) -> Tree:
        return weights_tree(self.net)

    def load(self, tree: Tree) -> None:
        load_weights(self.net, tree)
