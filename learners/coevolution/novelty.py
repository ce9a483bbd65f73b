"""The Novelty model: which of the clusters that are open to a user to try, as a distribution.

It starts from what was accepted (supervised fine-tuning) and is tuned once a cycle, on pairs by direct
preference optimisation (Rafailov et al., NeurIPS 2023) with an anchor on what was accepted, or on the anchor
alone. CoEA (arXiv:2508.00450) fine-tunes a language model; which loss, we do not know.

    -log sigmoid(beta (log N(c+)/N_old(c+) - log N(c-)/N_old(c-))) - anchor log N(c+)

Shape suffixes: B rows, C clusters, P pairs.
"""

from collections.abc import Generator, Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from learners.coevolution.compact import load_weights, seeded, tensors, weights_tree
from learners.coevolution.contracts import Lessons, Tuning
from learners.coevolution.inputs import Inputs
from state.arrays import Bools, Doubles
from state.tree import Tree

CLOSED = -1e9
"""Logit of a cluster that is not open: its probability is exactly 0."""


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
