"""What DIN's network is fed: distinct embedding ids, where each is used, and standardised numbers.

Shape suffixes: B rows with a window each, W window entries, C candidates (candidate c is scored for row
`owner_C[c]`), E = B x W + C items at hand, U distinct ones, F fields, X numbers, A numbers of an entry,
K ids, I distinct ids.
"""

from dataclasses import dataclass

import numpy as np

from learners.contract import Context
from learners.gaussian_rows.base_rates import base_rate, deviation
from learners.gaussian_rows.features import Features, Named
from state.compiled import assign, compiled
from state.examples import ITEM_RATES, USER_RATES, Doubles, ExampleBatch, Floats, Window
from state.keys import NO_KEY, Int64s, KeyMap, key_of, mix, pair
from state.tree import Tree

LOCAL = frozenset({"tz", "place", "lat"})
"""Roles that give a log local time or place."""

_ITEM_KINDS = ("item", "item_category", "item_number")
_ALIGNED = 16
_LEAST = 1e-3
"""Added to the spread of a number."""
_MOST = 5.0
"""Standardised numbers are cut off here."""


@dataclass(frozen=True, slots=True)
class Bags:
    """Lists of places in `Inputs.id_I`: those of bag b begin at `start_B[b]`."""

    index_K: Int64s
    start_B: Int64s


@dataclass(frozen=True, slots=True)
class Inputs:
    """Everything but weights; ids are salted by their field, so that one table holds all."""

    id_I: Int64s
    own_U: Int64s
    """Where each distinct item's own id is in `id_I`."""
    sides: Bags
    """What is known of each distinct item."""
    fields: Bags
    """What is known of each candidate besides its item: C x F bags."""
    entry_BW: Int64s
    """The distinct item of each entry."""
    real_BW: Floats
    """1 where there is an entry."""
    entry_BWA: Floats
    target_C: Int64s
    """The distinct item of each candidate."""
    owner_C: Int64s | None
    """Whose window each candidate sees; None where every row has one candidate."""
    number_CX: Floats
    offset_C: Floats
    """Log odds of an action, over everything known."""


