"""Layers with the first weights that a stream needs: He's scale, no bias, and a branch that starts at
zero."""

import torch
from torch import Tensor, nn


def drawn(inputs: int, *shape: int) -> nn.Parameter:
    """A parameter of `shape`, normal with the spread of a layer of so many `inputs`."""
    return nn.Parameter(torch.randn(shape) * inputs**-0.5)


class Dense(nn.Linear):
    """A linear layer with He's scale and biases of zero."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__(inputs, outputs)
        nn.init.normal_(self.weight, 0.0, inputs**-0.5)
        nn.init.zeros_(self.bias)


class Tower(nn.Module):
    """Dense layers with a PReLU after each, and one number (N,) at the top."""

    def __init__(self, inputs: int, hidden: tuple[int, ...]) -> None:
        super().__init__()
        sizes = (inputs, *hidden)
        self.layers = nn.ModuleList(Dense(a, b) for a, b in zip(sizes, hidden, strict=False))
        self.bends = nn.ModuleList(nn.PReLU(size) for size in hidden)
        self.out = Dense(sizes[-1], 1)

    def forward(self, input_NI: Tensor) -> Tensor:
        for layer, bend in zip(self.layers, self.bends, strict=True):
            input_NI = bend(layer(input_NI))
        value_N: Tensor = self.out(input_NI)[:, 0]
        return value_N
