from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st

from learners.mixing.layers import BLOCK
from learners.mixing.mixture import Evidence, Expert, Mixture, MixtureSettings
from learners.mixing.update import CLIP, EARLY, update
from state.errors import InputError
from state.examples import Doubles, Floats
from state.tree import digest


@dataclass(frozen=True)
class Shape:
    """Columns of made-up evidence."""

    features: int = 7
    context: int = 3
    experts: tuple[Expert, ...] = (
        Expert("own", (0, 1, 2)),
        Expert("near", (2, 3, 4, 5)),
        Expert("new", (6,)),
    )
    item_query: tuple[int, ...] = (0, 6)

    def mixture(self, seed: int = 0, **given: Any) -> Mixture:
        return Mixture(
            MixtureSettings(**given),
            features=self.features,
            context=self.context,
            experts=self.experts,
            item_query=self.item_query,
            seed=seed,
        )

    def evidence(self, sizes: list[int], seed: int = 0) -> Evidence:
        rng = np.random.default_rng(seed)
        total = sum(sizes)
        return Evidence(
            np.cumsum([0, *sizes]),
            (3.0 * rng.standard_normal((total, self.features)) - 1.0).astype(np.float32),
            rng.standard_normal(total).astype(np.float32),
            rng.standard_normal((len(sizes), self.context)).astype(np.float32),
            rng.random((len(sizes), len(self.experts))) < 0.6,
            np.array([rng.integers(-1, size) for size in sizes], np.int64),
        )


SHAPE = Shape()


def rows(evidence: Evidence, start: int, stop: int) -> Evidence:
    """Some rows as evidence of their own."""
    c = slice(evidence.start_R1[start], evidence.start_R1[stop])
    return Evidence(
        evidence.start_R1[start : stop + 1] - evidence.start_R1[start],
        evidence.evidence_CF[c],
        evidence.base_C[c],
        evidence.context_RX[start:stop],
        evidence.open_RE[start:stop],
        evidence.true_R[start:stop],
    )


def shaken(mixture: Mixture, seed: int = 0) -> Mixture:
    """The mixture with made-up weights, loads and normalisation."""
    rng = np.random.default_rng(seed)
    tree = mixture.tree()
    for weight in mixture._state.weights:
        weight[...] = rng.standard_normal(weight.shape)
    tree["flat_4P"][0] = tree["mean_P"] = mixture._state.flat_4P[0]
    for name in ("features", "context"):
        tree[name]["mean_N"] = rng.standard_normal(len(tree[name]["mean_N"]))
        tree[name]["scale_N"] = rng.random(len(tree[name]["mean_N"]))
    tree["load_E"] = 2.0 * rng.random(len(tree["load_E"]))
    mixture.load(tree)
    return mixture


def reference(mixture: Mixture, evidence: Evidence) -> tuple[Doubles, Doubles]:
    """Logits (C,) and mean gates (R, E), candidate by candidate, as the equations have them."""
    state = mixture._state
    weights = state.mean
    logit_C = np.zeros(len(evidence.base_C))
    gate_RE = np.zeros(evidence.open_RE.shape)
    for r, (start, stop) in enumerate(pairwise(evidence.start_R1)):
        gates = np.zeros((stop - start, len(mixture.experts)))
        context = (evidence.context_RX[r] - state.context.mean_N) * state.context.scale_N
        for c in range(start, stop):
            x = (evidence.evidence_CF[c] - state.features.mean_N) * state.features.scale_N
            x = np.clip(x, -CLIP, CLIP).astype(np.float64)
            logit_C[c] = evidence.base_C[c] + x @ mixture.linear_F
            gate = {}
            for e in np.flatnonzero(evidence.open_RE[r]):
                query = [*x[list(SHAPE.item_query)], 1.0]
                gate[e] = np.exp(
                    np.clip(context, -CLIP, CLIP) @ weights.gate_context_EX[e]
                    + query @ weights.gate_item_EL[e, : len(query)]
                )
            for e in gate:
                seen = np.array([*x[list(mixture.experts[e].columns)], 1.0])
                unit_H = np.maximum(weights.hidden_EHL[e, :, : len(seen)] @ seen, 0.0)
                gates[c - start, e] = gate[e] / sum(gate.values())
                logit_C[c] += gates[c - start, e] * (weights.output_EH[e] @ unit_H)
        odds = np.exp(logit_C[start:stop] - max(logit_C[start:stop], default=0.0))
        gate_RE[r] = (odds / odds.sum()) @ gates if stop > start else 0.0
    return logit_C, gate_RE


