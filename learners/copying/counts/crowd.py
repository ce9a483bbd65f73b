"""What everybody does: faded counts of items, by hour and by place, and of what follows what.

All of it is keyed by item or by nothing, and learned row by row as rows become due, so what a row is told
does not depend on the micro-batch. Only positives count; with labels, every event leads on to the next.

Shape suffixes: N catalogue rows, V half-lives, U users, L last items, Q queue.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from learners.tables.expiry import Forgotten, renumber_rings, without
from learners.tables.faded import Faded, FadedArrays, fade_add
from learners.tables.followers import USED, PairArrays, Pairs, bump, gain
from learners.tables.growing import grown
from state.arrays import Bools, largest
from state.cells import KM_EAST, KM_NORTH
from state.compiled import compiled
from state.examples import Doubles, ExampleBatch, Floats
from state.forgetting import day_off, minute_of_week
from state.keys import NO_KEY, Int64s, KeyArrays, KeyMap, add, find
from state.tree import Tree

POPULAR_DAYS = (3.0 / 1440.0, 1.0 / 24.0, 1.0, 14.0, 365.0)
"""Half-lives of popularity: from what is read this minute to what is known for years."""
LED_BY = (0, 1, 3)
"""Those of the half-lives whose most popular items are candidates."""
FOLLOW_DAYS = (0.02, 90.0)
FOLLOW_FADE = (0.3, 0.9)
"""Half-lives of what follows what, and what an item one step further back is worth."""
LAST = 7
"""Items that lead on."""
SLOTS = 48
"""Hours of a working day, then of a day off."""
_SLOT_DAYS, _PLACE_DAYS = 60.0, 60.0
FOLLOW_CAP, PLACE_CAP = 256, 1024
"""Successors kept of an item, and items of a place."""
_NOWHERE = np.nan
UNMET_MS = -1
"""First time of an item that was not met yet."""


class CrowdRows(NamedTuple):
    """The columns of due rows."""

    item_Q: Int64s
    """Catalogue row."""
    user_Q: Int64s
    time_ms_Q: Int64s
    tz_min_Q: Int64s
    label_Q: Floats
    category_Q: Int64s
    cell_Q: Int64s
    """The request's own place; NO_KEY where the log has none."""
    lat_Q: Doubles
    lon_Q: Doubles


class CrowdArrays(NamedTuple):
    """What kernels take of a `Crowd`."""

    popular: FadedArrays
    slotted: FadedArrays
    """Row (SLOTS + 1) n + s counts item n in slot s, its last row in all of them."""
    follow: PairArrays
    places: PairArrays
    """Row p counts the items of place p."""
    place_ids: KeyArrays
    users: KeyArrays
    last_UL: NDArray[np.int32]
    """How many items the user has had, then the newest of them as a ring."""
    first_ms_N: Int64s
    category_N: Int64s
    """Key of the item's category, or NO_KEY."""
    km_N3: Doubles
    """Where the item is: kilometres east, as on the equator, and north; and the cosine of its latitude, by
    which a step east is shorter there. NaN if nowhere."""
    amount_V: Doubles
    """Room for what an event adds to counts of what follows what, and of places."""
    one_V: Doubles


