"""The two-tower's learning: one event's gradient and update.

Shape suffixes: as in `learners.interests.rows`; I deep interests, S entries that these attend to.
"""

from typing import NamedTuple

import numpy as np

from learners.interests.candidates import Drawing, sample_one
from learners.interests.deep import Attention, Queries, attend, attend_back, room
from learners.interests.rows import (
    InterestRows,
    KindScores,
    Pulled,
    StepSizes,
    Targets,
    Touched,
    add,
    descend,
    mean_square,
    rate_of,
    recall,
)
from learners.interests.views import recall_hidden
from learners.tables.embedding import CHECKPOINT, EVERYONE
from learners.tables.popularity_draws import AliasSlots
from state.compiled import assign, inner, inner_reordered, reordered
from state.examples import Floats
from state.keys import Int64s


@inner_reordered
def _tell(
    weights: InterestRows,
    b: int,
    count: int,
    user_K: Floats,
    candidate_C: Int64s,
    error_C: Floats,
    told: KindScores,
) -> int:
    """Softmax less the truth, over logits whose corrections `error_C` holds on entry; how many kinds."""
    width, kinds = user_K.shape[0], 0
    top = np.float32(-np.inf)
    for i in range(count):
        j = candidate_C[i]
        row_K = weights.item_NK[j]
        logit = weights.bias_N1[j, 0] - error_C[i]
        for k in range(width):
            logit += row_K[k] * user_K[k]
        for p in range(weights.kind_NP.shape[1]):
            kind = weights.kind_NP[j, p]
            if kind < 0:
                break
            if told.seen_N[kind] != b:
                told.seen_N[kind] = b
                told.row_T[kinds] = kind
                kinds += 1
                kind_K = weights.item_NK[kind]
                score = weights.bias_N1[kind, 0]
                for k in range(width):
                    score += kind_K[k] * user_K[k]
                told.score_N[kind], told.error_N[kind] = score, 0.0
            logit += told.score_N[kind]
        error_C[i] = logit
        top = max(top, logit)
    total = np.float32(0.0)
    for i in range(count):
        error_C[i] = np.exp(error_C[i] - top)
    for i in range(count):
        total += error_C[i]
    for i in range(count):
        error_C[i] /= total
    error_C[0] -= np.float32(1.0)
    if weights.kind_NP.shape[1]:
        for i in range(count):
            for kind in weights.kind_NP[candidate_C[i]]:
                if kind < 0:
                    break
                told.error_N[kind] += error_C[i]
    return kinds


@inner_reordered
def _deepen(
    weights: InterestRows,
    rates: StepSizes,
    at: Attention,
    rows_W: Int64s,
    entry_S: Int64s,
    entries: int,
    touched: Touched,
    many: int,
    pulled: Pulled,
) -> None:
    """Carry the entries' gradients to the deep vectors of their rows and kinds."""
    gradient_TK, pull_T = pulled
    gradient_TK[:many] = 0.0
    pull_T[:many] = 0.0
    for s in range(entries):
        z, share = rows_W[entry_S[s]], np.float32(0.0)
        for i in range(at.weight_IS.shape[0]):
            share += at.weight_IS[i, s]
        t = touched.place_N[z]
        pull_T[t] += share
        add(gradient_TK[t], np.float32(1.0), at.gradient_SK[s])
        for kind in weights.kind_NP[z]:
            if kind < 0:
                break
            t = touched.place_N[kind]
            pull_T[t] += share
            add(gradient_TK[t], np.float32(1.0), at.gradient_SK[s])
    for t in range(many):
        if pull_T[t] > 0.0:
            descend(
                weights.deep_NK,
                weights.deep_square_N,
                touched.row_T[t],
                np.float32(1.0),
                gradient_TK[t],
                mean_square(gradient_TK[t]),
                rate_of(rates, weights.is_kind_N[touched.row_T[t]]),
                rates.reg * pull_T[t],
            )


class LearningRoom(NamedTuple):
    """Room for one event; holds nothing between events."""

    touched: Touched
    told: KindScores
    drawing: Drawing
    candidate_C: Int64s
    error_C: Floats
    sum_PK: Floats
    """Four sums side by side, so that none waits for the last."""
    user_K: Floats
    shallow_K: Floats
    gradient_K: Floats
    deep_IK: Floats
    entry_S: Int64s
    at: Attention
    pulled: Pulled


@inner
def _room(
    events: Targets, slots: AliasSlots, size: int, weights: InterestRows, queries: Queries, newest: int
) -> LearningRoom:
    kinds, width, draws = weights.kind_NP.shape[1], weights.item_NK.shape[1], events.draws
    window, interests = events.recalled.rows_BW.shape[1] * (1 + kinds), queries.query_IQ.shape[0]
    touched = Touched(
        np.full(size, -1, np.int32),
        np.zeros(size, np.int32),
        np.empty(window, np.int64),
        np.empty(window, np.float32),
        np.empty(window, np.float32),
    )
    room_C = draws + 1 if draws else size
    told = KindScores(
        np.full(size, -1, np.int32),
        np.empty(min(room_C * kinds, size), np.int64),
        np.empty(size, np.float32),
        np.empty(size, np.float32),
    )
    banned_N = touched.seen_N if events.spare else np.full(size, -1, np.int32)
    drawing = Drawing(draws, slots, banned_N, np.zeros(size, np.int32), np.empty(room_C, np.float32))
    deep_rows = window if interests else 0
    return LearningRoom(
        touched,
        told,
        drawing,
        candidate_C=np.empty(room_C, np.int64),
        error_C=np.empty(room_C, np.float32),
        sum_PK=np.empty((4, width), np.float32),
        user_K=np.empty(width, np.float32),
        shallow_K=np.empty(width, np.float32),
        gradient_K=np.empty(width, np.float32),
        deep_IK=np.empty((interests, width), np.float32),
        entry_S=np.empty(newest, np.int64),
        at=room(interests, newest, width),
        pulled=Pulled(np.empty((deep_rows, width), np.float32), np.empty(deep_rows, np.float32)),
    )


