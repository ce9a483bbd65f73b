"""Logistic regression on sparse features with a mean and a variance each, in closed form.

A feature's weight is w ~ N(mean, variance). With m = offset + sum x mean and s = sum x^2 variance,

    p = sigmoid(m / sqrt(1 + pi/8 s))                 the logistic-normal integral, MacKay 1992
    d = 1 / (1 + lambda s),  lambda = q (1 - q),  q = sigmoid(m)
    mean     += x variance (y - p) d
    variance -= (x variance)^2 lambda d,  then  min(prior, variance + forget)

This is assumed-density filtering with a diagonal covariance: one rank-one Laplace step an event. By the
last step a weight forgets: its variance grows back a little at each use, never beyond what it began with.
A feature worth 0 is left out.

Shape suffixes: N weights, K kinds of feature, T templates, L features of several rows one after another,
P waiting rows, B rows to score, F fields, X numbers, Q rows to learn.
"""

from typing import NamedTuple

import numpy as np

from learners.gaussian_rows.features import Fields
from state.compiled import compiled, inner
from state.examples import Doubles, Floats
from state.keys import Int64s, KeyArrays, add, find, mix

MEAN, VARIANCE, USED = 0, 1, 2
"""Columns of `GaussianWeights.weight_N3`; USED is the serial number of the last row that had the feature."""

_MODERATION = np.pi / 8.0
_SCALE_WINDOW = 5000.0
_WIDEST = 2.0


class GaussianWeights(NamedTuple):
    """What a kernel sees of the weights."""

    ids: KeyArrays
    weight_N3: Doubles
    prior_K: Doubles
    forget_K: Doubles
    doubt_2: Doubles
    """A weight that was last used before this row has its variance raised by this share of what it lost."""


class GaussianRequest(NamedTuple):
    """Rows to score, and what is learned between them."""

    fields: Fields
    due_B: Int64s
    """How many rows of the queue are known before each."""
    label_Q: Floats
    p_B: Doubles
    """What is said of them."""


class TemplateColumns(NamedTuple):
    """The templates as columns; see `learners.gaussian_rows.features.Template`."""

    salt_T: Int64s
    a_T: Int64s
    b_T: Int64s
    x_T: Int64s
    kind_T: Int64s


class Store(NamedTuple):
    """Features as scored, first in first out: waiting row p has `start_P1[p] .. start_P1[p + 1] - 1`."""

    ends: Int64s
    """The first waiting row and the place after the last."""
    start_P1: Int64s
    offset_P: Doubles
    row_L: Int64s
    kind_L: Int64s
    x_L: Doubles


@inner
def sigmoid(z: float) -> float:
    """1 / (1 + e^-z)."""
    return float(1.0 / (1.0 + np.exp(-z)))


@compiled
def probability(m: float, s: float) -> float:
    """P(action) of a logit that is N(m, s), kept off 0 and 1."""
    return min(max(sigmoid(m / np.sqrt(1.0 + _MODERATION * s)), 1e-9), 1.0 - 1e-9)


@compiled
def moments(store: Store, p: int, weights: GaussianWeights) -> tuple[float, float]:
    """Mean and variance of the logit of waiting row p."""
    m, s = store.offset_P[p], 0.0
    for i in range(store.start_P1[p], store.start_P1[p + 1]):
        row, x = store.row_L[i], store.x_L[i]
        if row >= 0:
            m += x * weights.weight_N3[row, MEAN]
            s += x * x * weights.weight_N3[row, VARIANCE]
        else:
            s += x * x * weights.prior_K[store.kind_L[i]]
    return m, s


@compiled
def learn_row(store: Store, p: int, y: float, weights: GaussianWeights) -> None:
    """Learn that waiting row p came out as y in 0..1; a NaN teaches nothing."""
    if np.isnan(y):
        return
    m, s = moments(store, p, weights)
    q = sigmoid(m)
    curvature = q * (1.0 - q)
    d = 1.0 / (1.0 + curvature * s)
    pull = (y - probability(m, s)) * d
    for i in range(store.start_P1[p], store.start_P1[p + 1]):
        row, kind = store.row_L[i], store.kind_L[i]
        gain = store.x_L[i] * weights.weight_N3[row, VARIANCE]
        left = weights.weight_N3[row, VARIANCE] - gain * gain * curvature * d
        weights.weight_N3[row, MEAN] += gain * pull
        weights.weight_N3[row, VARIANCE] = min(weights.prior_K[kind], left + weights.forget_K[kind])


@compiled
def standard(value: float, scale_3: Doubles) -> float:
    """`value` on the running scale (count, mean, variance), within -2..2; 0 while there is no scale."""
    if scale_3[2] < 1e-12:
        return 0.0
    return float(min(max((value - scale_3[1]) / np.sqrt(scale_3[2]), -_WIDEST), _WIDEST))