class Crowd:
    """Item-keyed counts, for evidence and for candidates."""

    def __init__(self) -> None:
        self.popular = Faded(POPULAR_DAYS)
        self.slotted = Faded([_SLOT_DAYS])
        self.follow = Pairs(FOLLOW_DAYS, FOLLOW_CAP)
        self.places = Pairs([_PLACE_DAYS], PLACE_CAP)
        self.place_map = KeyMap()
        self.users = KeyMap()
        self.last_UL: NDArray[np.int32] = np.zeros((0, LAST + 1), np.int32)
        self.first_ms_N: Int64s = np.zeros(0, np.int64)
        self.category_N: Int64s = np.zeros(0, np.int64)
        self.km_N3: Doubles = np.zeros((0, 3))
        self._amount_V, self._one_V = np.zeros(len(FOLLOW_DAYS)), np.zeros(1)

    def reserve(self, size: int, extra: int) -> CrowdArrays:
        """The arrays, with room for catalogue rows 0 .. size - 1 and for learning `extra` more events."""
        self.users.reserve(extra)
        self.place_map.reserve(extra)
        self.last_UL = grown(self.last_UL, len(self.users.keys))
        if size > len(self.first_ms_N):
            room = max(size, 2 * len(self.first_ms_N))
            self.first_ms_N = grown(self.first_ms_N, room, UNMET_MS)
            self.category_N = grown(self.category_N, room, NO_KEY)
            self.km_N3 = grown(self.km_N3, room, _NOWHERE)
        room = len(self.first_ms_N)
        return CrowdArrays(
            self.popular.reserve(room),
            self.slotted.reserve((SLOTS + 1) * room),
            self.follow.reserve(room, LAST * extra),
            self.places.reserve(len(self.place_map.keys), extra),
            self.place_map.arrays,
            self.users.arrays,
            self.last_UL,
            self.first_ms_N,
            self.category_N,
            self.km_N3,
            self._amount_V,
            self._one_V,
        )

    def learn(self, rows: CrowdRows, size: int) -> None:
        """Count rows that are due, in order."""
        for start in range(0, len(rows.item_Q), 128):
            part = cut(rows, start, start + 128)
            crowd = self.reserve(size, len(part.item_Q))
            learn_rows(part, 0, len(part.item_Q), crowd)

    def forget(self, forgotten: Forgotten) -> None:
        """Drop users and items that have left, and places that are left with no item."""
        kept_K, moved_N = forgotten.kept_K, forgotten.moved_N
        self.users, kept_U = without(self.users, forgotten.user_U)
        self.last_UL = self.last_UL[kept_U]
        renumber_rings(self.last_UL, moved_N)
        self.popular.keep(kept_K)
        self.slotted.keep(((SLOTS + 1) * kept_K[:, np.newaxis] + np.arange(SLOTS + 1)).reshape(-1))
        self.follow.keep(kept_K, moved_N)
        self.places.keep(np.arange(len(self.place_map)), moved_N)
        kept_P = np.flatnonzero(self.places.arrays.home_N[:, USED])
        self.places.keep(kept_P, np.arange(len(kept_K)))
        self.place_map = KeyMap(self.place_map.keys[kept_P])
        for name in _COLUMNS:
            column = getattr(self, name)
            setattr(self, name, column[kept_K[kept_K < len(column)]])

    def tree(self) -> Tree:
        met = np.flatnonzero(self.first_ms_N != UNMET_MS)
        known = int(met[-1]) + 1 if len(met) else 0
        return {
            **{name: getattr(self, name).tree() for name in _PARTS},
            "last_UL": self.last_UL[: len(self.users)].copy(),
            **{name: getattr(self, name)[:known].copy() for name in _COLUMNS},
        }

    def load(self, tree: Tree) -> None:
        for name in _PARTS:
            getattr(self, name).load(tree[name])
        for name in ("last_UL", *_COLUMNS):
            setattr(self, name, np.array(tree[name]))


_PARTS = ("popular", "slotted", "follow", "places", "place_map", "users")
_COLUMNS = ("first_ms_N", "category_N", "km_N3")


def crowd_rows(batch: ExampleBatch, item_B: Int64s, *, here: bool) -> CrowdRows:
    """The columns of a batch; `here` where rows carry the request's own place."""
    cell_B = batch.cell_B if here else np.full(len(batch), NO_KEY, np.int64)
    return CrowdRows(
        item_B,
        batch.user_B,
        batch.time_ms_B,
        batch.tz_min_B,
        batch.label_B,
        batch.category_B,
        cell_B,
        batch.lat_B,
        batch.lon_B,
    )


