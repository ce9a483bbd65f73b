"""Numbers of request and candidate, standardised: counts as logarithms, rates as log odds beside the base
rate.

Shape suffixes: C pairs of a request and a candidate, X numbers, R rates, B rows, W window entries.
"""

import numpy as np

from learners.gaussian_rows.base_rates import base_rate, deviation
from learners.gaussian_rows.features import Fields
from state.compiled import assign, compiled
from state.examples import ITEM_RATES, USER_RATES, Doubles, ExampleBatch, Floats, Window
from state.keys import NO_KEY, Int64s
from state.tree import Tree

OWN = slice(USER_RATES.index("item_count"), USER_RATES.index("gap_s"))
"""Columns of USER_RATES that count the row's item or category: what `own_rates` gives of other items."""

_LEAST = 1e-3
"""Added to the spread of a number."""
_MOST = 5.0
"""Standardised numbers are cut off here."""


class Numbers:
    """The numbers of a log's pairs, and their scale: mean and spread of all that was learned."""

    def __init__(self, given: int, *, local: bool) -> None:
        self.count = given + len(USER_RATES) + len(ITEM_RATES) + (4 if local else 0)
        """X."""
        self.seen_X: Int64s = np.zeros(self.count, np.int64)
        self.mean_X: Doubles = np.zeros(self.count)
        self.square_X: Doubles = np.zeros(self.count)
        """Sums of squared deviations."""

    def of(self, pairs: ExampleBatch, fields: Fields) -> Doubles:
        """As they are (C, X), NaN where missing."""
        raw_CX = np.empty((len(pairs), self.count))
        _raw(
            fields.number_BX,
            pairs.user_rates_BR,
            pairs.item_rates_BR,
            pairs.time_ms_B,
            pairs.tz_min_B,
            _COUNT_OF[0],
            _COUNT_OF[1],
            raw_CX,
        )
        return raw_CX

    def learn(self, raw_CX: Doubles) -> None:
        """Chan's merge of these rows' count, mean and squared deviations; missing values do not count."""
        known_CX = ~np.isnan(raw_CX)
        count_X = known_CX.sum(0)
        mean_X = np.where(known_CX, raw_CX, 0.0).sum(0) / np.maximum(count_X, 1)
        off_X = np.where(count_X > 0, mean_X - self.mean_X, 0.0)
        share_X = count_X / np.maximum(self.seen_X + count_X, 1)
        self.square_X += (np.where(known_CX, raw_CX - mean_X, 0.0) ** 2).sum(0)
        self.square_X += off_X**2 * self.seen_X * share_X
        self.mean_X += off_X * share_X
        self.seen_X += count_X

    def standard(self, raw_CX: Doubles) -> Floats:
        spread_X = np.sqrt(self.square_X / np.maximum(self.seen_X, 1)) + _LEAST
        standard_CX = np.clip((raw_CX - self.mean_X) / spread_X, -_MOST, _MOST)
        standard_CX[np.isnan(raw_CX)] = 0.0
        return np.where(self.seen_X > 0, standard_CX, 0.0).astype(np.float32)

    def tree(self) -> Tree:
        return {name: getattr(self, name).copy() for name in ("seen_X", "mean_X", "square_X")}

    def load(self, tree: Tree) -> None:
        for name in ("seen_X", "mean_X", "square_X"):
            setattr(self, name, np.array(tree[name]))


def own_rates(window: Window, owner_C: Int64s, item_C: Int64s, category_C: Int64s) -> Floats:
    """The last columns but one of USER_RATES for other items than the row's own, from the window: (C, 4).

    Counts and positives of the item, then of the category, faded by 30 d.
    """
    fade_BW = np.exp(window.age_s_BW / np.float32(-30 * 86400.0))
    fade_BW = fade_BW * (np.arange(fade_BW.shape[1]) < window.length_B[:, None])
    liked_BW = fade_BW * np.where(np.isnan(window.label_BW), 1.0, window.label_BW)
    columns: list[Doubles] = []
    for key_BW, key_C in ((window.item_BW, item_C), (window.category_BW, category_C)):
        same_CW = (key_BW[owner_C] == key_C[:, None]) & (key_C != NO_KEY)[:, None]
        columns += [(same_CW * faded_BW[owner_C]).sum(1) for faded_BW in (fade_BW, liked_BW)]
    return np.stack(columns, 1).astype(np.float32)


@compiled
def _raw(
    number_CX: Doubles,
    user_rates_CR: Floats,
    item_rates_CR: Floats,
    time_ms_C: Int64s,
    tz_min_C: Int64s,
    user_count_R: Int64s,
    item_count_R: Int64s,
    raw_CX: Doubles,
) -> None:
    """Numbers as they are, NaN where missing; counts as logarithms, label sums as `deviation`."""
    given = number_CX.shape[1]
    for c in range(raw_CX.shape[0]):
        assign(raw_CX[c], number_CX[c])
        base = base_rate(item_rates_CR[c])
        x = given
        for rates_R, count_R in ((user_rates_CR[c], user_count_R), (item_rates_CR[c], item_count_R)):
            for r in range(rates_R.shape[0]):
                if count_R[r] >= 0:
                    raw_CX[c, x] = deviation(rates_R[r], max(rates_R[count_R[r]], rates_R[r]), base)
                else:
                    raw_CX[c, x] = np.log1p(max(rates_R[r], np.float32(-0.5)))
                x += 1
        if x < raw_CX.shape[1]:
            minute = time_ms_C[c] // 60_000 + tz_min_C[c]
            day, week = minute % 1440 / 1440.0 * 2.0 * np.pi, minute % 10_080 / 10_080.0 * 2.0 * np.pi
            raw_CX[c, x], raw_CX[c, x + 1] = np.sin(day), np.cos(day)
            raw_CX[c, x + 2], raw_CX[c, x + 3] = np.sin(week), np.cos(week)


def _count_of(names: tuple[str, ...]) -> Int64s:
    """For each column of label sums that of its counts, -1 for others."""
    return np.array(
        [names.index(n.replace("positives", "count")) if "positives" in n else -1 for n in names], np.int64
    )


_COUNT_OF = _count_of(USER_RATES), _count_of(ITEM_RATES)
