"""What learning changes in the mixture of experts, and how: input normalisation, running loads, Adam.

Shape suffixes: as in `learners.mixing.layers`; N columns.
"""

from typing import NamedTuple

import numpy as np

from state.compiled import compiled, inner
from state.examples import Doubles, Floats
from state.keys import Int64s

CLIP = np.float32(10.0)
"""Bound on a normalised feature, in standard deviations."""

BETA_1, BETA_2, EPSILON = 0.9, 0.999, 1e-8
EARLY = 10.0
"""After t updates the mean is of no more than the last t / EARLY or so."""
LOAD_RATE = 0.1
"""Share of the newest mini-batch in the running load of an expert."""


class Weights(NamedTuple):
    """What is learned, or its gradient; parts of one flat array."""

    linear_L: Floats
    gate_context_EX: Floats
    gate_item_EL: Floats
    hidden_EHL: Floats
    output_EH: Floats


class Moments(NamedTuple):
    """Running mean and spread of N columns, and what the kernels use of them."""

    mean_N: Floats
    scale_N: Floats
    """1 / standard deviation; 0 until the column has varied."""
    shift_N: Floats
    """The first value, from which the sums are taken: those of a constant column stay 0."""
    sum_N: Doubles
    square_N: Doubles
    count_N: Doubles
    rows_N: Int64s
    """Learned rows in the sums; when there are enough, the column is frozen."""


class State(NamedTuple):
    """All that learning changes."""

    flat_4P: Floats
    """Weights, their gradient summed over the mini-batch so far, Adam's first and second moments."""
    weights: Weights
    """Views of `flat_4P[0]`."""
    gradient: Weights
    """Views of `flat_4P[1]`."""
    mean_P: Floats
    """Running mean of the weights, the newest counting most: it is what scores."""
    mean: Weights
    """Views of `mean_P`."""
    features: Moments
    context: Moments
    load_E: Doubles
    """Running load: 1 is an even share of the rows in which the expert is open beside others."""
    routed_E: Doubles
    """Summed over the mini-batch so far: open experts x share of the candidates that gate to this one."""
    chosen_E: Int64s
    """Rows in `routed_E`."""
    counts: Int64s
    """Learned rows since the last update, and updates."""


class Rates(NamedTuple):
    """The settings that the kernels need."""

    batch: int
    lr: float
    weight_decay: float
    balance: float
    warmup: int
    newest: float


@inner
def _fold(rows_CN: Floats, warmup: int, moments: Moments) -> None:
    """Add one row's values to the sums of the columns that are not frozen yet."""
    for n in range(rows_CN.shape[1]):
        if moments.rows_N[n] < warmup:
            if moments.count_N[n] == 0.0:
                moments.shift_N[n] = rows_CN[0, n]
            total, square = 0.0, 0.0
            for c in range(rows_CN.shape[0]):
                z = np.float64(rows_CN[c, n] - moments.shift_N[n])
                total += z
                square += z * z
            moments.sum_N[n] += total
            moments.square_N[n] += square
            moments.count_N[n] += rows_CN.shape[0]
            moments.rows_N[n] += 1


@inner
def _settle(moments: Moments) -> None:
    """Put the sums to use. A column that has not varied yet begins anew."""
    for n in range(len(moments.mean_N)):
        mean = moments.sum_N[n] / moments.count_N[n]
        variance = moments.square_N[n] / moments.count_N[n] - mean * mean
        if variance > 0.0:
            moments.mean_N[n] = moments.shift_N[n] + mean
            moments.scale_N[n] = 1.0 / np.sqrt(variance)
        elif moments.square_N[n] == 0.0:
            moments.count_N[n] = 0.0
            moments.rows_N[n] = 0


@inner
def _adam(flat_4P: Floats, t: int, rates: Rates) -> None:
    """Adam with decoupled decay (Kingma & Ba 2015; Loshchilov & Hutter 2019); clears the gradient."""
    weight_P, gradient_P, first_P, second_P = flat_4P[0], flat_4P[1], flat_4P[2], flat_4P[3]
    fix_1, fix_2 = 1.0 - BETA_1**t, 1.0 - BETA_2**t
    for p in range(len(weight_P)):
        g = gradient_P[p] / rates.batch
        first_P[p] = BETA_1 * first_P[p] + (1.0 - BETA_1) * g
        second_P[p] = BETA_2 * second_P[p] + (1.0 - BETA_2) * g * g
        move = first_P[p] / fix_1 / (np.sqrt(second_P[p] / fix_2) + EPSILON)
        weight_P[p] -= rates.lr * (move + rates.weight_decay * weight_P[p])
        gradient_P[p] = 0.0


@compiled
def update(state: State, rates: Rates) -> None:
    """Take one step by the mini-batch's gradient; refresh the normalisation and the loads."""
    state.counts[0] = 0
    state.counts[1] += 1
    _adam(state.flat_4P, state.counts[1], rates)
    share = np.float32(max(rates.newest, EARLY / (EARLY - 1.0 + state.counts[1])))
    for p in range(len(state.mean_P)):
        state.mean_P[p] += share * (state.flat_4P[0, p] - state.mean_P[p])
    _settle(state.features)
    _settle(state.context)
    for e in range(len(state.load_E)):
        if state.chosen_E[e]:
            state.load_E[e] += LOAD_RATE * (state.routed_E[e] / state.chosen_E[e] - state.load_E[e])
    state.routed_E[:] = 0.0
    state.chosen_E[:] = 0


@compiled
def observe(evidence_CF: Floats, context_1X: Floats, state: State, rates: Rates) -> None:
    """Count a row as learned, and take its inputs into the normalisation."""
    _fold(evidence_CF, rates.warmup, state.features)
    _fold(context_1X, rates.warmup, state.context)
    state.counts[0] += 1
