"""The two-tower's inner loops: what a window weighs, one event's gradient and update, scores.

Shape suffixes: B events, W window entries, N table rows, K width, S draws, V views, C candidates.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from learners.sampling import Slots, draw
from learners.table import CHECKPOINT, EVERYONE
from state.compiled import compiled, inlined, reordered
from state.examples import Bytes, Floats
from state.keys import Int64s, find, mix

Int32s = NDArray[np.int32]

SHORT, LONG, HOUR, WEEK, PLACE = range(5)
VIEWS = 5


class Events(NamedTuple):
    """What `learn` takes of each event."""

    target_B: Int64s
    """Table row of the true item, -1 for nothing to learn."""
    rows_BW: Int64s
    length_B: Int64s
    weight_VBW: Floats
    identity_B: Int64s


@compiled
def window_rows(table: Int64s, item_BW: Int64s, length_B: Int64s, rows_BW: Int64s) -> None:
    """Fill in the table row of every real entry; `rows_BW` holds -1 on entry."""
    for b in range(length_B.shape[0]):
        for w in range(length_B[b]):
            rows_BW[b, w] = find(table, item_BW[b, w])


@compiled
def repeats(target_B: Int64s, rows_BW: Int64s, length_B: Int64s) -> tuple[int, int]:
    """How many targets are in their own window, and how many targets have a window at all."""
    again = targets = 0
    for b in range(target_B.shape[0]):
        if target_B[b] >= 0 and length_B[b] > 0:
            targets += 1
            for w in range(length_B[b]):
                if rows_BW[b, w] == target_B[b]:
                    again += 1
                    break
    return again, targets


@compiled
def view_weights(
    length_B: Int64s,
    retention_BW: Floats,
    hour_BW: Floats,
    week_BW: Floats,
    place_BW: Floats,
    short: int,
    fade: float,
    weight_VBW: Floats,
) -> None:
    """Fill in what each entry weighs in each view: w / sqrt(sum of w + prior)."""
    views = weight_VBW.shape[0]
    for b in range(length_B.shape[0]):
        length = length_B[b]
        for w in range(length):
            weight_VBW[LONG, b, w] = retention_BW[b, w]
        recent = 1.0
        for w in range(length - 1, max(length - short, 0) - 1, -1):
            weight_VBW[SHORT, b, w] = recent
            recent *= fade
        if views > HOUR:
            for w in range(length):
                weight_VBW[HOUR, b, w] = hour_BW[b, w] * retention_BW[b, w]
                weight_VBW[WEEK, b, w] = week_BW[b, w] * retention_BW[b, w]
                weight_VBW[PLACE, b, w] = place_BW[b, w] * retention_BW[b, w]
        for v in range(views):
            total = np.float32(0.0)
            for w in range(length):
                total += weight_VBW[v, b, w]
            scale = np.float32(1.0 / np.sqrt(total + (0.5 if v == SHORT else 1.0)))
            for w in range(length):
                weight_VBW[v, b, w] *= scale


@reordered
def interests(
    rows_BW: Int64s,
    length_B: Int64s,
    weight_VBW: Floats,
    short_NK: Floats,
    long_NK: Floats,
    vector_BVD: Floats,
) -> None:
    """Add up each view's interest vector; `vector_BVD` holds zeros on entry."""
    for b in range(length_B.shape[0]):
        for v in range(weight_VBW.shape[0]):
            vector_D = vector_BVD[b, v]
            for w in range(length_B[b]):
                row, weight = rows_BW[b, w], weight_VBW[v, b, w]
                if row >= 0 and weight != 0.0:
                    source_K = short_NK[row] if v == SHORT else long_NK[row]
                    for k in range(short_NK.shape[1]):
                        vector_D[k] += weight * source_K[k]


@compiled
def scores(vector_BD: Floats, item_DN: Floats, score_BN: Floats) -> None:
    """Inner products, each summed in the same order whatever the batch; D is a multiple of 4.

    `item_DN` may have more columns than there are scores to fill in.
    """
    size = score_BN.shape[1]
    for start in range(0, size, 1024):
        stop = min(start + 1024, size)
        for b in range(vector_BD.shape[0]):
            out_T = score_BN[b, start:stop]
            out_T[:] = 0.0
            for d in range(0, vector_BD.shape[1], 4):
                a_T, b_T = item_DN[d, start:stop], item_DN[d + 1, start:stop]
                c_T, d_T = item_DN[d + 2, start:stop], item_DN[d + 3, start:stop]
                x0, x1 = vector_BD[b, d], vector_BD[b, d + 1]
                x2, x3 = vector_BD[b, d + 2], vector_BD[b, d + 3]
                for t in range(out_T.shape[0]):
                    out_T[t] += (x0 * a_T[t] + x1 * b_T[t]) + (x2 * c_T[t] + x3 * d_T[t])


