"""What a network is fed: ids at hand, where each is used, and numbers. `learners.slots.Seen` says what each
is.

Shape suffixes: as in `learners.slots`; E = B x W + C items at hand.
"""

from dataclasses import dataclass
from typing import NamedTuple, Self

import numpy as np

from learners.contract import Context
from learners.gaussian_rows.features import Features, NamedField
from learners.tables.content import Content
from learners.training.network_numbers import Numbers
from state.compiled import compiled
from state.examples import ExampleBatch, Floats, Window, window_of
from state.keys import NO_KEY, Int64s, KeyMap, key_of, mix, pair

LOCAL = frozenset({"tz", "place", "lat"})
"""Roles that give a log local time or place."""

_ITEM_KINDS = ("item", "item_category", "item_number")
_ENTRY_NUMBERS = 16
"""More than there are, so that entries begin where vector units can load them."""


class NetworkInputs(NamedTuple):
    """What `learners.slots.Seen` has, but for the vectors; ids are salted by their field, so that one table
    has all."""

    id_I: Int64s
    own_U: Int64s
    side_K: Int64s
    side_start_U: Int64s
    content_UV: Floats
    described_ULZ: Floats
    entry_BW: Int64s
    real_BW: Floats
    number_BWA: Floats
    target_BC: Int64s
    field_K: Int64s
    field_start_N: Int64s
    number_BCX: Floats
    offset_BC: Floats


@dataclass(frozen=True, slots=True)
class Candidates:
    """What is to be scored for each row."""

    item_BC: Int64s
    """1 x C where all rows share them."""
    category_BC: Int64s
    pairs: ExampleBatch | None = None
    """B x C examples, row after row, with what is known of each pair; None where the head does not read
    it."""

    @classmethod
    def own(cls, batch: ExampleBatch) -> Self:
        """Each row's own item."""
        return cls(batch.item_B[:, None], batch.category_B[:, None], batch)

    @classmethod
    def of_pairs(cls, pairs: ExampleBatch, rows: int) -> Self:
        return cls(pairs.item_B.reshape(rows, -1), pairs.category_B.reshape(rows, -1), pairs)


@dataclass(frozen=True, slots=True)
class Sizes:
    """How much a log has of what `Seen` shows."""

    fields: int
    """F."""
    numbers: int
    """X."""
    entry_numbers: int
    """A."""
    content: int
    """V."""
    modalities: int
    """L."""


class InputReader:
    """Makes inputs of examples; keeps the scale of their numbers."""

    def __init__(self, context: Context) -> None:
        self.sides = True
        """Whether items come with what is known of them,"""
        self.described = False
        """and with what their columns say, as numbers."""
        self.features = Features(context)
        fields = self.features.fields
        self.plain = np.array([f for f, field in enumerate(fields) if _is_plain(field, context)])
        """Fields that say nothing of the item."""
        self.salt_F = np.array([mix(key_of(field.name)) for field in fields])
        self.local = bool(context.roles & LOCAL)
        items = self.features.items
        columns = (*items.categories, *items.numbers)
        self.salt_N = np.array([mix(key_of(f"item.{name}")) for name in columns], np.int64)
        self.salt_category = mix(key_of("category"))
        self.salt_item = mix(key_of("item"))
        self.numbers = Numbers(len(self.features.numbers), local=self.local)
        self.content = Content(items)
        modalities = len(self.content.modalities)
        self.sizes = Sizes(len(self.plain), self.numbers.count, _ENTRY_NUMBERS, items.content, modalities)

    def item_ids(self, item_N: Int64s) -> Int64s:
        """Ids of items in the table."""
        return _salted(item_N, self.salt_item)

    def described_items(self, item_N: Int64s, time_ms: int) -> Floats:
        """What is told of items at a time (N, L, Z)."""
        return self.content.of(self.features.items.rows(item_N, np.full(len(item_N), time_ms)))

    def read(self, batch: ExampleBatch, candidates: Candidates, *, rescale: bool = False) -> NetworkInputs:
        """Inputs of the candidates of the rows of `batch`.

        `rescale` first takes the pairs' numbers into the mean and the spread of every number.
        """
        window, item_BC = window_of(batch), candidates.item_BC
        rows, width = window.item_BW.shape
        item_E = np.concatenate([window.item_BW.reshape(-1), item_BC.reshape(-1)])
        items, ids = KeyMap(), KeyMap()
        side_K, side_start_U = _NO_IDS, _NO_IDS
        content_UV, described_ULZ = np.zeros((0, 0), np.float32), np.zeros((0, 0, 0), np.float32)
        if self.sides:
            category_E = np.concatenate([window.category_BW.reshape(-1), candidates.category_BC.reshape(-1)])
            time_ms_B = batch.time_ms_B if len(item_BC) == rows else batch.time_ms_B.min(keepdims=True)
            time_ms_E = np.concatenate(
                [np.repeat(batch.time_ms_B, width), np.repeat(time_ms_B, item_BC.shape[1])]
            )
            row_E = self.features.items.rows(item_E, time_ms_E)
            index_E = items.rows(_identities(item_E, category_E, row_E), grow=True)
        else:
            index_E = items.rows(item_E, grow=True)
        first_U = np.empty(len(items), np.int64)
        first_U[index_E[::-1]] = np.arange(len(index_E))[::-1]
        own_U = ids.rows(self.item_ids(item_E[first_U]), grow=True)
        if self.sides:
            table = self.features.items
            side_keys, side_start_U = _sides(
                category_E[first_U],
                row_E[first_U],
                table.start_NC1,
                table.keys,
                self.salt_N,
                self.salt_category,
            )
            side_K = ids.rows(side_keys, grow=True)
            content_UV = table.vectors_of(row_E[first_U])
            if self.described:
                described_ULZ = self.content.of(row_E[first_U])
        field_K, field_start_N = _NO_IDS, _NO_IDS
        number_BCX = np.zeros((*item_BC.shape, 0), np.float32)
        offset_BC = np.zeros(item_BC.shape, np.float32)
        if candidates.pairs is not None:
            fields = self.features.of(candidates.pairs)
            start_BF1 = fields.start_BF1[:: item_BC.shape[1]]
            field_keys, field_start_N = _bags(start_BF1, fields.keys, self.plain, self.salt_F)
            field_K = ids.rows(field_keys, grow=True)
            raw_NX = self.numbers.of(candidates.pairs, fields)
            if rescale:
                self.numbers.learn(raw_NX)
            number_BCX = self.numbers.standard(raw_NX).reshape(*item_BC.shape, -1)
            offset_BC = fields.offset_B.astype(np.float32).reshape(item_BC.shape)
        places = rows * width
        return NetworkInputs(
            id_I=ids.keys[: len(ids)],
            own_U=own_U,
            side_K=side_K,
            side_start_U=side_start_U,
            content_UV=content_UV,
            described_ULZ=described_ULZ,
            entry_BW=index_E[:places].reshape(rows, width),
            real_BW=(np.arange(width) < window.length_B[:, None]).astype(np.float32),
            number_BWA=self._entries(window),
            target_BC=index_E[places:].reshape(item_BC.shape),
            field_K=field_K,
            field_start_N=field_start_N,
            number_BCX=number_BCX,
            offset_BC=offset_BC,
        )

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
        number_BWA = np.zeros((*window.item_BW.shape, self.sizes.entry_numbers), np.float32)
        for a, column in enumerate(columns):
            number_BWA[:, :, a] = column
        return number_BWA


_NO_IDS = np.zeros(0, np.int64)


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


def _is_plain(field: NamedField, context: Context) -> bool:
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
