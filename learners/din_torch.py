"""DIN's network and its updates in torch; `learners.systems.din` says what it computes.

Shape suffixes: as in `learners.din_inputs`; D width of an embedding, V = 2 D of an item, H hidden
units of the attention, A numbers of an entry.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy, embedding, embedding_bag, pad

from learners.din_inputs import Bags, Inputs
from learners.tables.embedding import CHECKPOINT, EmbeddingTable
from state.errors import InputError
from state.examples import Doubles, Floats
from state.keys import Int64s
from state.tree import Tree

SLOT = "vector"
"""The slot of the embedding table."""


class Attention(nn.Module):
    """The activation unit: weights of entries for a candidate, never normalised, and the sum they make.

    The paper's first layer takes (entry, candidate, their product); being linear, it is one matrix an entry,
    made for each candidate, and one product does for all entries.
    """

    def __init__(self, item: int, numbers: int, hidden: int) -> None:
        super().__init__()
        self.entry = nn.Parameter(torch.empty(item + numbers, hidden))
        self.product = nn.Parameter(torch.empty(item, hidden))
        self.candidate = nn.Linear(item, hidden)
        self.bend = nn.PReLU(hidden)
        self.out = nn.Linear(hidden, 1)

    def forward(self, entry_CWV: Tensor, real_CW: Tensor, candidate_CV: Tensor) -> Tensor:
        product_CVH = candidate_CV[:, :, None] * self.product
        extra = self.entry.shape[0] - self.product.shape[0]
        matrix_CVH = self.entry + pad(product_CVH, (0, 0, 0, extra))
        hidden_CWH = torch.bmm(entry_CWV, matrix_CVH) + self.candidate(candidate_CV)[:, None]
        bent_NH = self.bend(hidden_CWH.reshape(-1, hidden_CWH.shape[2]))
        weight_CW = self.out(bent_NH).reshape(real_CW.shape) * real_CW
        count_C1 = real_CW.sum(1, keepdim=True)
        return torch.bmm((weight_CW * torch.rsqrt(count_C1 + 1.0))[:, None], entry_CWV)[:, 0]


class Net(nn.Module):
    """Logits of candidates."""

    def __init__(
        self, width: int, fields: int, entry: int, numbers: int, hidden: tuple[int, int, int]
    ) -> None:
        super().__init__()
        item = 2 * width
        self.attention = Attention(item, entry, hidden[0])
        joined = 2 * item + item + entry + fields * width + numbers
        self.first, self.second = nn.Linear(joined, hidden[1]), nn.Linear(hidden[1], hidden[2])
        self.bend_first, self.bend_second = nn.PReLU(hidden[1]), nn.PReLU(hidden[2])
        self.out = nn.Linear(hidden[2], 1)

    def reset(self, seed: int) -> None:
        """Draw the first weights: He's scale for layers, zero for biases and for the last layer."""
        generator = torch.Generator().manual_seed(seed)
        with torch.no_grad():
            for name, weight in self.named_parameters():
                if "bend" in name:
                    weight.fill_(0.25)
                elif weight.dim() == 1:
                    weight.zero_()
                else:
                    inputs = weight.shape[0] if name.endswith(("entry", "product")) else weight.shape[1]
                    weight.normal_(0.0, inputs**-0.5, generator=generator)

    def forward(self, inputs: "Placed", leaf_ID: Tensor) -> Tensor:
        own_UD, side_UD = embedding(inputs.own_U, leaf_ID), _bagged(leaf_ID, inputs.sides)
        item_UV = torch.cat([own_UD, side_UD], 1)
        candidate_CV = embedding(inputs.target_C, item_UV)
        entry_BWV = torch.cat([embedding(inputs.entry_BW, item_UV), inputs.entry_BWA], 2)
        real_BW, owner_C = inputs.real_BW, inputs.owner_C
        if owner_C is not None:
            entry_BWV, real_BW = entry_BWV[owner_C], real_BW[owner_C]
        interest_CV = self.attention(entry_BWV, real_BW, candidate_CV)
        joined = [
            candidate_CV,
            interest_CV,
            interest_CV[:, : candidate_CV.shape[1]] * candidate_CV,
            _bagged(leaf_ID, inputs.fields).reshape(len(candidate_CV), -1),
            inputs.number_CX,
        ]
        hidden = self.bend_first(self.first(torch.cat(joined, 1)))
        logit_C: Tensor = self.out(self.bend_second(self.second(hidden)))[:, 0] + inputs.offset_C
        return logit_C


class PlacedBags:
    """`Bags` as tensors."""

    def __init__(self, bags: Bags, device: torch.device) -> None:
        self.index_K = _placed(bags.index_K, device)
        self.start_B = _placed(bags.start_B, device)


class Placed:
    """`Inputs` as tensors on a device; on the CPU they share memory."""

    def __init__(self, inputs: Inputs, device: torch.device) -> None:
        self.own_U = _placed(inputs.own_U, device)
        self.sides = PlacedBags(inputs.sides, device)
        self.fields = PlacedBags(inputs.fields, device)
        self.entry_BW = _placed(inputs.entry_BW, device)
        self.real_BW = _placed(inputs.real_BW, device)
        self.entry_BWA = _placed(inputs.entry_BWA, device)
        self.target_C = _placed(inputs.target_C, device)
        self.owner_C = None if inputs.owner_C is None else _placed(inputs.owner_C, device)
        self.number_CX = _placed(inputs.number_CX, device)
        self.offset_C = _placed(inputs.offset_C, device)


