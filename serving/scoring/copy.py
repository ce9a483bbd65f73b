"""The published copy score (`state.store.copy_score`) of a user, at a time and a place, and who brought it
about.

An hour and a day are asked for within the week after the user's last event: what lies further away is
answered for the same minute of that week, since nobody knows how much more will have faded by then.

Shape suffixes: N items of the catalogue, W memory entries, T items with totals, I items of the memory, K
kernels, V parts.
"""

from typing import NamedTuple, Protocol

import numpy as np

from serving.scoring.near import Around
from serving.scoring.recalled import PlacedItems, RecalledMemory, kernels, speaking
from serving.scoring.rows import changed
from state.arrays import Doubles, Int64s, largest
from state.evidence import LONGEST_S, PARTS, Kernel
from state.returns import bins
from state.store.contract import RunInfo
from state.store.copy_score import AMONG, LEADING, CopyScore, ItemTerms
from state.weeks import WEEK_MIN

WEEK_MS = WEEK_MIN * 60_000
_NONE = (0.0, 0.0, 0.0)
SAMPLED = 4096
_TINY = 1e-30


class InterestScorer(Protocol):
    """What the published interests say of items."""

    def of(self, rows: Int64s | slice | None) -> Doubles:
        """Of some rows of the catalogue, or of all."""
        ...

    def of_among(self) -> Doubles:
        """Of those of `CopyScorer.among`."""
        ...


class MemoryRows(NamedTuple):
    """A memory's items as rows of the catalogue, -1 for none."""

    item_W: Int64s
    before_W: Int64s
    """What came just before each entry."""
    total_T: Int64s


NO_ROWS = MemoryRows(*[np.zeros(0, np.int64)] * 3)


class Mine(NamedTuple):
    """The items of a memory, and where its entries that speak and its totals are among them."""

    last: int
    """Row of the newest entry, or -1."""
    row_I: Int64s
    spoken_W: Int64s
    """Entries that speak."""
    of_W: Int64s
    told_T: Int64s
    """Totals of items that are known."""
    of_T: Int64s


class CopyScores(NamedTuple):
    """Scores of C items, by what each is the sum of: of every item, or of the candidates alone."""

    rows_C: Int64s | None
    """Of the catalogue, ascending; None: all of them."""
    score_C: Doubles
    crowd_C: Doubles
    """Of what everybody does."""
    near_C: Doubles
    interest_C: Doubles
    row_W: Int64s
    """The item of every entry that speaks; -1 for the others."""
    add_WV: Doubles
    """What each entry adds to its item's score, at least 0, by PARTS."""
    add_W: Doubles
    """The same, all parts together."""
    usual: tuple[float, float, float]
    """Means of the three over the items, or over SAMPLED of many."""

    def place(self, row: int) -> int:
        """Where a row of the catalogue is among those that are scored."""
        return row if self.rows_C is None else int(np.searchsorted(self.rows_C, row))


def within_a_week(last_ms: int, at_ms: int) -> int:
    """The time in the week after the last event that stands for `at_ms`."""
    return last_ms + (at_ms - last_ms) % WEEK_MS


