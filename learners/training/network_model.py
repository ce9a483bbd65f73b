"""Slots on a device, with AdamW for what is dense and row-wise AdaGrad for the rows of the table.

What a micro-batch needs goes to the device in one transfer, the rows' gradients come back in one.

Shape suffixes: as in `learners.slots`.
"""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from learners.slots import Seen, Slots
from learners.tables.embedding import EVERYONE, EmbeddingTable
from learners.training.network_inputs import NetworkInputs
from state.errors import InputError
from state.examples import Floats
from state.keys import Int64s
from state.tree import Tree

Loss = Callable[[Tensor, Mapping[str, Tensor]], Tensor]
"""Of logits (B, C) and the goal's arrays, summed over rows."""

_ALIGNED = 16
_VECTOR = "vector."


def device_of(name: str, learner: str) -> torch.device:
    """The device called so; "auto" is the GPU where there is one. Raises InputError where it is missing."""
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        raise InputError(
            f"{learner}.device: expected a device that this machine has, got {name!r}; use 'cpu'"
        ) from error
    return device


class Model:
    """The parts of a system, their optimiser, and the table that their ids are in."""

    def __init__(
        self,
        slots: Slots,
        table: EmbeddingTable,
        device: torch.device,
        *,
        lr: float,
        lr_steps: float,
        row_lr: float,
        decay: float,
        bf16: bool = False,
    ) -> None:
        self.slots = slots.to(device)
        self.bf16 = bf16
        self.table = table
        self.device = device
        self.lr, self.lr_steps, self.row_lr = lr, lr_steps, row_lr
        self.steps = 0
        self.adam = torch.optim.AdamW(_by_rate(self.slots), lr, weight_decay=decay, fused=True)
        for weight in self.slots.parameters():
            self.adam.state[weight] = {
                "step": torch.zeros((), device=device),
                "exp_avg": torch.zeros_like(weight),
                "exp_avg_sq": torch.zeros_like(weight),
            }

    def logits(self, inputs: NetworkInputs) -> Floats:
        """Logits of every candidate (B, C); ids without a row count as zeros."""
        with torch.inference_mode():
            seen, _ = self._seen(inputs, self.table.rows(inputs.id_I), {})
            with self._dense():
                logit_BC = self.slots(seen)[0]
            return _fetched(logit_BC)

    def queries(self, inputs: NetworkInputs) -> Floats:
        """What is published of every row's user (B, M, E)."""
        with torch.inference_mode():
            seen, _ = self._seen(inputs, self.table.rows(inputs.id_I), {})
            with self._dense():
                query_BME = self.slots.queries(seen)
            return _fetched(query_BME)

    def items(self, inputs: NetworkInputs) -> Floats:
        """Every distinct item of `inputs` as a candidate (U, E)."""
        with torch.inference_mode():
            seen, _ = self._seen(inputs, self.table.rows(inputs.id_I), {})
            with self._dense():
                item_UE = self.slots.embed(seen).item_UE
            return _fetched(item_UE)

    def learn(self, inputs: NetworkInputs, goal: Mapping[str, NDArray[Any]], loss: Loss) -> None:
        """One step of gradient, then one of `observe`; ids of `inputs` have rows."""
        rows_I = self.table.rows(inputs.id_I)
        seen, aims = self._seen(inputs, rows_I, goal)
        for leaf_ID in seen.vector.values():
            leaf_ID.requires_grad_()
        self.adam.zero_grad()
        with self._dense():
            logit_BC, made = self.slots(seen)
        total = loss(logit_BC.float(), aims)
        for part in self.slots.parts:
            total = sum(part.loss(made).values(), total)
        total.backward()  # type: ignore[no-untyped-call]
        lr = self.lr / (1.0 + self.steps / self.lr_steps) ** 0.5
        for group in self.adam.param_groups:
            group["lr"] = group["rate"] * lr
        self.adam.step()
        self.steps += 1
        self._learn_rows(rows_I, seen.vector)
        with torch.no_grad():
            for part in self.slots.parts:
                part.observe(made)

    def doubt(self, share: float) -> None:
        """Go back on the schedule of AdamW's rate."""
        self.steps = round((1.0 - share) * self.steps)

    def _dense(self) -> AbstractContextManager[Any]:
        """Products of matrices in bfloat16, if so wished; weights, sums and the loss stay in float32."""
        return torch.autocast(self.device.type, torch.bfloat16) if self.bf16 else nullcontext()

    def _learn_rows(self, rows_I: Int64s, vector: Mapping[str, Tensor]) -> None:
        gradients = [leaf.grad for leaf in vector.values() if leaf.grad is not None]
        assert len(gradients) == len(vector)
        all_ID = torch.cat(gradients, 1).cpu().numpy()
        at = 0
        for name, slot in self.table.slots.items():
            gradient_ID, at = all_ID[:, at : at + slot.width], at + slot.width
            square_I = self.table.square[name][rows_I] + np.square(gradient_ID).mean(1)
            self.table.square[name][rows_I] = square_I
            self.table.weight[name][rows_I] -= (self.row_lr / np.sqrt(square_I))[:, None] * gradient_ID
        self.table.stale_N[rows_I] |= EVERYONE

    def _seen(
        self, inputs: NetworkInputs, rows_I: Int64s, goal: Mapping[str, NDArray[Any]]
    ) -> tuple[Seen, Mapping[str, Tensor]]:
        arrays = {name: array for name, array in inputs._asdict().items() if name != "id_I"}
        known = np.flatnonzero(rows_I >= 0)
        for name, slot in self.table.slots.items():
            leaf_ID = arrays[_VECTOR + name] = np.zeros((len(rows_I), slot.width), np.float32)
            leaf_ID[known] = self.table.weight[name][rows_I[known]]
        tensors = placed({**arrays, **goal}, self.device)
        vector = {name: tensors.pop(_VECTOR + name) for name in self.table.slots}
        aims = {name: tensors.pop(name) for name in goal}
        return Seen(vector=vector, **tensors), aims

    def tree(self) -> Tree:
        weights = {
            name: {"weight": weight, **self.adam.state[weight]}
            for name, weight in self.slots.named_parameters()
        }
        return {
            "steps": self.steps,
            **{name: {key: _saved(value) for key, value in saved.items()} for name, saved in weights.items()},
            "buffers": {name: _saved(buffer) for name, buffer in self.slots.named_buffers()},
        }

    def load(self, tree: Tree) -> None:
        self.steps = int(tree["steps"])
        with torch.no_grad():
            for name, weight in self.slots.named_parameters():
                for key, value in {"weight": weight, **self.adam.state[weight]}.items():
                    value.copy_(torch.from_numpy(np.array(tree[name][key])).reshape(value.shape))
            for name, buffer in self.slots.named_buffers():
                buffer.copy_(torch.from_numpy(np.array(tree["buffers"][name])))


