"""The learned curve of return: how often users come back to an item, by how long ago the last time was.

It is counted, not assumed: of every learned row each candidate that the user has had is a chance, and the
true one a hit. So it shows what no fixed curve has, a refractory time and peaks after a day and a week.
Seven rates are told of a candidate (`NAMES`), each shrunk to a coarser one. A row is learned with the bins
that it was scored with: its chances wait for its outcome, row for row with the trainer's queue.

Shape suffixes: N catalogue rows, U users, C categories, R rows and P chances that wait, K buckets of the own
count, G bins of the gap, Q of the gap against the usual one, E of events since, S octaves of the gap x slots
of the day; 2 is hits and chances.
"""

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from learners.copying.counts.crowd import CrowdRows
from learners.insight import ReturnCurve
from learners.tables.expiry import Forgotten, without
from learners.tables.fifo import Fifo
from learners.tables.growing import grown
from state.compiled import compiled, inner
from state.examples import Doubles, Floats
from state.keys import NO_KEY, Int64s, KeyArrays, KeyMap, add, find
from state.returns import COUNTS, EVENTS, GAP_H, GAPS, INTERVALS, PAUSE_S, USUAL, Rates
from state.tree import Tree

NAMES = (
    *("return_all", "return_category", "return_item", "return_user"),
    *("return_interval", "return_events", "return_slot"),
)
"""Chances to return: of all, by own count and gap; of the category, the item and the user, by gap; of all,
by own count and the gap against the usual one, then by own count and events since; of the category, by
octave of the gap and three hours of the day."""
RATES = len(NAMES)
OCTAVES, SLOTS = 12, 8
_OCTAVE_S, _STEP_S, _SOON_S = 900.0, 900.0, 300.0
_BIN_OF_STEP = np.searchsorted(
    np.array(GAP_H) * 3600.0, np.arange(GAP_H[-1] * 3600.0 / _STEP_S + 1) * _STEP_S, side="right"
).astype(np.uint8)
"""All bounds but the first are whole steps."""
_BIN_OF_STEP[0] = 1
_HITS, _CHANCES = 0.5, 50.0
"""What a rate begins with; the curve of all begins with the rate of the bin beside it."""
_OF_CATEGORY, _OF_ITEM, _OF_USER, _OF_SLOT = 100.0, 40.0, 60.0, 60.0
"""Chances that the coarser rate stands for."""
_FULL = float(1 << 22)
"""Chances at which both counts are halved, so that single precision counts on."""
ENOUGH, NARROW = 20.0, 4.0
TOLD = 300
"""Chances that a bin must have for its rate to be shown."""
_TOLD_BY = {"had once": slice(0, 1), "had 2 to 4 times": slice(1, 3), "had 5 times or more": slice(3, COUNTS)}
"""Buckets of the own count that are shown as one."""
_FIRST_H = 1.0 / 60.0
_ROOT = math.sqrt(0.5)
_SHARED = ("all_KG2", "interval_KQ2", "events_KE2")
_GROWING = ("user_UG2", "item_NG2", "category_CG2", "slot_CS2")


class ReturnArrays(NamedTuple):
    """What kernels take of `Returns`."""

    all_KG2: Floats
    interval_KQ2: Floats
    events_KE2: Floats
    users: KeyArrays
    user_UG2: Floats
    item_NG2: Floats
    categories: KeyArrays
    category_CG2: Floats
    slot_CS2: Floats
    count_R: NDArray[np.int32]
    """Chances of each row that waits."""
    chance_P2: NDArray[np.int32]
    """Catalogue row, or -1, and bins."""
    place_4: Int64s
    """Where the first row that waits is, and its first chance; where the next row goes, and its first."""


