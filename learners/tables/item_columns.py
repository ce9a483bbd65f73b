"""The catalogue's published vectors as columns, kept from one micro-batch to the next.

Shape suffixes: N catalogue items (at least), D = K + 1 rounded up to a multiple of 4, C columns to write.
"""

import numpy as np
from numpy.typing import NDArray

from learners.tables.embedding import RANK, EmbeddingTable
from state.compiled import assign, compiled
from state.examples import Floats
from state.keys import Int64s, KeyMap, find

Int32s = NDArray[np.int32]

NO_KINDS: Int32s = np.zeros((0, 0), np.int32)


class ItemColumns:
    """Vector and bias of every catalogue item, for a table with the slots "item" (K wide) and "bias".

    A cache: a new one gives the same columns. Rows of a table are renumbered when some expire or when it is
    loaded; that calls for a new one.
    """

    def __init__(self, width: int, cold_bias: float) -> None:
        self.width = width
        self.cold_bias = cold_bias
        self.item_DN: Floats = np.zeros((-(-(width + 1) // 4) * 4, 0), np.float32)
        self._filled = 0

    def refresh(self, items: KeyMap, table: EmbeddingTable, kind_NP: Int32s = NO_KINDS) -> Floats:
        """The columns (D, at least `len(items)`), once those that changed or are new have been written.

        An item without a row has zeros and the cold bias; one with kinds has theirs added (`kind_NP`: rows of
        each row's kinds, then -1). Of a kind that changed, the caller has marked the items.
        """
        size = len(items)
        if size > self.item_DN.shape[1]:
            grown_DN = np.zeros((len(self.item_DN), len(items.keys)), np.float32)
            grown_DN[self.width] = self.cold_bias
            grown_DN[:, : self._filled] = self.item_DN[:, : self._filled]
            self.item_DN = grown_DN
        changed_C = items.rows(table.changed(RANK))
        column_C = np.concatenate([changed_C[changed_C >= 0], np.arange(self._filled, size)])
        _write(
            column_C,
            items.keys,
            table.ids.table,
            table.weight["item"],
            table.weight["bias"],
            kind_NP,
            self.item_DN,
        )
        self._filled = size
        return self.item_DN


@compiled
def _write(
    column_C: Int64s,
    keys_N: Int64s,
    table: Int64s,
    item_NK: Floats,
    bias_N1: Floats,
    kind_NP: Int32s,
    item_DN: Floats,
) -> None:
    """Fill in the columns of those keys that have a row."""
    width, row_T = item_NK.shape[1], np.empty(16, np.int64)
    vector_TD = np.empty((16, width + 1), np.float32)
    for start in range(0, column_C.shape[0], 16):  # so that the rows read stay near while columns are written
        part_T = column_C[start : start + 16]
        for t in range(part_T.shape[0]):
            row = row_T[t] = find(table, keys_N[part_T[t]])
            if row < 0:
                continue
            assign(vector_TD[t], item_NK[row])
            vector_TD[t, width] = bias_N1[row, 0]
            for p in range(kind_NP.shape[1]):
                kind = kind_NP[row, p]
                if kind < 0:
                    break
                vector_TD[t, :width] += item_NK[kind]
                vector_TD[t, width] += bias_N1[kind, 0]
        for d in range(width + 1):
            for t in range(part_T.shape[0]):
                if row_T[t] >= 0:
                    item_DN[d, part_T[t]] = vector_TD[t, d]