@compiled
def rescale(value: float, scale_3: Doubles) -> None:
    """Take `value` into the running scale, which looks back over some 5,000 values."""
    scale_3[0] = min(scale_3[0] + 1.0, _SCALE_WINDOW)
    off = value - scale_3[1]
    scale_3[1] += off / scale_3[0]
    scale_3[2] += (off * (value - scale_3[1]) - scale_3[2]) / scale_3[0]


@compiled
def rescale_all(number_X: Doubles, scale_X3: Doubles) -> None:
    """`rescale` for every number of a row that is there."""
    for x in range(number_X.shape[0]):
        if not np.isnan(number_X[x]):
            rescale(number_X[x], scale_X3[x])


@inner
def write_features(
    b: int,
    fields: Fields,
    plan: TemplateColumns,
    scale_X3: Doubles,
    serial: float,
    weights: GaussianWeights,
    store: Store,
    p: int,
) -> None:
    """Write the features of row b as waiting row p; a `serial` below 0 adds no weight (-1 for new ones)."""
    weight_N3 = weights.weight_N3
    row_L, kind_L, x_L = store.row_L, store.kind_L, store.x_L
    at = store.start_P1[p]
    store.offset_P[p] = fields.offset_B[b]
    for t in range(plan.salt_T.shape[0]):
        a, c, kind = plan.a_T[t], plan.b_T[t], plan.kind_T[t]
        a_from, a_to, c_from, c_to = 0, 1, 0, 1
        if a >= 0:
            a_from, a_to = fields.start_BF1[b, a], fields.start_BF1[b, a + 1]
        if c >= 0:
            c_from, c_to = fields.start_BF1[b, c], fields.start_BF1[b, c + 1]
        x = 1.0
        if plan.x_T[t] >= 0:
            value = fields.number_BX[b, plan.x_T[t]]
            if np.isnan(value):
                continue
            x = standard(value, scale_X3[plan.x_T[t]])
            if x == 0.0:
                continue
        elif c < 0 and a_to > a_from + 1:
            x = 1.0 / np.sqrt(a_to - a_from)
        for i in range(a_from, a_to):
            left = plan.salt_T[t] if a < 0 else mix(plan.salt_T[t] ^ (fields.keys[i] * 3 + 1))
            for j in range(c_from, c_to):
                row_L[at] = left if c < 0 else mix(left ^ (fields.keys[j] * 3 + 1))
                kind_L[at] = kind
                x_L[at] = x
                at += 1
    store.start_P1[p + 1] = at
    for i in range(store.start_P1[p], at):
        row = find(weights.ids.table, row_L[i])
        if serial >= 0:
            if row < 0:
                row = add(weights.ids, row_L[i])
                weight_N3[row, MEAN] = 0.0
                weight_N3[row, VARIANCE] = weights.prior_K[kind_L[i]]
            elif weight_N3[row, USED] < weights.doubt_2[0]:
                lost = weights.prior_K[kind_L[i]] - weight_N3[row, VARIANCE]
                weight_N3[row, VARIANCE] += weights.doubt_2[1] * lost
            weight_N3[row, USED] = serial
        row_L[i] = row


@compiled
def run(
    start: int,
    asked: GaussianRequest,
    learned: int,
    plan: TemplateColumns,
    scale_X3: Doubles,
    serial: float,
    most: int,
    weights: GaussianWeights,
    store: Store,
) -> tuple[int, int]:
    """Score rows from `start` on, each after learning what is due before it.

    Stops before a row whose features might make more than `most` weights. Returns the row to go on with and
    how many rows of the queue are learned.
    """
    fields, due_B, label_Q, p_B = asked
    for b in range(start, due_B.shape[0]):
        if weights.ids.used[0] > most:
            return b, learned
        while learned < due_B[b]:
            learn_row(store, store.ends[0], np.float64(label_Q[learned]), weights)
            store.ends[0] += 1
            learned += 1
        p = store.ends[1]
        write_features(b, fields, plan, scale_X3, serial + b, weights, store, p)
        store.ends[1] = p + 1
        p_B[b] = probability(*moments(store, p, weights))
        rescale_all(fields.number_BX[b], scale_X3)
    return due_B.shape[0], learned


@compiled
def settle(label_Q: Floats, weights: GaussianWeights, store: Store) -> None:
    """Learn the first waiting rows."""
    for q in range(label_Q.shape[0]):
        learn_row(store, store.ends[0], np.float64(label_Q[q]), weights)
        store.ends[0] += 1


@compiled
def peek(
    fields: Fields,
    plan: TemplateColumns,
    scale_X3: Doubles,
    weights: GaussianWeights,
    store: Store,
    p_B: Doubles,
) -> None:
    """Score every row and change nothing; `store` has room for one row."""
    for b in range(p_B.shape[0]):
        write_features(b, fields, plan, scale_X3, -1.0, weights, store, 0)
        p_B[b] = probability(*moments(store, 0, weights))