@examples(max_examples=60, deadline=None)
@given(sizes=st.lists(st.integers(0, 40), max_size=6), seed=st.integers(0, 1000), hidden=st.integers(0, 5))
def test_kernels_say_what_the_equations_say(sizes: list[int], seed: int, hidden: int) -> None:
    mixture = shaken(SHAPE.mixture(hidden=hidden), seed)
    evidence = SHAPE.evidence(sizes, seed)
    evidence.evidence_CF[::3] *= 20.0
    evidence.context_RX[::3] *= 100.0
    logit_C, gate_RE = reference(mixture, evidence)
    assert np.allclose(mixture.score(evidence), logit_C, rtol=1e-4, atol=1e-3)
    assert np.allclose(mixture.score_and_gates(evidence)[1], gate_RE, atol=1e-3)


def test_a_closed_expert_has_no_gate_and_a_lone_one_has_all() -> None:
    evidence = SHAPE.evidence([9] * 40)
    gate_RE = shaken(SHAPE.mixture()).score_and_gates(evidence)[1]
    open_R = evidence.open_RE.sum(1)
    assert (gate_RE[~evidence.open_RE] == 0.0).all()
    assert (gate_RE[evidence.open_RE] > 0.0).all()
    assert np.allclose(gate_RE.sum(1), open_R > 0, atol=1e-6)
    assert np.allclose(gate_RE[open_R == 1].max(1), 1.0, atol=1e-6)
    assert sorted(set(open_R.tolist())) == [0, 1, 2, 3]


def test_what_a_closed_expert_would_say_counts_for_nothing() -> None:
    evidence = SHAPE.evidence([9] * 40)._replace(open_RE=np.tile([True, False, True], (40, 1)))
    mixture = shaken(SHAPE.mixture())
    before = mixture.score(evidence)
    mixture._state.mean.output_EH[1] += 100.0
    mixture._state.mean.gate_context_EX[1] += 100.0
    assert np.array_equal(mixture.score(evidence), before)


def test_a_row_scores_the_same_bits_alone_as_in_a_batch() -> None:
    evidence = SHAPE.evidence([3, 100, 0, BLOCK + 5, 17, 1, 2 * BLOCK, 64])
    mixture = shaken(SHAPE.mixture())
    before = digest(mixture.tree())
    alone = [mixture.score(rows(evidence, r, r + 1)) for r in range(8)]
    assert np.array_equal(mixture.score(evidence), np.concatenate(alone))
    assert digest(mixture.tree()) == before


def test_at_first_the_base_decides() -> None:
    evidence = SHAPE.evidence([20] * 31)
    mixture = SHAPE.mixture()
    assert np.array_equal(mixture.score(evidence), evidence.base_C)
    mixture.learn(evidence)
    assert np.array_equal(mixture.score(evidence), evidence.base_C)
    mixture.learn(SHAPE.evidence([20] * 64))
    assert not np.array_equal(mixture.score(evidence), evidence.base_C)


def test_results_do_not_depend_on_the_cuts() -> None:
    evidence = SHAPE.evidence(np.random.default_rng(1).integers(0, 50, 300).tolist())
    whole, cut = SHAPE.mixture(), SHAPE.mixture()
    whole.learn(evidence)
    edges = [0, 1, 2, 33, 33, 100, 131, 300]
    for start, stop in pairwise(edges):
        cut.learn(rows(evidence, start, stop))
    assert digest(whole.tree()) == digest(cut.tree())


def test_a_restart_changes_nothing() -> None:
    evidence = SHAPE.evidence([20] * 300)
    whole, rest = SHAPE.mixture(seed=1), SHAPE.mixture(seed=2)
    whole.learn(rows(evidence, 0, 150))
    rest.load(whole.tree())
    assert np.array_equal(whole.score(evidence), rest.score(evidence))
    for mixture in (whole, rest):
        mixture.learn(rows(evidence, 150, 300))
    assert digest(whole.tree()) == digest(rest.tree())


