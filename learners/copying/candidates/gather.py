"""Candidates of a row, and their evidence: own places first, then what others lead to.

Others: popular items, what follows the user's last items, what is near, what the place sells, and those that
the caller brings (the nearest to the user's interests). All the rest of the catalogue ranks behind, by
popularity.

Shape suffixes: B rows, W window entries, C candidates, F columns, N catalogue rows, L last items, T touched.
"""

import numpy as np
from numpy.typing import NDArray

from learners.copying.candidates.columns import NEAR, Asked, Counted, Found, Room, Row, write
from learners.copying.candidates.evidence import COLUMN, Own, Tables, kilometres2, remember_own
from learners.copying.candidates.sample import TINY, based, choose, least_of_best, weigh
from learners.copying.counts.crowd import FOLLOW_FADE, LAST, CrowdArrays, CrowdRows, learn_rows
from learners.copying.counts.returns import ReturnArrays, code_of, learn_returns
from learners.tables.followers import START, USED, PairArrays
from state.compiled import compiled, inner
from state.evidence import STIM
from state.examples import Doubles
from state.forgetting import minute_of_week
from state.keys import NO_KEY, Int64s, find

Int32s = NDArray[np.int32]

_HOUR_2H, _SAME_PLACE = COLUMN["hour_2h"], COLUMN["same_place"]
_WORTH_KM2 = STIM.worth_km2
assert STIM.worth_power == 0.75, "what a neighbour is worth is compared by its fourth power"
FOLLOWERS, HERE = 40, 32
"""Candidates from what follows, and from what the place sells, at most."""
OTHERS = FOLLOWERS + NEAR + HERE
"""Candidates, at most, besides the user's own, the leaders and those that are brought."""


@compiled
def gather(
    due_B: Int64s,
    learned: int,
    queue: CrowdRows,
    asked: Asked,
    counted: Counted,
    tables: Tables,
    own: Own,
    room: Room,
    found: Found,
) -> int:
    """For each row learn what is due before it, then find its candidates; returns the rows learned."""
    crowd, returns = counted.crowd, counted.returns
    end = 0
    for b in range(asked.time_ms_B.shape[0]):
        if due_B[b] > learned:
            learn_rows(queue, learned, due_B[b], crowd)
            learn_returns(queue, learned, due_B[b], crowd.category_N, returns)
            learned = due_B[b]
        found.start_B1[b] = end
        first = returns.place_4[3]
        if asked.wanted_B[b]:
            end = _row(b, end, asked, counted, asked.events + learned, tables, own, room, found)
        found.start_B1[b + 1] = end
        returns.count_R[returns.place_4[2]] = returns.place_4[3] - first
        returns.place_4[2] += 1
    return learned


@inner
def _row(
    b: int,
    start: int,
    asked: Asked,
    counted: Counted,
    events: int,
    tables: Tables,
    own: Own,
    room: Room,
    found: Found,
) -> int:
    time_ms, cell, size = asked.time_ms_B[b], asked.cell_B[b], own.slot_N.shape[0]
    past, crowd = asked.past, counted.crowd
    minute = minute_of_week(time_ms, asked.tz_min_B[b])
    many, kinds, last = remember_own(
        past, b, minute, cell, asked.item_table, crowd.km_N3, tables, asked.speaks, own
    )
    item_C, slot_N = found.item_C, own.slot_N
    touched = _followed(own, past.length_B[b], crowd.follow, time_ms, room)

    end = start
    kept = many if asked.repeats else 0
    if kept > asked.own_most:
        kept = asked.own_most
        for c in range(many):
            room.score_T[c] = (
                own.sum_CK[c, _HOUR_2H] + 0.2 * own.count_C[c] + 0.2 * own.sum_CK[c, _SAME_PLACE]
            )
        least = least_of_best(room.score_T[:many], kept, -np.inf, room.best_F)
        for c in range(many):
            if room.score_T[c] >= least and end < start + kept:
                item_C[end] = own.item_C[c]
                end += 1
    else:
        for c in range(kept):
            item_C[end] = own.item_C[c]
            end += 1
    _ask(start, end, minute, asked, own, item_C, counted.returns)
    end = _take(asked.leaders, end, size, slot_N, item_C)
    end = _take(asked.brought_BM[b], end, size, slot_N, item_C)
    end = _take_best(touched, FOLLOWERS, end, slot_N, item_C, room)
    if last >= 0 and not np.isnan(crowd.km_N3[last, 0]):
        near = _find_near(last, size, events, asked.keep, crowd, room)
        end = _take(room.near_NM[near], end, size, slot_N, item_C)
    place = find(crowd.place_ids.table, cell) if cell != NO_KEY else -1
    if place >= 0:
        end = _take_here(crowd.places, place, end, slot_N, item_C, room)

    user = find(counted.returns.users.table, asked.user_B[b])
    row = Row(b, start, end, many, kinds, last, place, user)
    weigh(row, crowd, own, room, found)
    end = choose(row, asked, own, room, found)
    based(start, end, found)
    write(Row(b, start, end, many, kinds, last, place, user), asked, counted, own, room, found)

    for c in range(many):
        slot_N[own.item_C[c]] = 0
    for c in range(start, end):
        slot_N[item_C[c]] = 0
    for t in range(touched):
        for k in range(5):
            room.follow_N5[room.touched_T[t], k] = 0.0
    return end