@compiled
def _sample(
    y: int,
    state: int,
    draws: int,
    slots: Slots,
    banned_N: Int32s,
    place_N: Int32s,
    b: int,
    times_C: Floats,
    candidate_C: Int64s,
    correction_C: Floats,
) -> int:
    """Fill in the true row and what is drawn beside it; how many there are.

    Rows whose `banned_N` is b are passed over; one that is drawn n times counts once, its correction less
    log n. `place_N` may hold anything that an earlier call left there.
    """
    candidate_C[0] = y
    correction_C[0] = 0.0
    count = 1
    log_draws = np.float32(np.log(draws))
    for _ in range(draws if slots.row_M.shape[0] else 0):
        state = mix(state)
        m = draw(slots, state)
        j = slots.row_M[m]
        if j == y or banned_N[j] == b:
            continue
        i = place_N[j]
        if 0 < i < count and candidate_C[i] == j:
            times_C[i] += np.float32(1.0)
            continue
        place_N[j] = count
        candidate_C[count] = j
        correction_C[count] = slots.log_q_M[m] + log_draws
        times_C[count] = 1.0
        count += 1
    for i in range(1, count):
        if times_C[i] > 1.0:
            correction_C[i] -= np.log(times_C[i])
    return count


@compiled
def sample(
    target_B: Int64s,
    rows_BW: Int64s,
    identity_B: Int64s,
    draws: int,
    slots: Slots,
    spare: bool,
    size: int,
) -> tuple[Int64s, Floats]:
    """Candidates (B, C) as `learn` draws them, the true item first, and what to take off their logits.

    Unused places hold row 0 and an infinite correction.
    """
    candidate_BC = np.zeros((target_B.shape[0], draws + 1), np.int64)
    correction_BC = np.full((target_B.shape[0], draws + 1), np.float32(np.inf))
    banned_N = np.full(size, -1, np.int32)
    place_N = np.zeros(size, np.int32)
    times_C = np.empty(draws + 1, np.float32)
    for b in range(target_B.shape[0]):
        if spare:
            for row in rows_BW[b]:
                if row >= 0:
                    banned_N[row] = b
        _sample(
            target_B[b],
            identity_B[b],
            draws,
            slots,
            banned_N,
            place_N,
            b,
            times_C,
            candidate_BC[b],
            correction_BC[b],
        )
    return candidate_BC, correction_BC


@inlined
def _add(vector_K: Floats, scale: np.float32, row_K: Floats) -> None:
    for k in range(vector_K.shape[0]):
        vector_K[k] += scale * row_K[k]


@inlined
def _mean_square(vector_K: Floats) -> np.float32:
    total = np.float32(0.0)
    for k in range(vector_K.shape[0]):
        total += vector_K[k] * vector_K[k]
    return total / np.float32(vector_K.shape[0])


@inlined
def _descend(
    weight_NK: Floats,
    square_N: Floats,
    n: int,
    scale: np.float32,
    vector_K: Floats,
    mean_square: np.float32,
    lr: np.float32,
    reg: np.float32,
) -> None:
    """AdaGrad's step of row n for the gradient scale x vector, and a pull to zero of reg x |scale|."""
    square_N[n] += scale * scale * mean_square
    rate = lr / np.sqrt(square_N[n])
    keep, move = max(np.float32(1.0) - rate * reg * abs(scale), np.float32(0.0)), rate * scale
    row_K = weight_NK[n]
    for k in range(row_K.shape[0]):
        row_K[k] = keep * row_K[k] - move * vector_K[k]