def test_rows_without_a_true_candidate_teach_nothing() -> None:
    evidence = SHAPE.evidence([20] * 100)
    mixture = SHAPE.mixture()
    before = digest(mixture.tree())
    mixture.learn(evidence._replace(true_R=np.full(100, -1)))
    assert digest(mixture.tree()) == before


def test_columns_are_normalised_by_their_first_rows_and_then_frozen() -> None:
    evidence = SHAPE.evidence([30] * 400)
    evidence = evidence._replace(true_R=np.zeros(400, np.int64))
    evidence.evidence_CF[:, 3] = 7.5
    evidence.evidence_CF[: 64 * 30, 4] = -2.0
    mixture = SHAPE.mixture(warmup=128)
    mixture.learn(evidence)
    columns = mixture._state.features
    for column, seen in ((0, slice(0, 128 * 30)), (4, slice(64 * 30, 192 * 30))):
        values = evidence.evidence_CF[seen, column].astype(np.float64)
        assert columns.mean_N[column] == pytest.approx(values.mean(), rel=1e-5)
        assert columns.scale_N[column] == pytest.approx(1.0 / values.std(), rel=1e-5)
    assert columns.scale_N[3] == 0.0
    context = evidence.context_RX[:128].astype(np.float64)
    assert np.allclose(mixture._state.context.mean_N, context.mean(0), atol=1e-6)
    assert np.allclose(mixture._state.context.scale_N, 1.0 / context.std(0), rtol=1e-5)


def test_a_column_that_never_varies_says_nothing_when_it_does() -> None:
    evidence = SHAPE.evidence([30] * 100)
    evidence.evidence_CF[:, 3] = 7.5
    mixture = SHAPE.mixture()
    mixture.learn(evidence)
    before = mixture.score(evidence)
    evidence.evidence_CF[:, 3] = 1e6
    assert np.array_equal(mixture.score(evidence), before)


def planted(size: int, seed: int = 0) -> Evidence:
    """By day the candidate with the most of column 0 is taken, by night that with the least of column 1."""
    rng = np.random.default_rng(seed)
    evidence_CF = rng.standard_normal((size * 20, 3)).astype(np.float32)
    day_R = rng.random(size) < 0.5
    view_RC = np.where(
        day_R[:, None], evidence_CF[:, 0].reshape(size, 20), -evidence_CF[:, 1].reshape(size, 20)
    )
    return Evidence(
        np.arange(size + 1) * 20,
        evidence_CF,
        np.zeros(size * 20, np.float32),
        np.where(day_R, 1.0, -1.0)[:, None].astype(np.float32),
        np.ones((size, 2), bool),
        view_RC.argmax(1),
    )


DAY_AND_NIGHT = Shape(3, 1, (Expert("day", (0, 2)), Expert("night", (1, 2))), ())


def hits(logit_C: Floats, evidence: Evidence) -> float:
    return float((logit_C.reshape(-1, 20).argmax(1) == evidence.true_R).mean())


def test_it_learns_whom_to_ask_by_the_hour() -> None:
    mixture = DAY_AND_NIGHT.mixture(lr=0.01)
    linear = DAY_AND_NIGHT.mixture(lr=0.01, hidden=0)
    for model in (mixture, linear):
        model.learn(planted(6000))
    unseen = planted(1000, seed=1)
    assert hits(mixture.score(unseen), unseen) > 0.85
    assert hits(linear.score(unseen), unseen) < 0.5
    gate_RE = mixture.score_and_gates(unseen)[1]
    day_R = unseen.context_RX[:, 0] > 0.0
    assert gate_RE[day_R, 0].mean() > 0.8
    assert gate_RE[~day_R, 1].mean() > 0.8