class Returns:
    """Tables of hits and chances, and the chances that wait."""

    def __init__(self) -> None:
        self.all_KG2, self.interval_KQ2, self.events_KE2 = (
            _counts(COUNTS, bins) for bins in (GAPS, INTERVALS, EVENTS)
        )
        self.users, self.categories = KeyMap(), KeyMap(np.array([NO_KEY]))
        self.user_UG2, self.item_NG2, self.category_CG2 = (_counts(0, GAPS) for _ in range(3))
        self.slot_CS2 = _counts(0, OCTAVES * SLOTS)
        self.rows = Fifo({"count": (np.int32, 0)})
        self.chances = Fifo({"chance": (np.int32, 2)})
        self._place_4: Int64s = np.zeros(4, np.int64)
        self._before = (0, 0)

    def reserve(self, size: int, learned: int, rows: int = 0, chances: int = 0) -> ReturnArrays:
        """The arrays, with room for catalogue rows 0 .. size - 1, for learning `learned` rows, and for `rows`
        more to wait with `chances`. `settle` follows."""
        self.users.reserve(learned)
        self.categories.reserve(learned)
        self.user_UG2 = grown(self.user_UG2, len(self.users.keys))
        if size > len(self.item_NG2):
            self.item_NG2 = grown(self.item_NG2, max(size, 2 * len(self.item_NG2)))
        self.category_CG2 = grown(self.category_CG2, len(self.categories.keys))
        self.slot_CS2 = grown(self.slot_CS2, len(self.categories.keys))
        self._before = (self.rows.extend(rows), self.chances.extend(chances))
        self._place_4[:] = self.rows.head, self.chances.head, *self._before
        return ReturnArrays(
            self.all_KG2,
            self.interval_KQ2,
            self.events_KE2,
            self.users.arrays,
            self.user_UG2,
            self.item_NG2,
            self.categories.arrays,
            self.category_CG2,
            self.slot_CS2,
            self.rows.columns["count"],
            self.chances.columns["chance"],
            self._place_4,
        )

    def settle(self, *, keep: bool = True) -> None:
        """Let those rows wait that kernels left waiting; of the new ones none unless they are to be kept."""
        row, chance, rows, chances = self._place_4.tolist()
        self.rows.head, self.chances.head = row, chance
        self.rows.tail, self.chances.tail = (rows, chances) if keep else self._before

    def learn(self, rows: CrowdRows, category_N: Int64s) -> None:
        """Count the rows that wait longest, now that they are due."""
        learn_returns(rows, 0, len(rows.item_Q), category_N, self.reserve(len(category_N), len(rows.item_Q)))
        self.settle()

    def rates(self) -> Rates:
        """The rates of all, to publish."""
        hits_KG, chances_KG = np.moveaxis(self.all_KG2.astype(np.float64), 2, 0)
        beside_KG = _rates(self.all_KG2)[:, [1, *range(GAPS - 1)]]
        return Rates(
            return_all=_rounded((hits_KG + _CHANCES * beside_KG) / (chances_KG + _CHANCES)),
            return_interval=_rounded(_rates(self.interval_KQ2)),
            return_events=_rounded(_rates(self.events_KE2)),
        )

    def usual_gaps(self) -> tuple[Int64s, Doubles]:
        """Catalogue rows (I,) of which is known when one comes back, and bounds in hours (I, 2) within
        which the middle half of at least `ENOUGH` returns lies, no further apart than `NARROW` times."""
        hits_NG = self.item_NG2[:, :, 0].astype(np.float64)
        row_I = np.flatnonzero(hits_NG.sum(1) >= ENOUGH)
        share_IG = hits_NG[row_I].cumsum(1) / hits_NG[row_I].sum(1)[:, np.newaxis]
        low_I, high_I = ((share_IG >= part).argmax(1) for part in (0.25, 0.75))
        bound_I2 = np.stack([np.append(0.0, GAP_H)[low_I], np.append(GAP_H, np.inf)[high_I]], axis=1)
        narrow_I = bound_I2[:, 1] <= NARROW * bound_I2[:, 0]
        return row_I[narrow_I], bound_I2[narrow_I]

    def curves(self) -> list[ReturnCurve]:
        """The curve of all, for items had seldom and often, as far as there were `TOLD` chances in a bin."""
        middle_s = np.sqrt(np.append(_FIRST_H, GAP_H) * np.append(GAP_H, 2.0 * GAP_H[-1])) * 3600.0
        told = []
        for name, buckets in _TOLD_BY.items():
            hits_G, chances_G = self.all_KG2[buckets].sum(0, dtype=np.float64).T
            chance_G = [float(h / n) if n >= TOLD else None for h, n in zip(hits_G, chances_G, strict=True)]
            hits, chances = int(hits_G.sum()), int(chances_G.sum())
            told.append(
                ReturnCurve(name=name, gap_s=middle_s.tolist(), chance=chance_G, chances=chances, hits=hits)
            )
        return told

    def forget(self, forgotten: Forgotten, category_K: Int64s) -> None:
        """Drop users and items that have left, and categories that no item has any more."""
        kept_K = forgotten.kept_K
        self.users, kept_U = without(self.users, forgotten.user_U)
        self.user_UG2 = self.user_UG2[kept_U]
        self.item_NG2 = self.item_NG2[kept_K[kept_K < len(self.item_NG2)]]
        known = self.categories.keys[: len(self.categories)]
        self.categories, kept_C = without(self.categories, known[~np.isin(known, [NO_KEY, *category_K])])
        self.category_CG2, self.slot_CS2 = self.category_CG2[kept_C], self.slot_CS2[kept_C]
        item_P = self.chances.columns["chance"][self.chances.head : self.chances.tail, 0]
        item_P[:] = np.where(item_P < 0, -1, forgotten.moved_N[item_P])

    def tree(self) -> Tree:
        had_N = np.flatnonzero(self.item_NG2[:, :, 1].any(1))
        items = int(had_N[-1]) + 1 if len(had_N) else 0
        sizes = (len(self.users), items, len(self.categories), len(self.categories))
        return {
            **{name: getattr(self, name).copy() for name in _SHARED},
            **{name: getattr(self, name)[:size].copy() for name, size in zip(_GROWING, sizes, strict=True)},
            **{name: getattr(self, name).tree() for name in ("users", "categories", "rows", "chances")},
        }

    def load(self, tree: Tree) -> None:
        for name in (*_SHARED, *_GROWING):
            setattr(self, name, np.array(tree[name]))
        for name in ("users", "categories", "rows", "chances"):
            getattr(self, name).load(tree[name])


