"""The deep semantics of items: what a side table and the events say an item is, as rows of its own table.

A kind is a value of a side table's category column or group of a number (`learners.tables.side_columns`),
or of the events' category. It has a row beside the items', and an item's vector, as candidate and as entry,
is its own plus those of its kinds; so an item that is new has the vector of its like at once.

Shape suffixes: N table rows, P kinds of an item, S rows at hand, C columns, K width, D = K + 1.
"""

import numpy as np

from learners.interests.views import Int32s
from learners.tables.embedding import EmbeddingTable
from learners.tables.side_columns import Columns
from state.compiled import compiled
from state.examples import Bytes, ExampleBatch, Floats
from state.keys import NO_KEY, Int64s, find, key_of, pair
from state.side import SideTable
from state.tree import Tree

_CATEGORY = key_of("category of events")


class Kinds:
    """Each table row's kinds, fixed when the item gets its row. Kinds live as long as an item that has them.

    `scale` is what the first weights of a kind are, next to an item's.
    """

    def __init__(self, items: SideTable | None, *, category: bool, scale: float) -> None:
        self.columns = Columns(items)
        self.category = category
        self.scale = scale
        self.most = self.columns.most + category
        names = (*self.columns.categories, *self.columns.numbers)
        self._column_C = np.array([key_of(f"items.{name}") for name in names], np.int64)
        self.kind_NP: Int32s = np.zeros((0, self.most), np.int32)
        """Table rows of each row's kinds, then -1 (at least N, P)."""
        self.is_kind_N: Bytes = np.zeros(0, np.uint8)

    def admit(self, batch: ExampleBatch, table: EmbeddingTable, before: int) -> None:
        """Give the items that got rows `before` and up, all in `batch`, their kinds."""
        after = len(table)
        if self.most and after > before:
            keys_S = table.ids.keys[before:after].copy()
            known, first = np.unique(batch.item_B, return_index=True)
            event_S = first[np.searchsorted(known, keys_S)]
            time_ms_S = batch.time_ms_B[event_S]
            category_S = batch.category_B[event_S] if self.category else np.full(len(keys_S), NO_KEY)
            kind_SP = np.full((len(keys_S), self.most), NO_KEY, np.int64)
            _name_kinds(
                self.columns.rows(keys_S, time_ms_S),
                self.columns.start_NC1,
                self.columns.keys,
                self._column_C,
                category_S,
                kind_SP,
            )
            s, p = np.nonzero(kind_SP != NO_KEY)
            table.admit(kind_SP[s, p], time_ms_S[s])
            for weight_ND in table.weight.values():
                weight_ND[after : len(table)] *= self.scale
            self._grow(table)
            self.is_kind_N[after : len(table)] = 1
            _find_kinds(table.ids.table, kind_SP, self.kind_NP[before:after])
        self._grow(table)

    def expire(self, table: EmbeddingTable, before_ms: int) -> bool:
        """Drop the table's rows not seen since `before_ms`; whether any was. Rows are renumbered."""
        size = len(table)
        n, p = np.nonzero(self.kind_NP[:size] >= 0)
        np.maximum.at(table.last_ms_N, self.kind_NP[n, p], table.last_ms_N[n])
        keys_N = table.ids.keys[:size].copy()
        if not len(table.expire(before_ms)):
            return False
        row_N = table.rows(keys_N)
        kept = np.flatnonzero(row_N >= 0)
        old_NP = self.kind_NP[kept]
        self.kind_NP = np.where(old_NP >= 0, row_N[old_NP], -1).astype(np.int32)
        self.is_kind_N = self.is_kind_N[kept]
        self._grow(table)
        return True

    def spread(self, table: EmbeddingTable, reader: int) -> None:
        """Mark for `reader` the items of which a kind has changed."""
        if self.most:
            _spread(self.kind_NP[: len(table)], table.stale_N, reader)

    def items(self, table: EmbeddingTable, keys: Int64s) -> Int64s:
        """Those of `keys`, all in the table, that are items' and no kinds'."""
        kept: Int64s = keys[self.is_kind_N[table.rows(keys)] == 0]
        return kept

    def _grow(self, table: EmbeddingTable) -> None:
        rows, old = len(table.ids.keys), len(self.is_kind_N)
        if rows > old:
            kind_NP = np.full((rows, self.most), -1, np.int32)
            kind_NP[:old] = self.kind_NP
            self.kind_NP = kind_NP
            self.is_kind_N = np.append(self.is_kind_N, np.zeros(rows - old, np.uint8))

    def tree(self, table: EmbeddingTable) -> Tree:
        return {
            "kind_NP": self.kind_NP[: len(table)].copy(),
            "is_kind_N": self.is_kind_N[: len(table)].copy(),
        }

    def load(self, tree: Tree, table: EmbeddingTable) -> None:
        self.kind_NP, self.is_kind_N = np.array(tree["kind_NP"]), np.array(tree["is_kind_N"])
        self._grow(table)


