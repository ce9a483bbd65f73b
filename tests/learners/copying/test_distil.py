"""A mixture's ranking as a sum of few terms: what is kept to fit it, and what the fit finds."""

from dataclasses import replace

import numpy as np
import pytest

from learners.copying.candidates.evidence import COLUMN, COLUMNS, FLOOR, MEMORY
from learners.copying.distil import TERMS, fit, terms
from learners.copying.distil_rows import SIZE, Requests
from learners.mixing.mixture import Evidence, Mixture
from state.examples import ExampleBatch, Floats, empty_examples
from state.keys import Int64s
from state.tree import digest

NONE: Int64s = np.zeros(0, np.int64)


def evidence(requests: int, candidates: int = 40, seed: int = 0) -> Evidence:
    """Half of the candidates are the user's own, with amounts over several orders of size."""
    rng = np.random.default_rng(seed)
    size = requests * candidates
    x_CF = rng.normal(size=(size, len(COLUMNS)))
    for name in (*MEMORY, *(n for n in TERMS if n.startswith("popular"))):
        amount_C = np.exp(rng.normal(-2.0, 2.0, size)) * (rng.random(size) < 0.5)
        x_CF[:, COLUMN[name]] = np.log(FLOOR[COLUMN[name]] + amount_C)
    return Evidence(
        np.arange(0, size + 1, candidates),
        x_CF.astype(np.float32),
        np.zeros(size, np.float32),
        np.zeros((requests, 2), np.float32),
        np.ones((requests, 1), np.bool_),
        np.zeros(requests, np.int64),
    )


class Teacher(Mixture):
    """Says a given sum of terms, and some noise."""

    def __init__(self, weight: dict[str, float], noise: float = 0.0) -> None:
        self.weight_K = np.array([weight.get(name, 0.0) for name in TERMS])
        self.noise = noise

    def score(self, evidence: Evidence) -> Floats:
        noise_C = np.random.default_rng(9).normal(size=len(evidence.base_C))
        logit_C = terms(evidence) @ self.weight_K + self.noise * noise_C
        return np.asarray(logit_C, np.float32)


def test_a_sum_of_terms_is_found_again() -> None:
    truth = {
        "count": 0.4,
        "hour_1h": 0.8,
        "return_all": -1.5,
        "popular_1d": 0.3,
        "interest": 0.5,
        "base": 0.7,
    }
    found = fit(evidence(80), Teacher(truth), NONE)
    assert found.overlap > 0.97
    assert found.r2 > 0.99
    assert found.requests == 20
    for name, weight in truth.items():
        assert found.weight[name] == pytest.approx(weight, abs=0.06), name


def test_memory_never_speaks_against_its_item() -> None:
    found = fit(evidence(80), Teacher({"count": -1.0, "return_interval": -1.0, "interest": -1.0}), NONE)
    assert found.weight["count"] == found.weight["interest"] == 0.0
    assert found.weight["return_interval"] < -0.5
    assert min(found.weight[name] for name in MEMORY) == 0.0


def test_what_cannot_be_followed_is_said_to_be_so() -> None:
    found = fit(evidence(80), Teacher({"count": 0.1}, noise=3.0), NONE)
    assert found.overlap < 0.5
    assert found.r2 < 0.2


def test_what_the_log_cannot_feed_has_no_weight() -> None:
    silent = np.array([COLUMN["hour_1h"], COLUMN["near"]])
    found = fit(evidence(80), Teacher({"hour_1h": 1.0, "near": -1.0}), silent)
    assert found.weight["hour_1h"] == found.weight["near"] == 0.0


def rows(size: int, first: int = 0) -> ExampleBatch:
    number_B = np.arange(first, first + size)
    return replace(empty_examples(size), offset_B=number_B, time_ms_B=number_B * 1000)


def kept(total: int, chunk: int, loaded_at: int | None = None) -> Requests:
    requests = Requests(seed=0)
    for start in range(0, total, chunk):
        size = min(chunk, total - start)
        part = rows(size, start)
        requests.offer(part, requests.keys(part), _of(start, size))
        if loaded_at is not None and start + size == loaded_at:
            tree, requests = requests.tree(), Requests(seed=0)
            requests.load(tree)
    return requests


def _of(start: int, size: int) -> Evidence:
    """Two candidates a row, with the row's number."""
    whole = evidence(size, 2)
    number_C1 = np.repeat(np.arange(start, start + size), 2)[:, np.newaxis]
    return whole._replace(evidence_CF=number_C1.astype(np.float32))


def test_the_same_requests_are_kept_whatever_the_chunks() -> None:
    one = kept(3000, 3000)
    assert len(one) == SIZE
    assert digest(one.tree()) == digest(kept(3000, 7).tree()) == digest(kept(3000, 64, loaded_at=1920).tree())


def test_late_requests_are_likelier_to_be_kept() -> None:
    number_R = kept(60_000, 6000).evidence().evidence_CF[::2, 0]
    early, late = ((low <= number_R) & (number_R < low + 20_000) for low in (0, 40_000))
    assert late.sum() > 4 * early.sum() > 0


def test_rows_without_candidates_are_passed_over() -> None:
    requests = Requests(seed=0)
    nothing = evidence(0)._replace(
        start_R1=np.zeros(4, np.int64),
        context_RX=np.zeros((3, 2), np.float32),
        open_RE=np.ones((3, 1), np.bool_),
        true_R=np.full(3, -1),
    )
    requests.offer(rows(3), requests.keys(rows(3)), nothing)
    assert (len(requests), requests.seen) == (0, 3)