def _rates(table_KB2: Floats) -> Doubles:
    hits_KB, chances_KB = np.moveaxis(table_KB2.astype(np.float64), 2, 0)
    return np.asarray((hits_KB + _HITS) / (chances_KB + _CHANCES))


def _rounded(rate_KB: Doubles) -> list[list[float]]:
    return [[float(f"{rate:.6g}") for rate in rate_B] for rate_B in rate_KB.tolist()]


def _counts(rows: int, bins: int) -> Floats:
    return np.zeros((rows, bins, 2), np.float32)


@compiled
def code_of(age_s: float, oldest_s: float, count: float, since: int, hour: int) -> int:
    """The bins of an item, as one number: had `count` times, first `oldest_s` and last `age_s` ago, with so
    many events `since`; asked for at a local hour of the day."""
    gap = int(_BIN_OF_STEP[min(int(age_s / _STEP_S), _BIN_OF_STEP.shape[0] - 1)])
    if age_s < _SOON_S:
        gap = 0
    mantissa, power = math.frexp(count)
    bucket = min(power - (mantissa == 0.5), COUNTS - 1)
    interval = 0
    if count > 1.5:
        usual_s = (oldest_s - age_s) / (count - 1.0)
        against = _half_octaves((age_s + PAUSE_S) / (usual_s + PAUSE_S))
        interval = min(max(against + USUAL, 1), INTERVALS - 1)
    events = min(_half_octaves(1.0 + since), EVENTS - 1)
    octave = min(max(_half_octaves((age_s + 1.0) / _OCTAVE_S) // 2 + 1, 0), OCTAVES - 1)
    return int((((bucket * 64 + gap) * 32 + interval) * 32 + events) * 128 + octave * SLOTS + hour // 3)


@inner
def _half_octaves(x: float) -> int:
    """2 log2 x, rounded down."""
    mantissa, power = math.frexp(x)
    return int(2 * (power - 1) + (mantissa >= _ROOT))


@inner
def _bins(code: int) -> tuple[int, int, int, int, int]:
    """Own count, gap, gap against the usual one, events since, octave and slot."""
    return (code >> 23) & 7, (code >> 17) & 63, (code >> 12) & 31, (code >> 7) & 31, code & 127


@inner
def _rate(counts_2: Floats, hits: float, chances: float) -> float:
    return float((counts_2[0] + hits) / (counts_2[1] + chances))


@inner
def told(code: int, n: int, user: int, category: int, returns: ReturnArrays, rate_F: Floats) -> None:
    """Add the rates `NAMES` of catalogue row n to `rate_F`; its category and the user, or -1, are rows."""
    k, g, i, e, s = _bins(code)
    beside = _rate(returns.all_KG2[k, g - 1 if g else 1], _HITS, _CHANCES)
    of_all = _rate(returns.all_KG2[k, g], _CHANCES * beside, _CHANCES)
    of_category = _rate(returns.category_CG2[category, g], _OF_CATEGORY * of_all, _OF_CATEGORY)
    rate_F[0] += of_all
    rate_F[1] += of_category
    rate_F[2] += _rate(returns.item_NG2[n, g], _OF_ITEM * of_category, _OF_ITEM)
    rate_F[3] += _rate(returns.user_UG2[user, g], _OF_USER * of_all, _OF_USER) if user >= 0 else of_all
    rate_F[4] += _rate(returns.interval_KQ2[k, i], _HITS, _CHANCES)
    rate_F[5] += _rate(returns.events_KE2[k, e], _HITS, _CHANCES)
    rate_F[6] += _rate(returns.slot_CS2[category, s], _OF_SLOT * of_category, _OF_SLOT)


@inner
def _count(counts_2: Floats, hit: float) -> None:
    counts_2[0] += hit
    counts_2[1] += 1.0
    if counts_2[1] >= _FULL:
        counts_2[0] *= 0.5
        counts_2[1] *= 0.5


@compiled
def learn_returns(rows: CrowdRows, first: int, stop: int, category_N: Int64s, returns: ReturnArrays) -> None:
    """Count the chances of rows first .. stop - 1, which are those that wait longest."""
    place_4 = returns.place_4
    for q in range(first, stop):
        start = place_4[1]
        place_4[1] += returns.count_R[place_4[0]]
        place_4[0] += 1
        if rows.category_Q[q] != NO_KEY:
            add(returns.categories, rows.category_Q[q])
        if rows.label_Q[q] <= 0.5 or place_4[1] == start:
            continue
        user = add(returns.users, rows.user_Q[q])
        for p in range(start, place_4[1]):
            n = returns.chance_P2[p, 0]
            hit = 1.0 if n == rows.item_Q[q] else 0.0
            k, g, i, e, s = _bins(returns.chance_P2[p, 1])
            _count(returns.all_KG2[k, g], hit)
            _count(returns.interval_KQ2[k, i], hit)
            _count(returns.events_KE2[k, e], hit)
            _count(returns.user_UG2[user, g], hit)
            if n >= 0:
                category = find(returns.categories.table, category_N[n])
                _count(returns.category_CG2[category, g], hit)
                _count(returns.slot_CS2[category, s], hit)
                _count(returns.item_NG2[n, g], hit)
