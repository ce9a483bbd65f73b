"""What a window weighs in each view, and the interests that come of it.

Shape suffixes: B events, W window entries, N table rows, K width, D = K + 1, V views, P kinds of an item.

The newest entries of a window count, as many as are wanted; a window that holds fewer is filled up with items
that only its totals know, as entries older than its own.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from learners.interests.deep import FAINT, Attention, attend, room
from state.compiled import assign, compiled, inner, reordered
from state.examples import Floats
from state.keys import NO_KEY, Int64s, find
from state.memory.windows import Columns

Int32s = NDArray[np.int32]

SHORT, LONG, HOUR, WEEK, PLACE = range(5)
VIEWS = 5


class RecalledRows(NamedTuple):
    """What a batch's memories recall, oldest first."""

    rows_BW: Int64s
    """Table row, -1 where there is none."""
    length_B: Int64s
    further_B: Int64s
    """How many of them are no entries of the window, but items of its totals."""
    weight_VBW: Floats


class InterestVectors(NamedTuple):
    """What entries and their kinds bring to each interest, and the deep ones' queries."""

    short_NK: Floats
    long_NK: Floats
    deep_NK: Floats
    kind_NP: Int32s
    """Rows of each item's kinds, then -1."""
    query_IQ: Floats
    newest: int
    """Entries that the deep interests attend over."""


@compiled
def remember(
    table: Int64s, past: Columns, wanted: int, short: int, fade: float, recalled: RecalledRows
) -> None:
    """Fill in up to `wanted` newest entries of each window, what is further, and what each weighs in each
    view: w / sqrt(sum of w + prior). `recalled` holds rows of -1, and zeros, on entry."""
    rows_BW, weight_VBW = recalled.rows_BW, recalled.weight_VBW
    views = weight_VBW.shape[0]
    for b in range(past.length_B.shape[0]):
        own = min(past.length_B[b], wanted)
        first = past.length_B[b] - own
        further = _further(table, past, b, first, recalled)
        length = further + own
        recalled.length_B[b], recalled.further_B[b] = length, further
        for w in range(own):
            rows_BW[b, further + w] = find(table, past.item_BW[b, first + w])
        if views > LONG:
            assign(weight_VBW[LONG, b, further:], past.retention_BW[b, first : first + own])
        recent = 1.0
        for w in range(length - 1, max(length - short, further) - 1, -1):
            weight_VBW[SHORT, b, w] = recent
            recent *= fade
        if views > HOUR:
            for w in range(own):
                kept = past.retention_BW[b, first + w]
                weight_VBW[HOUR, b, further + w] = past.hour_BW[b, first + w] * kept
                weight_VBW[WEEK, b, further + w] = past.week_BW[b, first + w] * kept
                weight_VBW[PLACE, b, further + w] = past.place_BW[b, first + w] * kept
        for v in range(views):
            total = np.float32(0.0)
            for w in range(length):
                total += weight_VBW[v, b, w]
            scale = np.float32(1.0 / np.sqrt(total + (0.5 if v == SHORT else 1.0)))
            for w in range(length):
                weight_VBW[v, b, w] *= scale


@inner
def _further(table: Int64s, past: Columns, b: int, first: int, recalled: RecalledRows) -> int:
    """Take items of row b's totals that are no entries from `first` on, as far as there is room; how many."""
    item_W, room = past.item_BW[b, first : past.length_B[b]], recalled.rows_BW.shape[1]
    items = further = 0
    for item in past.total_item_BI[b]:
        if item == NO_KEY or further + len(item_W) == room:
            break
        further += not _among(item, item_W)
        items += 1
    w = further
    for i in range(items):
        if not _among(past.total_item_BI[b, i], item_W):
            w -= 1
            recalled.rows_BW[b, w] = find(table, past.total_item_BI[b, i])
            if recalled.weight_VBW.shape[0] > LONG:
                recalled.weight_VBW[LONG, b, w] = past.total_faded_BI[b, i]
    return further


@inner
def _among(key: int, key_W: Int64s) -> bool:
    among = False
    for w in range(key_W.shape[0]):
        among |= key_W[w] == key
    return among


@compiled
def repeats(
    counts_B: NDArray[np.bool_], target_B: Int64s, entry_BW: Int64s, length_B: Int64s
) -> tuple[int, int]:
    """Of the rows that count: how many targets are in their own window, and how many have a window at all."""
    again = targets = 0
    for b in range(target_B.shape[0]):
        if counts_B[b] and length_B[b] > 0:
            targets += 1
            for w in range(length_B[b]):
                if entry_BW[b, w] == target_B[b]:
                    again += 1
                    break
    return again, targets


