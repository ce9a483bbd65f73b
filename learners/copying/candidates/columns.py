"""The evidence of a row's candidates, written column by column.

Shape suffixes: B rows, C candidates, F columns, L columns that are logarithms, V views, N catalogue rows.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from learners.copying.candidates.evidence import (
    COLUMN,
    COLUMNS,
    FAR_KM2,
    FLOOR,
    LOGGED,
    OWN,
    Own,
    kilometres2,
)
from learners.copying.counts.crowd import FOLLOW_CAP, LAST, POPULAR_DAYS, SLOTS, CrowdArrays, time_slot
from learners.copying.counts.returns import ReturnArrays, told
from learners.tables.followers import count_of
from state.compiled import assign, inner, reordered
from state.evidence import STIM
from state.examples import Doubles, Floats
from state.keys import NO_KEY, Int64s, find
from state.memory.windows import Columns
from state.tree import Tree

Int32s = NDArray[np.int32]

NEAR = STIM.neighbours
"""Neighbours known of an item."""
_K, _L = len(OWN), len(LOGGED)
_COUNT, _RETURN, _POPULAR = COLUMN["count"], COLUMN["return_all"], COLUMN["popular_3m"]
_SLOT, _AGE, _FOLLOW, _PLACES = COLUMN["slot"], COLUMN["age"], COLUMN["follow"], COLUMN["near"]
_KIND, _OTHER = COLUMN["category"], COLUMN["stranger_place"]
_LEAST = STIM.least
_SAME_PLACE, _FROM_HERE = COLUMN["same_place"], COLUMN["from_here"]
_HOLDS = (COLUMN["hour_1h"], COLUMN["week_90m"], _SAME_PLACE, COLUMN["after"])
"""What tells how much each view of `experts.VIEWS` after the first holds, which is all events; of a place,
what was begun near here counts too."""
_LOG2 = (
    0.44265943876463587,
    -0.27672833397499463,
    0.18486223194849347,
    -0.09838761610241571,
    0.0262730506919756,
)
"""log2(1 + f) = f (1 + (1 - f) q(f)) with these coefficients of q, within 1e-5 for f in [0, 1]."""


class Asked(NamedTuple):
    """Rows for which evidence is wanted, what their users remember, and who may be a candidate."""

    past: Columns
    item_table: Int64s
    """Of the catalogue: key -> row."""
    leaders: Int64s
    """Catalogue rows of popular items."""
    wanted_B: NDArray[np.bool_]
    whole_B: NDArray[np.bool_]
    """Of which of them the evidence of every candidate is wanted, not only of those that are learned from."""
    true_B: Int64s
    """Catalogue row of the item, or -1."""
    identity_B: Int64s
    user_B: Int64s
    time_ms_B: Int64s
    tz_min_B: Int64s
    cell_B: Int64s
    """The request's own place, or NO_KEY."""
    brought_BM: Int64s
    """Catalogue rows that the caller brings."""
    events: int
    """Counted before the queue."""
    keep: bool
    """Whether neighbours that are looked for are known from then on."""
    waits: bool
    """Whether chances to return wait for their outcome, to be counted."""
    repeats: bool
    """Whether what the user has had is a candidate."""
    own_most: int
    speaks: bool
    """As in `evidence.remember_own`."""


class Counted(NamedTuple):
    """What is counted of the stream, by item, by user or by nothing."""

    crowd: CrowdArrays
    returns: ReturnArrays


class Room(NamedTuple):
    """Scratch, all zero between rows."""

    follow_N5: Floats
    touched_T: Int64s
    score_T: Doubles
    best_F: Doubles
    """The greatest of them, in falling order."""
    near_NM: Int32s
    """The nearest worthwhile items of an item; -1 where not known yet.
    The last row is for those that are not kept."""
    near_at_N: Int64s
    """When they were found, in events of the crowd."""
    raw_CL: Floats
    """One row's candidates before the logarithm."""
    bits_CL: Int32s
    """The same memory, as integers."""
    active_C: Int64s
    """Own candidates that weigh on the density."""
    km_C2: Doubles
    """Where they are."""
    scale_V: Doubles
    """What a weight of popularity is multiplied by to be a share, by half-life."""


