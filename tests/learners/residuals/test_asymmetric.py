"""The asymmetric SVD: its features by definition, and its step of learning against autograd."""

import numpy as np
import pytest
import torch

from learners.residuals.asymmetric import (
    Asymmetric,
    AsymmetricPart,
    AsymmetricSteps,
    Factors,
    Snapshots,
    learn_row,
)
from tests.learners.parts import Drive, Log

ITEMS, ROOM, WIDTH = 5, 4, 3


def planted(seed: int = 0) -> tuple[Factors, Snapshots]:
    rng = np.random.default_rng(seed)
    q, p, o = (rng.normal(size=(ITEMS, WIDTH)).astype(np.float32) for _ in range(3))
    factors = Factors(q, p, o, np.full((ITEMS, 3), 0.5, np.float32))
    other = np.array([[1, 3, 4, 0]], np.int32)
    residual = np.array([[0.4, -0.7, 0.0, 9.0]], np.float32)
    return factors, Snapshots(other, residual, np.array([3]), np.array([0]))


@pytest.mark.parametrize("label", [0.0, 1.0])
def test_one_step_is_adagrad_on_the_gradient_of_the_log_loss(label: float) -> None:
    factors, past = planted()
    logit, rates = 0.3, AsymmetricSteps(0.1, 0.03, True)
    weights = [torch.tensor(w.astype(np.float64), requires_grad=True) for w in factors[:3]]
    q, p, o = weights
    j, e = torch.tensor([1, 3, 4]), torch.tensor(past.residual_PH[0, :3].astype(np.float64))
    s = (e[:, None] * p[j] + o[j]).sum(0) / np.sqrt(3 + 5)
    z = torch.tensor(logit, dtype=torch.float64) + q[2] @ s
    target = torch.tensor(label, dtype=torch.float64)
    loss = torch.nn.functional.binary_cross_entropy_with_logits(z, target)
    gradients = [gradient.numpy() for gradient in torch.autograd.grad(loss, weights)]
    expected = []
    for c, rate in enumerate((rates.rate, rates.rate, rates.rate_shown)):
        pace = rate / np.sqrt(factors.square_I3[:, c] + (gradients[c] ** 2).mean(1))
        expected.append(weights[c].detach().numpy() - pace[:, None] * gradients[c])
    learn_row(
        2, logit, label, past, 0, factors, rates, np.zeros(WIDTH, np.float32), np.zeros(WIDTH, np.float32)
    )
    for got, wanted in zip(factors[:3], expected, strict=True):
        np.testing.assert_allclose(got, wanted, rtol=1e-5, atol=1e-6)


def test_an_item_twice_in_the_past_is_learned_twice() -> None:
    factors, past = planted()
    past.other_PH[0, :2] = 1
    before = factors.o_IK[1].copy()
    once, once_past = planted()
    once_past.other_PH[0, 1] = -1
    for f, s in ((factors, past), (once, once_past)):
        rates, room = AsymmetricSteps(0.1, 0.1, True), np.zeros((2, WIDTH), np.float32)
        learn_row(2, 0.0, 1.0, s, 0, f, rates, room[0], room[1])
    assert np.abs(factors.o_IK[1] - before).max() > 1.2 * np.abs(once.o_IK[1] - before).max()


def test_the_feature_is_the_product_of_item_and_past() -> None:
    log = Log(90, delay=4)
    part = AsymmetricPart(Asymmetric(room=6, width=4, rate=0.5, accumulator=0.1), seed=3)
    drive = Drive(part, log)
    drive.run(0, 80, 30)
    shown = [b for b in range(80) if log.user[b] == log.user[80]][-6:]
    drive.part.step(log.rows(slice(0, 0)), log.known(slice(75, 76)), np.zeros(0, np.int64))
    s = np.zeros(4)
    for h in shown:
        known = h < 76 and not np.isnan(log.residual[h])
        s += (log.residual[h] if known else 0.0) * part.items["p_IK"][log.item[h]] + part.items["o_IK"][
            log.item[h]
        ]
    z = part.items["q_IK"][log.item[80]] @ s / np.sqrt(len(shown) + 5)
    assert part.peek(log.rows(slice(80, 81)))[0, 0] == pytest.approx(z, rel=1e-4)


def test_known_only_a_row_that_was_shown_changes_nothing() -> None:
    log = Log(40, delay=100)
    part = AsymmetricPart(Asymmetric(room=6, width=4, exposure=False), seed=3)
    assert not Drive(part, log).run(0, 40, 7).any()
