"""Every item vector of a run, where each is, and what else speaks for it.

Shape suffixes: N items, W memory entries, D width.
"""

import numpy as np

from serving.scoring import Copy
from state.arrays import Doubles, Floats, Int64s
from state.errors import InputError
from state.ids import key_of
from state.store.contract import Items
from state.store.copy_score import CopyScore


class Catalogue:
    """Items in order of their ids: so equal scores come in the same order always."""

    def __init__(self, items: Items, copy: CopyScore | None) -> None:
        self.ids, self.vectors_ND = items.ids, items.vectors_ND
        keys = [key_of(identifier) for identifier in self.ids]
        self.row_of_id = {identifier: row for row, identifier in enumerate(self.ids)}
        self.row_of_key = {key: row for row, key in enumerate(keys)}
        self.copy = Copy(copy, np.array(keys, np.int64)) if copy and copy.agrees else None

    def rows(self, keys: list[int]) -> Int64s:
        """The row of each key, or -1."""
        return np.array([self.row_of_key.get(key, -1) for key in keys], np.int64)

    def of_rows(self, row_W: Int64s, width: int) -> Floats:
        """Vectors (W, D); zeros for a row of -1."""
        vectors_WD = np.zeros((len(row_W), width), np.float32)
        vectors_WD[row_W >= 0] = self._vectors(width)[row_W[row_W >= 0]]
        return vectors_WD

    def scores(self, query_D: Doubles) -> Doubles:
        """Dot products (N,) of every item with the query."""
        return np.asarray(self._vectors(len(query_D)) @ query_D, np.float64)

    def _vectors(self, width: int) -> Floats:
        if len(self.vectors_ND) and self.vectors_ND.shape[1] != width:
            raise InputError(
                f"store: items have width {self.vectors_ND.shape[1]}, the user {width}: two runs wrote under "
                "one name; give each its own (?run=NAME in the URL) and replay again"
            )
        return self.vectors_ND.reshape(-1, width)