class Found(NamedTuple):
    """Where evidence goes; row b's candidates are `start_B1[b]` .. `start_B1[b + 1]`."""

    start_B1: Int64s
    item_C: Int64s
    evidence_CF: Floats
    base_C: Floats
    added_C: Floats
    """What is added to the base of a candidate that is learned from; `sample.DROPPED` for the others."""
    held_BV: Floats
    """How much each view of the memory holds for the row: kernel products, summed."""
    entries_BV: Floats
    """How many own candidates each view speaks for."""


def new_found(rows: int, candidates: int, views: int) -> Found:
    """Room for so many."""
    return Found(
        np.zeros(rows + 1, np.int64),
        np.empty(candidates, np.int64),
        np.empty((candidates, len(COLUMNS)), np.float32),
        np.empty(candidates, np.float32),
        np.empty(candidates, np.float32),
        np.zeros((rows, views), np.float32),
        np.zeros((rows, views), np.float32),
    )


def first_rows(found: Found, rows: int) -> Found:
    """Room that was used before, for the first so many rows."""
    held_BV, entries_BV = found.held_BV[:rows], found.entries_BV[:rows]
    held_BV[:] = entries_BV[:] = 0.0
    return found._replace(start_B1=found.start_B1[: rows + 1], held_BV=held_BV, entries_BV=entries_BV)


def new_room(size: int, width: int, candidates: int, old: Room | None = None) -> Room:
    """Scratch for a catalogue of `size`, windows of `width` and so many candidates a row; what `old` knows of
    neighbours is taken over."""
    raw_CL = np.zeros((candidates, len(LOGGED)), np.float32)
    touched = max(size, LAST * FOLLOW_CAP) + 1
    new = Room(
        follow_N5=np.zeros((size, 5), np.float32),
        touched_T=np.zeros(touched, np.int64),
        score_T=np.zeros(touched),
        best_F=np.zeros(candidates),
        near_NM=np.full((size + 1, NEAR), -1, np.int32),
        near_at_N=np.full(size, -1, np.int64),
        raw_CL=raw_CL,
        bits_CL=raw_CL.view(np.int32),
        active_C=np.zeros(width, np.int64),
        km_C2=np.zeros((width, 2)),
        scale_V=np.zeros(len(POPULAR_DAYS)),
    )
    if old is not None:
        new.near_NM[: len(old.near_at_N)] = old.near_NM[:-1]
        new.near_at_N[: len(old.near_at_N)] = old.near_at_N
    return new


def near_tree(room: Room, size: int) -> Tree:
    """What is known of neighbours: it stays until it is old, so a restart needs it."""
    return {"near_NM": room.near_NM[:size].copy(), "near_at_N": room.near_at_N[:size].copy()}


class Row(NamedTuple):
    """One row, and what the memory said of it."""

    b: int
    start: int
    end: int
    """Its candidates are `start` .. `end` - 1."""
    many: int
    """Own candidates, wanted or not."""
    kinds: int
    """Categories of the user."""
    last: int
    """The last item's row, or -1."""
    place: int
    """The place's row, or -1."""
    user: int
    """Row in the tables of returns, or -1."""