class Reader:
    """Makes inputs of examples; keeps the scale of numbers, moved by `rescale` alone."""

    def __init__(self, context: Context, item_width: int) -> None:
        self.features = Features(context)
        fields = self.features.fields
        self.plain = np.array([f for f, field in enumerate(fields) if _is_plain(field, context)])
        """Fields that say nothing of the item."""
        self.salt_F = np.array([mix(key_of(field.name)) for field in fields])
        self.local = bool(context.roles & LOCAL)
        used = item_width + (7 if self.local else 4)
        self.entry_numbers = -(-used // _ALIGNED) * _ALIGNED - item_width
        """A; the last ones are zero, so that every entry begins where vector units can load it."""
        items = self.features.items
        columns = (*items.categories, *items.numbers)
        self.salt_N = np.array([mix(key_of(f"item.{name}")) for name in columns], np.int64)
        self.salt_category = mix(key_of("category"))
        self.salt_item = mix(key_of("item"))
        rates = len(USER_RATES) + len(ITEM_RATES)
        self.numbers = len(self.features.numbers) + rates + (4 if self.local else 0)
        """X."""
        self.seen_X: Int64s = np.zeros(self.numbers, np.int64)
        self.mean_X: Doubles = np.zeros(self.numbers)
        self.square_X: Doubles = np.zeros(self.numbers)
        """Sums of squared deviations."""

    def read(
        self, pairs: ExampleBatch, window: Window, owner_C: Int64s | None = None, *, rescale: bool = False
    ) -> Inputs:
        """Inputs of candidates `pairs`, whose own windows are not looked at.

        `rescale` first takes their numbers into the mean and the spread of every number.
        """
        fields = self.features.of(pairs)
        field_key_K, start_CF = _bags(fields.start_BF1, fields.keys, self.plain, self.salt_F)
        shape = window.item_BW.shape
        item_E = np.concatenate([window.item_BW.reshape(-1), pairs.item_B])
        category_E = np.concatenate([window.category_BW.reshape(-1), pairs.category_B])
        time_ms_B = np.zeros(shape[0], np.int64)
        time_ms_B[slice(None) if owner_C is None else owner_C] = pairs.time_ms_B
        row_E = self.features.items.rows(
            item_E, np.concatenate([np.repeat(time_ms_B, shape[1]), pairs.time_ms_B])
        )
        items = KeyMap()
        index_E = items.rows(_identities(item_E, category_E, row_E), grow=True)
        first_U = np.empty(len(items), np.int64)
        first_U[index_E[::-1]] = np.arange(len(index_E))[::-1]
        side_key_K, start_U = _sides(
            *(category_E[first_U], row_E[first_U], self.features.items.start_NC1, self.features.items.keys),
            *(self.salt_N, self.salt_category),
        )
        ids = KeyMap()
        own_U, side_K, field_K = (
            ids.rows(keys, grow=True)
            for keys in (_salted(item_E[first_U], self.salt_item), side_key_K, field_key_K)
        )
        raw_CX = np.empty((len(pairs), self.numbers))
        _raw(
            *(fields.number_BX, pairs.user_rates_BR, pairs.item_rates_BR, pairs.time_ms_B, pairs.tz_min_B),
            *(_COUNT_OF[0], _COUNT_OF[1], raw_CX),
        )
        if rescale:
            self._rescale(raw_CX)
        real_BW = np.arange(shape[1]) < window.length_B[:, None]
        return Inputs(
            id_I=ids.keys[: len(ids)],
            own_U=own_U,
            sides=Bags(side_K, start_U),
            fields=Bags(field_K, start_CF),
            entry_BW=index_E[: real_BW.size].reshape(shape),
            real_BW=real_BW.astype(np.float32),
            entry_BWA=self._entries(window),
            target_C=index_E[real_BW.size :],
            owner_C=owner_C,
            number_CX=self._standard(raw_CX),
            offset_C=fields.offset_B.astype(np.float32),
        )

    def _rescale(self, raw_CX: Doubles) -> None:
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

    def _standard(self, raw_CX: Doubles) -> Floats:
        spread_X = np.sqrt(self.square_X / np.maximum(self.seen_X, 1)) + _LEAST
        standard_CX = np.clip((raw_CX - self.mean_X) / spread_X, -_MOST, _MOST)
        standard_CX[np.isnan(raw_CX)] = 0.0
        return np.where(self.seen_X > 0, standard_CX, 0.0).astype(np.float32)

    def _entries(self, window: Window) -> Floats:
        """Whether an action is known of an entry, whether none, its retention and age; then kernels."""
        columns = [
            window.label_BW > 0.5,
            window.label_BW <= 0.5,
            window.retention_BW,
            np.log1p(window.age_s_BW) * np.float32(0.1),
        ]
        if self.local:
            columns += [window.hour_BW, window.week_BW, window.place_BW]
        entry_BWA = np.zeros((*window.item_BW.shape, self.entry_numbers), np.float32)
        for a, column in enumerate(columns):
            entry_BWA[:, :, a] = column
        return entry_BWA

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


@compiled
def _salted(keys_K: Int64s, salt: int) -> Int64s:
    salted_K = np.empty_like(keys_K)
    for k in range(keys_K.shape[0]):
        salted_K[k] = mix(keys_K[k]) ^ salt
    return salted_K


@compiled
def _identities(item_E: Int64s, category_E: Int64s, row_E: Int64s) -> Int64s:
    identity_E = np.empty_like(item_E)
    for e in range(item_E.shape[0]):
        identity_E[e] = pair(pair(item_E[e], category_E[e]), row_E[e])
    return identity_E


def _is_plain(field: Named, context: Context) -> bool:
    """A place is the request's only where its role is "here", else the item's."""
    return field.kind not in _ITEM_KINDS and (field.name != "place" or "here" in context.roles)


@compiled
def _bags(start_CF1: Int64s, keys: Int64s, fields: Int64s, salt_F: Int64s) -> tuple[Int64s, Int64s]:
    """Salted keys of the chosen fields, and where each candidate's bags begin."""
    key_K = np.empty(start_CF1[-1, -1] if len(start_CF1) else 0, np.int64)
    start_B = np.empty(start_CF1.shape[0] * fields.shape[0], np.int64)
    filled = bag = 0
    for c in range(start_CF1.shape[0]):
        for f in fields:
            start_B[bag] = filled
            bag += 1
            for k in range(start_CF1[c, f], start_CF1[c, f + 1]):
                key_K[filled] = mix(keys[k]) ^ salt_F[f]
                filled += 1
    return key_K[:filled].copy(), start_B


@compiled
def _sides(
    category_U: Int64s,
    row_U: Int64s,
    start_NC1: Int64s,
    keys: Int64s,
    salt_N: Int64s,
    salt_category: int,
) -> tuple[Int64s, Int64s]:
    """Salted keys of each item's category and columns, and where each item's begin."""
    size = 0
    for u in range(row_U.shape[0]):
        size += 1 + (start_NC1[row_U[u], -1] - start_NC1[row_U[u], 0] if row_U[u] >= 0 else 0)
    key_K = np.empty(size, np.int64)
    start_U = np.empty(row_U.shape[0], np.int64)
    filled = 0
    for u in range(row_U.shape[0]):
        start_U[u] = filled
        if category_U[u] != NO_KEY:
            key_K[filled] = mix(category_U[u]) ^ salt_category
            filled += 1
        if row_U[u] >= 0:
            for column in range(salt_N.shape[0]):
                for k in range(start_NC1[row_U[u], column], start_NC1[row_U[u], column + 1]):
                    key_K[filled] = mix(keys[k]) ^ salt_N[column]
                    filled += 1
    return key_K[:filled].copy(), start_U
