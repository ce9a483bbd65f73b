"""The Relevance model: with which probability a user would accept a cluster.

It learns from real feedback alone, as it comes, weighted by 1 / propensity up to a limit: labels of its own
would confirm themselves. (CoEA, arXiv:2508.00450, tunes a language model each period; learning every batch is
ours.)

Shape suffixes: B rows, C clusters, S shown of a row.
"""

from collections.abc import Sequence

import numpy as np
import torch
from torch.nn.functional import binary_cross_entropy_with_logits

from learners.coevolution.compact import load_weights, seeded, tensors, weights_tree
from learners.coevolution.inputs import Feedback, Inputs
from state.arrays import Doubles
from state.tree import Tree


class CompactRelevance:
    """The compact network by Adam, on binary cross-entropy."""

    LR = 2e-3
    ROWS = 8
    """Rows of a step."""

    def __init__(self, clusters: int, sizes: Sequence[int], seed: int) -> None:
        self.net = seeded(clusters, sizes, seed)
        self.adam = torch.optim.Adam(self.net.parameters(), self.LR)
        for weight in self.net.parameters():
            self.adam.state[weight] = {
                "step": torch.zeros(()),
                "exp_avg": torch.zeros_like(weight),
                "exp_avg_sq": torch.zeros_like(weight),
            }

    def accepts(self, inputs: Inputs) -> Doubles:
        with torch.no_grad():
            p_BC: Doubles = torch.sigmoid(self.net(tensors(inputs))).double().numpy()
        return p_BC

    def learn(self, feedback: Feedback) -> None:
        weight_BS = feedback.weight_BS
        label_BS = feedback.accepted_BS.astype(np.float32)
        for start in range(0, len(label_BS), self.ROWS):
            rows = slice(start, start + self.ROWS)
            logit_BC = self.net(tensors(feedback.inputs.take(rows)))
            logit_BS = logit_BC.gather(1, torch.from_numpy(feedback.cluster_BS[rows]))
            loss = binary_cross_entropy_with_logits(
                logit_BS, torch.from_numpy(label_BS[rows]), torch.from_numpy(weight_BS[rows])
            )
            self.adam.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            self.adam.step()

    def tree(self) -> Tree:
        moments = {
            name: {key: value.numpy().copy() for key, value in self.adam.state[weight].items()}
            for name, weight in self.net.named_parameters()
        }
        return {"weights": weights_tree(self.net), "adam": moments}

    def load(self, tree: Tree) -> None:
        load_weights(self.net, tree["weights"])
        for name, weight in self.net.named_parameters():
            for key, value in self.adam.state[weight].items():
                value.copy_(torch.from_numpy(np.array(tree["adam"][name][key])))
