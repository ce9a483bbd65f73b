"""The deep level: interests that learned queries find among the newest entries of a window.

A reconstruction of STIM's hierarchical multi-interest unit (arXiv:2508.02451, of which only the abstract is
public): the shallow level is the short view's interest s, and each deep interest i asks with

    query_i  = P_i + D_i * s                                         (elementwise)
    a_iw     = softmax over w of (query_i . h_w / sqrt(K) + gamma_i log retention_w)
    deep_i   = alpha_i x sum over w of a_iw h_w

h_w is the entry's deep vector; the forgetting curve is a soft mask of learned sharpness gamma. alpha starts
at `START_ALPHA`, so that what is attended to can grow in importance or vanish.

Shape suffixes: I deep interests, S entries attended to, K width, Q = 2K + 2 numbers of a query:
P, D, gamma, alpha.
"""

from typing import NamedTuple

import numpy as np

from learners.tables.embedding import draw_normal
from state.compiled import compiled, reordered
from state.examples import Floats

START_GAMMA, START_ALPHA = 1.0, 0.1

ACCUMULATOR = 0.01
"""Where AdaGrad's sums of the queries start."""

FAINT = np.float32(1e-6)
"""Retention is taken to be at least this."""


class Queries(NamedTuple):
    """The learned queries and their AdaGrad sums, number by number."""

    query_IQ: Floats
    square_IQ: Floats


def doubting(queries: Queries, share: float) -> Queries:
    """The same queries, their sums taken back by `share` of what they have grown."""
    square_IQ = queries.square_IQ
    return queries._replace(square_IQ=square_IQ + np.float32(share) * (np.float32(ACCUMULATOR) - square_IQ))


class Attention(NamedTuple):
    """One event's attention: what `attend` leaves for `attend_back`, and room for its gradients."""

    hidden_SK: Floats
    """Vectors of the entries that have one."""
    log_retention_S: Floats
    """But for a constant, which the softmax does not see."""
    weight_IS: Floats
    gradient_SK: Floats
    """Of `hidden_SK`."""
    step_Q: Floats
    query_K: Floats
    pooled_K: Floats
    shallow_K: Floats
    """The shallow interest's gradient."""


def first_queries(interests: int, width: int, sd: float, seed: int) -> Queries:
    """Where learning starts from."""
    query_IQ = np.zeros((interests, 2 * width + 2), np.float32)
    draw_normal(np.arange(interests), seed, 0.0, sd, query_IQ[:, :width])
    query_IQ[:, width : 2 * width] = 1.0
    query_IQ[:, 2 * width :] = START_GAMMA, START_ALPHA
    return Queries(query_IQ, np.full(query_IQ.shape, ACCUMULATOR, np.float32))


@compiled
def room(interests: int, entries: int, width: int) -> Attention:
    return Attention(
        np.empty((entries, width), np.float32),
        np.empty(entries, np.float32),
        np.empty((interests, entries), np.float32),
        np.empty((entries, width), np.float32),
        np.empty(2 * width + 2, np.float32),
        np.empty(width, np.float32),
        np.empty(width, np.float32),
        np.empty(width, np.float32),
    )


@reordered
def attend(query_IQ: Floats, shallow_K: Floats, at: Attention, entries: int, deep_IK: Floats) -> None:
    """Fill in `at.weight_IS` and the deep interests of the first `entries` entries of `at`."""
    width = shallow_K.shape[0]
    root = np.float32(1.0 / np.sqrt(width))
    for i in range(query_IQ.shape[0]):
        query_Q, weight_S, deep_K = query_IQ[i], at.weight_IS[i], deep_IK[i]
        for k in range(width):
            at.query_K[k] = (query_Q[k] + query_Q[width + k] * shallow_K[k]) * root
        top = np.float32(-np.inf)
        for s in range(entries):
            hidden_K = at.hidden_SK[s]
            logit = np.float32(0.0)
            for k in range(width):
                logit += at.query_K[k] * hidden_K[k]
            weight_S[s] = logit + query_Q[2 * width] * at.log_retention_S[s]
            top = max(top, weight_S[s])
        total = np.float32(0.0)
        for s in range(entries):
            weight_S[s] = np.exp(weight_S[s] - top)
        for s in range(entries):
            total += weight_S[s]
        deep_K[:] = 0.0
        for s in range(entries):
            weight_S[s] /= total
            hidden_K, share = at.hidden_SK[s], weight_S[s] * query_Q[2 * width + 1]
            for k in range(width):
                deep_K[k] += share * hidden_K[k]


@reordered
def attend_back(
    queries: Queries, shallow_K: Floats, at: Attention, entries: int, user_gradient_K: Floats, lr: np.float32
) -> None:
    """Gradients of the entries into `at`, of the shallow interest on top of what `at` has; the queries' step.

    `user_gradient_K` is the loss's gradient in the sum of the interests.
    """
    width = shallow_K.shape[0]
    root = np.float32(1.0 / np.sqrt(width))
    at.gradient_SK[:entries] = 0.0
    for i in range(queries.query_IQ.shape[0]):
        query_Q, weight_S = queries.query_IQ[i], at.weight_IS[i]
        alpha = query_Q[2 * width + 1]
        at.pooled_K[:] = 0.0
        mean = np.float32(0.0)
        for s in range(entries):
            hidden_K = at.hidden_SK[s]
            gain = np.float32(0.0)
            for k in range(width):
                gain += user_gradient_K[k] * hidden_K[k]
            mean += weight_S[s] * gain
        along, sharper = mean, np.float32(0.0)
        for k in range(width):
            at.query_K[k] = (query_Q[k] + query_Q[width + k] * shallow_K[k]) * root
        for s in range(entries):
            hidden_K, gradient_K = at.hidden_SK[s], at.gradient_SK[s]
            gain = np.float32(0.0)
            for k in range(width):
                gain += user_gradient_K[k] * hidden_K[k]
            logit_gradient = alpha * weight_S[s] * (gain - mean)
            share = alpha * weight_S[s]
            sharper += logit_gradient * at.log_retention_S[s]
            for k in range(width):
                gradient_K[k] += share * user_gradient_K[k] + logit_gradient * at.query_K[k]
                at.pooled_K[k] += logit_gradient * hidden_K[k]
        for k in range(width):
            at.step_Q[k] = at.pooled_K[k] * root
            at.step_Q[width + k] = at.step_Q[k] * shallow_K[k]
            at.shallow_K[k] += at.step_Q[k] * query_Q[width + k]
        at.step_Q[2 * width] = sharper
        at.step_Q[2 * width + 1] = along
        square_Q = queries.square_IQ[i]
        for q in range(query_Q.shape[0]):
            square_Q[q] += at.step_Q[q] * at.step_Q[q]
            query_Q[q] -= lr * at.step_Q[q] / np.sqrt(square_Q[q])