class CopyScorer:
    """A run's copy score on a catalogue of N items with these keys."""

    def __init__(self, copy: CopyScore, key_N: Int64s) -> None:
        self.weights = copy
        self._by = copy.specification
        self._known = copy.terms()
        self.gap_h = copy.usual_gaps()
        """Between how many hours one mostly comes back to an item, by its key, where that is known."""
        self._row_of_known = dict(zip(self._known.key_N.tolist(), range(len(self._known.key_N)), strict=True))
        self._settle(self._of(key_N))
        self._settle_places()
        names = [kernel.name for kernel in self._by.kernels]
        self._memory_K = np.array([copy.memory[name] for name in names])
        self._floor_K = np.array([kernel.floor for kernel in self._by.kernels])
        self._part_K = np.array([PARTS.index(kernel.part) for kernel in self._by.kernels])
        self._own_K = np.array([self._by.own.get(name, 0.0) for name in names])
        self._whole = names.index(self._by.whole)

    def _settle(self, items: ItemTerms) -> None:
        self.items = items
        """Terms of each item of the catalogue."""
        self._places = PlacedItems(items.place_N2)
        self._placed = np.flatnonzero(~np.isnan(items.place_N2[:, 0]))
        self.among = np.flatnonzero(items.found_N & AMONG)
        """Rows that may be candidates for the interests' sake."""
        self._leading = np.flatnonzero(items.found_N & LEADING)
        self._crowd_N = items.prior_N + self.weights.base * np.log(self._by.least + items.crowd_N)
        self.sample = slice(None, None, max(1, len(items.key_N) // SAMPLED))
        """Rows by which the usual is known."""
        crowd_S = self._crowd_N[self.sample]
        self._usual_crowd = float(crowd_S.mean()) if len(crowd_S) else 0.0

    def _settle_places(self) -> None:
        worth_P = self.items.crowd_N[self._placed] ** (1.0 / self._by.worth_power)
        self._around = Around(self.items.place_N2[self._placed], worth_P, self._by.worth_km2)

    @property
    def placed(self) -> bool:
        """Whether it is known of any item where it is."""
        return len(self._placed) > 0

    def change(self, leave: Int64s, places: Int64s, key_B: Int64s) -> None:
        """As `changed` does with a column of the catalogue."""
        old, new = self.items, self._of(key_B)
        terms = ItemTerms(
            changed(old.key_N, leave, places, new.key_N),
            changed(old.prior_N, leave, places, new.prior_N),
            changed(old.crowd_N, leave, places, new.crowd_N),
            changed(old.place_N2, leave, places, new.place_N2),
            changed(old.found_N, leave, places, new.found_N),
        )
        moved = not np.isnan(np.concatenate([old.place_N2[leave], new.place_N2])).all()
        self._settle(terms)
        if moved:
            self._settle_places()

    def _of(self, key_N: Int64s) -> ItemTerms:
        """What is published of items; of one that is not known the least prior, and nothing else."""
        row_N = np.array([self._row_of_known.get(key, -1) for key in key_N.tolist()], np.int64)
        known_N, of_N = row_N >= 0, row_N[row_N >= 0]
        prior_N = np.full(len(key_N), self._known.prior_N.min(initial=0.0))
        crowd_N, found_N = np.zeros(len(key_N)), np.zeros(len(key_N), np.uint8)
        place_N2 = np.full((len(key_N), 2), np.nan)
        prior_N[known_N] = self._known.prior_N[of_N]
        crowd_N[known_N] = self._known.crowd_N[of_N]
        place_N2[known_N] = self._known.place_N2[of_N]
        found_N[known_N] = self._known.found_N[of_N]
        return ItemTerms(key_N, prior_N, crowd_N, place_N2, found_N)

    def score(
        self,
        recalled: RecalledMemory,
        rows: MemoryRows,
        interest: InterestScorer,
        point: tuple[float, float] | None = None,
        *,
        every: bool = True,
    ) -> CopyScores:
        """Scores of what a memory is at a time (`within_a_week`) and a place.

        `interest` is what the published interests say of items. `point`, latitude and longitude, is the
        place; else the last item's. Unless of `every` item, scores are those of the candidates, which rank
        before all others.
        """
        by, weights, row_W = self._by, self.weights, rows.item_W
        here = self._here(row_W, point)
        kernel_WK = kernels(
            recalled, by, row_W, rows.before_W, self.items.place_N2, here, fades=self.weights.fades
        )
        mine = _mine(recalled, rows)
        add_WV, past_I = self._copied(recalled, mine, kernel_WK)
        candidates = self._candidates(mine.row_I, interest.of_among(), here)
        rows_C = None if every else candidates
        near_C = self._near(here, rows_C)
        liked_C = weights.interest * interest.of(rows_C)
        crowd_C = self._crowd_N if rows_C is None else self._crowd_N[rows_C]
        score_C = crowd_C + near_C + liked_C
        if len(mine.row_I) and (every or weights.repeats):
            place_I = mine.row_I if rows_C is None else np.searchsorted(rows_C, mine.row_I)
            score_C[place_I] += past_I + np.bincount(mine.of_W, add_WV[mine.spoken_W].sum(1), len(mine.row_I))
        if every:
            behind_N = np.ones(len(score_C), np.bool_)
            behind_N[candidates] = False
            least = score_C[candidates].min(initial=0.0) - 1.0
            score_C[behind_N] = least + (crowd_C - crowd_C.max(initial=-np.inf))[behind_N]
        usual = _NONE
        if len(self._crowd_N):
            liked = weights.interest * interest.of(self.sample)
            usual = (self._usual_crowd, float(self._near(here, self.sample).mean()), float(liked.mean()))
        spoken_W = np.full(len(row_W), -1, np.int64)
        spoken_W[mine.spoken_W] = row_W[mine.spoken_W]
        return CopyScores(rows_C, score_C, crowd_C, near_C, liked_C, spoken_W, add_WV, add_WV.sum(1), usual)

    def _near(self, here: Doubles, rows: Int64s | slice | None) -> Doubles:
        """What it says of items how near they are."""
        km2_C = self._places.kilometres2(here, rows)
        known_km2_C = np.where(np.isnan(km2_C), self._by.far_km2, km2_C)
        return np.asarray(self.weights.near * np.log(self._by.near_floor_km2 + known_km2_C))

    def _candidates(self, own_I: Int64s, liked_A: Doubles, here: Doubles) -> Int64s:
        """Rows of the items that are ranked by their score, ascending; `liked_A` is of those of `among`."""
        rows = [self._leading, self.among[largest(liked_A, self.weights.brought)]]
        if len(self._placed) and not np.isnan(here).any():  # else it is not known where the user is
            rows.append(self._placed[self._around.best(here, self._by.neighbours)])
        candidates = np.unique(
            np.concatenate([*rows, own_I]) if self.weights.repeats else np.concatenate(rows)
        )
        return candidates if self.weights.repeats else np.setdiff1d(candidates, own_I)

    def _here(self, row_W: Int64s, point: tuple[float, float] | None) -> Doubles:
        """Longitude and latitude: the point's, else those of the last item."""
        if point is not None:
            return np.array(point[::-1])
        return self.items.place_N2[row_W[-1]] if len(row_W) and row_W[-1] >= 0 else np.full(2, np.nan)

    def _copied(self, recalled: RecalledMemory, mine: Mine, kernel_WK: Doubles) -> tuple[Doubles, Doubles]:
        """What entries add (W, V), and what is added to each item that is no entry's: by the time since the
        newest event with it, and by events that are no entries."""
        size, add_WV = len(mine.row_I), np.zeros((len(kernel_WK), len(PARTS)))
        if not size:
            return add_WV, np.zeros(0)
        kernel_WK = kernel_WK[mine.spoken_W]
        entry_IK = np.zeros((size, len(self._memory_K)))
        np.add.at(entry_IK, mine.of_W, kernel_WK)
        sum_IK = self._whole_sums(recalled, mine, entry_IK)
        worth_IK = self._memory_K * np.log1p(sum_IK / self._floor_K)
        own_I, own_entry_I = ((self._own_K * of_IK).sum(1) for of_IK in (sum_IK, entry_IK))
        total = self._by.least + sum_IK[:, self._whole].sum()
        crowd_I = self._by.least + self.items.crowd_N[mine.row_I]
        base_I = self.weights.base * np.log1p(own_I / (1.0 + total) / crowd_I)
        by_entry_IK = worth_IK / np.maximum(entry_IK, _TINY)
        by_entry_IK += self._own_K * (base_I / np.maximum(own_entry_I, _TINY))[:, np.newaxis]
        adds_WK = kernel_WK * by_entry_IK[mine.of_W]
        for v in range(len(PARTS)):
            add_WV[mine.spoken_W, v] = adds_WK[:, v == self._part_K].sum(1)
        nobodys_I = (worth_IK * (entry_IK < _TINY)).sum(1) + base_I * (own_entry_I < _TINY)
        return add_WV, nobodys_I + self._past(recalled, mine)

    def _whole_sums(self, recalled: RecalledMemory, mine: Mine, entry_IK: Doubles) -> Doubles:
        """The sums over the whole memory where it is known what it holds: of how often, and how much of it by
        now; else over its entries."""
        by, totals, sum_IK = self._by, recalled.totals, entry_IK.copy()
        if not len(mine.told_T):
            return sum_IK
        count_T = totals.count_T[mine.told_T]
        faded_T = totals.faded_T[mine.told_T] if self.weights.fades else count_T
        for k, kernel in enumerate(by.kernels):
            if kernel == Kernel(name=kernel.name, floor=kernel.floor):
                sum_IK[mine.of_T, k] = count_T
            elif kernel == Kernel(name=kernel.name, floor=kernel.floor, half_life_s=LONGEST_S):
                sum_IK[mine.of_T, k] = faded_T
        whole_I = sum_IK[:, self._whole]
        for k, kernel in enumerate(by.kernels):
            if kernel.share and kernel.half_life_s == by.kernels[self._whole].half_life_s:
                sum_IK[:, k] = whole_I / (by.least + whole_I.sum())
        return sum_IK

    def _past(self, recalled: RecalledMemory, mine: Mine) -> Doubles:
        """What the time since the newest event of each remembered item says."""
        by, size, age_s_W = self._by, len(mine.row_I), recalled.age_s_W[mine.spoken_W]
        newest_s_I, oldest_s_I = np.full(size, np.inf), np.zeros(size)
        count_I, newest_I = np.bincount(mine.of_W, minlength=size), np.zeros(size, np.int64)
        np.minimum.at(newest_s_I, mine.of_W, age_s_W)
        np.maximum.at(oldest_s_I, mine.of_W, age_s_W)
        np.maximum.at(newest_I, mine.of_W, mine.spoken_W)
        since_I, totals, of_T = len(recalled.memory) - 1 - newest_I, recalled.totals, mine.of_T
        newest_s_I[of_T], oldest_s_I[of_T] = totals.last_s_T[mine.told_T], totals.first_s_T[mine.told_T]
        count_I[of_T], since_I[of_T] = totals.count_T[mine.told_T], totals.since_T[mine.told_T]
        if by.returns is not None:
            columns = by.returns.columns(bins(newest_s_I, oldest_s_I, count_I, since_I))
        else:
            usual_s_I = (oldest_s_I - newest_s_I) / np.maximum(count_I - 1, 1)
            overdue_I = np.log((newest_s_I + by.pause_s) / (usual_s_I + by.pause_s))
            columns = {
                "newest": (mine.row_I == mine.last).astype(np.float64),
                "today": (newest_s_I < by.today_s).astype(np.float64),
                "interval": np.where(count_I > 1, np.clip(overdue_I, *by.overdue), 0.0),
                **{name: (newest_s_I < bound_s).astype(np.float64) for name, bound_s in by.since_s.items()},
            }
        columns["own"] = np.ones(size)
        return sum((self.weights.past[name] * column for name, column in columns.items()), np.zeros(size))


def _mine(recalled: RecalledMemory, rows: MemoryRows) -> Mine:
    spoken_W = np.flatnonzero(speaking(recalled.memory, rows.item_W))
    told_T = np.flatnonzero(rows.total_T >= 0)
    row_I, of_E = np.unique(
        np.concatenate([rows.item_W[spoken_W], rows.total_T[told_T]]), return_inverse=True
    )
    last = int(rows.item_W[-1]) if len(rows.item_W) else -1
    return Mine(last, row_I, spoken_W, of_E[: len(spoken_W)], told_T, of_E[len(spoken_W) :])


def followed(info: RunInfo | None) -> list[str]:
    """What a report says of the score that `recommend` goes by."""
    if info is None or not info.interests:
        return []
    if info.copy is None:
        return [f"recommend goes by the inner product of {info.learner}'s published interests and items"]
    copy = info.copy
    worth = (
        f"top-10 overlap {copy.overlap:.2f}, R² {copy.r2:.2f}, over {copy.requests} requests that it was not "
        "fitted to"
    )
    if copy.agrees:
        return [f"recommend follows {info.learner}'s ranking by a published sum of few terms: {worth}"]
    return [
        "recommend goes by the published interests alone: a sum of few terms does not follow "
        f"{info.learner}'s ranking here ({worth})"
    ]