def test_one_expert_that_sees_everything_is_a_plain_network() -> None:
    rng = np.random.default_rng(0)
    evidence = planted(6000)._replace(open_RE=np.ones((6000, 1), bool))
    score_C = np.abs(evidence.evidence_CF[:, 2]) + 0.1 * rng.standard_normal(6000 * 20)
    evidence = evidence._replace(true_R=score_C.reshape(-1, 20).argmax(1))
    mixture = Shape(3, 1, (Expert("all", (0, 1, 2)),), ()).mixture(lr=0.01, hidden=16)
    mixture.learn(evidence)
    assert hits(mixture.score(evidence), evidence) > 0.7
    assert np.allclose(mixture.score_and_gates(evidence)[1], 1.0, atol=1e-5)


def test_an_update_is_a_step_of_adamw_and_what_scores_follows_it() -> None:
    mixture = shaken(SHAPE.mixture(batch=8, lr=0.02, weight_decay=0.3, newest=0.1))
    mixture.learn(SHAPE.evidence([20] * 5))
    flat_4P = mixture._state.flat_4P
    weight_P = flat_4P[0].astype(np.float64)
    first_P, second_P, mean_P = np.zeros((3, len(weight_P)))
    rng = np.random.default_rng(0)
    for t in range(1, 21):
        flat_4P[1] = rng.standard_normal(len(weight_P))
        gradient_P = flat_4P[1] / 8.0
        first_P = 0.9 * first_P + 0.1 * gradient_P
        second_P = 0.999 * second_P + 0.001 * gradient_P**2
        step_P = first_P / (1.0 - 0.9**t) / (np.sqrt(second_P / (1.0 - 0.999**t)) + 1e-8)
        weight_P -= 0.02 * (step_P + 0.3 * weight_P)
        update(mixture._state, mixture._rates)
        mean_P += max(0.1, EARLY / (EARLY - 1.0 + t)) * (weight_P - mean_P)
        assert np.allclose(flat_4P[0], weight_P, atol=1e-5)
        assert np.allclose(mixture._state.mean_P, mean_P, atol=1e-5)
        assert not flat_4P[1].any()


def test_the_load_is_kept_balanced() -> None:
    def most(balance: float) -> float:
        evidence = planted(3000)
        night = evidence._replace(true_R=(-evidence.evidence_CF[:, 1]).reshape(-1, 20).argmax(1))
        mixture = DAY_AND_NIGHT.mixture(hidden=10, lr=0.01, balance=balance, newest=1.0)
        mixture.learn(night)
        return float(mixture.score_and_gates(night)[1].mean(0).max())

    assert most(0.0) > 0.8
    assert most(1.0) < 0.6


def test_what_it_starts_from_is_the_same_without_a_column_or_an_expert() -> None:
    whole = Shape(4, 1, (Expert("a", (0, 1, 2, 3)), Expert("b", (1, 3))), ()).mixture()
    less = Shape(4, 1, (Expert("b", (3,)),), ()).mixture()
    one_HL, two_HL = whole._state.weights.hidden_EHL[1], less._state.weights.hidden_EHL[0]
    assert np.allclose(one_HL[:, 1] * np.sqrt(2.0), two_HL[:, 0])


def test_weights_of_before_there_was_a_mean_score_as_they_are() -> None:
    old = shaken(SHAPE.mixture()).tree()
    del old["mean_P"]
    mixture, evidence = SHAPE.mixture(), SHAPE.evidence([9] * 10)
    mixture.load(old)
    assert np.array_equal(mixture.score(evidence), shaken(SHAPE.mixture()).score(evidence))


def test_the_seed_decides_what_it_starts_from() -> None:
    one, two, other = (digest(SHAPE.mixture(seed=seed).tree()) for seed in (0, 0, 1))
    assert one == two != other


@pytest.mark.parametrize(
    ("name", "value", "least"),
    [("hidden", -1, 0), ("lr", -0.1, 0), ("batch", 0, 1), ("balance", float("nan"), 0), ("warmup", 0, 1)],
)
def test_settings_out_of_range_are_refused(name: str, value: float, least: int) -> None:
    expected = rf"mixture.{name}: expected a number of at least {least}(.0)?, got {value}"
    settings: dict[str, Any] = {name: value}
    with pytest.raises(InputError, match=expected):
        SHAPE.mixture(**settings)