@inner
def _ask(
    start: int, end: int, minute: int, asked: Asked, own: Own, item_C: Int64s, returns: ReturnArrays
) -> None:
    """Say in which bins of the curve of return the user's own candidates are, and let them wait."""
    for c in range(start, end):
        n = item_C[c]
        i = own.slot_N[n] - 1
        hour = minute // 60 % 24
        code = code_of(own.age_s_C[i], own.oldest_s_C[i], own.count_C[i], own.since_C[i], hour)
        own.code_C[i] = code
        if asked.waits:
            returns.chance_P2[returns.place_4[3], 0] = n
            returns.chance_P2[returns.place_4[3], 1] = code
            returns.place_4[3] += 1


@inner
def _take(rows: Int64s | Int32s, end: int, size: int, slot_N: Int32s, item_C: Int64s) -> int:
    """Add rows that are no candidates yet; a slot of -1 marks one that is not the user's own."""
    for n in rows:
        if 0 <= n < size and slot_N[n] == 0:
            slot_N[n] = -1
            item_C[end] = n
            end += 1
    return end


@inner
def _followed(own: Own, length: int, follow: PairArrays, time_ms: int, room: Room) -> int:
    """What follows the last items, by both counts, then after each of the last two alone."""
    touched, fade_long, fade_soon = 0, 1.0, 1.0
    now_soon = 2.0 ** min((follow.reference_ms_V[0] - time_ms) / follow.half_life_ms_V[0], 0.0)
    now_long = 2.0 ** min((follow.reference_ms_V[1] - time_ms) / follow.half_life_ms_V[1], 0.0)
    for back in range(min(length, LAST)):
        z = own.row_W[length - 1 - back]
        if z >= 0 and z < follow.home_N.shape[0]:
            total_soon, total_long = follow.total_VN[0, z] * now_soon, follow.total_VN[1, z] * now_long
            soon, long = now_soon / (total_soon + 5.0), now_long / (total_long + 5.0)
            long_root = now_long / (total_long + 5.0) ** 0.3
            start = follow.home_N[z, START]
            for i in range(start, start + follow.home_N[z, USED]):
                n = follow.item_S[i]
                f = room.follow_N5[n]
                room.touched_T[touched] = n
                touched += int(f[0] == 0.0) & int(f[1] == 0.0)
                w_soon, w_long = follow.weight_VS[0, i], follow.weight_VS[1, i]
                f[0] += max(fade_long * long_root * w_long, 1e-30)
                f[1] += fade_soon * soon * w_soon
                if back == 0:
                    f[2] += long * w_long
                    f[3] += soon * w_soon
                elif back == 1:
                    f[4] += long * w_long
        fade_long *= FOLLOW_FADE[1]
        fade_soon *= FOLLOW_FADE[0]
    return touched


@inner
def _take_best(touched: int, count: int, end: int, slot_N: Int32s, item_C: Int64s, room: Room) -> int:
    """Add the best followers, half by long and half by short counts."""
    for k in range(2):
        most = count // 2
        for t in range(touched):
            room.score_T[t] = room.follow_N5[room.touched_T[t], k]
        least = least_of_best(room.score_T[:touched], most, TINY, room.best_F)
        for t in range(touched):
            if room.score_T[t] >= least and most > 0:
                n = room.touched_T[t]
                if slot_N[n] == 0:
                    slot_N[n] = -1
                    item_C[end] = n
                    end += 1
                    most -= 1
    return end


@inner
def _take_here(places: PairArrays, place: int, end: int, slot_N: Int32s, item_C: Int64s, room: Room) -> int:
    """Add what the place sells most."""
    start, used = places.home_N[place, START], places.home_N[place, USED]
    least = 0.0
    if used > HERE:
        least = least_of_best(places.weight_VS[0, start : start + used], HERE, -np.inf, room.best_F)
    for i in range(start, start + used):
        n = places.item_S[i]
        if places.weight_VS[0, i] >= least and slot_N[n] == 0:
            slot_N[n] = -1
            item_C[end] = n
            end += 1
    return end


@inner
def _find_near(n: int, size: int, events: int, keep: bool, crowd: CrowdArrays, room: Room) -> int:
    """Find item n's neighbours by popularity x distance^-1.5, unless that was done not long ago; in which row
    of `near_NM` they are."""
    if room.near_at_N[n] >= 0 and events - room.near_at_N[n] < max(2048, size):
        return n
    row = size
    if keep:
        row = n
        room.near_at_N[n] = events
    near_M, most = room.near_NM[row], room.near_NM.shape[1]
    least, best_M, worth_N = 0.0, room.best_F[:most], room.score_T[: min(size, len(crowd.first_ms_N))]
    best_M[:] = 0.0
    near_M[:] = -1
    _worths(n, crowd, worth_N)
    for j in range(len(worth_N)):
        if worth_N[j] > least and j != n:
            i = most - 1
            while i > 0 and best_M[i - 1] < worth_N[j]:
                best_M[i] = best_M[i - 1]
                near_M[i] = near_M[i - 1]
                i -= 1
            best_M[i] = worth_N[j]
            near_M[i] = j
            least = best_M[most - 1]
    return row


@inner
def _worths(n: int, crowd: CrowdArrays, worth_N: Doubles) -> None:
    """What every item is worth as a neighbour of n, to the fourth, and NaN without a place."""
    km_N3, weight_N, total = crowd.km_N3, crowd.popular.weight_VN[3], crowd.popular.clock_V3[3, 1]
    for j in range(len(worth_N)):
        km2 = kilometres2(km_N3, n, j) + _WORTH_KM2
        share = weight_N[j] / max(total, 1e-300)
        worth_N[j] = share * share * share * share / (km2 * km2 * km2)
