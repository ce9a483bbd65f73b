"""What a mixture of experts says of candidates, distilled into a sum of few terms (`state.store.copy_score`).

Least squares on the mixture's own logits, differences within a request only, candidates weighed by the
softmax of half the logits: Hinton et al. (arXiv:1503.02531) name distillation at a temperature; the student
is ours. Memory, base and interest weights are at least 0, so that every remembered event has a share in what
speaks for an item, and the shares add up.

Shape suffixes: R requests, C candidates, K terms, N catalogue rows.
"""

from typing import NamedTuple

import msgspec
import numpy as np

from learners.copying.candidates.evidence import BASE_SHARES, COLUMN, FLOOR, MEMORY
from learners.copying.copy_path import CopyPath
from learners.copying.counts.crowd import LED_BY, POPULAR_DAYS, SLOTS, UNMET_MS, leaders
from learners.mixing.mixture import Evidence, Mixture
from state.evidence import STIM
from state.examples import Doubles
from state.keys import Int64s
from state.returns import Rates
from state.store.copy_score import AMONG, KM, LEADING, CopyScore, ItemTerms, packed_gaps

SHARES = ("popular_3m", "popular_1h", "popular_1d", "popular_14d", "popular_365d")
PRIOR = (*SHARES, "slot_all", "age", "stranger_place")
"""Evidence that is the item's alone: it is published as one number an item."""
PAST = Rates.__struct_fields__
TERMS = (*MEMORY, *PAST, *PRIOR, "near", "interest", "own", "base")
LEAST = 24
"""Requests without which nothing is fitted; a quarter of them is kept to measure by."""
_TEMPERATURE, _RIDGE, _SWEEPS, _TOP = 2.0, 1e-3, 200, 10
_COLUMNS = [COLUMN[name] for name in TERMS[:-2]]


class Fit(NamedTuple):
    """Weights by term, and how well their sum follows the mixture on requests that were not fitted to."""

    weight: dict[str, float]
    overlap: float
    r2: float
    requests: int


def copy_score(path: CopyPath) -> CopyScore | None:
    """The sum that follows a copy path's mixture, with every item's terms as of now.

    None where too little was scored.
    """
    if len(path.kept) < LEAST:
        return None
    found = fit(path.kept.evidence(), path.mixture, path.silent)
    weight = found.weight
    timed_I, bound_h_I2 = path.search.returns.usual_gaps()
    return CopyScore(
        memory={name: weight[name] for name in MEMORY},
        past={name: weight[name] for name in (*PAST, "own")},
        base=weight["base"],
        near=weight["near"],
        interest=weight["interest"],
        specification=msgspec.structs.replace(STIM, returns=path.search.returns.rates()),
        brought=path.search.strangers(path.settings.brought),
        repeats=path.search.repeating,
        overlap=found.overlap,
        r2=found.r2,
        requests=found.requests,
        gaps=packed_gaps(path.context.catalogue.items.keys[timed_I], bound_h_I2) if path.periodic else b"",
    ).with_terms(_item_terms(weight, path))


def fit(evidence: Evidence, mixture: Mixture, silent: Int64s) -> Fit:
    """Fit to three requests of four, measure on the fourth; what is silent has weight 0."""
    logit_C = mixture.score(evidence).astype(np.float64)
    start_R1, requests = evidence.start_R1, len(evidence.true_R)
    row_C = np.repeat(np.arange(requests), np.diff(start_R1))
    term_CK = terms(evidence)
    top_C = np.maximum.reduceat(logit_C, start_R1[:-1])[row_C]
    share_C = np.exp((logit_C - top_C) / _TEMPERATURE)
    share_C /= np.bincount(row_C, share_C, requests)[row_C]

    def centred(column_C: Doubles) -> Doubles:
        return column_C - np.bincount(row_C, share_C * column_C, requests)[row_C]

    goal_C = centred(logit_C)
    apart_CK = np.empty_like(term_CK)
    for k in range(len(TERMS)):
        apart_CK[:, k] = centred(term_CK[:, k])
    held_C = row_C % 4 == 3
    weight_K = _least_squares(apart_CK, goal_C, np.where(held_C, 0.0, share_C), silent)
    error_C = share_C * (goal_C - np.einsum("ck,k->c", apart_CK, weight_K)) ** 2
    total = float((share_C * goal_C**2)[held_C].sum())
    score_C = np.einsum("ck,k->c", term_CK, weight_K)
    overlap = [
        _overlap(logit_C[start:end], score_C[start:end])
        for start, end in zip(start_R1[3:-1:4].tolist(), start_R1[4::4].tolist(), strict=True)
    ]
    return Fit(
        dict(zip(TERMS, weight_K.tolist(), strict=True)),
        float(np.mean(overlap)),
        1.0 - float(error_C[held_C].sum()) / total if total > 0.0 else 1.0,
        len(overlap),
    )