@inner_reordered
def _learn_one(
    b: int,
    events: Targets,
    size: int,
    rates: StepSizes,
    weights: InterestRows,
    queries: Queries,
    work: LearningRoom,
) -> None:
    """One step on event b."""
    recalled, draws, y = events.recalled, events.draws, events.target_B[b]
    item_NK, bias_N1, kind_NP = weights.item_NK, weights.bias_N1, weights.kind_NP
    touched, told, candidate_C, error_C = work.touched, work.told, work.candidate_C, work.error_C
    sum_PK, user_K, shallow_K = work.sum_PK, work.user_K, work.shallow_K
    gradient_K, deep_IK, entry_S, at = work.gradient_K, work.deep_IK, work.entry_S, work.at
    reg, width, interests, entries = rates.reg, item_NK.shape[1], queries.query_IQ.shape[0], 0
    banned_N = work.drawing.banned_N
    many = recall(recalled, b, kind_NP, touched)
    sum_PK[:] = 0.0
    for t in range(many):
        z = touched.row_T[t]
        add(sum_PK[t & 1], touched.long_T[t], weights.long_NK[z])
        if touched.short_T[t] > 0.0:
            add(sum_PK[2 + (t & 1)], touched.short_T[t], weights.short_NK[z])
    for k in range(width):
        shallow_K[k] = sum_PK[2, k] + sum_PK[3, k]
        user_K[k] = (sum_PK[0, k] + sum_PK[1, k]) + shallow_K[k]
    if interests:
        entries = recall_hidden(recalled, b, weights.deep_NK, kind_NP, entry_S, at)
        attend(queries.query_IQ, shallow_K, at, entries, deep_IK)
        for i in range(interests):
            add(user_K, np.float32(1.0), deep_IK[i])

    if draws:
        count = sample_one(y, events.identity_B[b], b, work.drawing, candidate_C, error_C)
    else:
        candidate_C[0] = y
        count = 1
        for j in range(size):
            if j != y and banned_N[j] != b and not weights.is_kind_N[j]:
                candidate_C[count] = j
                count += 1
        error_C[:count] = 0.0
    kinds = _tell(weights, b, count, user_K, candidate_C, error_C, told)

    sum_PK[:] = 0.0
    user_square = mean_square(user_K)
    for i in range(count + kinds):
        j = candidate_C[i] if i < count else told.row_T[i - count]
        error = error_C[i] if i < count else told.error_N[j]
        share = rates.kind if i >= count else np.float32(1.0)
        lr, bias_lr = rates.lr * share, rates.bias_lr * share
        add(sum_PK[i & 3], error, item_NK[j])
        descend(item_NK, weights.item_square_N, j, error, user_K, user_square, lr, reg)
        weights.bias_square_N[j] += error * error
        bias_N1[j, 0] -= bias_lr * error / np.sqrt(weights.bias_square_N[j])
        weights.stale_N[j] = EVERYONE
    for k in range(width):
        gradient_K[k] = (sum_PK[0, k] + sum_PK[1, k]) + (sum_PK[2, k] + sum_PK[3, k])

    long_square = short_square = mean_square(gradient_K)
    assign(at.shallow_K, gradient_K)
    if interests:
        attend_back(queries, shallow_K, at, entries, gradient_K, rates.query_lr)
        _deepen(weights, rates, at, recalled.rows_BW[b], entry_S, entries, touched, many, work.pulled)
        short_square = mean_square(at.shallow_K)
    for t in range(many):
        z, long, short = touched.row_T[t], touched.long_T[t], touched.short_T[t]
        weights.stale_N[z] |= CHECKPOINT
        lr = rate_of(rates, weights.is_kind_N[z])
        if long > 0.0:
            descend(weights.long_NK, weights.long_square_N, z, long, gradient_K, long_square, lr, reg)
        if short > 0.0:
            descend(weights.short_NK, weights.short_square_N, z, short, at.shallow_K, short_square, lr, reg)


@reordered
def learn(
    events: Targets,
    slots: AliasSlots,
    size: int,
    rates: StepSizes,
    weights: InterestRows,
    queries: Queries,
    newest: int,
) -> None:
    """One AdaGrad step an event, in order, on softmax cross-entropy of the true item.

    Gradients of a row that occurs more than once are added up before its step.
    """
    work = _room(events, slots, size, weights, queries, newest)
    for b in range(events.target_B.shape[0]):
        if events.target_B[b] >= 0:
            _learn_one(b, events, size, rates, weights, queries, work)