def _by_rate(slots: Slots) -> list[dict[str, Any]]:
    """Parameters as groups of AdamW; a part within another has its own rate."""
    rate_of: dict[Tensor, float] = {}
    for part in slots.parts:
        rate_of |= dict.fromkeys(part.parameters(), part.rate)
    return [
        {"params": [weight for weight in rate_of if rate_of[weight] == rate], "rate": rate}
        for rate in sorted({1.0, *rate_of.values()}, reverse=True)
    ]


def placed(arrays: Mapping[str, NDArray[Any]], device: torch.device) -> dict[str, Tensor]:
    """Arrays as tensors on a device: on the CPU they share memory, to any other they go in one transfer."""
    if device.type == "cpu":
        return {name: torch.from_numpy(array) for name, array in arrays.items()}
    return unpacked(torch.from_numpy(packed(arrays)).to(device), arrays)


def packed(arrays: Mapping[str, NDArray[Any]]) -> NDArray[np.uint8]:
    """The bytes of all arrays, one after another, each at a multiple of `_ALIGNED`."""
    places = _places(arrays)
    bytes_P = np.empty(max((place.stop for place in places.values()), default=0), np.uint8)
    for name, array in arrays.items():
        bytes_P[places[name]] = np.ascontiguousarray(array).reshape(-1).view(np.uint8)
    return bytes_P


def unpacked(bytes_P: Tensor, arrays: Mapping[str, NDArray[Any]]) -> dict[str, Tensor]:
    """Views of `packed(arrays)`, wherever it is."""
    places = _places(arrays)
    return {
        name: bytes_P[places[name]]
        .view(torch.from_numpy(np.empty(0, array.dtype)).dtype)
        .reshape(array.shape)
        for name, array in arrays.items()
    }


def _places(arrays: Mapping[str, NDArray[Any]]) -> dict[str, slice]:
    places, start = {}, 0
    for name, array in arrays.items():
        places[name] = slice(start, start + array.nbytes)
        start += -(-array.nbytes // _ALIGNED) * _ALIGNED
    return places


def _fetched(tensor: Tensor) -> Floats:
    fetched: Floats = tensor.float().cpu().numpy()
    return fetched


def _saved(tensor: Tensor) -> NDArray[Any]:
    saved: NDArray[Any] = tensor.detach().cpu().numpy().copy()
    return saved