@inner
def write(row: Row, asked: Asked, counted: Counted, own: Own, room: Room, found: Found) -> None:
    """Write the evidence of a row's candidates, and what the views hold."""
    time_ms, crowd, returns = asked.time_ms_B[row.b], counted.crowd, counted.returns
    popular, slotted, km_N3 = crowd.popular, crowd.slotted, crowd.km_N3
    slot = time_slot(time_ms, asked.tz_min_B[row.b])
    day = 24 * (slot // 24)
    before, after = day + (slot - day + 23) % 24, day + (slot - day + 1) % 24
    slot_now = 2.0 ** min((slotted.clock_V3[0, 0] - time_ms) / slotted.half_life_ms_V[0], 0.0)
    total, kind_total, kind_hour_total = _LEAST, _LEAST, _LEAST
    active = 0
    for i in range(row.many):
        total += own.count_C[i]
        n = own.item_C[i]
        if not np.isnan(km_N3[n, 0]):
            room.active_C[active] = i
            room.km_C2[active, 0] = km_N3[n, 0]
            room.km_C2[active, 1] = km_N3[n, 1]
            active += 1
    for k in range(row.kinds):
        kind_total += own.category_C3[k, 0]
        kind_hour_total += own.category_C3[k, 1]
    placed = row.last >= 0 and not np.isnan(km_N3[row.last, 0])
    scale_V = room.scale_V
    for v in range(scale_V.shape[0]):
        scale_V[v] = 1.0 / max(popular.clock_V3[v, 1], 1e-300)
    for c in range(row.start, row.end):
        n, x, raw = found.item_C[c], found.evidence_CF[c], room.raw_CL[c - row.start]
        i = own.slot_N[n] - 1
        assign(raw, FLOOR)
        for k in range(_L, x.shape[0]):
            x[k] = 0.0
        if i >= 0:
            s = own.sum_CK[i]
            for k in range(_K - 1):
                raw[k] += s[k]
            raw[_K - 1] += own.count_C[i] / total
            raw[_COUNT] += own.count_C[i]
            category = find(returns.categories.table, crowd.category_N[n])
            told(own.code_C[i], n, row.user, category, returns, raw[_RETURN:])
        for v in range(scale_V.shape[0]):
            raw[_POPULAR + v] += popular.weight_VN[v, n] * scale_V[v]
        at = (SLOTS + 1) * n
        here = 0.5 * slotted.weight_VN[0, at + slot] + 0.25 * (
            slotted.weight_VN[0, at + before] + slotted.weight_VN[0, at + after]
        )
        raw[_SLOT] += here * slot_now
        raw[_SLOT + 1] += slotted.weight_VN[0, at + SLOTS] * slot_now / 24.0
        raw[_AGE] += max(time_ms - crowd.first_ms_N[n], 0) / 3600000.0
        f = room.follow_N5[n]
        for k in range(5):
            raw[_FOLLOW + k] += f[k]
        if np.isnan(km_N3[n, 0]):
            x[_OTHER] = 1.0
            raw[_PLACES] += FAR_KM2
        else:
            raw[_PLACES] += kilometres2(km_N3, n, row.last) if placed else FAR_KM2
            equator, north, cosine, dense = km_N3[n, 0], km_N3[n, 1], km_N3[n, 2], 0.0
            for j in range(active):
                east = (equator - room.km_C2[j, 0]) * cosine
                km2 = east * east + (north - room.km_C2[j, 1]) ** 2
                if room.active_C[j] != i:
                    dense += own.count_C[room.active_C[j]] / (1.0 + km2 * 6.25)
            raw[_PLACES + 1] += dense
        if row.place >= 0:
            all_here = max(crowd.places.total_VN[0, row.place], 1e-300)
            raw[_PLACES + 2] += count_of(crowd.places, 0, row.place, n) / all_here
        key = crowd.category_N[n]
        if key != NO_KEY:
            for k in range(row.kinds):
                if own.category_C[k] == key:
                    raw[_KIND] += own.category_C3[k, 0] / kind_total
                    raw[_KIND + 1] += own.category_C3[k, 1] / kind_hour_total
                    x[_OTHER + 1] = own.category_C3[k, 2]
                    break
    _logarithms(room.bits_CL, row.end - row.start, found.evidence_CF[row.start : row.end])
    held, entries = found.held_BV[row.b], found.entries_BV[row.b]
    for i in range(row.many):
        s = own.sum_CK[i]
        held[0] += own.count_C[i]
        entries[0] += 1.0
        for v in range(1, held.shape[0]):
            of = _HOLDS[v - 1]
            one = s[of] + (s[_FROM_HERE] if of == _SAME_PLACE else 0.0)
            held[v] += one
            entries[v] += one > 0.05


@reordered
def _logarithms(bits_CL: Int32s, rows: int, out_CF: Floats) -> None:
    """Natural logarithms, of positive normal floats given as their bits, within 1e-5."""
    a, b, c, d, e = _LOG2
    for r in range(rows):
        bits, out = bits_CL[r], out_CF[r]
        for k in range(_L):
            f = np.float32(bits[k] & 0x7FFFFF) * np.float32(1.0 / 8388608.0)
            q = np.float32(d) + f * np.float32(e)
            q = np.float32(b) + f * (np.float32(c) + f * q)
            q = np.float32(a) + f * q
            power = np.float32((bits[k] >> 23) - 127)
            out[k] = (power + f * (np.float32(1.0) + (np.float32(1.0) - f) * q)) * np.float32(0.6931472)


def log_of(raw_CL: Floats) -> Floats:
    """Natural logarithms as evidence has them: of positive numbers, within 2e-5."""
    out_CL = np.empty_like(raw_CL)
    _logarithms(raw_CL.view(np.int32), len(raw_CL), out_CL)
    return out_CL