@inner
def recall_hidden(
    recalled: RecalledRows, b: int, deep_NK: Floats, kind_NP: Int32s, entry_S: Int64s, at: Attention
) -> int:
    """Fill in the newest entries' deep vectors and log retention; how many have a row.

    `entry_S` gets their places in the window.
    """
    rows_W, weight_W = recalled.rows_BW[b], recalled.weight_VBW[LONG, b]
    entries = 0
    for w in range(max(recalled.length_B[b] - entry_S.shape[0], 0), recalled.length_B[b]):
        row = rows_W[w]
        if row < 0:
            continue
        entry_S[entries] = w
        hidden_K = at.hidden_SK[entries]
        assign(hidden_K, deep_NK[row])
        for kind in kind_NP[row]:
            if kind < 0:
                break
            for k in range(hidden_K.shape[0]):
                hidden_K[k] += deep_NK[kind, k]
        at.log_retention_S[entries] = np.log(max(weight_W[w], FAINT))
        entries += 1
    return entries


@reordered
def interests(
    recalled: RecalledRows,
    vectors: InterestVectors,
    vector_BVD: Floats,
) -> None:
    """Add up each view's interest, then the deep ones; `vector_BVD` holds zeros on entry."""
    rows_BW, length_B, weight_VBW = recalled.rows_BW, recalled.length_B, recalled.weight_VBW
    short_NK, long_NK, deep_NK, kind_NP, query_IQ, newest = vectors
    views, width = weight_VBW.shape[0], short_NK.shape[1]
    entry_S, at = np.empty(newest, np.int64), room(query_IQ.shape[0], newest, width)
    for b in range(length_B.shape[0]):
        for v in range(views):
            vector_D = vector_BVD[b, v]
            for w in range(length_B[b]):
                row, weight = rows_BW[b, w], weight_VBW[v, b, w]
                if row >= 0 and weight != 0.0:
                    source_K = short_NK[row] if v == SHORT else long_NK[row]
                    for k in range(width):
                        vector_D[k] += weight * source_K[k]
                    for kind in kind_NP[row]:
                        if kind < 0:
                            break
                        kind_K = short_NK[kind] if v == SHORT else long_NK[kind]
                        for k in range(width):
                            vector_D[k] += weight * kind_K[k]
        if query_IQ.shape[0]:
            entries = recall_hidden(recalled, b, deep_NK, kind_NP, entry_S, at)
            attend(query_IQ, vector_BVD[b, SHORT, :width], at, entries, vector_BVD[b, views:, :width])


@reordered
def explain(
    recalled: RecalledRows,
    first_B: Int64s,
    vectors: InterestVectors,
    item_BD: Floats,
    part_BVW: Floats,
) -> None:
    """What each entry of a window, of which those from `first_B[b]` on are recalled, adds to an item's score,
    by interest; zeros on entry."""
    rows_BW, length_B, further_B, weight_VBW = recalled
    short_NK, long_NK, deep_NK, kind_NP, query_IQ, newest = vectors
    views, width = weight_VBW.shape[0], short_NK.shape[1]
    entry_S, at = np.empty(newest, np.int64), room(query_IQ.shape[0], newest, width)
    vector_BVD = np.zeros((length_B.shape[0], views + query_IQ.shape[0], item_BD.shape[1]), np.float32)
    interests(recalled, vectors, vector_BVD)
    for b in range(length_B.shape[0]):
        first = first_B[b] - further_B[b]
        for w in range(further_B[b], length_B[b]):
            row = rows_BW[b, w]
            if row < 0:
                continue
            short = long = np.float32(0.0)
            for k in range(width):
                short += short_NK[row, k] * item_BD[b, k]
                long += long_NK[row, k] * item_BD[b, k]
            for kind in kind_NP[row]:
                if kind < 0:
                    break
                for k in range(width):
                    short += short_NK[kind, k] * item_BD[b, k]
                    long += long_NK[kind, k] * item_BD[b, k]
            for v in range(views):
                part_BVW[b, v, first + w] = weight_VBW[v, b, w] * (short if v == SHORT else long)
        if query_IQ.shape[0]:
            entries = recall_hidden(recalled, b, deep_NK, kind_NP, entry_S, at)
            attend(query_IQ, vector_BVD[b, SHORT, :width], at, entries, vector_BVD[b, views:, :width])
            for i in range(query_IQ.shape[0]):
                for s in range(entries):
                    along = np.float32(0.0)
                    for k in range(width):
                        along += at.hidden_SK[s, k] * item_BD[b, k]
                    share = at.weight_IS[i, s] * query_IQ[i, 2 * width + 1]
                    part_BVW[b, views + i, first + entry_S[s]] = share * along