@compiled
def _name_kinds(
    row_S: Int64s,
    start_NC1: Int64s,
    keys: Int64s,
    column_C: Int64s,
    category_S: Int64s,
    kind_SP: Int64s,
) -> None:
    """Fill in the keys of each item's kinds; `kind_SP` holds NO_KEY on entry."""
    for s in range(row_S.shape[0]):
        p = 0
        for c in range(column_C.shape[0] if row_S[s] >= 0 else 0):
            for i in range(start_NC1[row_S[s], c], start_NC1[row_S[s], c + 1]):
                kind_SP[s, p] = pair(column_C[c], keys[i])
                p += 1
        if category_S[s] != NO_KEY:
            kind_SP[s, p] = pair(_CATEGORY, category_S[s])


@compiled
def _find_kinds(table: Int64s, kind_SP: Int64s, row_SP: Int32s) -> None:
    """Fill in the rows of those kinds that have one; `row_SP` holds -1 on entry."""
    for s in range(kind_SP.shape[0]):
        p = 0
        for key in kind_SP[s]:
            row = find(table, key) if key != NO_KEY else -1
            if row >= 0:
                row_SP[s, p] = row
                p += 1


@compiled
def _spread(kind_NP: Int32s, stale_N: Bytes, reader: int) -> None:
    for n in range(kind_NP.shape[0]):
        for kind in kind_NP[n]:
            if kind < 0:
                break
            if stale_N[kind] & reader:
                stale_N[n] |= np.uint8(reader)
                break


@compiled
def whole(rows_S: Int64s, weight_NK: Floats, kind_NP: Int32s) -> Floats:
    """Vectors (S, K) of rows that there are, each with its kinds' added."""
    vector_SK = np.empty((rows_S.shape[0], weight_NK.shape[1]), np.float32)
    for s in range(rows_S.shape[0]):
        vector_SK[s] = weight_NK[rows_S[s]]
        for kind in kind_NP[rows_S[s]]:
            if kind < 0:
                break
            vector_SK[s] += weight_NK[kind]
    return vector_SK


@compiled
def side_by_side(rows_S: Int64s, item_NK: Floats, bias_N1: Floats, kind_NP: Int32s, item_DS: Floats) -> None:
    """Write vectors and biases of rows that there are, each with its kinds' added, a column a row."""
    width = item_NK.shape[1]
    for s in range(rows_S.shape[0]):
        row, kinds = rows_S[s], 0
        while kinds < kind_NP.shape[1] and kind_NP[row, kinds] >= 0:
            kinds += 1
        for k in range(width):
            value = item_NK[row, k]
            for p in range(kinds):
                value += item_NK[kind_NP[row, p], k]
            item_DS[k, s] = value
        bias = bias_N1[row, 0]
        for p in range(kinds):
            bias += bias_N1[kind_NP[row, p], 0]
        item_DS[width, s] = bias