class Model:
    """The network with its Adam, beside an embedding table with its row-wise AdaGrad."""

    def __init__(
        self,
        net: Net,
        table: EmbeddingTable,
        *,
        seed: int,
        lr: float,
        lr_steps: float,
        embedding_lr: float,
        decay: float,
        device: str,
    ) -> None:
        try:
            self.device = torch.device(device)
            torch.empty(0, device=self.device)
        except (RuntimeError, AssertionError) as error:
            raise InputError(
                f"din.device: expected a device that this machine has, got {device!r}; use 'cpu'"
            ) from error
        torch.set_num_threads(1)  # on several, sums are taken in another order from run to run
        net.reset(seed)
        self.net = net.to(self.device)
        self.table = table
        self.lr, self.lr_steps, self.embedding_lr = lr, lr_steps, embedding_lr
        self.steps = 0
        self.adam = torch.optim.AdamW(net.parameters(), lr, weight_decay=decay, fused=True)
        for weight in net.parameters():
            self.adam.state[weight] = {
                "step": torch.zeros((), device=self.device),
                "exp_avg": torch.zeros_like(weight),
                "exp_avg_sq": torch.zeros_like(weight),
            }

    def logits(self, inputs: Inputs) -> Doubles:
        """Log odds of every candidate (C,); ids without a row count as zeros."""
        with torch.inference_mode():
            leaf_ID, _ = self._leaf(inputs)
            logit_C = self.net(Placed(inputs, self.device), leaf_ID)
            found: Doubles = logit_C.cpu().numpy().astype(np.float64)
            return found

    def learn_labels(self, inputs: Inputs, label_C: Floats) -> None:
        """One step of cross-entropy against labels 0..1."""

        def loss(logit_C: Tensor) -> Tensor:
            target_C = _placed(label_C, self.device)
            return binary_cross_entropy_with_logits(logit_C, target_C, reduction="sum")

        self._learn(inputs, loss)

    def learn_choices(self, inputs: Inputs, off_BS: Floats) -> None:
        """One step of softmax cross-entropy; S candidates a row, the true one first, `off_BS` added."""

        def loss(logit_C: Tensor) -> Tensor:
            logit_BS = logit_C.reshape(off_BS.shape) + _placed(off_BS, self.device)
            true_B = torch.zeros(len(off_BS), dtype=torch.int64, device=self.device)
            return cross_entropy(logit_BS, true_B, reduction="sum")

        self._learn(inputs, loss)

    def _learn(self, inputs: Inputs, loss: Callable[[Tensor], Tensor]) -> None:
        leaf_ID, rows_I = self._leaf(inputs)
        leaf_ID.requires_grad_()
        self.adam.zero_grad()
        loss(self.net(Placed(inputs, self.device), leaf_ID)).backward()  # type: ignore[no-untyped-call]
        self.adam.param_groups[0]["lr"] = self.lr / (1.0 + self.steps / self.lr_steps) ** 0.5
        self.adam.step()
        self.steps += 1
        assert leaf_ID.grad is not None
        gradient_ID = leaf_ID.grad.cpu().numpy()
        square_I = self.table.square[SLOT][rows_I] + np.square(gradient_ID).mean(1)
        self.table.square[SLOT][rows_I] = square_I
        self.table.weight[SLOT][rows_I] -= (self.embedding_lr / np.sqrt(square_I))[:, None] * gradient_ID
        self.table.stale_N[rows_I] |= CHECKPOINT

    def _leaf(self, inputs: Inputs) -> tuple[Tensor, Int64s]:
        rows_I = self.table.rows(inputs.id_I)
        known = np.flatnonzero(rows_I >= 0)
        leaf_ID = np.zeros((len(rows_I), self.table.slots[SLOT].width), np.float32)
        leaf_ID[known] = self.table.weight[SLOT][rows_I[known]]
        return _placed(leaf_ID, self.device), rows_I

    def tree(self) -> Tree:
        weights = {
            name: {"weight": weight, **self.adam.state[weight]}
            for name, weight in self.net.named_parameters()
        }
        return {
            "steps": self.steps,
            **{
                name: {key: value.detach().cpu().numpy().copy() for key, value in saved.items()}
                for name, saved in weights.items()
            },
        }

    def load(self, tree: Tree) -> None:
        self.steps = int(tree["steps"])
        with torch.no_grad():
            for name, weight in self.net.named_parameters():
                for key, value in {"weight": weight, **self.adam.state[weight]}.items():
                    value.copy_(torch.from_numpy(np.array(tree[name][key])))


def _bagged(leaf_ID: Tensor, bags: PlacedBags) -> Tensor:
    """The mean of each bag, zeros of an empty one."""
    return embedding_bag(bags.index_K, leaf_ID, bags.start_B, mode="mean")


def _placed(array: NDArray[Any], device: torch.device) -> Tensor:
    return torch.from_numpy(array).to(device)
