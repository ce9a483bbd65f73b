"""What a network does to a device, shown on one that holds shapes and no numbers (torch's `meta`): whatever
would have to wait for a number raises there, and every crossing is an operation that can be counted."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, cast

import msgspec
import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from learners.registry import able, learner
from learners.training.network import Network, NetworkSettings
from state.examples import ExampleBatch, Floats
from tests.contracts.test_every_learner import Bench

NETWORKS = {name: learner(name) for name in able(lambda cls: issubclass(cls, Network))}
every = pytest.mark.parametrize("name", NETWORKS)


CROSSES = (torch.ops.aten._to_copy.default, torch.ops.aten.to.dtype_layout)
"""With gradients and without."""


class Crossings(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts what goes to the device and comes back, where it is zeros."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.count = Counter[str]()

    def __torch_dispatch__(
        self,
        func: Any,
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        to = None if kwargs is None else kwargs.get("device")
        if func in CROSSES and to is not None and to != args[0].device:
            self.count[f"to {to.type}"] += 1
            if to.type == "cpu":
                return torch.zeros(args[0].shape, dtype=args[0].dtype)
        return func(*args, **(kwargs or {}))


class NoSteps:
    """In the place of AdamW, whose fused kernel there is for CPUs and GPUs only."""

    def __init__(self, groups: list[dict[str, Any]], lr: float, **_: Any) -> None:
        self.param_groups, self.state = groups, dict[torch.Tensor, Any]()

    def zero_grad(self) -> None:
        for group in self.param_groups:
            for weight in group["params"]:
                weight.grad = None

    def step(self) -> None:
        pass


@pytest.fixture
def on_meta(monkeypatch: pytest.MonkeyPatch, name: str) -> tuple[Network, ExampleBatch]:
    """A network that has ids in its table, and rows."""
    cls = NETWORKS[name]
    rows = Bench(cls, cls.predicts).run(stop=128).rows
    monkeypatch.setattr(torch.optim, "AdamW", NoSteps)
    config = msgspec.structs.replace(cast(NetworkSettings, cls.Config()), device="meta")
    network = Bench(cls, cls.predicts, config=config).learner
    assert isinstance(network, Network)
    network.context.catalogue.learn(rows)
    with Crossings():
        network.learn(rows)
    return network, rows


@every
def test_a_step_of_learning_goes_there_once_and_comes_back_once(
    on_meta: tuple[Network, ExampleBatch],
) -> None:
    network, rows = on_meta
    with Crossings() as crossings:
        network.learn(rows)
    assert crossings.count == {"to meta": 1, "to cpu": 1}


def test_what_waits_for_a_number_is_no_step() -> None:
    """Else the tests below would show nothing."""
    mask = torch.zeros(3, device="meta") > 0
    for wait in (mask.any().item, mask.nonzero, lambda: mask[mask]):
        with Crossings(), pytest.raises((RuntimeError, NotImplementedError)):
            wait()


@every
def test_a_question_goes_there_once_and_comes_back_once(on_meta: tuple[Network, ExampleBatch]) -> None:
    network, rows = on_meta
    with Crossings() as crossings:
        if network.predicting:
            network.score(rows)
        else:
            network.interests(rows)
    assert crossings.count == {"to meta": 1, "to cpu": 1}


@every
def test_bfloat16_says_nearly_what_float32_does(name: str) -> None:
    """After the same events; and what is learned is not the same to the bit, so it was used."""
    cls = NETWORKS[name]
    config = cast(NetworkSettings, cls.Config())
    plain, half = (
        Bench(cls, cls.predicts, config=msgspec.structs.replace(config, bf16=on)).run(stop=256)
        for on in (False, True)
    )
    rows = plain.rows.take(slice(128, 256))
    if cls.predicts:
        assert 0 < np.abs(plain.learner.score(rows) - half.learner.score(rows)).max() < 0.01
        return
    said, nearly = (cast(Floats, one.learner.interests(rows)).sum(1) for one in (plain, half))
    assert 0 < (np.linalg.norm(said - nearly, axis=1) / np.linalg.norm(said, axis=1)).max() < 0.1