@reordered
def learn(
    events: Events,
    slots: Slots,
    draws: int,
    spare: bool,
    size: int,
    lr: np.float32,
    bias_lr: np.float32,
    reg: np.float32,
    item_NK: Floats,
    item_square_N: Floats,
    bias_N1: Floats,
    bias_square_N: Floats,
    short_NK: Floats,
    short_square_N: Floats,
    long_NK: Floats,
    long_square_N: Floats,
    stale_N: Bytes,
) -> None:
    """One AdaGrad step an event, in order, on softmax cross-entropy of the true item.

    `draws` > 0 samples that many candidates and corrects by log(draws x q); 0 takes every row. `spare`
    leaves the window's own items out of the candidates. Gradients of a row that occurs more than once in a
    window are added up before its step.
    """
    target_B, rows_BW, length_B, weight_VBW, identity_B = events
    width = item_NK.shape[1]
    short_N, long_N = np.zeros(size, np.float32), np.zeros(size, np.float32)
    seen_N = np.full(size, -1, np.int32)
    banned_N = seen_N if spare else np.full(size, -1, np.int32)
    place_N = np.zeros(size, np.int32)
    touched = np.empty(rows_BW.shape[1], np.int64)
    room = draws + 1 if draws else size
    candidate_C = np.empty(room, np.int64)
    correction_C, times_C = np.zeros(room, np.float32), np.empty(room, np.float32)
    error_C = np.empty(room, np.float32)
    sum_PK = np.empty((4, width), np.float32)  # four sums side by side, so that none waits for the last
    user_K, gradient_K = np.empty(width, np.float32), np.empty(width, np.float32)
    for b in range(target_B.shape[0]):
        y = target_B[b]
        if y < 0:
            continue

        many = 0
        for w in range(length_B[b]):
            z = rows_BW[b, w]
            if z < 0:
                continue
            if seen_N[z] != b:
                seen_N[z] = b
                touched[many] = z
                many += 1
                short_N[z] = long_N[z] = 0.0
            short_N[z] += weight_VBW[0, b, w]
            for v in range(1, weight_VBW.shape[0]):
                long_N[z] += weight_VBW[v, b, w]
        sum_PK[:] = 0.0
        for i in range(many):
            z = touched[i]
            _add(sum_PK[i & 3], long_N[z], long_NK[z])
            if short_N[z] > 0.0:
                _add(sum_PK[i & 3 ^ 2], short_N[z], short_NK[z])
        for k in range(width):
            user_K[k] = (sum_PK[0, k] + sum_PK[1, k]) + (sum_PK[2, k] + sum_PK[3, k])

        if draws:
            count = _sample(
                y,
                identity_B[b],
                draws,
                slots,
                banned_N,
                place_N,
                b,
                times_C,
                candidate_C,
                correction_C,
            )
        else:
            candidate_C[0] = y
            count = 1
            for j in range(size):
                if j != y and banned_N[j] != b:
                    candidate_C[count] = j
                    count += 1

        top = np.float32(-np.inf)
        for i in range(count):
            row_K = item_NK[candidate_C[i]]
            logit = bias_N1[candidate_C[i], 0] - correction_C[i]
            for k in range(width):
                logit += row_K[k] * user_K[k]
            error_C[i] = logit
            top = max(top, logit)
        total = np.float32(0.0)
        for i in range(count):
            error_C[i] = np.exp(error_C[i] - top)
            total += error_C[i]
        for i in range(count):
            error_C[i] /= total
        error_C[0] -= np.float32(1.0)

        sum_PK[:] = 0.0
        mean_square = _mean_square(user_K)
        for i in range(count):
            j, error = candidate_C[i], error_C[i]
            _add(sum_PK[i & 3], error, item_NK[j])
            _descend(item_NK, item_square_N, j, error, user_K, mean_square, lr, reg)
            bias_square_N[j] += error * error
            bias_N1[j, 0] -= bias_lr * error / np.sqrt(bias_square_N[j])
            stale_N[j] = EVERYONE
        for k in range(width):
            gradient_K[k] = (sum_PK[0, k] + sum_PK[1, k]) + (sum_PK[2, k] + sum_PK[3, k])
        mean_square = _mean_square(gradient_K)
        for i in range(many):
            z = touched[i]
            stale_N[z] |= CHECKPOINT
            _descend(long_NK, long_square_N, z, long_N[z], gradient_K, mean_square, lr, reg)
            if short_N[z] > 0.0:
                _descend(short_NK, short_square_N, z, short_N[z], gradient_K, mean_square, lr, reg)