def terms(evidence: Evidence) -> Doubles:
    """What the sum is made of, by candidate (C, K)."""
    x_CF = evidence.evidence_CF.astype(np.float64)

    def amount(name: str) -> Doubles:
        return np.asarray(np.maximum(np.exp(x_CF[:, COLUMN[name]]) - FLOOR[COLUMN[name]], 0.0))

    row_C = np.repeat(np.arange(len(evidence.true_R)), np.diff(evidence.start_R1))
    all_C = STIM.least + np.bincount(row_C, amount("count"), len(evidence.true_R))[row_C]
    own_C = sum((share * amount(name) for name, share in STIM.own.items()), np.zeros(len(x_CF)))
    crowd_C = sum((0.1 * amount(SHARES[v]) for v in BASE_SHARES), np.zeros(len(x_CF)))
    had_C = (amount("count") > 0.5).astype(np.float64)
    return np.column_stack([x_CF[:, _COLUMNS], had_C, np.log(STIM.least + crowd_C + own_C / (1.0 + all_C))])


def _least_squares(term_CK: Doubles, goal_C: Doubles, share_C: Doubles, silent: Int64s) -> Doubles:
    """Weighted least squares by coordinate descent; memory, interest and base weights are at least 0."""
    weighed_CK = term_CK * share_C[:, np.newaxis]
    # Not by BLAS: its threads would spin for longer than this takes.
    gram_KK = np.einsum("ck,cj->kj", weighed_CK, term_CK)
    goal_K = np.einsum("ck,c->k", weighed_CK, goal_C)
    spread_K = np.sqrt(np.diag(gram_KK))
    quiet = {name for name, f in COLUMN.items() if f in silent.tolist()}
    open_K = np.flatnonzero((spread_K > 1e-9) & [name not in quiet for name in TERMS])
    scale_K = spread_K[open_K]
    gram_KK = gram_KK[np.ix_(open_K, open_K)] / np.outer(scale_K, scale_K) + _RIDGE * np.eye(len(open_K))
    goal_K = goal_K[open_K] / scale_K
    least_K = np.where([TERMS[k] in (*MEMORY, "interest", "base") for k in open_K], 0.0, -np.inf)
    found_K = np.zeros(len(open_K))
    for _ in range(_SWEEPS):
        for k in range(len(open_K)):
            step = (goal_K[k] - gram_KK[k] @ found_K) / gram_KK[k, k]
            found_K[k] = max(found_K[k] + step, least_K[k])
    weight_K = np.zeros(len(TERMS))
    weight_K[open_K] = found_K / scale_K
    return weight_K


def _overlap(logit_C: Doubles, score_C: Doubles) -> float:
    size = min(_TOP, len(logit_C))
    best = (np.argsort(-values_C, kind="stable")[:size].tolist() for values_C in (logit_C, score_C))
    return len(set.intersection(*map(set, best))) / size


def _item_terms(weight: dict[str, float], path: CopyPath) -> ItemTerms:
    """Every item's terms as of the newest request."""
    crowd, catalogue, now_ms = path.search.crowd, path.context.catalogue, path.kept.last_ms
    size = len(catalogue)
    arrays = crowd.reserve(size, 0)
    slotted, first_ms_N, km_N3 = arrays.slotted, arrays.first_ms_N[:size], arrays.km_N3[:size]
    shares = [crowd.popular.share(v, size) for v in range(len(POPULAR_DAYS))]
    slot_now = 2.0 ** min((slotted.clock_V3[0, 0] - now_ms) / slotted.half_life_ms_V[0], 0.0) / 24.0
    raw = dict(zip(SHARES, shares, strict=True)) | {
        "slot_all": slotted.weight_VN[0, SLOTS :: SLOTS + 1][:size] * slot_now,
        "age": np.where(first_ms_N == UNMET_MS, 0, np.maximum(now_ms - first_ms_N, 0)) / 3_600_000.0,
    }
    prior_N = weight["stranger_place"] * np.isnan(km_N3[:, 0])
    for name, raw_N in raw.items():
        prior_N = prior_N + weight[name] * np.log(FLOOR[COLUMN[name]] + raw_N)
    crowd_N = sum((0.1 * shares[v] for v in BASE_SHARES), np.zeros(size))
    found_N = np.zeros(size, np.uint8)
    found_N[leaders(catalogue.popularity(now_ms), size, path.settings.among)] |= AMONG
    popular = path.search.strangers(path.settings.popular)
    for v in LED_BY:
        found_N[leaders(crowd.popular.arrays.weight_VN[v], size, popular)] |= LEADING
    return ItemTerms(catalogue.items.keys[:size].copy(), prior_N, crowd_N, km_N3[:, :2] / KM, found_N)