def cut(rows: CrowdRows, first: int, stop: int) -> CrowdRows:
    """Rows `first` .. `stop` - 1."""
    return CrowdRows(**{name: column[first:stop] for name, column in rows._asdict().items()})


def leaders(weight_N: Doubles, size: int, count: int) -> Int64s:
    """The rows below `size` of the `count` greatest positive weights, the greatest first, then the first."""
    rows = largest(weight_N[:size], count)
    return rows[weight_N[rows] > 0.0]


@compiled
def mark_leaders(weight_X: Doubles, first: int, step: int, count: int, led_N: Bools) -> None:
    """Mark `leaders` of a few: row n weighs `weight_X[first + step n]`."""
    best_T, row_T = np.zeros(count), np.full(count, -1)
    for n in range(led_N.shape[0] if count else 0):
        weight = weight_X[first + step * n]
        if weight > best_T[count - 1]:
            t = count - 1
            while t > 0 and weight > best_T[t - 1]:
                best_T[t], row_T[t] = best_T[t - 1], row_T[t - 1]
                t -= 1
            best_T[t], row_T[t] = weight, n
    for n in row_T:
        if n >= 0:
            led_N[n] = True


@compiled
def time_slot(time_ms: int, tz_min: int) -> int:
    """0 .. 23 by the local hour on a working day, 24 .. 47 on a Saturday or Sunday."""
    minute = minute_of_week(time_ms, tz_min)
    return int(minute // 60 % 24 + (24 if day_off(minute) else 0))


@compiled
def learn_rows(rows: CrowdRows, first: int, stop: int, crowd: CrowdArrays) -> None:
    """Count rows first .. stop - 1; the caller has reserved the room."""
    amount_V, one_V = crowd.amount_V, crowd.one_V
    for q in range(first, stop):
        n, time_ms = rows.item_Q[q], rows.time_ms_Q[q]
        u = find(crowd.users.table, rows.user_Q[q])
        if u < 0:
            u = add(crowd.users, rows.user_Q[q])
        last_L = crowd.last_UL[u]
        if not rows.label_Q[q] <= 0.5:
            for v in range(amount_V.shape[0]):
                amount_V[v] = gain(crowd.follow, v, time_ms)
            for back in range(min(last_L[0], LAST)):
                z = last_L[1 + (last_L[0] - 1 - back) % LAST]
                bump(crowd.follow, FOLLOW_CAP, z, n, amount_V)
                for v in range(amount_V.shape[0]):
                    amount_V[v] *= FOLLOW_FADE[v]
            fade_add(crowd.popular, n, time_ms)
            fade_add(crowd.slotted, (SLOTS + 1) * n + time_slot(time_ms, rows.tz_min_Q[q]), time_ms)
            fade_add(crowd.slotted, (SLOTS + 1) * n + SLOTS, time_ms)
            if rows.cell_Q[q] != NO_KEY:
                p = find(crowd.place_ids.table, rows.cell_Q[q])
                if p < 0:
                    p = add(crowd.place_ids, rows.cell_Q[q])
                one_V[0] = gain(crowd.places, 0, time_ms)
                bump(crowd.places, PLACE_CAP, p, n, one_V)
        if crowd.first_ms_N[n] == UNMET_MS:
            crowd.first_ms_N[n] = time_ms
        if rows.category_Q[q] != NO_KEY:
            crowd.category_N[n] = rows.category_Q[q]
        if not np.isnan(rows.lat_Q[q]) and np.isnan(crowd.km_N3[n, 0]):
            crowd.km_N3[n, 0] = rows.lon_Q[q] * KM_EAST
            crowd.km_N3[n, 1] = rows.lat_Q[q] * KM_NORTH
            crowd.km_N3[n, 2] = np.cos(np.radians(rows.lat_Q[q]))
        last_L[1 + last_L[0] % LAST] = n
        last_L[0] += 1
