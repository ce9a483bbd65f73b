"""One look over a whole log before it is replayed: how much, when, in what order, and what order leaks.

Memory is bounded: distinct ids are counted by sampling beyond a quarter of a million, silences by the hour.

Shape suffixes: B rows, P pairs of neighbours.
"""

from dataclasses import dataclass

import numpy as np

from replay.meaning.columns import Columns
from replay.meaning.far_off import HOUR_MS, Hours
from replay.meaning.places import ItemPlaces
from replay.reading.canonical import Bools
from replay.surveying.distinct import Distinct, pairs
from state.keys import Int64s, Names

_SORTED_SHARE = 0.75
_FEWEST_PAIRS = 100
_MOST_TEXT_PAIRS = 20_000
_TEXT = 2**62


@dataclass(frozen=True, slots=True, kw_only=True)
class Survey:
    """What a log holds, dead letters and filtered rows left out."""

    rows: int
    dead: dict[str, int]
    left_out: int
    """Rows before --from, or from --until on."""
    first_ms: int
    last_ms: int
    unit: str
    """`s ms us ns date`, `timestamp`, `text`, or `tick` for numbers that only give an order."""
    in_order: bool
    tie_share: float
    """Share of rows with the very time of the row before."""
    longest_tie: int
    tie_ascending: float
    """Among neighbours with equal time and unlike items, the share whose items ascend; NaN if few.
    About a half when the order says nothing."""
    ties_sorted: bool
    """Whether equal times look sorted by item, which would leak what comes next."""
    silences: list[tuple[int, int]]
    """The longest stretches without an event as (from_ms, until_ms), whole hours, longest first."""
    users: int
    items: int
    exact: bool
    """Whether the counts of users and items are exact rather than within half a percent."""
    user_item_repeat: float
    """Share of rows whose (user, item) occurred before."""
    session_item_repeat: float
    """Share of rows whose (session, item) occurred before; NaN without sessions."""
    item_place_share: float
    """Share of rows whose item was in the same place when another user had it before; NaN if few have one."""
    place_of_item: bool
    """Whether places are the items', so that nothing is to be ranked by a row's own; False without places."""
    roles: frozenset[str]
    labelled: bool
    positive_share: float
    """Share of the labels, NaN without."""


class Surveyor:
    """Takes a log's columns piece by piece.

    `names` know the items that are text. Pieces of one size give one answer whatever the files' chunking.
    """

    def __init__(self, names: Names) -> None:
        self._names = names
        self.rows = 0
        self.in_order = True
        self._first, self._last = np.iinfo(np.int64).max, np.iinfo(np.int64).min
        self._before: Int64s | None = None
        self._ties = 0
        self._run = self._longest_run = 1
        self._ascending = self._compared = 0
        self._hours = Hours()
        self._users, self._items = Distinct(), Distinct()
        self._user_items, self._session_items = Distinct(1 << 16), Distinct(1 << 16)
        self._sessions = False
        self.item_places = ItemPlaces()
        self._label_sum = 0.0
        self._labelled = False

    def add(self, columns: Columns) -> None:
        """Take a piece."""
        time_ms_B, user_B, item_B = columns["time_ms"], columns["user"], columns["item"]
        if len(time_ms_B) == 0:
            return
        self.rows += len(time_ms_B)
        self._first, self._last = (
            min(self._first, int(time_ms_B.min())),
            max(self._last, int(time_ms_B.max())),
        )
        self._look_at_order(time_ms_B, item_B)
        self._hours.add(time_ms_B)
        self._users.add(user_B)
        self._items.add(item_B)
        self._user_items.add(pairs(user_B, item_B))
        if "lat" in columns or "place" in columns:
            self.item_places.add(columns)
        if "session" in columns:
            self._sessions = True
            self._session_items.add(pairs(columns["session"], item_B))
        if "label" in columns:
            self._labelled = True
            self._label_sum += float(columns["label"].sum(dtype=np.float64))

    def _look_at_order(self, time_ms_B: Int64s, item_B: Int64s) -> None:
        before = time_ms_B[:1] - 1 if self._before is None else self._before
        self._before = time_ms_B[-1:]
        step_B = np.diff(time_ms_B, prepend=before)
        self.in_order &= not bool((step_B < 0).any())
        if (step_B[1:] < 0).any():
            order_B = np.argsort(time_ms_B, kind="stable")
            time_ms_B, item_B = time_ms_B[order_B], item_B[order_B]
            step_B = np.diff(time_ms_B, prepend=time_ms_B[:1] - 1)
        tied_B = step_B == 0
        self._ties += int(tied_B.sum())
        self._measure_runs(tied_B)
        self._compare(item_B, np.flatnonzero(tied_B[1:] & (item_B[1:] != item_B[:-1])))

    def _compare(self, item_B: Int64s, left_P: Int64s) -> None:
        """Count tied neighbours whose items ascend: as numbers where both are, else as text."""
        left, right = item_B[left_P], item_B[left_P + 1]
        whole = np.maximum(left, right) < _TEXT
        self._ascending += int((left < right)[whole].sum())
        self._compared += int(whole.sum())
        room = max(0, _MOST_TEXT_PAIRS - self._compared)
        for a, b in zip(left[~whole][:room].tolist(), right[~whole][:room].tolist(), strict=True):
            self._ascending += self._names[a] < self._names[b]
            self._compared += 1

    def _measure_runs(self, tied_B: Bools) -> None:
        breaks = np.flatnonzero(~tied_B)
        if len(breaks) == 0:
            self._run += len(tied_B)
        else:
            lengths = np.diff(np.append(breaks, len(tied_B)))
            self._longest_run = max(self._longest_run, self._run + int(breaks[0]), int(lengths.max()))
            self._run = int(lengths[-1])
        self._longest_run = max(self._longest_run, self._run)

    def survey(
        self,
        *,
        unit: str,
        roles: frozenset[str],
        dead: dict[str, int],
        left_out: int = 0,
        place_of_item: bool = False,
    ) -> Survey:
        """What was seen."""
        share = self._ascending / self._compared if self._compared >= _FEWEST_PAIRS else np.nan
        rows = max(self.rows, 1)
        return Survey(
            rows=self.rows,
            dead=dead,
            left_out=left_out,
            first_ms=self._first,
            last_ms=self._last,
            unit=unit,
            in_order=self.in_order,
            tie_share=self._ties / rows,
            longest_tie=self._longest_run,
            tie_ascending=share,
            ties_sorted=bool(share >= _SORTED_SHARE or share <= 1 - _SORTED_SHARE),
            silences=[] if unit == "tick" else self._silences(),
            users=self._users.count,
            items=self._items.count,
            exact=self._users.exact and self._items.exact,
            user_item_repeat=max(0.0, 1 - self._user_items.count / rows),
            session_item_repeat=max(0.0, 1 - self._session_items.count / rows) if self._sessions else np.nan,
            item_place_share=self.item_places.share,
            place_of_item=place_of_item,
            roles=roles,
            labelled=self._labelled,
            positive_share=self._label_sum / rows if self._labelled else np.nan,
        )

    def _silences(self, count: int = 3) -> list[tuple[int, int]]:
        hour_H = self._hours.hour_H
        empty = np.diff(hour_H) - 1
        longest = np.argsort(-empty, kind="stable")[:count]
        return [(int(hour_H[i] + 1) * HOUR_MS, int(hour_H[i + 1]) * HOUR_MS) for i in longest if empty[i] > 0]
