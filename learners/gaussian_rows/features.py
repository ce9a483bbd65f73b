"""Sparse features from whatever a log has; nothing here knows a log by name.

A *field* gives a row some category keys (its user, its item, the item's genres, the age group of the
user, ...); a *number* gives it one value (log popularity, the item's running rate, a side table's
column, ...). A *template* says how they make features: one for every key of field `a`, or for every pair
of keys of `a` and `b`, worth 1 or the value of a number. Its `kind` says how much such a feature can matter.

Which templates there are depends only on the log's roles and the columns of its side tables.

Shape suffixes: B rows, F fields, X numbers, E fields of the event itself, N rows of a side table, C its
columns, M its numbers.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from learners.contract import Context
from learners.gaussian_rows.base_rates import base_rate, deviation, logit
from learners.tables.catalogue import local_hour
from learners.tables.side_columns import MOST_KEYS, Columns
from state.compiled import compiled
from state.examples import ITEM_RATES, USER_RATES, Doubles, ExampleBatch, Floats
from state.keys import NO_KEY, Int64s

USER, ITEM = 0, 1
"""The first two fields."""

ROLES = {
    **{"category": "category_B", "action": "action_B", "scene": "scene_B", "source": "source_B"},
    "place": "cell_B",
}
"""Roles of an event that are categories, and their columns."""

STREAM_NUMBERS = ("popularity", "item_rate", "user_rate", "own_rate", "own_category_rate")
"""Numbers that every log has: log2(1 + the item's count), and by how much the running rates of the item, of
the user, of the user with this item and with this category differ from the base rate, in log odds."""

_USER_COUNT, _USER_POSITIVES = USER_RATES.index("count"), USER_RATES.index("positives")
_ITEM_COUNT, _ITEM_POSITIVES = ITEM_RATES.index("count"), ITEM_RATES.index("positives")
_OWN_COUNT, _OWN_POSITIVES = USER_RATES.index("item_count"), USER_RATES.index("item_positives")
_CATEGORY_COUNT = USER_RATES.index("category_count")
_CATEGORY_POSITIVES = USER_RATES.index("category_positives")


@dataclass(frozen=True, slots=True)
class NamedField:
    """A field or number, and what it is: `user`, `item`, `hour`, `event`, a table's `item_category`,
    `item_number`, `user_category` or `user_number`, or one of STREAM_NUMBERS."""

    name: str
    kind: str


@dataclass(frozen=True, slots=True)
class Template:
    """Field `a` by field `b` (-1: none) worth number `x` (-1: worth 1); `a` of -1 is the constant."""

    name: str
    kind: str
    a: int = -1
    b: int = -1
    x: int = -1


class Fields(NamedTuple):
    """The keys and numbers of B rows."""

    start_BF1: Int64s
    """Keys of field f of row b are `keys[start_BF1[b, f] : start_BF1[b, f + 1]]`."""
    keys: Int64s
    number_BX: Doubles
    """NaN where missing."""
    offset_B: Doubles
    """Log odds of an action, over everything known."""


class SideRows(NamedTuple):
    """A side table inside a kernel, and the row of it that is about each row of the batch, -1 for none."""

    row_B: Int64s
    start_NC1: Int64s
    keys: Int64s
    number_NM: Doubles


class Features:
    """The fields, numbers and templates of one log."""

    def __init__(self, context: Context) -> None:
        self.context = context
        self.items = Columns(context.items)
        self.users = Columns(context.users)
        roles = context.roles | ({"place"} if "lat" in context.roles else set())
        self.roles = tuple(role for role in ROLES if role in roles)
        self.fields: tuple[NamedField, ...] = (
            *(NamedField("user", "user"), NamedField("item", "item")),
            NamedField("hour", "hour"),
            *(NamedField(role, "item_category" if role == "category" else "event") for role in self.roles),
            *(NamedField(f"item.{name}", "item_category") for name in self.items.categories),
            *(NamedField(f"item.{name}", "item_number") for name in self.items.numbers),
            *(NamedField(f"user.{name}", "user_category") for name in self.users.categories),
            *(NamedField(f"user.{name}", "user_number") for name in self.users.numbers),
        )
        self.numbers: tuple[NamedField, ...] = (
            *(NamedField(name, name) for name in STREAM_NUMBERS),
            *(NamedField(f"item.{name}", "item_number") for name in self.items.numbers),
            *(NamedField(f"user.{name}", "user_number") for name in self.users.numbers),
        )
        self.templates = tuple(templates(self.fields, self.numbers))

    def of(self, batch: ExampleBatch) -> Fields:
        """The fields of every row; a function of the row and the side tables alone."""
        event_BE = np.empty((len(batch), 3 + len(self.roles)), np.int64)
        for e, role in enumerate(self.roles):
            event_BE[:, 3 + e] = getattr(batch, ROLES[role])
        item_row_B = self.items.rows(batch.item_B, batch.time_ms_B)
        user_row_B = self.users.rows(batch.user_B, batch.time_ms_B)
        number_BX = np.empty((len(batch), len(self.numbers)))
        offset_B = np.empty(len(batch))
        start_BF1 = np.empty((len(batch), len(self.fields) + 1), np.int64)
        keys = np.empty(len(batch) * (event_BE.shape[1] + self.items.most + self.users.most), np.int64)
        _of_stream(
            batch.user_B,
            batch.item_B,
            batch.time_ms_B,
            batch.tz_min_B,
            batch.user_rates_BR,
            batch.item_rates_BR,
            event_BE,
            number_BX,
            offset_B,
        )
        items = SideRows(item_row_B, self.items.start_NC1, self.items.keys, self.items.number_NM)
        users = SideRows(user_row_B, self.users.start_NC1, self.users.keys, self.users.number_NM)
        _gather(event_BE, items, users, start_BF1, keys, number_BX)
        return Fields(start_BF1, keys, number_BX, offset_B)

    def most(self, used: Sequence[Template]) -> int:
        """No row has more features than this by the templates `used`."""
        return sum(self._keys_of(t.a) * self._keys_of(t.b) for t in used)

    def _keys_of(self, f: int) -> int:
        return MOST_KEYS if f >= 0 and self.fields[f].kind in ("item_category", "user_category") else 1


_BY_USER = ("hour", "event", "item_category", "item_number")
_BY_ITEM = ("hour", "event", "user_category")


def templates(fields: tuple[NamedField, ...], numbers: tuple[NamedField, ...]) -> Iterator[Template]:
    """Every template that these fields and numbers allow."""
    for f, field in enumerate(fields):
        yield Template(field.name, field.kind, f)
        if field.kind in _BY_USER:
            yield Template(f"user x {field.name}", f"user_{field.kind}", USER, f)
        if field.kind in _BY_ITEM:
            yield Template(f"item x {field.name}", f"item_{field.kind}", ITEM, f)
    for x, number in enumerate(numbers):
        if number.kind in ("popularity", "item_rate", "item_number"):
            yield Template(f"user slope on {number.name}", f"user_slope_{number.kind}", USER, x=x)
        if number.kind in ("user_rate", "user_number"):
            yield Template(f"item slope on {number.name}", f"item_slope_{number.kind}", ITEM, x=x)
        if number.kind != "user_number":
            yield Template(f"slope on {number.name}", f"slope_{number.kind}", x=x)


@compiled
def _of_stream(
    user_B: Int64s,
    item_B: Int64s,
    time_ms_B: Int64s,
    tz_min_B: Int64s,
    user_rates_BR: Floats,
    item_rates_BR: Floats,
    event_BE: Int64s,
    number_BX: Doubles,
    offset_B: Doubles,
) -> None:
    for b in range(user_B.shape[0]):
        user_R, item_R = user_rates_BR[b], item_rates_BR[b]
        base = base_rate(item_R)
        offset_B[b] = logit(base)
        event_BE[b, 0] = user_B[b]
        event_BE[b, 1] = item_B[b]
        event_BE[b, 2] = local_hour(time_ms_B[b], tz_min_B[b])
        number_BX[b, 0] = np.log2(1.0 + item_R[_ITEM_COUNT])
        number_BX[b, 1] = deviation(item_R[_ITEM_POSITIVES], item_R[_ITEM_COUNT], base)
        number_BX[b, 2] = deviation(user_R[_USER_POSITIVES], user_R[_USER_COUNT], base)
        number_BX[b, 3] = deviation(user_R[_OWN_POSITIVES], user_R[_OWN_COUNT], base)
        number_BX[b, 4] = deviation(user_R[_CATEGORY_POSITIVES], user_R[_CATEGORY_COUNT], base)


@compiled
def _gather(
    event_BE: Int64s,
    items: SideRows,
    users: SideRows,
    start_BF1: Int64s,
    keys: Int64s,
    number_BX: Doubles,
) -> None:
    filled = 0
    for b in range(event_BE.shape[0]):
        f = 0
        start_BF1[b, 0] = filled
        for e in range(event_BE.shape[1]):
            if event_BE[b, e] != NO_KEY:
                keys[filled] = event_BE[b, e]
                filled += 1
            f += 1
            start_BF1[b, f] = filled
        x = number_BX.shape[1] - items.number_NM.shape[1] - users.number_NM.shape[1]
        for side in (items, users):
            row = side.row_B[b]
            for c in range(side.start_NC1.shape[1] - 1):
                if row >= 0:
                    for i in range(side.start_NC1[row, c], side.start_NC1[row, c + 1]):
                        keys[filled] = side.keys[i]
                        filled += 1
                f += 1
                start_BF1[b, f] = filled
            for m in range(side.number_NM.shape[1]):
                number_BX[b, x] = side.number_NM[row, m] if row >= 0 else np.nan
                x += 1
